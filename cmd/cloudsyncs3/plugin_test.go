package main_test

import (
	"bytes"
	"context"
	"fmt"
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

// The names are all that a user can give and S3 can keep.
func TestReadingAStubGivesItsData(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	paths := []string{
		"plain",
		"dir/with space/and  two",
		"100%25",
		"a+b=c&d",
		"what?#fragment",
		"ünï/コールド",
		"new\nline",
		"-dash",
		"quote\"'`$HOME\\",
		strings.Repeat(strings.Repeat("d", 200)+"/", 4) + strings.Repeat("n", 220), // 1,024 bytes
	}
	for i, path := range paths {
		g.archive(path, path, random(uint64(i), 4096+i))
	}
	client := g.client()
	for i, path := range paths {
		g.mustRead(client, path, random(uint64(i), 4096+i))
		g.mustBeLocal(path, 4096+i)
	}
}

// Each fault hits every answer, so that no retry helps: not that of the one
// request of a small file, not those of the ranges of a large one.
func TestAStoreThatFailsNeverGivesAWrongByte(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	client, impatient := g.client(), g.impatient()
	faults := map[string]testkit.Fault{
		"404":      testkit.Refuse(404, "NoSuchKey"),
		"403":      testkit.Refuse(403, "AccessDenied"),
		"500":      testkit.Refuse(500, "InternalError"),
		"503":      testkit.Refuse(503, "SlowDown"),
		"cut body": testkit.CutBody(100),
		"silence":  testkit.Drop(),
		"hang":     g.proxy.Hang(),
		"half a body with 200": testkit.Edit(func(h http.Header, body []byte) []byte {
			h.Set("Content-Length", fmt.Sprint(len(body)/2))
			return body[:len(body)/2]
		}),
		"wrong bytes of the right length": testkit.WrongBody(),
		"an error page with 200": testkit.Edit(func(h http.Header, _ []byte) []byte {
			body := []byte("<Error><Code>InternalError</Code></Error>")
			h.Set("Content-Length", fmt.Sprint(len(body)))
			return body
		}),
	}
	// Not subtests: go test runs no more of them side by side than there are
	// processors, and some take as long as the retries.
	var wg sync.WaitGroup
	for name, fault := range faults {
		for _, size := range []int{4096, 12 << 20} {
			path := fmt.Sprintf("%s/%d", name, size)
			data := random(1, size)
			g.archive(path, path, data)
			var fixed atomic.Bool
			g.proxy.On(testkit.Match{Method: http.MethodGet, Key: path}, until(&fixed, fault))
			reader := client
			if name == "hang" {
				reader = impatient
			}
			wg.Go(func() {
				g.mustFail(reader, path)
				fixed.Store(true)
				g.mustRead(client, path, data)
				g.mustBeLocal(path, size)
			})
		}
	}
	wg.Wait()
}

// until is a fault that ends.
func until(over *atomic.Bool, fault testkit.Fault) testkit.Fault {
	pass := testkit.Edit(func(_ http.Header, body []byte) []byte { return body })
	return func(w http.ResponseWriter, r *http.Request, forward func() testkit.Answer) {
		if over.Load() {
			pass(w, r, forward)
			return
		}
		fault(w, r, forward)
	}
}

func TestPassingFaultsAreRetried(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	client := g.impatient()
	for i, fault := range []testkit.Fault{
		testkit.Refuse(503, "SlowDown"), testkit.Drop(), testkit.CutBody(1 << 20), g.proxy.Hang(),
	} {
		path := fmt.Sprintf("f%d", i)
		data := random(uint64(i), 12<<20)
		g.archive(path, path, data)
		g.proxy.On(testkit.Match{Method: http.MethodGet, Key: path, Times: 1}, fault)
		g.mustRead(client, path, data)
		g.mustBeLocal(path, len(data))
	}
}

func TestAStoreThatIsAwayIsAskedAgainByTheNextReader(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	client := g.client()
	data := random(1, 4096)
	g.archive("f", "f", data)
	g.server.Stop()
	g.mustFail(client, "f")
	g.server.Start()
	g.mustRead(client, "f", data)
}

func TestTheObjectMustBeThatOfTheFile(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	client := g.client()
	data, others := random(1, 4096), random(2, 4096)

	// b was archived under the name a, which is another file's now; of equal
	// size. coldbrick stopped between the stamp and the rewrite of cs.remote.
	g.archive("a", "a", others)
	g.archive("b", ".coldbrick/b", data)
	testkit.SetXattr(t, g.Path("b"), gluster.XattrRemote, "a")
	g.mustRead(client, "b", data)
	g.mustRead(client, "a", others)

	// The same without a pointer: there is nothing to tell the right key.
	g.archive("c", "c", others)
	g.archive("d", "d", data)
	testkit.SetXattr(t, g.Path("d"), gluster.XattrRemote, "c")
	if err := unix.Lremovexattr(g.Path("d"), gluster.XattrPointer); err != nil {
		t.Fatal(err)
	}
	g.mustFail(client, "d")
	testkit.SetXattr(t, g.Path("d"), gluster.XattrRemote, "d")
	g.mustRead(client, "d", data)

	// Made by the script of Gluster's documentation: taken by its size.
	g.archiveByScript("e", data)
	g.mustRead(client, "e", data)
	g.mustBeLocal("e", len(data))
	// Changed and archived that way again, over its previous object: what the
	// first recall noted is of a previous life.
	if err := os.Remove(g.server.ObjectFile("e")); err != nil {
		t.Fatal(err)
	}
	g.archiveByScript("e", others)
	g.mustRead(g.client(), "e", others)
	g.archiveByScript("f", data)
	if err := os.Truncate(g.server.ObjectFile("f"), 4000); err != nil {
		t.Fatal(err)
	}
	g.mustFail(client, "f")
}

func TestARecalledFileIsAnOrdinaryFile(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	client := g.client()
	data := random(1, 300000)
	more := []byte("appended")

	g.archive("read, then append", "k1", data)
	g.mustRead(client, "read, then append", data)
	g.archive("append to a stub", "k2", data)
	g.archive("truncate a stub", "k3", data)
	for _, path := range []string{"read, then append", "append to a stub"} {
		appendTo(t, client+"/"+path, more)
		g.mustRead(g.client(), path, append(data[:len(data):len(data)], more...))
		if size := g.BrickSize(path); size != int64(len(data)+len(more)) {
			t.Errorf("%q: %d bytes on the brick", path, size)
		}
	}
	f, err := os.OpenFile(client+"/truncate a stub", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(1000); err != nil {
		t.Fatal(err)
	}
	g.mustRead(g.client(), "truncate a stub", data[:1000])
}

func appendTo(t *testing.T, path string, data []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// The translator has no file descriptor then: alone it refuses, or crashes.
func TestTruncatingAStubByName(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	data := random(1, 4096)
	for _, name := range []string{"f", "kept"} {
		g.archive(name, name, data)
	}
	client := g.client()
	if out, err := exec.Command("sh", "-c", `echo new > "$1"`, "sh", client+"/f").CombinedOutput(); err != nil {
		t.Errorf("> stub: %v: %s", err, out)
	}
	g.mustRead(g.client(), "f", []byte("new\n"))

	g.proxy.On(testkit.Match{Method: http.MethodGet}, testkit.Refuse(403, "AccessDenied"))
	if err := os.Truncate(client+"/kept", 0); err == nil {
		t.Error("truncated what could not be recalled")
	}
	g.mustBeStub("kept")
	g.proxy.Clear()
	g.mustRead(client, "kept", data)
}

// With the default of two event threads, two recalls at once stop a mount for
// ever, unless the plugin sees to it that there are more.
func TestManyReadersAtOnce(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	data := random(1, 4096)
	for _, n := range []int{1, 2, 8, 64, 200} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			g := g.in(t)
			var paths []string
			for i := range n {
				path := fmt.Sprintf("%d/%d", n, i)
				g.archive(path, path, data)
				paths = append(paths, path)
			}
			client := g.client()
			g.proxy.On(testkit.Match{Method: http.MethodGet}, testkit.Delay(300*time.Millisecond))
			defer g.proxy.Clear()
			began := time.Now()
			errs := make(chan error, n)
			for _, path := range paths {
				go func() {
					got, err := g.read(client, path)
					if err == nil && !bytes.Equal(got, data) {
						err = fmt.Errorf("%s: %d wrong bytes", path, len(got))
					}
					errs <- err
				}()
			}
			for range n {
				if err := <-errs; err != nil {
					t.Error(err)
				}
			}
			t.Logf("%d recalls took %v", n, time.Since(began).Round(time.Millisecond))
		})
	}
}

