package safety

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/record"
	"github.com/coldbrick/coldbrick/internal/testkit"
	"github.com/coldbrick/coldbrick/recall"
	"github.com/coldbrick/coldbrick/upload"
)

func TestAReplicaSetIsArchivedOnAllBricks(t *testing.T) {
	t.Parallel()
	g := newGround(t, testkit.Replica(3))
	data := randomBytes(300_000)
	g.Write("dir/f", data, longAgo)
	res := g.mustArchive("dir/f")
	for i, dir := range g.BrickDirs() {
		if _, ok := testkit.Xattr(t, dir+"/dir/f", gluster.XattrRemote); !ok {
			t.Errorf("brick %d has no stub", i)
		}
	}
	g.mustBeStub("dir/f", res.Key)
	g.mustRecall("dir/f")
	g.mustRead("dir/f", data)
	g.mustBeUnmarked("dir/f")
}

func TestNothingIsStampedWhileABrickIsDown(t *testing.T) {
	t.Parallel()
	g := newGround(t, testkit.Replica(3))
	data := randomBytes(300_000)
	g.Write("f", data, longAgo)
	a := g.archiver()
	a.At = before(upload.StepRecheck, func() {
		g.StopBrick(1)
		testkit.Eventually(t, 20*time.Second, "the brick is missed", func() bool { return g.Stamping.Children() != nil })
	})
	res := a.Archive(t.Context(), g.file("f"))
	if res.Outcome != outcome.Failed || res.Reason != outcome.Degraded || !errors.Is(res.Err, upload.ErrDegraded) {
		t.Fatalf("%+v", res)
	}
	g.mustRead("f", data)
	g.mustBeUnmarked("f")
}

// losesABrick is a mount, and its replicas, that do not see their brick go as long as
// unseen is set: a brick goes in an instant, and to stop one takes so long that it is
// looked again.
type losesABrick struct {
	upload.Mount
	upload.Replicas
	unseen bool
}

func (m *losesABrick) Children() error {
	if m.unseen {
		return nil
	}
	return m.Mount.Children()
}

func (m *losesABrick) Pending(ctx context.Context, file *os.File, path string) (bool, error) {
	if m.unseen {
		return false, nil
	}
	return m.Replicas.Pending(ctx, file, path)
}

func (m *losesABrick) Torn(ctx context.Context, file *os.File, path string) (bool, error) {
	if m.unseen {
		return false, nil
	}
	return m.Replicas.Torn(ctx, file, path)
}

// The brick goes between the last look and the stamp. When it is back, self-heal
// brings the data back to all bricks under the stub (GLUSTER-FACTS 6.2), and
// nobody can read the file, until it is fixed.
func TestAFileStampedOnADegradedVolumeIsMended(t *testing.T) {
	t.Parallel()
	g := newGround(t, testkit.Replica(3))
	data := randomBytes(300_000)
	g.Write("f", data, longAgo)
	a := g.archiver()
	loses := &losesABrick{Mount: g.Stamping, Replicas: g.Replicas}
	a.Mount, a.Replicas = loses, loses
	a.At = func(s upload.Step, _ gluster.File) error {
		loses.unseen = s == upload.StepStamp
		if loses.unseen {
			g.StopBrick(1)
			testkit.Eventually(t, 20*time.Second, "the brick is missed", func() bool { return g.Stamping.Children() != nil })
		}
		return nil
	}
	res := a.Archive(t.Context(), g.file("f"))
	if res.Reason != outcome.Degraded || !errors.Is(res.Err, upload.ErrDegraded) {
		t.Fatalf("%+v", res)
	}
	left, err := record.Open(g.StateDir+"/runs", g.run())
	check(t, err)
	if len(left) != 1 || len(left[0].Degraded) != 1 || string(left[0].Degraded[0].Path) != "f" {
		t.Fatalf("recorded: %+v", left)
	}
	g.StartBrick(1)
	g.StartSelfHeal()
	testkit.Eventually(t, time.Minute, "the data is back under the stub", func() bool {
		return g.BrickSize("f") == int64(len(data)) && g.BrickMarks("f").Remote
	})
	testkit.Eventually(t, time.Minute, "the heal is over", func() bool {
		n, err := g.Brick.HealBacklog(1)
		check(t, err)
		return n == 0 && g.Stamping.Children() == nil
	})
	r := g.recaller()
	e, err := r.Examine(t.Context(), "f", gluster.GFID{}, recall.Head)
	check(t, err)
	if len(e.Findings) != 1 || e.Findings[0].Class != outcome.ClassBytesInStub {
		t.Fatalf("found %+v", e.Findings)
	}
	for _, f := range r.Repair(t.Context(), e) {
		if !f.Repaired {
			t.Errorf("%s: %s", f.Class, f.Detail)
		}
	}
	g.mustRead("f", data)
	g.mustBeUnmarked("f")
	g.mustArchive("f")
	g.mustRecall("f")
	g.mustRead("f", data)
}

