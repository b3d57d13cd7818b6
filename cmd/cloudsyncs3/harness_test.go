package main_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore/s3"
	"github.com/coldbrick/coldbrick/internal/testkit"
)

// inNamespace tells the test binary that it runs in a mount namespace of its own.
const inNamespace = "COLDBRICK_TEST_MOUNT_NAMESPACE"

// TestMain runs the tests where the plugin is installed and nowhere else: the
// translator loads it from a fixed directory, so a directory with the plugin
// just built is bound over that one in a private mount namespace.
func TestMain(m *testing.M) {
	if os.Getenv(inNamespace) == "" {
		os.Exit(enterNamespace())
	}
	dir, err := os.MkdirTemp("", "plugin")
	if err == nil {
		err = install(dir)
	}
	if err == nil && os.Getenv("SANITIZE") != "" {
		err = sanitize(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if sanitizerReports(dir) {
		code = 1
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

// sanitize gives every process that the tests start the library that a plugin built with
// SANITIZE=address needs. What it finds ends a client, and is written to files in dir.
func sanitize(dir string) error {
	out, err := exec.Command("gcc", "-print-file-name=libasan.so").Output()
	if err != nil {
		return fmt.Errorf("where is libasan: %w", err)
	}
	// Gluster frees little at its end, and dd asks for memory of an odd size.
	return errors.Join(os.Setenv("ASAN_OPTIONS", "detect_leaks=0:allocator_may_return_null=1:log_path="+dir+"/asan"),
		os.Setenv("LD_PRELOAD", strings.TrimSpace(string(out))))
}

// sanitizerReports prints what AddressSanitizer has found, if it has.
func sanitizerReports(dir string) (found bool) {
	reports, _ := filepath.Glob(dir + "/asan.*") // none without it
	for _, name := range reports {
		text, err := os.ReadFile(name)
		// Gluster's coroutines are worth a warning to it.
		if err != nil || bytes.Contains(text, []byte("ERROR: ")) {
			fmt.Fprintf(os.Stderr, "%s: %s (%v)\n", name, text, err)
			found = true
		}
	}
	return found
}

func enterNamespace() int {
	runtime.LockOSThread() // Pdeathsig is about the thread
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inNamespace+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS, Pdeathsig: unix.SIGKILL}
	if err := cmd.Run(); err != nil {
		if cmd.ProcessState == nil {
			fmt.Fprintln(os.Stderr, "start in a mount namespace (needs root):", err)
		}
		return 1
	}
	return 0
}

func install(dir string) error {
	if err := build(dir); err != nil {
		return err
	}
	return bind(dir)
}

func build(dir string) error {
	if out, err := exec.Command("./build.sh", filepath.Join(dir, "cloudsyncs3.so")).CombinedOutput(); err != nil {
		return fmt.Errorf("build the plugin: %w\n%s", err, out)
	}
	return nil
}

// bind puts the library in dir where glusterfs looks for it.
func bind(dir string) error {
	plugins, err := pluginDir()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(plugins, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(dir, plugins, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind over %s: %w", plugins, err)
	}
	return nil
}

// pluginDir is where the translator looks for its plugins.
func pluginDir() (string, error) {
	out, err := exec.Command("glusterfs", "--print-xlatordir").Output()
	if err != nil {
		return "", fmt.Errorf("where does glusterfs look for plugins: %w", err)
	}
	return filepath.Join(filepath.Dir(strings.TrimSpace(string(out))), "cloudsync-plugins"), nil
}

// ground is a volume, a store behind a proxy that can fail, and mounts of the
// volume that recall from that store.
type ground struct {
	*testkit.Volume
	t      *testing.T
	server *testkit.S3Server
	proxy  *testkit.Proxy
	store  *s3.Store
}

func newGround(t *testing.T, options ...testkit.Option) *ground {
	t.Helper()
	return newGroundWith(t, testkit.S3(t), options...)
}

func newGroundWith(t *testing.T, server *testkit.S3Server, options ...testkit.Option) *ground {
	t.Helper()
	g := &ground{t: t, Volume: testkit.NewVolume(t, options...), server: server, store: &s3.Store{}}
	g.proxy = testkit.FaultProxy(t, g.server)
	store := map[string]string{
		"endpoint-url": g.server.Endpoint, "bucket": g.server.Bucket, "region": g.server.Region,
		"access-key-id": g.server.AccessKey, "secret-access-key": g.server.SecretKey,
	}
	if server.CAFile != "" {
		store["ca-bundle"] = server.CAFile
	}
	err := g.store.Init(t.Context(), store)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.store.Fini(); err != nil {
			t.Error(err)
		}
	})
	return g
}

// in is the same ground with the failures and the mounts of a subtest.
func (g *ground) in(t *testing.T) *ground {
	sub := *g
	sub.t = t
	return &sub
}

// smallBrick puts a file system of size bytes in place of the brick's directory.
func (g *ground) smallBrick(size int64) {
	g.t.Helper()
	image := filepath.Join(g.Dir(), "image")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		g.t.Fatal(err)
	}
	if err := os.Truncate(image, size); err != nil {
		g.t.Fatal(err)
	}
	id, _ := testkit.Xattr(g.t, g.BrickDir(), gluster.XattrVolumeID)
	for _, args := range [][]string{
		{"mkfs.ext4", "-q", "-m", "0", image},
		{"mount", "-o", "loop", image, g.BrickDir()},
	} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			g.t.Fatalf("%v: %v: %s", args, err, out)
		}
	}
	if err := os.Mkdir(g.BrickDir()+"/.glusterfs", 0o755); err != nil {
		g.t.Fatal(err)
	}
	testkit.SetXattr(g.t, g.BrickDir(), gluster.XattrVolumeID, string(id))
}