// All readers of one file wait for one recall.
func TestReadersOfOneStub(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	data := random(1, 1<<20)
	g.archive("f", "f", data)
	clients := []string{g.client(), g.client()}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			client := clients[i%2]
			got, err := g.read(client, "f")
			// A client that looks while the other one recalls may get an
			// error, and never anything else than the data.
			if err == nil && !bytes.Equal(got, data) {
				t.Errorf("%d wrong bytes", len(got))
			}
		})
	}
	wg.Wait()
	g.mustRead(clients[0], "f", data)
	g.mustBeLocal("f", len(data))
}

// A recall of coldbrick's own takes a file over while a client recalls it.
func TestAClaimedFileSurvivesALateFailure(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	nocs := g.NewMount(t, testkit.WithoutCloudsync())
	client := g.client()
	data := random(1, 4096)
	for _, tt := range []struct {
		name  string
		fault testkit.Fault
	}{
		{"succeeds", nil},
		{"fails", testkit.Refuse(403, "AccessDenied")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := g.in(t)
			g.archive(tt.name, tt.name, data)
			gate := testkit.NewGate()
			defer gate.Open()
			g.proxy.On(testkit.Match{Method: http.MethodGet}, gate.Hold(tt.fault))
			defer g.proxy.Clear()
			done := make(chan error, 1)
			go func() {
				_, err := g.read(client, tt.name)
				done <- err
			}()
			gate.Wait(t) // the client recalls
			if err := unix.Lremovexattr(nocs+"/"+tt.name, gluster.XattrRemote); err != nil {
				t.Fatal(err)
			}
			gate.Open()
			if err := <-done; err == nil {
				t.Error("the reader of a claimed file saw no error")
			}
			if m := g.BrickMarks(tt.name); m.Remote || !m.Downloading || !m.ObjectSize {
				t.Errorf("%+v", m)
			}
		})
	}
}

