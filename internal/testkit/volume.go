package testkit

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
)

// Volume is a GlusterFS volume of real brick processes and FUSE mounts, with
// volfiles written by hand instead of by glusterd. Any number may run side by
// side. It is gone when its test ends.
type Volume struct {
	ID string // trusted.glusterfs.volume-id of the bricks, as text

	t        testing.TB
	name     string
	dir      string
	replica  int
	arbiter  bool
	ctimeOff bool
	atime    bool     // kept by features.ctime
	room     int64    // bytes of each brick's own file system; 0: none of its own
	mkfs     []string // the command that makes a brick's file system, less its file
	bricks   []*brick
	mount    string   // the first
	mounts   []string // all that are there
	made     int      // mounts, ever: names are not used twice
}

type brick struct {
	dir    string
	socket string
	client string // name of its protocol/client in the client graph, as in trusted.afr.*
	keeps  bool   // the data of files; an arbiter does not
	pid    int    // 0: not running
}

// Option shapes a Volume.
type Option func(*Volume)

// Bricks gives the volume n bricks; the default is the number of replicas.
func Bricks(n int) Option {
	return func(v *Volume) { v.bricks = make([]*brick, n) }
}

// Replica makes replica sets of n bricks, healed by a self-heal daemon that
// StartSelfHeal starts.
func Replica(n int) Option { return func(v *Volume) { v.replica = n } }

// Arbiter makes replica sets of three bricks, the last of which keeps names and
// attributes alone.
func Arbiter() Option { return func(v *Volume) { v.replica, v.arbiter = 3, true } }

// BrickRoom gives each brick a file system of its own, of so many bytes.
func BrickRoom(bytes int64) Option { return func(v *Volume) { v.room = bytes } }

// BrickOn puts each brick on a file system of its own, as mkfs.KIND makes it with these options: "ext4", "xfs".
func BrickOn(kind string, options ...string) Option {
	return func(v *Volume) { v.mkfs = append([]string{"mkfs." + kind, "-q"}, options...) }
}

// Ext4 gives each brick an ext4 of its own, with inodes of so many bytes: of 256
// as a rule; with 128, as old ones have, there is no room for parts of a second.
func Ext4(inode int) Option {
	return BrickOn("ext4", "-F", "-b", "4096", "-I", strconv.Itoa(inode))
}

// WithAtime is the volume option ctime.noatime off.
func WithAtime() Option { return func(v *Volume) { v.atime = true } }

// WithoutCtime is the volume option features.ctime off.
func WithoutCtime() Option { return func(v *Volume) { v.ctimeOff = true } }

