package volume

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
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

func private(t *testing.T, v *testkit.Volume, kind Kind) *Private {
	t.Helper()
	m, err := Inspect(v.MountDir())
	if err != nil {
		t.Fatal(err)
	}
	m.RunDir = v.Dir() + "/private"
	p, err := m.Private(t.Context(), kind)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func TestStampingMountStampsAndNeverRecalls(t *testing.T) {
	v := testkit.NewVolume(t, testkit.Bricks(2))
	v.Unmount(v.MountDir())
	dir := v.NewMount(t, testkit.WithQuickRead(), testkit.WithPlugin("cloudsyncs3", "s3plugin-seckey SEKRIT", "s3plugin-keyid K"))
	m, err := Inspect(dir)
	if err != nil {
		t.Fatal(err)
	}
	m.RunDir = v.Dir() + "/private"
	p, err := m.Private(t.Context(), ForStamping)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	of, err := Inspect(p.Dir())
	if err != nil {
		t.Fatal(err)
	}
	if of.Graph.Has(gluster.TypeQuickRead) || of.AttributeTimeout != 0 || of.EntryTimeout != 0 {
		t.Errorf("it caches: %+v", of)
	}
	text, err := of.Graph.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, absent := range []string{"storetype", "s3plugin", "SEKRIT"} {
		if bytes.Contains(text, []byte(absent)) {
			t.Errorf("its graph has %s", absent)
		}
	}
	write(t, p.Dir()+"/f", "data")
	if err := os.Chtimes(p.Dir()+"/f", testkit.Old, testkit.Old); err != nil {
		t.Fatal(err)
	}
	f, err := p.OpenRegular("f")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := Set(f, gluster.XattrStamp, fmt.Append(nil, testkit.Old.Unix())); err != nil {
		t.Fatal(err)
	}
	if a, err := ReadAttrs(f); err != nil || a.RemoteKey != "f" {
		t.Errorf("after the stamp: %+v, %v", a, err)
	}
	if _, err := f.Read(make([]byte, 1)); !errors.Is(err, unix.EREMOTE) {
		t.Errorf("reading a stub: %v", err)
	}
}

func TestRecallMountShowsStubsAsEmptyFiles(t *testing.T) {
	v := testkit.NewVolume(t)
	v.Write("f", []byte("data"), testkit.Old)
	v.Stamp("f")
	p := private(t, v, ForRecall)
	f, err := p.OpenRegularRDWR("f")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := Remove(f, gluster.XattrObjectSize); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(f); err != nil || len(b) != 0 {
		t.Errorf("read %q, %v", b, err)
	}
	if _, err := f.Write([]byte("back")); err != nil {
		t.Error(err)
	}
	if v.BrickSize("f") != 4 {
		t.Errorf("%d bytes on the brick", v.BrickSize("f"))
	}
}

func TestPrivateMountIsOutOfReachOfOthers(t *testing.T) {
	v := testkit.NewVolume(t)
	p := private(t, v, ForStamping)
	var st unix.Stat_t
	for _, dir := range []string{filepath.Dir(p.Dir()), v.Dir() + "/private"} {
		if err := unix.Stat(dir, &st); err != nil || st.Mode&0o077 != 0 {
			t.Errorf("mode of %s: %o, %v", dir, st.Mode, err)
		}
	}
	var fs unix.Statfs_t
	const safe = unix.ST_NODEV | unix.ST_NOSUID | unix.ST_NOEXEC
	if err := unix.Fstatfs(p.Fd(), &fs); err != nil || fs.Flags&safe != safe {
		t.Errorf("mount flags %x, %v", fs.Flags, err)
	}
	for _, name := range []string{"cmdline", "environ"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.daemon.cmd.Process.Pid, name))
		if err != nil || bytes.Contains(text, []byte("HOME=")) || bytes.Contains(text, []byte("password")) {
			t.Errorf("%s of the client: %q, %v", name, text, err)
		}
	}
}

func TestRunDirThatOthersCanChangeIsRefused(t *testing.T) {
	v := testkit.NewVolume(t)
	m, err := Inspect(v.MountDir())
	if err != nil {
		t.Fatal(err)
	}
	open, foreign, link := v.Dir()+"/open", v.Dir()+"/foreign", v.Dir()+"/link"
	for _, dir := range []string{open, foreign} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Chmod(open, 0o1777), os.Chown(foreign, 1234, 1234), os.Symlink(v.Dir(), link)); err != nil {
		t.Fatal(err)
	}
	for _, m.RunDir = range []string{open, foreign, link, link + "/"} {
		if p, err := m.Private(t.Context(), ForStamping); err == nil {
			p.Close()
			t.Errorf("mounted below %s", m.RunDir)
		}
	}
}

func TestNothingIsLeftOfAPrivateMount(t *testing.T) {
	v := testkit.NewVolume(t)
	p := private(t, v, ForStamping)
	pid := p.daemon.cmd.Process.Pid
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Errorf("closed twice: %v", err)
	}
	if left, err := os.ReadDir(v.Dir() + "/private"); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	if unix.Kill(pid, 0) != unix.ESRCH {
		t.Error("the client still runs")
	}
}

