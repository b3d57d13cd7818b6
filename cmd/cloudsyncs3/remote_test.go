package main_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/testkit"
)

// remote is a client that reads stubs without recalling them.
func (g *ground) remote(query string, options ...testkit.MountOption) string {
	g.t.Helper()
	plugin := testkit.WithPlugin("cloudsyncs3", append(g.pluginOptions(query), "cloudsync-remote-read on")...)
	return g.NewMount(g.t, append([]testkit.MountOption{plugin}, options...)...)
}

// rangeOf reads a part of a file that the kernel has no page of.
func rangeOf(path string, off int64, size int) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		return nil, err
	}
	b := make([]byte, size)
	n, err := f.ReadAt(b, off)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return b[:n], err
}

// cut is the part of data that a read of size bytes at off gives.
func cut(data []byte, off int64, size int) []byte {
	from := min(off, int64(len(data)))
	return data[from:min(from+int64(size), int64(len(data)))]
}

func TestRemoteReadsGiveTheBytesOfTheObject(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		volume []testkit.Option
		mount  []testkit.MountOption
	}{
		{"plain", nil, nil},
		{"with the performance translators", nil, []testkit.MountOption{testkit.WithPerformance()}},
		{"replica 3", []testkit.Option{testkit.Replica(3)}, nil},
		{"past the kernel's cache", nil, []testkit.MountOption{testkit.WithFlags("--direct-io-mode=enable")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := newGround(t, tt.volume...)
			sizes := []int{1, 4095, 4096, 131073, 1 << 20, 1<<20 + 1, 5<<20 + 333}
			data := map[string][]byte{}
			for i, size := range sizes {
				path := fmt.Sprint("f", size)
				data[path] = random(uint64(i), size)
				g.archive(path, path, data[path])
			}
			g.archiveByScript("script", data["f4096"])
			data["script"] = data["f4096"]
			client := g.remote("", tt.mount...)
			for path, want := range data {
				g.mustRead(client, path, want)
				size := int64(len(want))
				for range 20 {
					off, n := rand.Int64N(size+10), 1+rand.IntN(300000)
					got, err := rangeOf(client+"/"+path, off, n)
					if err != nil || !bytes.Equal(got, cut(want, off, n)) {
						t.Errorf("%s, %d bytes at %d: %d bytes, %v", path, n, off, len(got), err)
					}
				}
				for _, off := range []int64{size - 1, size, size + 1, size + 1<<20, 1 << 62} {
					got, err := rangeOf(client+"/"+path, off, 100)
					if err != nil || !bytes.Equal(got, cut(want, off, 100)) {
						t.Errorf("%s at %d, around its end: %q, %v", path, off, got, err)
					}
				}
				g.mustBeStub(path)
			}
			if put := g.proxy.Requests(testkit.Match{Method: http.MethodPut}); len(put) > 0 {
				t.Errorf("a reader wrote to the store: %v", put)
			}
		})
	}
}

