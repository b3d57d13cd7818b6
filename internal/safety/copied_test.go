package safety

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/copied"
	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/testkit"
	"github.com/coldbrick/coldbrick/internal/volume"
	"github.com/coldbrick/coldbrick/recall"
	"github.com/coldbrick/coldbrick/upload"
)

// patience is how often is tried what a busy host may be too slow for.
const patience = 20

func (g *ground) indexes() string { return filepath.Join(g.StateDir, "copied") }

func (g *ground) index() *copied.Index {
	g.t.Helper()
	index, err := copied.Open(g.indexes(), g.Brick)
	check(g.t, err)
	return index
}

// bytesRead is how many bytes this process reads while something is done.
func bytesRead(t *testing.T, do func()) int64 {
	t.Helper()
	so := func() (n int64) {
		b, err := os.ReadFile("/proc/self/io")
		check(t, err)
		_, err = fmt.Sscanf(string(b), "rchar: %d", &n)
		check(t, err)
		return n
	}
	before := so()
	do()
	return so() - before
}

// Not in parallel: what the process reads is counted.
func TestWhatTheIndexKnowsIsNotRead(t *testing.T) {
	g := newGround(t)
	data := randomBytes(16 << 20)
	size := int64(len(data))
	g.Write("f", data, longAgo)
	reads := func(what string, most int64, do func()) {
		t.Helper()
		if n := bytesRead(t, do); most > 0 && n >= most || most == 0 && n < size {
			t.Errorf("%s: %d bytes were read, of %d", what, n, size)
		}
	}
	const all, little = 0, 4 << 20
	keep := func(want outcome.Reason) func() {
		return func() {
			a := g.archiver()
			a.Keep, a.Index = true, g.index()
			if res := a.Archive(t.Context(), g.file("f")); res.Reason != want || res.Err != nil && want == "" {
				t.Errorf("%+v", res)
			}
		}
	}
	stub := func(index upload.Index, only bool) func() {
		return func() {
			a := g.archiver()
			a.Release, a.Index = only, index
			if res := a.Archive(t.Context(), g.file("f")); res.Outcome != outcome.Archived || !res.Adopted || res.Err != nil || res.Freed < size {
				t.Errorf("%+v", res)
			}
			g.mustBeStub("f", "f")
		}
	}
	stubbed := func(only bool) func() { return func() { stub(g.index(), only)() } }
	// inTime is for what a lease bears witness of, which a slow host does not hold to the
	// end: then the bytes are read, and it is tried again.
	inTime := func(what string, prepare, do func()) {
		t.Helper()
		for range patience {
			if bytesRead(t, do) < little {
				return
			}
			prepare()
		}
		t.Errorf("%s: all was read each time", what)
	}
	anew := func() {
		g.mustRecall("f") // as by a client
		keep("")()
	}
	recallBeside := func() {
		t.Helper()
		for range patience {
			entered := g.recallBeside("f", g.index(), "", nil)
			g.mustBeUnmarked("f")
			if entered {
				return
			}
			stub(nil, false)()
		}
		t.Error("no recall was entered in the index")
	}
	reads("the first copy", all, keep(""))
	reads("the next night", little, keep(outcome.AlreadyCopied))
	inTime("release", anew, stubbed(true))
	g.mustRecall("f")
	reads("after a recall elsewhere", all, keep(""))
	inTime("archive", anew, stubbed(false))
	recallBeside()
	reads("the night after a recall beside the brick", little, keep(outcome.AlreadyCopied))
	inTime("release after one", recallBeside, stubbed(true))
	recallBeside()
	inTime("archive after one", recallBeside, stubbed(false))
	g.mustRecall("f")
	keep("")()
	reads("release without an index", all, stub(nil, true))
	g.mustRecall("f")
	keep("")()
	check(t, os.RemoveAll(g.indexes()))
	reads("the index is lost", all, keep(""))
	check(t, os.Chmod(g.Path("f"), 0o600)) // moves the ctime
	reads("who may read it has changed", all, stub(g.index(), true))
	g.mustRecall("f")
	g.mustRead("f", data)
}