func TestAnOpenFileDoesNotKeepAPrivateMount(t *testing.T) {
	v := testkit.NewVolume(t)
	v.Write("f", []byte("data"), testkit.Old)
	m, err := Inspect(v.MountDir())
	if err != nil {
		t.Fatal(err)
	}
	m.RunDir = v.Dir() + "/private"
	p, err := m.Private(t.Context(), ForStamping)
	if err != nil {
		t.Fatal(err)
	}
	f, err := p.OpenRegular("f")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := p.Close(); err == nil || !strings.Contains(err.Error(), "busy") {
		t.Errorf("Close: %v", err)
	}
	if left, err := os.ReadDir(m.RunDir); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestManyPrivateMountsAtOnce(t *testing.T) {
	v := testkit.NewVolume(t)
	m, err := Inspect(v.MountDir())
	if err != nil {
		t.Fatal(err)
	}
	m.RunDir = v.Dir() + "/private"
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			p, err := m.Private(context.Background(), Kind(i%2))
			if err != nil {
				t.Error(err)
				return
			}
			if err := errors.Join(p.Children(), p.Close()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

// A process that is killed takes its client with it; what stays of its
// directory, and a client that outlived it in spite of all, goes with the next
// run.
func TestTheNextRunCleansUpAfterAKilledOne(t *testing.T) {
	if dir := os.Getenv("COLDBRICK_TEST_RUN_DIR"); dir != "" { // the run to be killed
		m, err := Inspect(os.Getenv("COLDBRICK_TEST_MOUNT"))
		if err != nil {
			t.Fatal(err)
		}
		m.RunDir = dir
		p, err := m.Private(t.Context(), ForStamping)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Printf("mounted %d\n", p.daemon.cmd.Process.Pid)
		select {}
	}
	v := testkit.NewVolume(t)
	runDir := v.Dir() + "/private"
	victim := exec.Command(os.Args[0], "-test.run=^TestTheNextRunCleansUpAfterAKilledOne$")
	victim.Env = append(os.Environ(), "COLDBRICK_TEST_RUN_DIR="+runDir, "COLDBRICK_TEST_MOUNT="+v.MountDir())
	out, err := victim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Fscanf(out, "mounted %d\n", &pid); err != nil {
		t.Fatal(err)
	}
	live := private(t, v, ForRecall) // beside it: both stay
	if left, err := os.ReadDir(runDir); err != nil || len(left) != 2 {
		t.Fatalf("two live mounts: %v, %v", left, err)
	}
	if err := victim.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = victim.Wait() // it was killed
	testkit.Eventually(t, time.Minute, "its client ends too", func() bool { return unix.Kill(pid, 0) == unix.ESRCH })

	// One whose client did not.
	stale := runDir + "/1-stale"
	if err := os.MkdirAll(stale+"/mnt", 0o700); err != nil {
		t.Fatal(err)
	}
	text, err := mustInspect(t, v.MountDir()).Graph.Encode()
	if err != nil {
		t.Fatal(err)
	}
	write(t, v.Dir()+"/stale.vol", string(text))
	if out, err := exec.Command("glusterfs", "-f", v.Dir()+"/stale.vol", "-l", stale+"/log", stale+"/mnt").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}

	next := private(t, v, ForStamping)
	left, err := os.ReadDir(runDir)
	if err != nil || len(left) != 2 {
		t.Errorf("after the next run began: %v, %v", left, err)
	}
	if err := errors.Join(live.Children(), next.Children()); err != nil {
		t.Errorf("it disturbed a live mount: %v", err)
	}
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || bytes.Contains(info, []byte(stale)) {
		t.Errorf("the left-over is still mounted, %v", err)
	}
}

func mustInspect(t *testing.T, dir string) *Mount {
	t.Helper()
	m, err := Inspect(dir)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestChildrenNamesTheBrickThatIsDown(t *testing.T) {
	for name, options := range map[string][]testkit.Option{
		"distribute": {testkit.Bricks(3)},
		"replica":    {testkit.Replica(3), testkit.Bricks(6)},
	} {
		t.Run(name, func(t *testing.T) {
			v := testkit.NewVolume(t, options...)
			p := private(t, v, ForStamping)
			if err := p.Children(); err != nil {
				t.Fatal(err)
			}
			v.StopBrick(1)
			var err error
			testkit.Eventually(t, time.Minute, "the mount sees it", func() bool { err = p.Children(); return err != nil })
			if !errors.Is(err, ErrDegraded) || !strings.Contains(err.Error(), v.BrickDirs()[1]) || strings.Contains(err.Error(), v.BrickDirs()[2]) {
				t.Errorf("brick %s is down: %v", v.BrickDirs()[1], err)
			}
			v.StartBrick(1)
			testkit.Eventually(t, time.Minute, "the brick is back", func() bool { return p.Children() == nil })
		})
	}
}

// While files are open and read, the client leaves values out of .meta: that
// must not be taken for a brick that is down.
func TestChildrenHoldsUnderLoad(t *testing.T) {
	v := testkit.NewVolume(t, testkit.Bricks(2))
	v.Write("f", make([]byte, 1<<20), testkit.Old)
	p := private(t, v, ForStamping)
	ctx, stop := context.WithTimeout(t.Context(), 3*time.Second)
	defer stop()
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for ctx.Err() == nil {
				f, err := p.OpenRegular("f")
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := io.Copy(io.Discard, f); err != nil {
					t.Error(err)
				}
				f.Close()
			}
		})
		all.Go(func() {
			for ctx.Err() == nil {
				if err := p.Children(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

// The client lists its open files before it tells whether its brick is there.
func TestChildrenHoldsWithManyFilesOpen(t *testing.T) {
	v := testkit.NewVolume(t)
	v.Write("f", []byte("data"), testkit.Old)
	p := private(t, v, ForStamping)
	for range 1000 {
		f, err := p.OpenRegular("f")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
	}
	if err := p.Children(); err != nil {
		t.Error(err)
	}
}

// Many share a look. None gets one that began before it asked, and none the
// trouble that another one had with looking.
func TestALookIsNeverOlderThanTheQuestion(t *testing.T) {
	var l looks
	var changes, seen, looked atomic.Int64 // seen: as the last good look found it
	trouble := errors.New("trouble")
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for range 50 {
				asked := changes.Add(1)
				var mine int64 = -1
				err := l.share(func() error {
					looked.Add(1)
					mine = changes.Load()
					time.Sleep(100 * time.Microsecond)
					if mine%7 == 0 {
						return trouble
					}
					seen.Store(mine)
					return nil
				})
				switch {
				case err != nil && mine < 0:
					t.Error("another one's trouble")
				case err == nil && seen.Load() < asked:
					t.Errorf("asked after %d changes, told of %d", asked, seen.Load())
				}
			}
		})
	}
	all.Wait()
	if n := looked.Load(); n >= 16*50 {
		t.Errorf("%d looks: nothing was shared", n)
	}
}

func TestPrivateMountNeedsItsBricks(t *testing.T) {
	v := testkit.NewVolume(t)
	m := mustInspect(t, v.MountDir())
	m.RunDir = v.Dir() + "/private"
	v.StopBrick()
	for _, kind := range []Kind{ForStamping, ForRecall} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		p, err := m.Private(ctx, kind)
		cancel()
		if err == nil {
			p.Close()
			t.Errorf("kind %d: mounted without a brick", kind)
		}
		if left, err := os.ReadDir(m.RunDir); err != nil || len(left) != 0 {
			t.Errorf("kind %d: left %v, %v", kind, left, err)
		}
	}
}

func TestRecallGoesOnWithABrickDown(t *testing.T) {
	v := testkit.NewVolume(t, testkit.Replica(3))
	v.StopBrick(1)
	m := mustInspect(t, v.MountDir())
	m.RunDir = v.Dir() + "/private"
	p, err := m.Private(t.Context(), ForRecall)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Children(); !errors.Is(err, ErrDegraded) {
		t.Error(err)
	}
}

func BenchmarkChildren(b *testing.B) {
	for name, options := range map[string][]testkit.Option{
		"distribute1": nil, "distribute3": {testkit.Bricks(3)}, "replica3": {testkit.Replica(3)},
	} {
		b.Run(name, func(b *testing.B) {
			v := testkit.NewVolume(b, options...)
			m, err := Inspect(v.MountDir())
			if err != nil {
				b.Fatal(err)
			}
			m.RunDir = v.Dir() + "/private"
			p, err := m.Private(b.Context(), ForStamping)
			if err != nil {
				b.Fatal(err)
			}
			defer p.Close()
			for b.Loop() {
				if err := p.Children(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// mountGraph mounts a graph at dir, in place of what is mounted there.
func mountGraph(t *testing.T, graph gluster.Graph, dir string) {
	t.Helper()
	_ = unix.Unmount(dir, 0) // nothing, the first time
	d, err := startDaemon(graph, dir, fmt.Sprintf("%s.%d.log", dir, time.Now().UnixNano()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.kill(); <-d.ended; _ = unix.Unmount(dir, unix.MNT_DETACH) })
	testkit.Eventually(t, time.Minute, "mounted", func() bool { _, err := Inspect(dir); return err == nil })
}

// A run that is asked to stop at the moment its mount is there kills that, and must not
// take what it hears from it then for an error of the volume.
func TestAMountThatWasKilledIsNotConnected(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	asked, killed := errors.New("asked to stop"), make(chan struct{})
	err := orKill(ctx, func() { close(killed) }, func() error {
		cancel(asked)
		<-killed
		return nil
	})
	if !errors.Is(err, asked) {
		t.Error(err)
	}
	if err := orKill(t.Context(), func() { t.Error("killed") }, func() error { return nil }); err != nil {
		t.Error(err)
	}
}