// What reads files whole or in part, and leaves them stubs.
func TestProgramsReadStubsWithoutARecall(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	data := []byte(strings.Repeat("a line of text\n", 1<<17))
	g.archive("f", "f", data)
	client := g.remote("")
	local := filepath.Join(g.Dir(), "local")
	if err := os.WriteFile(local, data, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, script := range []string{
		`head -c 100 "$1"`, `tail -c 100 "$1"`, `grep -c line "$1"`, `cp "$1" "$2" && md5sum <"$2"`,
		`tar -cf - -C "$(dirname "$1")" --transform 's/.*/x/' --mtime 2001-01-01 --owner 0 --group 0 --mode 600 "$(basename "$1")" | md5sum`,
		`dd if="$1" bs=1001 skip=1000 count=7 2>/dev/null | md5sum`,
	} {
		run := func(path string) string {
			out, err := exec.Command("sh", "-c", script, "sh", path, filepath.Join(t.TempDir(), "copy")).CombinedOutput()
			if err != nil {
				t.Errorf("%s: %v: %s", script, err, out)
			}
			return string(out)
		}
		testkit.DropPages(t, client+"/f")
		if got, want := run(client+"/f"), run(local); got != want {
			t.Errorf("%s: %.200q instead of %.200q", script, got, want)
		}
		if m, size := g.BrickMarks("f"), g.BrickSize("f"); m.State(size) != gluster.Remote || size != 0 {
			t.Fatalf("%s recalls the file", script)
		}
	}
	appendTo(t, client+"/f", []byte("more\n")) // needs the data
	g.mustRead(g.client(), "f", append(data, "more\n"...))
}

// Nobody tells then when the graph goes.
func TestWithoutTheGuardNothingIsReadRemotely(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	g.archive("f", "f", random(1, 4096))
	g.mustFail(g.remote("&guard=off"), "f")
	g.mustRead(g.client(), "f", random(1, 4096))
}

// Only the first block is read before the object is replaced. What comes after it
// would be of another object.
func TestAnObjectReplacedBetweenTwoRangesIsAnError(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	data, others := random(1, 4<<20), random(2, 4<<20)
	client := g.remote("")
	for name, metadata := range map[string]bool{"by one of the same file": true, "by one of a stranger": false} {
		g.archive(name, name, data)
		got, err := rangeOf(client+"/"+name, 0, 4096)
		if err != nil || !bytes.Equal(got, data[:4096]) {
			t.Fatalf("%s: %d bytes, %v", name, len(got), err)
		}
		if err := os.Remove(g.server.ObjectFile(name)); err != nil {
			t.Fatal(err)
		}
		if metadata {
			g.put(name, others, g.metadata(name, len(others)).Encode())
		} else {
			g.put(name, others, nil)
		}
		if got, err := rangeOf(client+"/"+name, 3<<20, 4096); !errors.Is(err, unix.EREMOTE) {
			t.Errorf("%s: %d bytes and %v instead of EREMOTE", name, len(got), err)
		}
		// Nor does a second try mix them.
		if got, err := rangeOf(client+"/"+name, 2<<20, 4096); !errors.Is(err, unix.EREMOTE) {
			t.Errorf("%s, again: %d bytes and %v instead of EREMOTE", name, len(got), err)
		}
		g.mustBeStub(name)
	}
}

// The rules are those of a recall.
func TestARemoteReadTakesTheObjectOfItsFileOnly(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	client := g.remote("")
	data, others := random(1, 4096), random(2, 4096)
	g.archive("a", "a", others)
	g.archive("b", ".coldbrick/b", data)
	testkit.SetXattr(t, g.Path("b"), gluster.XattrRemote, "a") // the pointer knows better
	g.mustRead(client, "b", data)
	g.archive("c", "c", data)
	testkit.SetXattr(t, g.Path("c"), gluster.XattrRemote, "a")
	if err := unix.Lremovexattr(g.Path("c"), gluster.XattrPointer); err != nil {
		t.Fatal(err)
	}
	g.mustFail(client, "c")
	// The store has other bytes than were archived: one block is proven.
	g.archive("d", "d", data)
	g.proxy.On(testkit.Match{Method: http.MethodGet, Key: "d"}, testkit.WrongBody())
	if got, err := g.read(client, "d"); err == nil || !strings.Contains(err.Error(), "Input/output error") {
		t.Errorf("wrong bytes: %d bytes, %v", len(got), err)
	}
	g.mustBeStub("d")
	// So is a larger object that is read to its end.
	large := random(3, 6<<20)
	g.archive("e", "e", large)
	g.proxy.On(testkit.Match{Method: http.MethodGet, Key: "e", Skip: 2, Times: 1}, testkit.WrongBody())
	if got, err := g.read(client, "e"); err == nil {
		t.Errorf("wrong bytes: %d bytes and no error", len(got))
	}
	g.mustBeStub("e")
}

func TestRemoteReadsEndWhenTheStoreFails(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	client := g.remote("&idle-timeout=5s")
	data := random(1, 3<<20)
	faults := map[string]testkit.Fault{
		"404":      testkit.Refuse(404, "NoSuchKey"),
		"403":      testkit.Refuse(403, "AccessDenied"),
		"503":      testkit.Refuse(503, "SlowDown"),
		"silence":  testkit.Drop(),
		"hang":     g.proxy.Hang(),
		"cut body": testkit.CutBody(100),
	}
	for name := range faults {
		g.archive(name, name, data)
	}
	var wg sync.WaitGroup
	for name, fault := range faults {
		g.proxy.On(testkit.Match{Method: http.MethodGet, Key: name}, fault)
		wg.Go(func() { g.mustFail(client, name) })
	}
	wg.Wait()
	g.proxy.Clear()
	for name := range faults {
		g.mustRead(client, name, data)
		g.mustBeStub(name)
	}

	g.archive("away", "away", data)
	g.server.Stop()
	g.mustFail(client, "away")
	g.server.Start()
	g.mustRead(client, "away", data)
	g.mustBeStub("away")
}

// Each read asks the brick what the file is, so none is served while it is away.
func TestRemoteReadsWhileABrickRestarts(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	data := random(1, 3<<20)
	g.archive("f", "f", data)
	client := g.remote("")
	gate := testkit.NewGate()
	defer gate.Open()
	g.proxy.On(testkit.Match{Method: http.MethodGet, Times: 1}, gate.Hold(nil))
	var wg sync.WaitGroup
	for i := range int64(8) {
		wg.Go(func() {
			got, err := rangeOf(client+"/f", i<<18, 1000)
			if err == nil && !bytes.Equal(got, cut(data, i<<18, 1000)) {
				t.Errorf("at %d: %d wrong bytes", i<<18, len(got))
			}
		})
	}
	gate.Wait(t)
	g.KillBrick()
	gate.Open()
	wg.Wait()
	if got, err := g.read(client, "f"); err == nil {
		t.Errorf("%d bytes without a brick", len(got))
	}
	g.StartBrick()
	g.WaitConnected(client)
	g.WaitConnected(g.MountDir())
	g.mustRead(client, "f", data)
	g.mustBeStub("f")
}

// The answers of bricks come in by two threads.
func TestManyRemoteReadersAtOnce(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	const readers, files = 256, 32
	data := random(1, 3<<20)
	for i := range files {
		g.archive(fmt.Sprint(i), fmt.Sprint(i), data)
	}
	client := g.remote("", testkit.WithFlags("--direct-io-mode=enable"))
	g.proxy.On(testkit.Match{Method: http.MethodGet}, testkit.Delay(100*time.Millisecond))
	var wg sync.WaitGroup
	for i := range readers {
		wg.Go(func() {
			for range 2 {
				off, n := rand.Int64N(3<<20), 1+rand.IntN(100000)
				got, err := rangeOf(fmt.Sprintf("%s/%d", client, i%files), off, n)
				if err != nil || !bytes.Equal(got, cut(data, off, n)) {
					t.Errorf("%d at %d: %d bytes, %v", n, off, len(got), err)
				}
			}
		})
	}
	wg.Wait()
	for i := range files {
		g.mustBeStub(fmt.Sprint(i))
	}
}

// A recall of coldbrick's own takes the file over while it is read, and ends.
func TestAClaimWhileAFileIsRead(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	nocs := g.NewMount(t, testkit.WithoutCloudsync())
	client := g.remote("")
	data := random(1, 3<<20)
	g.archive("f", "f", data)
	gate := testkit.NewGate()
	defer gate.Open()
	g.proxy.On(testkit.Match{Method: http.MethodGet, Times: 1}, gate.Hold(nil))
	done := make(chan error, 1)
	go func() {
		got, err := rangeOf(client+"/f", 100, 1000)
		if err == nil && !bytes.Equal(got, data[100:1100]) {
			err = fmt.Errorf("%d wrong bytes", len(got))
		}
		done <- err
	}()
	gate.Wait(t)
	// The claim and the barrier of coldbrick recall.
	testkit.SetXattr(t, nocs+"/f", gluster.XattrDownload, "1")
	if err := unix.Lremovexattr(nocs+"/f", gluster.XattrRemote); err != nil {
		t.Fatal(err)
	}
	if got, err := rangeOf(client+"/f", 2<<20, 1); !errors.Is(err, unix.EINVAL) {
		t.Errorf("read %q of a file that is between two states: %v", got, err)
	}
	gate.Open()
	if err := <-done; err != nil {
		t.Errorf("the read that had begun before the claim: %v", err)
	}
	if m := g.BrickMarks("f"); m.Remote || !m.Downloading || g.BrickSize("f") != 0 {
		t.Errorf("a read has changed the file: %+v", m)
	}
}

// One client recalls a file that another one reads.
func TestAnotherClientRecallsWhileAFileIsRead(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	data := random(1, 3<<20)
	g.archive("f", "f", data)
	remote, recalling := g.remote(""), g.client()
	if got, err := rangeOf(remote+"/f", 0, 100); err != nil || !bytes.Equal(got, data[:100]) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	gate := testkit.NewGate()
	defer gate.Open()
	g.proxy.On(testkit.Match{Method: http.MethodGet, Times: 1}, gate.Hold(nil))
	var wg sync.WaitGroup
	wg.Go(func() { g.mustRead(recalling, "f", data) })
	gate.Wait(t)
	for i := range int64(3) {
		wg.Go(func() {
			got, err := rangeOf(remote+"/f", i<<20, 1000)
			if err == nil && !bytes.Equal(got, cut(data, i<<20, 1000)) {
				t.Errorf("at %d: %d wrong bytes", i<<20, len(got))
			}
		})
	}
	gate.Open()
	wg.Wait()
	g.mustBeLocal("f", len(data))
	g.mustRead(remote, "f", data)
}

// upload makes the object of a file. What Put makes has no ETag.
func (m *member) upload(name string) {
	m.t.Helper()
	put := m.node.Command("curl", "--silent", "--show-error", "--fail",
		"--aws-sigv4", "aws:amz:"+m.store.Region+":s3", "--user", m.store.AccessKey+":"+m.store.SecretKey,
		"--header", "x-amz-content-sha256: UNSIGNED-PAYLOAD",
		"--upload-file", filepath.Join(m.mount, name), m.store.Endpoint+"/"+m.Name+"/")
	if out, err := put.CombinedOutput(); err != nil {
		m.t.Fatalf("put %s: %v: %s", name, err, out)
	}
}

func TestGraphSwitchesUnderRemoteReads(t *testing.T) {
	t.Parallel()
	c, store := startCluster(t)
	m := newMember(t, c, store, "vol", append(store.Options("vol"),
		"features.cloudsync-storetype=cloudsyncs3", "features.cloudsync-remote-read=on")...)
	m.makeBucket()
	data := random(1, 8<<20)
	m.write("f", data)
	m.upload("f")
	m.stamp("f")
	over := make(chan struct{})
	var done atomic.Int64
	var wg sync.WaitGroup
	full := m.node.Path(filepath.Join(m.mount, "f"))
	for range 8 {
		wg.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
				}
				off, n := rand.Int64N(8<<20), 1+rand.IntN(300000)
				got, err := rangeOf(full, off, n)
				if err != nil || !bytes.Equal(got, cut(data, off, n)) {
					t.Errorf("%d at %d: %d bytes, %v", n, off, len(got), err)
					return
				}
				done.Add(1)
			}
		})
	}
	for i := range 6 {
		m.set("performance.read-ahead=" + []string{"on", "off"}[i%2])
		before := done.Load()
		testkit.Eventually(t, time.Minute, "reads go on", func() bool { return done.Load() > before+100 })
	}
	close(over)
	wg.Wait()
	m.mustRead("f", data)
	info, err := os.Stat(m.Bricks[0].Path() + "/f")
	if err != nil || info.Size() != 0 {
		t.Errorf("the brick has bytes of the file: %v, %v", info, err)
	}
	m.set("features.cloudsync-remote-read=off")
	testkit.Eventually(t, time.Minute, "a read recalls again", func() bool {
		_, err := rangeOf(full, rand.Int64N(8<<20), 1)
		info, statErr := os.Stat(m.Bricks[0].Path() + "/f")
		return err == nil && statErr == nil && info.Size() == int64(len(data))
	})
}