// A brick that dies while the store is slow, and one that dies while bytes are on
// their way to it. The event thread that waits for the recall is the one without
// which the client cannot connect again.
func TestABrickThatRestartsDuringARecall(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	client := g.client()
	data := random(1, 24<<20)
	gate := testkit.NewGate()
	t.Cleanup(gate.Open)
	for _, tt := range []struct {
		name  string
		fault testkit.Fault
		when  func(path string) bool
	}{
		{"before the first byte", gate.Hold(nil), func(path string) bool { return g.BrickMarks(path).Downloading }},
		{"between bytes", testkit.Edit(func(_ http.Header, body []byte) []byte { return body }), func(path string) bool { return g.BrickSize(path) > 0 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := g.in(t)
			g.archive(tt.name, tt.name, data)
			g.proxy.On(testkit.Match{Method: http.MethodGet}, tt.fault)
			done := make(chan error, 1)
			go func() {
				got, err := g.read(client, tt.name)
				if err == nil && !bytes.Equal(got, data) {
					err = fmt.Errorf("%d wrong bytes", len(got))
					t.Error(err)
				}
				done <- err
			}()
			testkit.Eventually(t, time.Minute, "the client recalls", func() bool { return tt.when(tt.name) })
			time.Sleep(500 * time.Millisecond) // the translator's own operations are not ours to save
			g.KillBrick()
			time.Sleep(3 * time.Second) // most clients have noticed by then; none needs to
			g.StartBrick()
			gate.Open()
			began := time.Now()
			t.Log("the reader saw", <-done) // an error or the data
			g.proxy.Clear()
			g.WaitConnected(client)
			g.WaitConnected(g.MountDir())
			testkit.Eventually(t, time.Minute, "the file is a stub or local", func() bool {
				state := g.BrickMarks(tt.name).State(g.BrickSize(tt.name))
				return state == gluster.Remote || state == gluster.Local
			})
			t.Logf("usable again after %v", time.Since(began).Round(time.Millisecond))
			g.mustRead(client, tt.name, data)
			g.mustBeLocal(tt.name, len(data))
		})
	}
}

// If it is the brick that answered last, and on whose connection the recall waits,
// only network.frame-timeout (1,800 s by default) ends the wait.
func TestAReplicaThatRestartsDuringARecall(t *testing.T) {
	t.Parallel()
	g := newGround(t, testkit.Replica(3))
	client := g.client(testkit.WithFlags("--xlator-option=*-client-*.frame-timeout=5"))
	data := random(1, 24<<20)
	for brick := range 3 {
		path := fmt.Sprint("f", brick)
		g.archive(path, path, data)
		began := time.Now()
		done := make(chan error, 1)
		go func() {
			got, err := g.read(client, path)
			if err == nil && !bytes.Equal(got, data) {
				t.Errorf("%d wrong bytes", len(got))
			}
			done <- err
		}()
		testkit.Eventually(t, time.Minute, "the client recalls", func() bool { return g.BrickSize(path) > 0 })
		g.KillBrick(brick)
		time.Sleep(time.Second)
		g.StartBrick(brick)
		t.Logf("brick %d: the reader saw %v after %v", brick, <-done, time.Since(began).Round(time.Millisecond))
		g.WaitConnected(client)
		g.WaitConnected(g.MountDir())
		// The brick that was away waits for self-heal; the others decide.
		g.mustRead(client, path, data)
	}
}

