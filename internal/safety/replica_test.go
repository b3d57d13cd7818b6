package safety

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"testing"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/record"
	"github.com/coldbrick/coldbrick/internal/testkit"
	"github.com/coldbrick/coldbrick/recall"
	"github.com/coldbrick/coldbrick/upload"
)

// A client that has lost the crawled brick alone writes to the other replicas, its
// clock is behind and it puts the mtime back: on the crawled brick nothing moves,
// and no mount shows another time. The others blame the brick.
func TestAWriteThatTheCrawledBrickMissedStopsTheStamp(t *testing.T) {
	t.Parallel()
	for name, layout := range map[string]testkit.Option{"replica 3": testkit.Replica(3), "arbiter": testkit.Arbiter()} {
		t.Run(name, func(t *testing.T) {
			g := newGround(t, layout)
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
		})
	}
}

// What replicate itself does late, and what the pointer sets off, looks like no
// change of the file.
func TestReplicasDoNotCryChanged(t *testing.T) {
	t.Parallel()
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
	t.Parallel()
	g := newGround(t, testkit.Replica(3))
	for _, step := range []upload.Step{upload.StepStamp, upload.StepVerify} {
		path := "d/" + string(step)
		data := randomBytes(9000)
		g.Write(path, data, longAgo)
		a := g.archiver()
		a.At = before(step, func() { check(t, os.Rename(g.Path(path), g.Path(path+".moved"))) })
		res := a.Archive(t.Context(), g.file(path))
		if step == upload.StepStamp && res.Reason == outcome.Vanished {
			g.mustRead(path+".moved", data) // a slow host has looked again, and the name was gone
			continue
		}
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

// Self-heal brings bytes back under a stub one brick after the other, and a mount
// reads from one of them: what is made local then must be whole on all, whichever it
// was; and bytes that are not the object's are given up on none.
func TestBytesUnderAStubOfOneReplicaAreNotTakenForAllOfThem(t *testing.T) {
	t.Parallel()
	g := newGround(t, testkit.Replica(3))
	data, other := randomBytes(9000), randomBytes(9000)
	for _, name := range []string{"only 0", "only 1", "only 2", "not 0", "another's"} {
		g.Write(name, data, longAgo)
		g.mustArchive(name)
		for i, dir := range g.BrickDirs() {
			content := data
			switch {
			case name == "another's" && i == 1:
				content = other
			case name != fmt.Sprint("only ", i) && (name != "not 0" || i == 0):
				continue
			}
			check(t, os.WriteFile(dir+"/"+name, content, 0o644))
		}
		res := g.recaller().Recall(t.Context(), name, gluster.GFID{})
		if name == "another's" {
			got, err := os.ReadFile(g.BrickDirs()[1] + "/" + name)
			if res.Outcome == outcome.Recalled || err != nil || !bytes.Equal(got, other) {
				t.Errorf("%s: %s; %d bytes, %v", name, res.Outcome, len(got), err)
			}
			continue
		}
		if res.Outcome != outcome.Recalled {
			t.Errorf("%s: %s %s (%v)", name, res.Outcome, res.Reason, res.Err)
		}
		for i, dir := range g.BrickDirs() {
			if got, err := os.ReadFile(dir + "/" + name); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%s: brick %d has %d bytes, %v", name, i, len(got), err)
			}
		}
		g.mustBeUnmarked(name)
	}
}

// What one replica has under a stub may be all that is left. It is not emptied for an
// object that is no longer what it was when the file was archived.
func TestBytesOfOneReplicaAreNotGivenUpForAnObjectThatIsGone(t *testing.T) {
	t.Parallel()
	g := newGround(t, testkit.Replica(3))
	for name, spoil := range map[string]func(object string) error{
		"gone":        os.Remove,
		"other bytes": func(object string) error { return os.WriteFile(object, randomBytes(9000), 0o644) },
	} {
		data := randomBytes(9000)
		g.Write(name, data, longAgo)
		key := g.mustArchive(name).Key
		for _, dir := range g.BrickDirs()[:2] {
			check(t, os.WriteFile(dir+"/"+name, data, 0o644))
		}
		check(t, spoil(g.S3.ObjectFile(key)))
		if res := g.recaller().Recall(t.Context(), name, gluster.GFID{}); res.Outcome == outcome.Recalled {
			t.Errorf("%s: recalled", name)
		}
		for i, dir := range g.BrickDirs()[:2] {
			if got, err := os.ReadFile(dir + "/" + name); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%s: brick %d has %d bytes, %v", name, i, len(got), err)
			}
		}
	}
}

// A process dies before each step that makes replicas alike of which one has the bytes.
func TestAKillBetweenUnlikeReplicasLosesNothing(t *testing.T) {
	t.Parallel()
	p := newProving(t, testkit.Replica(3))
	for _, step := range recall.Plan(gluster.Remote, 0, false, false, false) {
		s, err := p.subject(single)
		check(t, err)
		check(t, s.archived())
		check(t, os.WriteFile(p.BrickDirs()[1]+"/"+s.path, s.data, 0o644))
		check(t, s.kill(order{Recall: step}))
		if res := p.recaller().Recall(t.Context(), s.path, s.gfid); res.Outcome != outcome.Recalled && res.Reason != outcome.AlreadyLocal {
			t.Errorf("killed before %s: %s %s (%v)", step, res.Outcome, res.Reason, res.Err)
		}
		for i, dir := range p.BrickDirs() {
			if got, err := os.ReadFile(dir + "/" + s.path); err != nil || !bytes.Equal(got, s.data) {
				t.Errorf("killed before %s: brick %d has %d bytes, %v", step, i, len(got), err)
			}
		}
		p.mustBeUnmarked(s.path)
	}
}

// A brick that fails to free the data answers that all is well. If it is not the one
// that was crawled, only the replicas show it, and self-heal would spread the bytes.
func TestAReplicaThatKeepsItsBytesIsNotPassedOver(t *testing.T) {
	t.Parallel()
	g := newGround(t, testkit.Replica(3))
	data := randomBytes(9000)
	g.Write("f", data, longAgo)
	a := g.archiver()
	a.At = before(upload.StepVerify, func() { check(t, os.WriteFile(g.BrickDirs()[1]+"/f", data, 0o644)) })
	if res := a.Archive(t.Context(), g.file("f")); !errors.Is(res.Err, upload.ErrDegraded) {
		t.Errorf("%s %s (%v)", res.Outcome, res.Reason, res.Err)
	}
	left, err := record.Open(g.StateDir+"/runs", g.run())
	check(t, err)
	if len(left) != 1 || len(left[0].Degraded) != 1 || string(left[0].Degraded[0].Path) != "f" {
		t.Errorf("recorded: %+v", left)
	}
	g.mustRecall("f")
	g.mustRead("f", data)
}