// An application of gfapi that ends its translators while reads wait for the store.
func TestAnApplicationOfGfapiEndsUnderRemoteReads(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	volfile := filepath.Join(g.Dir(), "run", filepath.Base(g.remote(""))+".vol")
	data := random(1, 1<<20)
	g.archive("f", "f", data)
	program := g.gfapi("reads")
	run := func() (string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		out, err := exec.CommandContext(ctx, program, volfile, "f").CombinedOutput()
		return string(out), err
	}
	if out, err := run(); err != nil || !strings.Contains(out, "16 of 16 reads were served") {
		t.Errorf("a good store: %v: %s", err, out)
	}
	g.proxy.On(testkit.Match{}, g.proxy.Hang())
	if out, err := run(); err != nil || !strings.Contains(out, "0 of 16 reads were served") {
		t.Errorf("a store that hangs: %v: %s", err, out)
	}
	g.mustBeStub("f")
}

// getxattr counts in one place what the text file collector wants.
func TestAClientCountsAndNamesItsReaders(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	data := random(1, 4096)
	g.archive("f", "f", data)
	g.archive("g", "g", data)
	client, remote := g.client(), g.remote("")
	g.mustRead(client, "f", data)
	g.mustRead(remote, "g", data)
	for mount, want := range map[string][]string{
		client: {`coldbrick_client_recalls_total{volume="vol"} 1`, `coldbrick_client_recall_bytes_total{volume="vol"} 4096`},
		remote: {`coldbrick_client_recalls_total{volume="vol"} 0`, `coldbrick_client_remote_read_bytes_total{volume="vol"} 4096`},
	} {
		text, ok := testkit.Xattr(t, mount, "trusted.coldbrick.counters")
		for _, line := range want {
			if !ok || !strings.Contains(string(text), line+"\n") {
				t.Errorf("no line %q in %s", line, text)
			}
		}
	}
	for mount, message := range map[string]string{client: "msg=recalled", remote: `msg="read remotely"`} {
		log := g.clientLog(mount)
		found := false
		for line := range strings.Lines(log) {
			found = found || strings.Contains(line, message) && strings.Contains(line, "bytes=4096") &&
				strings.Contains(line, "uid=0") && strings.Contains(line, "process=cat") && strings.Contains(line, "gfid=")
		}
		if !found {
			t.Errorf("nobody is named in a line with %s: %s", message, log)
		}
	}
}

func TestARecallLimitKeepsAStormOff(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	data := random(1, 4096)
	for i := range 8 {
		g.archive(fmt.Sprint(i), fmt.Sprint(i), data)
	}
	client := g.clientWith("&recall-limit=2,1GiB")
	g.mustRead(client, "0", data)
	g.proxy.On(testkit.Match{Method: http.MethodGet, Key: "1"}, testkit.Refuse(403, "AccessDenied"))
	g.mustFail(client, "1") // does not count
	g.mustRead(client, "2", data)
	g.mustFail(client, "3")
	if log := g.clientLog(client); !strings.Contains(log, `msg="recall refused"`) || !strings.Contains(log, "recall-limit is reached: 2 recalls within the hour") {
		t.Errorf("the log does not name the limit: %s", log)
	}
	g.mustRead(client, "0", data) // local by now
	bytesOnly := g.clientWith("&recall-limit=5KiB")
	g.mustRead(bytesOnly, "3", data)
	g.mustFail(bytesOnly, "4")
	// Reads of the store are no recalls.
	remote := g.remote("&recall-limit=1")
	for i := 4; i < 8; i++ {
		g.mustRead(remote, fmt.Sprint(i), data)
		g.mustBeStub(fmt.Sprint(i))
	}
}