// A change that no mount shows, at any moment of a copy up to its entry in the index and
// after it: what is then released or archived are the bytes that the file has.
func TestAChangeBeforeTheIndexKnowsTheFileIsNeverMissed(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	clock := testkit.NewClock(t)
	slow := g.NewMount(t, testkit.WithClock(clock))
	clock.Set(t, behind)
	index := g.index()
	for name, change := range map[string]func(path string, fresh []byte) error{
		"write, slow clock": func(path string, fresh []byte) error { return rewrite(slow+"/"+path, fresh) },
		"punch": func(path string, fresh []byte) error {
			clear(fresh[:4096])
			return punch(g.Path(path))
		},
	} {
		for _, step := range []upload.Step{upload.StepIdentify, upload.StepPut, upload.StepRecord, upload.StepRecheck, upload.StepEnter, ""} {
			path := name + " before " + string(step)
			old := randomBytes(9000)
			now := append([]byte{}, old...)
			if name != "punch" {
				now = randomBytes(9000)
			}
			g.Write(path, old, longAgo)
			do := func() { check(t, change(path, now)) }
			a := g.archiver()
			a.Keep, a.Index, a.At = true, index, before(step, do)
			res := a.Archive(t.Context(), g.file(path))
			if step == "" {
				do()
			}
			known := res.Outcome == outcome.Copied
			if want := step == "" || step == upload.StepEnter || step == upload.StepIdentify; known != want {
				t.Errorf("%s: %+v", path, res)
			}
			fromThenOn := step == upload.StepIdentify // it was copied as it is now
			if res := g.release(path, index, nil); (res.Outcome == outcome.Archived) != fromThenOn {
				t.Errorf("%s: release: %s %s (%v)", path, res.Outcome, res.Reason, res.Err)
			}
			if !fromThenOn {
				a := g.archiver()
				a.Index = index
				if res := a.Archive(t.Context(), g.file(path)); res.Outcome != outcome.Archived || res.Adopted && step != upload.StepPut {
					t.Errorf("%s: archive: %+v", path, res)
				}
			}
			g.mustRecall(path)
			g.mustRead(path, now)
		}
	}
}

// lateIndex lets something happen right before an entry.
type lateIndex struct {
	recall.Index
	do func()
}

func (x lateIndex) Note(gfid gluster.GFID, id volume.Identity, key string, crc32 uint32) {
	x.do()
	x.Index.Note(gfid, id, key, crc32)
}

// The same at the end of a recall, from the removal of downloading to the entry and after
// it: who changes the file then waits for the lease, or moves what the index knows.
func TestAChangeBeforeTheIndexKnowsARecalledFileIsNeverMissed(t *testing.T) {
	t.Parallel()
	for kind, options := range map[string][]testkit.Option{"distribute": nil, "replica": {testkit.Replica(3)}} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			g := newGround(t, options...)
			clock := testkit.NewClock(t)
			slow := g.NewMount(t, testkit.WithClock(clock))
			clock.Set(t, behind)
			index := g.index()
			for name, change := range map[string]func(path string, fresh []byte) error{
				"write, slow clock":  func(path string, fresh []byte) error { return rewrite(slow+"/"+path, fresh) },
				"write, right clock": func(path string, fresh []byte) error { return rewrite(g.Path(path), fresh) },
				"punch": func(path string, fresh []byte) error {
					clear(fresh[:4096])
					return punch(g.Path(path))
				},
				"nothing": func(string, []byte) error { return nil },
			} {
				for _, moment := range []string{"before the end", "before the entry", "after it"} {
					wanted := name == "nothing" || moment != "before the end"
					entered := !wanted
					for try := 0; entered != wanted && try < patience; try++ {
						path := fmt.Sprint(name, " ", moment, " ", try)
						data := randomBytes(1 << 20)
						g.Write(path, data, longAgo)
						first := g.mustArchive(path)
						now := append([]byte{}, data...)
						if strings.HasPrefix(name, "write") {
							now = randomBytes(len(data))
						}
						entered = g.recallBeside(path, index, moment, func() { check(t, change(path, now)) })
						switch {
						case entered && !wanted:
							t.Fatalf("%s: entered", path)
						case entered != wanted: // as on a host that is too slow for the lease
						case name == "nothing":
							a := g.archiver()
							a.Keep, a.Index = true, index
							if res := a.Archive(t.Context(), g.file(path)); res.Reason != outcome.AlreadyCopied {
								t.Errorf("%s: %+v", path, res)
							}
						default:
							g.mustBeTakenForChanged(path, now, index, first.Key)
						}
					}
					if entered != wanted {
						t.Errorf("%s %s: never entered", name, moment)
					}
				}
			}
		})
	}
}