// Whatever else is wrong with a stub that was stamped while a brick was away, the
// next run has to look at it, and this one has to end.
func TestADegradedStampIsRecordedWhateverElseIsWrong(t *testing.T) {
	t.Parallel()
	g := newGround(t, testkit.Replica(3))
	g.Write("f", randomBytes(5000), longAgo)
	a := g.archiver()
	loses := &losesABrick{Mount: g.Stamping, Replicas: g.Replicas}
	a.Mount, a.Replicas = loses, loses
	a.At = func(s upload.Step, _ gluster.File) error {
		loses.unseen = s == upload.StepStamp
		switch s {
		case upload.StepStamp:
			g.StopBrick(1)
			testkit.Eventually(t, 20*time.Second, "the brick is missed", func() bool { return g.Stamping.Children() != nil })
		case upload.StepVerify:
			testkit.SetXattr(t, g.BrickPath("f"), gluster.XattrObjectSize, "7")
		}
		return nil
	}
	res := a.Archive(t.Context(), g.file("f"))
	if res.Outcome != outcome.Failed || res.Reason != outcome.Broken || !errors.Is(res.Err, upload.ErrDegraded) {
		t.Errorf("%+v", res)
	}
	left, err := record.Open(g.StateDir+"/runs", g.run())
	check(t, err)
	if len(left) != 1 || len(left[0].Degraded) != 1 {
		t.Errorf("recorded: %+v", left)
	}
}

// unasked is a replica set of which a brick cannot be asked from some step on.
type unasked struct {
	upload.Replicas
	err error
}

func (u *unasked) Pending(ctx context.Context, file *os.File, path string) (bool, error) {
	if u.err != nil {
		return false, u.err
	}
	return u.Replicas.Pending(ctx, file, path)
}

func (u *unasked) Torn(ctx context.Context, file *os.File, path string) (bool, error) {
	if u.err != nil {
		return false, u.err
	}
	return u.Replicas.Torn(ctx, file, path)
}

// Before the stamp, what a replica does not answer keeps the file as it is; after
// it, the next run looks at the stub again.
func TestAReplicaThatCannotBeAskedLosesNothing(t *testing.T) {
	t.Parallel()
	g := newGround(t, testkit.Replica(3))
	data := randomBytes(5000)
	for _, errno := range errnos {
		for _, step := range []upload.Step{upload.StepRecheck, upload.StepVerify} {
			path := unix.ErrnoName(errno) + " " + string(step)
			g.Write(path, data, longAgo)
			a := g.archiver()
			replicas := &unasked{Replicas: g.Replicas}
			a.Replicas = replicas
			a.At = before(step, func() { replicas.err = errno })
			res := a.Archive(t.Context(), g.file(path))
			if !errors.Is(res.Err, errno) {
				t.Errorf("%s: %s %s (%v)", path, res.Outcome, res.Reason, res.Err)
			}
			left, err := record.Open(g.StateDir+"/runs", g.run())
			check(t, err)
			degraded := 0
			for _, l := range left {
				degraded += len(l.Degraded)
				check(t, os.Remove(l.File))
			}
			if step == upload.StepRecheck {
				if res.Outcome == outcome.Archived || degraded != 0 {
					t.Errorf("%s: %s %s, %d recorded", path, res.Outcome, res.Reason, degraded)
				}
				g.mustBeUnmarked(path)
				g.mustRead(path, data)
				continue
			}
			if res.Outcome != outcome.Failed || res.Reason != outcome.Degraded || degraded != 1 {
				t.Errorf("%s: %s %s, %d recorded", path, res.Outcome, res.Reason, degraded)
			}
			g.mustBeStub(path, res.Key)
			g.mustRecall(path)
			g.mustRead(path, data)
		}
	}
}
