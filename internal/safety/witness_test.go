package safety

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/testkit"
	"github.com/coldbrick/coldbrick/internal/volume"
	"github.com/coldbrick/coldbrick/upload"
)

// behind is more than any file of a test is old by the clock of its bricks.
const behind = -time.Hour

// punch makes a hole, which no mount shows.
func punch(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, 4096), f.Close())
}

// rewrite changes bytes in place and puts the mtime back.
func rewrite(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(data, 0)
	return errors.Join(err, f.Sync(), f.Close(), os.Chtimes(path, longAgo, longAgo))
}

// What a mount does not show, the brick does (FACTS: a punched hole; a write by a
// client whose clock is behind, which has put the mtime back). Of an object that a
// dead run has left, the same is true.
func TestAChangeThatNoMountShowsKeepsTheFile(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	clock := testkit.NewClock(t)
	slow := g.NewMount(t, testkit.WithClock(clock))
	clock.Set(t, behind)
	fresh := randomBytes(9000)
	for name, change := range map[string]func(path string) error{
		"punch":              func(path string) error { return punch(g.Path(path)) },
		"punch, slow clock":  func(path string) error { return punch(slow + "/" + path) },
		"write, slow clock":  func(path string) error { return rewrite(slow+"/"+path, fresh) },
		"write, right clock": func(path string) error { return rewrite(g.Path(path), fresh) },
	} {
		for _, adopt := range []bool{false, true} {
			for _, step := range []upload.Step{upload.StepPut, upload.StepRecord, upload.StepRecheck} {
				if adopt && step == upload.StepPut {
					continue // the object is not the file's any more: it gets one of its own
				}
				path := fmt.Sprintf("%s, %v, %s", name, adopt, step)
				g.Write(path, randomBytes(9000), longAgo)
				if adopt {
					g.mustDie(path, upload.StepRecord)
				}
				a := g.archiver()
				a.At = before(step, func() { check(t, change(path)) })
				res := a.Archive(t.Context(), g.file(path))
				if res.Outcome != outcome.Skipped || res.Reason != outcome.Changed {
					t.Errorf("%s: %s %s (%v)", path, res.Outcome, res.Reason, res.Err)
				}
				if size := g.BrickSize(path); size != 9000 {
					t.Errorf("%s: %d bytes on the brick", path, size)
				}
				g.mustBeUnmarked(path)
			}
		}
	}
}

// A kernel before 6.13 stamps files by a clock that ticks every 1 to 10 ms; this
// one does not, so it is played: what changes within 10 ms after the pointer was
// set gets the same times. The change is made on the brick, as by the request of
// another client, since one through a mount may take longer than that.
func TestAChangeWithinATickOfTheClockKeepsTheFile(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	const tick = 10 * time.Millisecond
	for round := range 20 {
		path := fmt.Sprint("f", round)
		g.Write(path, randomBytes(9000), longAgo)
		var last volume.Stat
		a := g.archiver()
		a.StatBrick = func(f *os.File) (volume.Stat, error) {
			st, err := volume.StatOf(f)
			if volume.Time(st.Ctime).Sub(volume.Time(last.Ctime)) < tick {
				st.Ctime, st.Mtime = last.Ctime, last.Mtime
			}
			last = st
			return st, err
		}
		a.At = before(upload.StepPut, func() { check(t, punch(g.BrickPath(path))) })
		if res := a.Archive(t.Context(), g.file(path)); res.Reason != outcome.Changed {
			t.Errorf("%s: %s %s (%v)", path, res.Outcome, res.Reason, res.Err)
		}
		a.At = nil
		if res := a.Archive(t.Context(), g.file(path)); res.Outcome != outcome.Archived {
			t.Errorf("%s, unchanged: %s %s (%v)", path, res.Outcome, res.Reason, res.Err)
		}
	}
}

func TestACtimeInTheFutureIsNoWitness(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	for ahead, want := range map[time.Duration]outcome.Outcome{time.Second: outcome.Archived, time.Hour: outcome.Skipped} {
		path := ahead.String()
		g.Write(path, randomBytes(900), longAgo)
		future := time.Now().Add(ahead)
		a := g.archiver()
		a.StatBrick = func(f *os.File) (volume.Stat, error) {
			st, err := volume.StatOf(f)
			st.Ctime = unix.NsecToTimespec(future.UnixNano())
			return st, err
		}
		res := a.Archive(t.Context(), g.file(path))
		if res.Outcome != want || want == outcome.Skipped && res.Reason != outcome.Changed {
			t.Errorf("%s ahead: %s %s (%v)", path, res.Outcome, res.Reason, res.Err)
		}
	}
}

// A process that was stopped after its last look, looks again before it stamps.
func TestAStallBeforeTheStampIsFollowedByALook(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	data := randomBytes(9000)
	g.Write("f", data, longAgo)
	a := g.archiver()
	a.At = before(upload.StepStamp, func() {
		check(t, punch(g.Path("f")))
		time.Sleep(150 * time.Millisecond)
	})
	if res := a.Archive(t.Context(), g.file("f")); res.Reason != outcome.Changed {
		t.Errorf("%s %s (%v)", res.Outcome, res.Reason, res.Err)
	}
	g.mustBeUnmarked("f")
	g.mustRead("f", append(make([]byte, 4096), data[4096:]...))
}

// With ctime.noatime off a read is noted on the brick's file, which moves its
// ctime. Our own reads are not noted; those of users can only make a file wait for
// the next run.
func TestReadersOfAVolumeThatKeepsAtimeLoseNothing(t *testing.T) {
	t.Parallel()
	g := newGround(t, testkit.WithAtime())
	data := randomBytes(9000)
	g.Write("f", data, longAgo)
	a := g.archiver()
	a.At = before(upload.StepRecheck, func() {
		_, err := os.ReadFile(g.Path("f"))
		check(t, err)
	})
	res := a.Archive(t.Context(), g.file("f"))
	if res.Outcome != outcome.Archived && res.Reason != outcome.Changed {
		t.Errorf("read in the meantime: %s %s (%v)", res.Outcome, res.Reason, res.Err)
	}
	t.Logf("read in the meantime: %s %s", res.Outcome, res.Reason)
	g.Write("g", data, longAgo)
	g.mustArchive("g")
	g.mustRecall("g")
	g.mustRead("g", data)
}