func TestSignalsAndUnmount(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	client := g.client()
	data := random(1, 4096)
	for i, s := range []unix.Signal{unix.SIGUSR1, unix.SIGHUP, unix.SIGUSR2, unix.SIGPIPE, unix.SIGURG} {
		path := fmt.Sprint(i)
		g.archive(path, path, data)
		if err := unix.Kill(g.pid(client), s); err != nil {
			t.Fatal(err)
		}
		g.mustRead(client, path, data)
	}
	g.Unmount(client)
}

func TestTheSecretIsNowhereInTheLog(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	client := g.client(testkit.WithFlags("--log-level=DEBUG"))
	g.archive("f", "f", random(1, 4096))
	g.proxy.On(testkit.Match{Method: http.MethodGet}, testkit.Refuse(403, "AccessDenied"))
	g.mustFail(client, "f")
	g.proxy.Clear()
	g.mustRead(client, "f", random(1, 4096))
	log := g.clientLog(client)
	if !strings.Contains(log, "recalled") {
		t.Fatal("the log says nothing of the recall")
	}
	for line := range strings.Lines(log) {
		// glusterfs itself prints the volfile.
		if strings.Contains(line, g.server.SecretKey) && !strings.Contains(line, "option s3plugin-seckey") {
			t.Errorf("in the log: %s", line)
		}
	}
}

func TestOverHTTPSWithACertificateOfOnesOwn(t *testing.T) {
	t.Parallel()
	g := newGroundWith(t, testkit.S3(t, testkit.WithTLS()))
	g.archive("f", "f", random(1, 4096))
	g.mustFail(g.client(), "f") // nobody vouches for the certificate
	plugin := testkit.WithPlugin("cloudsyncs3", g.pluginOptions("&ca="+g.server.CAFile)...)
	g.mustRead(g.NewMount(t, plugin), "f", random(1, 4096))
}

// A mount whose settings are wrong works, and its recalls say why they fail.
func TestWrongSettingsMountAndExplain(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	g.archive("f", "f", random(1, 4096))
	for _, options := range [][]string{
		nil,
		{"s3plugin-hostname http://h?colour=blue", "s3plugin-bucketid b", "s3plugin-keyid k", "s3plugin-seckey s"},
		{"s3plugin-hostname " + g.proxy.Endpoint, "s3plugin-bucketid nosuchbucket", "s3plugin-keyid k", "s3plugin-seckey s"},
	} {
		client := g.NewMount(t, testkit.WithPlugin("cloudsyncs3", options...))
		g.mustFail(client, "f")
		if !strings.Contains(g.clientLog(client), "recall failed") {
			t.Errorf("%q: the log says nothing", options)
		}
	}
	g.mustRead(g.client(), "f", random(1, 4096))
}

func TestAFullBrickLeavesAStub(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	// A small file system in place of the brick's directory.
	g.StopBrick()
	g.smallBrick(64 << 20)
	g.StartBrick()
	client := g.client()
	g.WaitConnected(g.MountDir())
	data := random(1, 20<<20)
	g.archive("f", "f", data)
	g.Write("ballast", make([]byte, 44<<20), testkit.Old)
	g.mustFail(client, "f")
	if err := os.Remove(g.Path("ballast")); err != nil {
		t.Fatal(err)
	}
	g.mustRead(client, "f", data)
	g.mustBeLocal("f", len(data))
}

func TestReplicasGetTheSameBytes(t *testing.T) {
	t.Parallel()
	g := newGround(t, testkit.Replica(3))
	client := g.client()
	data := random(1, 12<<20)
	g.archive("f", "f", data)
	g.mustRead(client, "f", data)
	for _, dir := range g.BrickDirs() {
		got, err := os.ReadFile(dir + "/f")
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: %d bytes, %v", dir, len(got), err)
		}
	}
	g.mustBeLocal("f", len(data))
}

