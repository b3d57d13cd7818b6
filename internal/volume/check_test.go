package volume

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/testkit"
)

// failed are the names of the checks that keep archive from running.
func failed(t *testing.T, checks []outcome.Check) []string {
	t.Helper()
	var names []string
	for _, c := range checks {
		if c.Name == "" || c.Reason == "" || c.Verdict != outcome.OK && c.Verdict != outcome.Warning && c.Verdict != outcome.Bad {
			t.Errorf("unfinished check %+v", c)
		}
		if c.Verdict == outcome.Bad {
			names = append(names, c.Name)
		}
	}
	var unsafe *UnsafeError
	if err := Unsafe(checks); (err != nil) != (names != nil) || err != nil && !errors.As(err, &unsafe) {
		t.Errorf("%v fail, but Unsafe is %v", names, err)
	}
	if unsafe != nil && (len(unsafe.Checks) != len(names) || strings.Contains(unsafe.Error(), "\n")) {
		t.Errorf("not one line about each of %v: %v", names, unsafe)
	}
	return names
}

func TestUnsafeMountsAreRefusedByName(t *testing.T) {
	v := testkit.NewVolume(t)
	ctimeOff := testkit.NewVolume(t, testkit.WithoutCtime())
	for _, tt := range []struct {
		name string
		dir  string
		want []string
	}{
		{"good", v.MountDir(), nil},
		{"as mount.glusterfs does by default", v.NewMount(t, testkit.WithTimeouts(time.Second, time.Second)), nil},
		{"quick-read", v.NewMount(t, testkit.WithQuickRead()), []string{CheckQuickRead}},
		{"parallel-readdir", v.NewMount(t, testkit.WithParallelReaddir()), []string{CheckReaddir}},
		{"no cloudsync", v.NewMount(t, testkit.WithoutCloudsync()), []string{CheckCloudsync}},
		{"entries for two seconds", v.NewMount(t, testkit.WithTimeouts(0, 2*time.Second)), []string{CheckTimeouts}},
		{"attributes for ten minutes", v.NewMount(t, testkit.WithTimeouts(10*time.Minute, 0)), []string{CheckTimeouts}},
		{"ctime off", ctimeOff.MountDir(), []string{CheckCtime}},
		{"all at once", ctimeOff.NewMount(t, testkit.WithQuickRead(), testkit.WithoutCloudsync(), testkit.WithTimeouts(0, time.Hour)),
			[]string{CheckCloudsync, CheckQuickRead, CheckCtime, CheckTimeouts}},
	} {
		checks := mustInspect(t, tt.dir).Checks()
		if got := failed(t, checks); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
		for _, c := range checks { // a second is too long for a client without the guard
			if c.Name == CheckTimeouts && c.Verdict == outcome.Bad && !strings.Contains(c.Fix, "attribute-timeout=0,entry-timeout=0") {
				t.Errorf("%s: to fix it: %s", tt.name, c.Fix)
			}
		}
	}
}

