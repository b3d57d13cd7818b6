package safety

import (
	"errors"
	"os"
	"strconv"
	"testing"

	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/testkit"
	"github.com/coldbrick/coldbrick/upload"
)

// A client that has lost the crawled brick alone writes to the other replicas, its
// clock is behind and it puts the mtime back: on the crawled brick nothing moves,
// and no mount shows another time. The others blame the brick.
func TestAWriteThatTheCrawledBrickMissedStopsTheStamp(t *testing.T) {
	g := newGround(t, testkit.Replica(3))
	old, fresh := randomBytes(9000), randomBytes(9000)
	for _, step := range []upload.Step{upload.StepPut, upload.StepRecord, upload.StepRecheck} {
		path := "d/" + string(step)
		g.Write(path, old, longAgo)
		clock := testkit.NewClock(t)
		cutOff := g.NewMount(t, testkit.WithClock(clock), testkit.WithoutBrick(0))
		clock.Set(t, behind)
		a := g.archiver()
		a.At = before(step, func() {
			check(t, rewrite(cutOff+"/"+path, fresh))
		})
		res := a.Archive(t.Context(), g.file(path))
		if res.Outcome == outcome.Archived || g.BrickMarks(path).Remote {
			t.Errorf("before %s: %s %s (%v)", step, res.Outcome, res.Reason, res.Err)
		}
	}
}

// What replicate itself does late, and what the pointer sets off, looks like no
// change of the file.
func TestReplicasDoNotCryChanged(t *testing.T) {
	g := newGround(t, testkit.Replica(3))
	const files = 60
	for i := range files {
		g.Write("d/f"+strconv.Itoa(i), randomBytes(1000+i), longAgo)
	}
	for path, res := range g.archiveAll() {
		if res.Outcome != outcome.Archived {
			t.Errorf("%s: %s %s (%v)", path, res.Outcome, res.Reason, res.Err)
		}
	}
}

// Users rename files at any moment. That neither hides a mark nor ends a run.
func TestARenameDoesNotLookLikeALostReplica(t *testing.T) {
	g := newGround(t, testkit.Replica(3))
	for _, step := range []upload.Step{upload.StepStamp, upload.StepVerify} {
		path := "d/" + string(step)
		data := randomBytes(9000)
		g.Write(path, data, longAgo)
		a := g.archiver()
		a.At = before(step, func() { check(t, os.Rename(g.Path(path), g.Path(path+".moved"))) })
		res := a.Archive(t.Context(), g.file(path))
		if res.Outcome != outcome.Archived {
			t.Errorf("renamed before %s: %s %s (%v)", step, res.Outcome, res.Reason, res.Err)
			continue
		}
		g.mustRecall(path + ".moved")
		g.mustRead(path+".moved", data)
	}
	g.Write("deleted", randomBytes(9000), longAgo)
	a := g.archiver()
	a.At = before(upload.StepVerify, func() { check(t, os.Remove(g.Path("deleted"))) })
	if res := a.Archive(t.Context(), g.file("deleted")); errors.Is(res.Err, upload.ErrDegraded) {
		t.Errorf("deleted: %s %s (%v)", res.Outcome, res.Reason, res.Err)
	}
}