// A store keeps zeros where a sparse file had holes. They are holes again on each
// replica, also where the file ends in one.
func TestASparseFileComesBackSparse(t *testing.T) {
	t.Parallel()
	g := newGround(t, testkit.Replica(3))
	client := g.client()
	data := make([]byte, 24<<20) // three ranges of a download
	copy(data, random(1, 4096))
	copy(data[9<<20:], random(2, 4096))
	g.archive("f", "f", data)
	g.mustRead(client, "f", data)
	for _, dir := range g.BrickDirs() {
		got, err := os.ReadFile(dir + "/f")
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: %d bytes, or others: %v", dir, len(got), err)
		}
		var st unix.Stat_t
		if err := unix.Stat(dir+"/f", &st); err != nil || st.Blocks*512 > 1<<20 {
			t.Errorf("%s: %d bytes are allocated, 8192 are not zero: %v", dir, st.Blocks*512, err)
		}
	}
	g.mustBeLocal("f", len(data))
}

// gfapi builds a program of testdata.
func (g *ground) gfapi(name string) string {
	g.t.Helper()
	program := filepath.Join(g.Dir(), name)
	build := exec.Command("gcc", "-D_FILE_OFFSET_BITS=64", "-Wall", "-o", program, "testdata/"+name+".c", "-lgfapi")
	if out, err := build.CombinedOutput(); err != nil {
		g.t.Fatalf("%v\n%s", err, out)
	}
	return program
}

// gfapi hands O_TRUNC and copy_file_range down to the translators, which the kernel
// never does.
func TestAnApplicationOfGfapiOverwrites(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	volfile := filepath.Join(g.Dir(), "run", filepath.Base(g.client())+".vol")
	data := random(1, 4096)
	g.archive("f", "f", data)
	g.archive("other", "other", data)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if out, err := exec.CommandContext(ctx, g.gfapi("overwrite"), volfile, "f", "other").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	g.mustRead(g.client(), "f", []byte("new"))
	g.mustBeStub("other")
}

// An application that uses gfapi ends its translators, which FUSE never does: the
// stock plugin crashes there.
func TestAnApplicationOfGfapi(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	client := g.client() // for its volfile
	program := g.gfapi("gfapi")
	data := random(1, 1<<20)
	volfile := filepath.Join(g.Dir(), "run", filepath.Base(client)+".vol")
	for _, path := range []string{"a", "b"} {
		g.archive(path, path, data)
	}
	g.archive("gone", "gone", data)
	if err := os.Remove(g.server.ObjectFile("gone")); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute) // glfs_fini takes 10 s each time, with or without a plugin
	defer cancel()
	cmd := exec.CommandContext(ctx, program, volfile, "a", "b")
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, errs.Bytes())
	}
	if !bytes.Equal(out.Bytes(), append(data[:len(data):len(data)], data...)) {
		t.Errorf("%d bytes", out.Len())
	}
	if message, err := exec.CommandContext(ctx, program, volfile, "gone").CombinedOutput(); err == nil || !strings.Contains(string(message), "remote") {
		t.Errorf("a file without object: %v: %s", err, message)
	}
	g.mustBeLocal("a", len(data))
	g.mustBeStub("gone")
}

func TestALargeFile(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	const size = 200<<20 + 1
	g.archive("f", "f", random(1, size))
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "cmp", g.client()+"/f", g.server.ObjectFile("f")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	g.mustBeLocal("f", size)
}

// hostileTimes are what the owner of a stub can set: the years 10000 and 2400, and
// from before 1970. Some file systems of bricks keep fewer; Gluster keeps them all.
var hostileTimes = []int64{253402300800, 13569465600, -5, -62135596801, 1 << 40}

// The first of them once ended the client, and with it the mount of everybody.
func TestTimesThatUsersSetEndNobodysMount(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	client := g.client()
	for i, sec := range hostileTimes {
		path := fmt.Sprintf("t%d", i)
		data := random(uint64(i), 5000)
		g.archive(path, path, data)
		times := []unix.Timespec{{Sec: sec, Nsec: 999999999}, {Sec: sec, Nsec: 1}}
		if err := unix.UtimesNanoAt(unix.AT_FDCWD, g.Path(path), times, 0); err != nil {
			t.Fatal(err)
		}
		g.mustRead(client, path, data)
		var st unix.Stat_t
		if err := unix.Stat(g.Path(path), &st); err != nil {
			t.Fatal(err)
		}
		if st.Mtim != times[1] {
			t.Errorf("%s: mtime %v, was %v", path, st.Mtim, times[1])
		}
		if m := g.BrickMarks(path); !m.Clean() {
			t.Errorf("%s: %+v", path, m)
		}
	}
}