func TestUnsafeVolumesAreRefusedByName(t *testing.T) {
	for name, want := range map[string][]string{
		"distribute": nil,
		"replica3":   nil,
		"arbiter":    nil,
		"2x3":        nil,
		"disperse":   {CheckCloudsync, CheckQuickRead, CheckDisperse}, // as glusterd makes it
		"shard":      {CheckCloudsync, CheckQuickRead, CheckCtime, CheckShard},
	} {
		text, err := os.ReadFile("../gluster/testdata/getspec-" + name + ".vol")
		if err != nil {
			t.Fatal(err)
		}
		graph, err := gluster.ParseVolfile(text)
		if err != nil {
			t.Fatal(err)
		}
		m := &Mount{Volume: name, Graph: graph, Version: "10.3"}
		checks := m.Checks()
		if got := failed(t, checks); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
		if strings.Contains(fmt.Sprintf("%+v %#v", checks, m), "fake-secret") {
			t.Errorf("%s: shows a secret", name)
		}
	}
	text := "volume a\ntype protocol/client\nend-volume\nvolume r\ntype cluster/replicate\noption thin-arbiter h:/ta\nsubvolumes a\nend-volume\n"
	graph, err := gluster.ParseVolfile([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if got := failed(t, (&Mount{Graph: graph}).Checks()); !slices.Contains(got, CheckThinArbiter) {
		t.Errorf("thin arbiter: %v", got)
	}
}

func TestVersionsThatWereNotTestedAreRefused(t *testing.T) {
	for version, want := range map[string]outcome.Verdict{
		"10.3": outcome.OK, "10.4": outcome.OK, "10.5": outcome.OK, "11.0": outcome.OK, "11.1": outcome.OK, "11.2": outcome.OK,
		"10.0": outcome.Bad, "10.2": outcome.Bad, "10.6": outcome.Bad, "10.30": outcome.Bad, "11.3": outcome.Bad, "9.6": outcome.Bad, "12.0": outcome.Bad, "11dev": outcome.Bad, "": outcome.Bad,
	} {
		if c := (&Mount{Version: version}).checkVersion(); c.Verdict != want || !strings.Contains(c.Reason, "glusterfs "+version) {
			t.Errorf("%q: %+v", version, c)
		}
	}
}

// What a volume without a working plugin does to its readers is said, but does
// not keep it from being archived.
func TestMissingPluginIsAWarning(t *testing.T) {
	v := testkit.NewVolume(t)
	for name, tt := range map[string]struct {
		dir  string
		want string
	}{
		"none":         {v.MountDir(), "no recall plugin"},
		"not there":    {v.NewMount(t, testkit.WithPlugin("nosuchplugin")), "there is no nosuchplugin.so"},
		"Gluster's":    {v.NewMount(t, testkit.WithPlugin("cloudsynccvlt")), "not coldbrick's"},
		"a path":       {v.NewMount(t, testkit.WithPlugin("../../x")), "not a valid library name"},
		"secret there": {v.NewMount(t, testkit.WithPlugin("nosuchplugin", "s3plugin-seckey SEKRIT")), "the S3 secret is in the volume's options"},
	} {
		found := false
		for _, c := range mustInspect(t, tt.dir).Checks() {
			found = found || c.Verdict == outcome.Warning && strings.Contains(c.Reason, tt.want)
			if strings.Contains(fmt.Sprint(c), "SEKRIT") {
				t.Errorf("%s: %v", name, c)
			}
		}
		if !found {
			t.Errorf("%s: no warning %q", name, tt.want)
		}
	}
}

func TestBrickDownIsSeenOnTheMount(t *testing.T) {
	v := testkit.NewVolume(t, testkit.Replica(3))
	m := mustInspect(t, v.MountDir())
	if c := m.CheckBricksUp(); c.Verdict != outcome.OK {
		t.Error(c)
	}
	v.StopBrick(2)
	if c := m.CheckBricksUp(); c.Verdict != outcome.Bad || !strings.Contains(c.Reason, v.BrickDirs()[2]) {
		t.Error(c)
	}
}

func TestBrickOfAnotherVolumeIsRefused(t *testing.T) {
	v, other := testkit.NewVolume(t), testkit.NewVolume(t)
	open := func(dir string) *Brick {
		t.Helper()
		b, err := OpenBrick(dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { b.Close() })
		return b
	}
	judge := func(m *Mount, b *Brick, dir string) outcome.Check {
		t.Helper()
		return m.CheckBrick(b, openRoot(t, dir))
	}
	m := mustInspect(t, v.MountDir())
	if c := judge(m, open(v.BrickDir()), v.MountDir()); c.Verdict != outcome.OK {
		t.Errorf("own, empty: %v", c)
	}
	if c := judge(m, open(other.BrickDir()), v.MountDir()); c.Verdict != outcome.Bad {
		t.Errorf("another, empty: %v", c)
	}
	v.Write("d/f", []byte("data"), testkit.Old)
	v.Write("-\xff\n", []byte("data"), testkit.Old)
	write(t, v.BrickDir()+"/not made through gluster", "")
	if err := unix.Mkfifo(v.Path("fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("d", v.Path("link")); err != nil {
		t.Fatal(err)
	}
	if c := judge(m, open(v.BrickDir()), v.MountDir()); c.Verdict != outcome.OK {
		t.Errorf("own: %v", c)
	}

	// Another cluster may use the same directory: then only the files tell.
	stripped := open(v.BrickDir())
	stripped.VolumeID = ""
	text, err := m.Graph.Encode()
	if err != nil {
		t.Fatal(err)
	}
	graph, err := gluster.ParseVolfile([]byte(strings.ReplaceAll(string(text), v.ID, other.ID)))
	if err != nil {
		t.Fatal(err)
	}
	alike := *m
	alike.Graph = graph
	if c := judge(&alike, stripped, other.MountDir()); c.Verdict != outcome.Bad || !strings.Contains(c.Reason, "nothing of it is there") {
		t.Errorf("same directory, other files: %v", c)
	}
	other.Write("d/f", []byte("data"), testkit.Old)
	if c := judge(&alike, stripped, other.MountDir()); c.Verdict != outcome.Bad || !strings.Contains(c.Reason, "another file") {
		t.Errorf("same directory, same names: %v", c)
	}
	if c := judge(&alike, stripped, v.MountDir()); c.Verdict != outcome.OK {
		t.Errorf("own, by its files: %v", c)
	}
}

func TestFullBrickIsRefused(t *testing.T) {
	v := testkit.NewVolume(t)
	b, err := OpenBrick(v.BrickDir())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if c := b.CheckFreeSpace(DefaultReserve); c.Verdict != outcome.OK {
		t.Error(c)
	}
	if c := b.CheckFreeSpace(100); c.Verdict != outcome.Bad {
		t.Error(c)
	}
}

func TestGraphChangeIsSeen(t *testing.T) {
	v := testkit.NewVolume(t)
	own := mustInspect(t, v.MountDir()).Graph
	graph, err := own.ForStamping()
	if err != nil {
		t.Fatal(err)
	}
	recall, err := own.ForRecall()
	if err != nil {
		t.Fatal(err)
	}
	dir := v.Dir() + "/changing"
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	mountGraph(t, graph, dir)
	m := mustInspect(t, dir)
	if err := m.Unchanged(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Without glusterd a client never switches graphs; one that was mounted
	// anew shows the same.
	mountGraph(t, recall, dir)
	if err := m.Unchanged(t.Context()); !errors.Is(err, ErrGraphChanged) {
		t.Errorf("cloudsync switched off: %v", err)
	}
	mountGraph(t, graph, dir)
	if err := m.Unchanged(t.Context()); err != nil {
		t.Errorf("and on again: %v", err)
	}
}

func TestHealBacklogIsThatOfTheBricksThatWereUp(t *testing.T) {
	v := testkit.NewVolume(t, testkit.Replica(3))
	backlog := func(i int) int {
		t.Helper()
		b, err := OpenBrick(v.BrickDirs()[i])
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		n, err := b.HealBacklog(3)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	v.Write("f", []byte("data"), testkit.Old)
	testkit.Eventually(t, time.Minute, "nothing is pending", func() bool { return backlog(0) == 0 })
	v.StopBrick(1)
	for i := range 5 {
		v.Write(fmt.Sprint(i), []byte("data"), testkit.Old)
	}
	testkit.Eventually(t, time.Minute, "limit is reached", func() bool { return backlog(0) == 3 })
	if n := backlog(1); n != 0 {
		t.Errorf("the brick that was down knows of %d entries", n)
	}
}

func TestBrickWithoutHealIndexHasNoBacklog(t *testing.T) {
	b, err := OpenBrick(testkit.NewVolume(t).BrickDir())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if n, err := b.HealBacklog(1); n != 0 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

func TestABrickIsFoundUnderAnyNameOfItsDirectory(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.MkdirAll(dir+"/bricks/b", 0o755), os.Mkdir(dir+"/bricks/other", 0o755), os.Symlink("bricks/b", dir+"/link")); err != nil {
		t.Fatal(err)
	}
	graph, err := gluster.ParseVolfile([]byte("volume c\n  type protocol/client\n  option remote-subvolume " + dir + "/bricks/b\nend-volume\n"))
	if err != nil {
		t.Fatal(err)
	}
	m := &Mount{Graph: graph}
	t.Chdir(dir + "/bricks")
	for _, name := range []string{dir + "/bricks/b", dir + "/bricks/b/", "b", "./b", "../bricks/b", "../link", dir + "/link"} {
		if err := m.brickInGraph(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	if err := m.brickInGraph("other"); !errors.Is(err, ErrOtherVolume) {
		t.Errorf("another directory: %v", err)
	}
}