// NewVolume starts the bricks of a volume, named "vol", and its first mount: with
// cloudsync, without a recall plugin, without caches.
func NewVolume(t testing.TB, options ...Option) *Volume {
	t.Helper()
	v := &Volume{t: t, name: "vol", replica: 1, ID: newUUID()}
	for _, o := range options {
		o(v)
	}
	if v.bricks == nil {
		v.bricks = make([]*brick, v.replica)
	}
	if len(v.bricks)%v.replica != 0 {
		t.Fatalf("%d bricks make no whole sets of %d", len(v.bricks), v.replica)
	}
	v.dir = Dir(t)
	for _, d := range []string{"run", "log"} {
		if err := os.Mkdir(filepath.Join(v.dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for i := range v.bricks {
		b := &brick{
			dir:    fmt.Sprintf("%s/b%d", v.dir, i),
			socket: fmt.Sprintf("%s/run/b%d.sock", v.dir, i),
			client: fmt.Sprintf("%s-client-%d", v.name, i),
			keeps:  !v.arbiter || i%v.replica < v.replica-1,
		}
		v.bricks[i] = b
		switch {
		case v.mkfs != nil:
			mountLoop(t, b.dir, v.mkfs)
		case v.room > 0:
			MountTmpfs(t, b.dir, v.room)
		}
		for _, d := range []string{b.dir, b.dir + "/.glusterfs"} { // glusterd makes both
			if err := os.MkdirAll(d, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		id, err := hex.DecodeString(strings.ReplaceAll(v.ID, "-", ""))
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Lsetxattr(b.dir, gluster.XattrVolumeID, id, 0); err != nil {
			t.Fatalf("set %s on %s: %v", gluster.XattrVolumeID, b.dir, err)
		}
		v.StartBrick(i)
	}
	v.mount = v.NewMount(t)
	return v
}

// MountTmpfs makes the directory dir and mounts a file system in memory there,
// until the test ends.
func MountTmpfs(t testing.TB, dir string, bytes int64) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("coldbrick-test", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=755", bytes)); err != nil {
		t.Fatalf("mount %s: %v", dir, err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) { // gone with its volume
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
}

// mountLoop makes the directory dir and mounts a new file system in a file there,
// until the test ends.
func mountLoop(t testing.TB, dir string, mkfs []string) {
	t.Helper()
	const size = 320 << 20 // the least that mkfs.xfs takes is 300 MiB; the file is sparse
	image := dir + ".img"
	err := errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(image, nil, 0o600), os.Truncate(image, size))
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range [][]string{append(mkfs, image), {"mount", "-o", "loop", image, dir}} {
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", command, err, out)
		}
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) { // gone with its volume
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
}

// Dir is the directory that holds all of the volume. It goes with the volume.
func (v *Volume) Dir() string { return v.dir }

// Name is the name of the volume and of the top of its client graph.
func (v *Volume) Name() string { return v.name }

// BrickDir is the directory of the only, or the first, brick.
func (v *Volume) BrickDir() string { return v.bricks[0].dir }

// BrickDirs are the directories of all bricks, in volume order.
func (v *Volume) BrickDirs() []string {
	var dirs []string
	for _, b := range v.bricks {
		dirs = append(dirs, b.dir)
	}
	return dirs
}

// MountDir is the first mount.
func (v *Volume) MountDir() string { return v.mount }

// StartBrick starts a stopped brick, by its number from 0; the default is the
// first. Mounts that exist connect to it by themselves; use WaitConnected.
func (v *Volume) StartBrick(number ...int) {
	v.t.Helper()
	i := oneOf(number)
	b := v.bricks[i]
	if b.pid != 0 {
		v.t.Fatalf("brick %d is running", i)
	}
	_ = os.Remove(b.socket) // of an earlier life
	v.daemon("glusterfsd", fmt.Sprintf("b%d", i), v.brickGraph(b))
	b.pid = v.pid(fmt.Sprintf("b%d", i))
	Eventually(v.t, time.Minute, "brick listens on "+b.socket, func() bool {
		_, err := os.Stat(b.socket)
		return err == nil
	})
}

// StopBrick kills a brick, by its number from 0; the default is the first. It
// returns when the process is gone and the mounts know it.
func (v *Volume) StopBrick(number ...int) {
	v.t.Helper()
	v.KillBrick(number...)
	b := v.bricks[oneOf(number)]
	for _, dir := range v.mounts {
		Eventually(v.t, time.Minute, dir+" sees the brick go", func() bool { return !b.connected(dir) })
	}
}

// KillBrick is StopBrick that does not wait for the mounts: one that recalls a
// file may need a minute.
func (v *Volume) KillBrick(number ...int) {
	v.t.Helper()
	b := v.bricks[oneOf(number)]
	if err := unix.Kill(b.pid, unix.SIGKILL); err != nil {
		v.t.Fatalf("kill brick %s: %v", b.dir, err)
	}
	Eventually(v.t, time.Minute, "brick process ends", func() bool { return unix.Kill(b.pid, 0) == unix.ESRCH })
	b.pid = 0
}

// PauseBrick stops a brick's process, by its number from 0; the default is the first.
// What it is asked waits, until KillBrick or until clients miss its answers.
func (v *Volume) PauseBrick(number ...int) {
	v.t.Helper()
	b := v.bricks[oneOf(number)]
	if err := unix.Kill(b.pid, unix.SIGSTOP); err != nil {
		v.t.Fatalf("stop brick %s: %v", b.dir, err)
	}
	Eventually(v.t, time.Minute, "all threads of brick "+b.dir+" stand still", func() bool {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", b.pid))
		if err != nil {
			v.t.Fatal(err)
		}
		return !slices.ContainsFunc(threads, func(thread string) bool {
			stat, err := os.ReadFile(thread)
			_, state, found := strings.Cut(string(stat), ") ")
			return err == nil && found && !strings.HasPrefix(state, "T")
		})
	})
}

// connected reports whether a mount talks to the brick.
func (b *brick) connected(mountDir string) bool {
	text, err := os.ReadFile(filepath.Join(mountDir, ".meta/graphs/active", b.client, "private"))
	return err == nil && strings.Contains(string(text), "connected = 1\n")
}

func oneOf(number []int) int {
	if len(number) == 0 {
		return 0
	}
	return number[0]
}

type mountConfig struct {
	without         map[int]bool
	noCloudsync     bool
	quickRead       bool
	parallelReaddir bool
	performance     bool
	selfHeal        bool
	strictLocks     bool
	cloudsync       []string
	attr, entry     time.Duration
	glusterfsFlags  []string
	environment     []string
}

// MountOption shapes a mount.
type MountOption func(*mountConfig)

// WithoutCloudsync leaves cloudsync out of the graph: stubs are plain empty
// files there.
func WithoutCloudsync() MountOption { return func(m *mountConfig) { m.noCloudsync = true } }

// WithStrictLocks is the volume option client.strict-locks on: what a client has
// open with a lock is not opened anew after a brick was away.
func WithStrictLocks() MountOption { return func(m *mountConfig) { m.strictLocks = true } }

// WithQuickRead puts performance/quick-read over cloudsync: reading a stub then
// returns memory of the process (GlusterFS 10.3).
func WithQuickRead() MountOption { return func(m *mountConfig) { m.quickRead = true } }

// WithParallelReaddir puts performance/readdir-ahead below cloudsync, as the volume
// option performance.parallel-readdir does.
func WithParallelReaddir() MountOption { return func(m *mountConfig) { m.parallelReaddir = true } }

// WithPerformance gives the mount what one of a user has by default: the
// performance translators of GlusterFS 10, less quick-read, which does not go
// with cloudsync, and the kernel's caches for a second.
func WithPerformance() MountOption {
	return func(m *mountConfig) { m.performance, m.attr, m.entry = true, time.Second, time.Second }
}

// WithPlugin makes cloudsync load the plugin of a storetype, as the volume option
// features.cloudsync-storetype does. options are "name value" each, such as
// "s3plugin-bucketid b".
func WithPlugin(storetype string, options ...string) MountOption {
	return func(m *mountConfig) {
		m.cloudsync = append([]string{"cloudsync-storetype " + storetype}, options...)
	}
}

// WithTimeouts lets the kernel cache attributes and names for as long. The
// default of testkit is not at all, that of GlusterFS is a second.
func WithTimeouts(attr, entry time.Duration) MountOption {
	return func(m *mountConfig) { m.attr, m.entry = attr, entry }
}

// WithoutBrick makes a mount that never reaches a brick, as if the packets of that
// client to it alone were dropped.
func WithoutBrick(number int) MountOption { return func(m *mountConfig) { m.without[number] = true } }

// WithFlags passes more flags to the glusterfs process.
func WithFlags(flags ...string) MountOption {
	return func(m *mountConfig) { m.glusterfsFlags = append(m.glusterfsFlags, flags...) }
}

// NewMount mounts the volume once more and returns the new directory.
func (v *Volume) NewMount(t testing.TB, options ...MountOption) string {
	t.Helper()
	m := &mountConfig{without: map[int]bool{}}
	for _, o := range options {
		o(m)
	}
	name := fmt.Sprintf("m%d", v.made)
	v.made++
	dir := filepath.Join(v.dir, name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	seconds := func(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) }
	flags := append([]string{
		"--attribute-timeout=" + seconds(m.attr),
		"--entry-timeout=" + seconds(m.entry),
	}, m.glusterfsFlags...)
	v.daemonIn(m.environment, "glusterfs", name, v.clientGraph(m), append(flags, dir)...)
	v.mounts = append(v.mounts, dir)
	v.waitConnected(dir, m.without)
	return dir
}

// Unmount ends a mount made by NewMount, or the first one, and waits for its
// process.
func (v *Volume) Unmount(dir string) {
	v.t.Helper()
	pid := v.pid(filepath.Base(dir))
	if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
		v.t.Fatalf("umount %s: %v: %s", dir, err, out)
	}
	v.mounts = slices.DeleteFunc(v.mounts, func(d string) bool { return d == dir })
	Eventually(v.t, time.Minute, "glusterfs of "+dir+" ends", func() bool { return unix.Kill(pid, 0) == unix.ESRCH })
}

// WaitConnected waits until a mount talks to every brick that is running.
func (v *Volume) WaitConnected(mountDir string) {
	v.t.Helper()
	v.waitConnected(mountDir, nil)
}

func (v *Volume) waitConnected(mountDir string, without map[int]bool) {
	v.t.Helper()
	for i, b := range v.bricks {
		if b.pid == 0 || without[i] {
			continue
		}
		Eventually(v.t, time.Minute, fmt.Sprintf("%s connects to brick %d", mountDir, i), func() bool {
			return b.connected(mountDir)
		})
	}
	Eventually(v.t, time.Minute, mountDir+" answers", func() bool {
		_, err := os.ReadDir(mountDir)
		return err == nil
	})
}

// StartSelfHeal starts the self-heal daemon of a replicated volume: it heals when
// a brick comes back, and every five seconds.
func (v *Volume) StartSelfHeal() {
	v.t.Helper()
	v.daemon("glusterfs", "shd", v.clientGraph(&mountConfig{selfHeal: true}),
		"--process-name=glustershd", "--xlator-option=*replicate*.node-uuid="+newUUID())
}

// Log is what a process of the volume has written so far: "b0" and so on are
// bricks, "m0" and so on mounts, "shd" the self-heal daemon.
func (v *Volume) Log(name string) string {
	text, err := os.ReadFile(filepath.Join(v.dir, "log", name+".log"))
	if err != nil {
		v.t.Fatal(err)
	}
	return string(text)
}

// daemon starts a glusterfs process, which goes into the background once it is
// ready, or has failed.
func (v *Volume) daemon(program, name, graph string, args ...string) {
	v.t.Helper()
	v.daemonIn(nil, program, name, graph, args...)
}

// daemonIn is daemon with more in its environment.
func (v *Volume) daemonIn(environment []string, program, name, graph string, args ...string) {
	v.t.Helper()
	file := filepath.Join(v.dir, "run", name+".vol")
	if err := os.WriteFile(file, []byte(graph), 0o600); err != nil {
		v.t.Fatal(err)
	}
	log := filepath.Join(v.dir, "log", name+".log")
	cmd := exec.Command(program, append([]string{"-f", file, "-p", v.pidFile(name), "-l", log}, args...)...)
	cmd.Env = append(os.Environ(), environment...)
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(log)
		v.t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, text)
	}
}

func (v *Volume) pidFile(name string) string { return filepath.Join(v.dir, "run", name+".pid") }

// pid reads the pid file of a daemon, which may be written a moment after the
// daemon went into the background.
func (v *Volume) pid(name string) int {
	v.t.Helper()
	var pid int
	Eventually(v.t, time.Minute, "pid file of "+name, func() bool {
		text, err := os.ReadFile(v.pidFile(name))
		if err != nil {
			return false
		}
		pid, err = strconv.Atoi(strings.TrimSpace(string(text)))
		return err == nil
	})
	return pid
}

func newUUID() string {
	var g gluster.GFID
	_, _ = rand.Read(g[:]) // never fails
	return g.String()
}