// recallBeside recalls a file beside its brick, lets something happen at a moment, and
// reports whether the file was entered in the index.
func (g *ground) recallBeside(path string, index recall.Index, moment string, do func()) (entered bool) {
	g.t.Helper()
	r := g.recaller()
	r.Copies = []recall.Copies{{Brick: g.Brick, Index: lateIndex{index, func() {
		entered = true
		if moment == "before the entry" {
			do()
		}
	}}}}
	r.At = func(step recall.Step, _ string) error {
		if step == recall.StepTidy && moment == "before the end" {
			do()
		}
		return nil
	}
	if res := r.Recall(g.t.Context(), path, g.GFID(path)); res.Outcome != outcome.Recalled {
		g.t.Fatalf("%s: %+v", path, res)
	}
	if moment == "after it" {
		do()
	}
	return entered
}

// mustBeTakenForChanged fails unless a recalled file that has other bytes now is not
// released, and archived with these, under another key than the one it had.
func (g *ground) mustBeTakenForChanged(path string, now []byte, index upload.Index, former string) {
	g.t.Helper()
	if res := g.release(path, index, nil); res.Reason != outcome.Changed {
		g.t.Errorf("%s: release: %s %s (%v)", path, res.Outcome, res.Reason, res.Err)
	}
	got, err := os.ReadFile(g.BrickPath(path))
	if err != nil || !bytes.Equal(got, now) {
		g.t.Errorf("%s: other bytes on the brick (%v)", path, err)
	}
	a := g.archiver()
	a.Index = index
	if res := a.Archive(g.t.Context(), g.file(path)); res.Outcome != outcome.Archived || res.Adopted || res.Key == former {
		g.t.Errorf("%s: archive: %+v", path, res)
	}
	g.mustRecall(path)
	g.mustRead(path, now)
}

// As with TestAChangeWithinATickOfTheClockKeepsTheFile, of a copy: it is changed right
// after its identity was taken, and released under the same coarse clock.
func TestTheIndexKnowsNothingThatIsTooYoung(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	index := g.index()
	const tick = 10 * time.Millisecond
	for round := range 5 {
		path := fmt.Sprint("f", round)
		g.Write(path, randomBytes(9000), longAgo)
		var last volume.Stat
		coarse := func(f *os.File) (volume.Stat, error) {
			st, err := volume.StatOf(f)
			if volume.Time(st.Ctime).Sub(volume.Time(last.Ctime)) < tick {
				st.Ctime, st.Mtime = last.Ctime, last.Mtime
			}
			last = st
			return st, err
		}
		a := g.archiver()
		a.Keep, a.Index, a.StatBrick = true, index, coarse
		a.At = before(upload.StepEnter, func() { check(t, punch(g.BrickPath(path))) })
		if res := a.Archive(t.Context(), g.file(path)); res.Outcome != outcome.Copied {
			t.Errorf("%+v", res)
		}
		a = g.archiver()
		a.Release, a.Index, a.StatBrick = true, index, coarse
		if res := a.Archive(t.Context(), g.file(path)); res.Reason != outcome.Changed {
			t.Errorf("%s: %s %s (%v)", path, res.Outcome, res.Reason, res.Err)
		}
	}
}