// pluginOptions are those of the translator: the volume options less "features.".
func (g *ground) pluginOptions(query string) []string {
	return []string{
		"s3plugin-hostname " + g.proxy.Endpoint + "?region=" + g.server.Region + query,
		"s3plugin-bucketid " + g.server.Bucket,
		"s3plugin-keyid " + g.server.AccessKey,
		"s3plugin-seckey " + g.server.SecretKey,
	}
}

// client is a new mount that recalls. The others may have cached what it reads.
func (g *ground) client(options ...testkit.MountOption) string {
	g.t.Helper()
	return g.clientWith("", options...)
}

// impatient is a client for stores that hang: busy as the machine may be, all
// others have the minute that the plugin gives a store.
func (g *ground) impatient() string {
	g.t.Helper()
	return g.clientWith("&idle-timeout=5s")
}

func (g *ground) clientWith(query string, options ...testkit.MountOption) string {
	g.t.Helper()
	plugin := testkit.WithPlugin("cloudsyncs3", g.pluginOptions(query)...)
	return g.NewMount(g.t, append([]testkit.MountOption{plugin}, options...)...)
}

// put stores an object.
func (g *ground) put(key string, data []byte, metadata map[string]string) {
	g.t.Helper()
	_, err := g.store.Create(context.Background(), key, bytes.NewReader(data), int64(len(data)), metadata)
	if err != nil {
		g.t.Fatalf("put %q: %v", key, err)
	}
}

// metadata is what coldbrick would give the object of path.
func (g *ground) metadata(path string, size int) object.Metadata {
	return object.Metadata{
		Volume: g.ID, GFID: g.GFID(path), Path: path, Size: int64(size), Mtime: gluster.TimeAt(testkit.Old), Attempt: object.NewID(),
	}
}

// archive makes a stub of a new file, with an object and a pointer under key as
// coldbrick leaves them.
func (g *ground) archive(path, key string, data []byte) {
	g.t.Helper()
	g.Write(path, data, testkit.Old)
	g.put(key, data, g.metadata(path, len(data)).Encode())
	p := object.Pointer{
		GFID: g.GFID(path), Volume: g.ID, Key: key, Time: time.Now(),
		Proof: &object.Stamped{Size: int64(len(data)), Mtime: gluster.TimeAt(testkit.Old), CRC32: crc32.ChecksumIEEE(data)},
	}
	testkit.SetXattr(g.t, g.Path(path), gluster.XattrPointer, string(p.Encode()))
	g.Stamp(path)
	if key != path {
		testkit.SetXattr(g.t, g.Path(path), gluster.XattrRemote, key)
	}
	if m := g.BrickMarks(path); m.State(g.BrickSize(path)) != gluster.Remote || m.RemoteKey != key {
		g.t.Fatalf("%s: no stub: %+v", path, m)
	}
}

