package safety

import (
	"bytes"
	"context"
	"os"
	"testing"
	"time"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/testkit"
	"github.com/coldbrick/coldbrick/recall"
	"github.com/coldbrick/coldbrick/upload"
)

// keep copies a file, with and without an index.
func (g *ground) keep(path string, index upload.Index) {
	g.t.Helper()
	a := g.archiver()
	a.Keep, a.Index = true, index
	res := a.Archive(g.t.Context(), g.file(path))
	if res.Outcome != outcome.Copied || res.Err != nil {
		g.t.Fatalf("keep %q: %s %s (%v)", path, res.Outcome, res.Reason, res.Err)
	}
}

func (g *ground) release(path string, index upload.Index, at func(upload.Step, gluster.File) error) upload.Result {
	g.t.Helper()
	a := g.archiver()
	a.Release, a.Index, a.At = true, index, at
	return a.Archive(g.t.Context(), g.file(path))
}

// Between copy and release, and at any step of the release up to the stamp, a file
// changes in ways that a mount shows and that it does not: it is never released, and
// what is on the brick stays.
func TestACopiedFileIsReleasedOnlyIfNothingChanged(t *testing.T) {
	g := newGround(t)
	clock := testkit.NewClock(t)
	slow := g.NewMount(t, testkit.WithClock(clock))
	clock.Set(t, behind)
	data, fresh := randomBytes(9000), randomBytes(9000)
	for name, change := range map[string]func(path string) error{
		"punch":              func(path string) error { return punch(g.Path(path)) },
		"write, slow clock":  func(path string) error { return rewrite(slow+"/"+path, fresh) },
		"write, right clock": func(path string) error { return rewrite(g.Path(path), fresh) },
		"touch":              func(path string) error { return os.Chtimes(g.Path(path), longAgo, longAgo.Add(time.Hour)) },
		"truncate":           func(path string) error { return os.Truncate(g.Path(path), 10) },
	} {
		for _, step := range []upload.Step{"", upload.StepOpen, upload.StepPoint, upload.StepIdentify, upload.StepPut, upload.StepRecord, upload.StepRecheck} {
			for by, index := range map[string]upload.Index{"reading": nil, "the index": g.index()} {
				path := name + " before " + string(step) + ", " + by
				g.Write(path, data, longAgo)
				g.keep(path, index)
				g.mustRead(path, data)
				var at func(upload.Step, gluster.File) error
				if step == "" {
					check(t, change(path))
				} else {
					at = before(step, func() { check(t, change(path)) })
				}
				res := g.release(path, index, at)
				if res.Outcome != outcome.Skipped || res.Reason != outcome.Changed && res.Reason != outcome.TooWarm {
					t.Errorf("%s: %s %s (%v)", path, res.Outcome, res.Reason, res.Err)
				}
				if m := g.BrickMarks(path); m.Remote || g.BrickSize(path) == 0 {
					t.Errorf("%s: %+v, %d bytes", path, m, g.BrickSize(path))
				}
			}
		}
	}

	// Of a file that has not changed nothing is uploaded, by whatever takes it.
	for _, verb := range []string{"release", "archive"} {
		g.Write(verb, data, longAgo)
		g.keep(verb, nil)
		a := g.archiver()
		a.Release = verb == "release"
		res := a.Archive(t.Context(), g.file(verb))
		if res.Outcome != outcome.Archived || !res.Adopted || res.Err != nil {
			t.Errorf("%s: %+v", verb, res)
		}
		g.mustBeStub(verb, res.Key)
		g.mustRecall(verb)
		g.mustRead(verb, data)
	}

	// What was never copied, or has no object any more, keeps its data.
	g.Write("never copied", data, longAgo)
	if res := g.release("never copied", nil, nil); res.Reason != outcome.NotCopied {
		t.Errorf("never copied: %+v", res)
	}
	g.mustBeUnmarked("never copied")

	// A release that stops half way forgets no copy.
	index := g.index()
	for _, step := range []upload.Step{upload.StepIdentify, upload.StepPut, upload.StepRecord, upload.StepRecheck, upload.StepStamp} {
		path := "cut before " + string(step)
		g.Write(path, data, longAgo)
		g.keep(path, index)
		res := g.release(path, index, func(s upload.Step, _ gluster.File) error {
			if s == step {
				return os.ErrDeadlineExceeded
			}
			return nil
		})
		if res.Outcome == outcome.Archived || g.BrickSize(path) != int64(len(data)) {
			t.Errorf("%s: %+v", path, res)
		}
		if res := g.release(path, index, nil); res.Outcome != outcome.Archived || !res.Adopted {
			t.Errorf("%s, again: %+v", path, res)
		}
		g.mustRecall(path)
		got, err := os.ReadFile(g.BrickPath(path))
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: other bytes (%v)", path, err)
		}
	}
}

// A file that was recalled has an object still: what archives or releases it uploads
// nothing, if not a byte has changed; and an object of any age does, since the file has
// referred to it all the time.
func TestARecalledFileNeedsNoUpload(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	data := randomBytes(9000)
	old := func(a *upload.Archiver) { a.Store = ancient{a.Store} }
	for verb, how := range map[string]func(*upload.Archiver){
		"archive": func(*upload.Archiver) {},
		"release": func(a *upload.Archiver) { a.Release = true },
	} {
		g.Write(verb, data, longAgo)
		first := g.mustArchive(verb)
		for range 2 {
			g.mustRecall(verb)
			g.mustBeUnmarked(verb)
			g.mustRead(verb, data)
			a := g.archiver()
			how(a)
			old(a)
			if res := a.Archive(t.Context(), g.file(verb)); res.Outcome != outcome.Archived || !res.Adopted || res.Key != first.Key || res.Err != nil {
				t.Errorf("%s: %+v", verb, res)
			}
			g.mustBeStub(verb, first.Key)
		}

		// An archive that fails forgets nothing; then it has changed and keeps its time.
		g.mustRecall(verb)
		a := g.archiver()
		how(a)
		a.At = before(upload.StepRecheck, func() { panic("on its way") })
		if res := a.Archive(t.Context(), g.file(verb)); res.Reason != outcome.InternalError {
			t.Errorf("%s: %+v", verb, res)
		}
		if e, err := g.recaller().Examine(t.Context(), verb, gluster.GFID{}, recall.Head); err != nil || e.State != outcome.StateCopied || len(e.Findings) > 0 {
			t.Errorf("%s: %+v, %v", verb, e, err)
		}
		changed := randomBytes(9000)
		check(t, rewrite(g.Path(verb), changed))
		a = g.archiver()
		how(a)
		res := a.Archive(t.Context(), g.file(verb))
		if verb == "release" {
			if res.Reason != outcome.Changed || g.BrickSize(verb) == 0 {
				t.Errorf("changed: %+v", res)
			}
			continue
		}
		if res.Outcome != outcome.Archived || res.Adopted || res.Key == first.Key {
			t.Errorf("changed: %+v", res)
		}
		g.mustRecall(verb)
		g.mustRead(verb, changed)
	}
}

// ancient is a store whose objects are all too old to be adopted by a file that has not
// referred to them.
type ancient struct{ upload.Store }

func (s ancient) Head(ctx context.Context, key string) (object.Info, error) {
	info, err := s.Store.Head(ctx, key)
	info.Modified = info.Date.Add(-2 * object.AdoptableFor)
	return info, err
}