// An index that is not what it was, of files that have changed and of one that has not.
func TestABadIndexReleasesNothingWrong(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	for name, spoil := range map[string]func(path string) error{
		"lost":     os.Remove,
		"cut":      func(path string) error { return os.Truncate(path, 79) },
		"torn":     func(path string) error { return xorAt(path, 60) },
		"of zeros": func(path string) error { return os.WriteFile(path, make([]byte, 160), 0o600) },
		"a directory": func(path string) error {
			check(t, os.Remove(path))
			return os.Mkdir(path, 0o700)
		},
	} {
		for _, changed := range []bool{false, true} {
			path := fmt.Sprint(name, changed)
			g.Write(path, randomBytes(9000), longAgo)
			g.keep(path, g.index())
			gfid := g.GFID(path)
			files, err := filepath.Glob(filepath.Join(g.indexes(), "*", fmt.Sprintf("%x", gfid[:2])[:3]))
			check(t, err)
			if len(files) != 1 {
				t.Fatalf("%q", files)
			}
			check(t, spoil(files[0]))
			if changed {
				check(t, punch(g.Path(path)))
			}
			res := g.release(path, g.index(), nil)
			if (res.Outcome == outcome.Archived) == changed || changed && res.Reason != outcome.Changed {
				t.Errorf("%s: %+v", path, res)
			}
			check(t, os.RemoveAll(g.indexes()))
		}
	}
}

func xorAt(path string, at int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close() // of no effect on what was written
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, at); err != nil {
		return err
	}
	b[0] ^= 1
	_, err = f.WriteAt(b, at)
	return err
}

// What takes no room, or shares all that it has, is not released, and says so. What a
// file shares is not counted as freed.
func TestAFileWithNothingOfItsOwnFreesNothing(t *testing.T) {
	t.Parallel()
	g := newGround(t, testkit.BrickOn("xfs"))
	const size = 2 << 20
	clone := func(path string) {
		t.Helper()
		from, err := os.Open(g.BrickPath(path))
		check(t, err)
		defer from.Close() // read only
		to, err := os.Create(g.BrickDir() + "/.glusterfs/of " + path)
		check(t, err)
		defer to.Close() // written by nobody
		check(t, unix.IoctlFileClone(int(to.Fd()), int(from.Fd())))
	}
	for name, tt := range map[string]struct {
		prepare func(path string)
		own     int64
	}{
		"holes": {func(path string) {
			g.Write(path, nil, longAgo)
			check(t, os.Truncate(g.Path(path), size))
			g.SetMtime(path, longAgo)
		}, 0},
		"shared": {func(path string) {
			g.Write(path, randomBytes(size), longAgo)
			clone(path)
		}, 0},
		"half of it shared": {func(path string) {
			g.Write(path, randomBytes(size), longAgo)
			clone(path)
			check(t, rewrite(g.Path(path), randomBytes(size/2)))
		}, size / 2},
		"its own": {func(path string) { g.Write(path, randomBytes(size), longAgo) }, size},
	} {
		tt.prepare(name)
		g.keep(name, nil)
		res := g.release(name, nil, nil)
		const attributes = 8 << 10 // of the stub
		if (res.Reason == outcome.FreesNothing) != (tt.own == 0) || res.Freed > tt.own || res.Freed < tt.own-attributes || res.MayBeKept && tt.own > 0 {
			t.Errorf("%s: %+v", name, res)
		}
	}
}

// What the index knows is no reason not to copy a file whose object is gone.
func TestACopyThatIsGoneIsMadeAnew(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	g.Write("f", randomBytes(9000), longAgo)
	g.keep("f", g.index())
	check(t, os.Remove(g.S3.ObjectFile("f")))
	if res := g.release("f", g.index(), nil); res.Reason != outcome.NotCopied {
		t.Errorf("%+v", res)
	}
	g.keep("f", g.index())
	if res := g.release("f", g.index(), nil); res.Outcome != outcome.Archived {
		t.Errorf("%+v", res)
	}
}