// archiveByScript makes a stub as the script of Gluster's documentation does:
// the object has no metadata, the file no pointer.
func (g *ground) archiveByScript(path string, data []byte) {
	g.t.Helper()
	g.Write(path, data, testkit.Old)
	g.put(path, data, nil)
	g.Stamp(path)
}

// random is data that does not repeat, the same for the same seed and size.
func random(seed uint64, size int) []byte {
	data := make([]byte, size)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = r.Read(data) // never fails
	return data
}

// patience bounds what must not hang.
const patience = 3 * time.Minute

// read reads a file through a mount, in another process: one that hangs would
// keep the test from ending. After its patience the client is killed, which frees
// its readers.
func (g *ground) read(mount, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		g.t.Errorf("read %q hangs", path)
		_ = unix.Kill(g.pid(mount), unix.SIGKILL)
	})()
	cmd := exec.CommandContext(ctx, "cat", "--", mount+"/"+path)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.WaitDelay = time.Minute // for what is in the pipe
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, strings.TrimSpace(errs.String()))
	}
	return out.Bytes(), nil
}

// pid is that of the glusterfs process of a mount.
func (g *ground) pid(mount string) int {
	text, err := os.ReadFile(filepath.Join(g.Dir(), "run", filepath.Base(mount)+".pid"))
	if err != nil {
		return 0
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return pid
}

// mustRead reads a file and holds it against what it must be.
func (g *ground) mustRead(mount, path string, want []byte) {
	g.t.Helper()
	got, err := g.read(mount, path)
	if err != nil {
		g.t.Errorf("read %q: %v\n%s", path, err, g.clientLog(mount))
		return
	}
	if !bytes.Equal(got, want) {
		g.t.Errorf("read %q: %d bytes, %d expected, or others", path, len(got), len(want))
	}
}

// mustFail reads a file that cannot be recalled: the reader gets EREMOTE, never
// a byte, and the file is as clean a stub as before.
func (g *ground) mustFail(mount, path string) {
	g.t.Helper()
	got, err := g.read(mount, path)
	if err == nil {
		g.t.Errorf("read %q: %d bytes and no error", path, len(got))
		return
	}
	if !strings.Contains(err.Error(), "Object is remote") {
		g.t.Errorf("read %q: %v instead of EREMOTE", path, err)
	}
	g.mustBeStub(path)
}

// mustBeStub waits: the kernel's read-ahead may have begun one more recall, which
// fails as well.
func (g *ground) mustBeStub(path string) {
	g.t.Helper()
	testkit.Eventually(g.t, time.Minute, path+" is a clean stub", func() bool {
		m, size := g.BrickMarks(path), g.BrickSize(path)
		return size == 0 && m.State(size) == gluster.Remote && m.ObjectSize
	})
}

// mustBeLocal checks that nothing of the stub is left.
func (g *ground) mustBeLocal(path string, size int) {
	g.t.Helper()
	if m := g.BrickMarks(path); !m.Clean() || g.BrickSize(path) != int64(size) {
		g.t.Errorf("%q is not local: %d bytes, %+v", path, g.BrickSize(path), m)
	}
	info, err := os.Stat(g.Path(path))
	if err != nil {
		g.t.Error(err)
		return
	}
	if info.Size() != int64(size) || !info.ModTime().Equal(testkit.Old) {
		g.t.Errorf("%q: the mount shows %d bytes of %v", path, info.Size(), info.ModTime())
	}
	if _, ok := testkit.Xattr(g.t, g.BrickPath(path), gluster.XattrRecalled); !ok {
		g.t.Errorf("%q: the time of the recall is not noted", path)
	}
}

// clientLog is the log of a mount.
func (g *ground) clientLog(mount string) string { return g.Log(filepath.Base(mount)) }
