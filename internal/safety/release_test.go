package safety

import (
	"bytes"
	"context"
	"errors"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

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

// mapped stores into a mapping and puts the mtime back.
func mapped(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	page, err := unix.Mmap(int(f.Fd()), 0, len(data), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	copy(page, data)
	return errors.Join(unix.Msync(page, unix.MS_SYNC), unix.Munmap(page), f.Close(), os.Chtimes(path, longAgo, longAgo))
}

// What may happen to a file that is copied.
const (
	itsBytes = iota // or its time: the object is not that of the file any more
	itsMarks        // its ctime alone
	itsName
	nothing
)

// Between copy and release, and at any step of the release up to the stamp, a file
// changes in ways that a mount shows and that it does not. If it is not what its object
// holds it is never released, and what is on the brick stays.
func TestACopiedFileIsReleasedOnlyIfNothingChanged(t *testing.T) {
	t.Parallel()
	early := []upload.Step{"", upload.StepOpen, upload.StepPoint, upload.StepIdentify} // before its identity is taken
	late := []upload.Step{upload.StepPut, upload.StepRecord, upload.StepRecheck}
	for kind, tt := range map[string]struct {
		options []testkit.Option
		moments []upload.Step
	}{
		"distribute": {nil, append(slices.Clone(early), late...)},
		"replica":    {[]testkit.Option{testkit.Replica(3)}, []upload.Step{"", upload.StepIdentify, upload.StepRecheck}},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			g := newGround(t, tt.options...)
			clock := testkit.NewClock(t)
			slow := g.NewMount(t, testkit.WithClock(clock))
			clock.Set(t, behind)
			data, fresh := randomBytes(9000), randomBytes(9000)
			for name, row := range map[string]struct {
				changes int
				do      func(path string) error
			}{
				"punch":              {itsBytes, func(path string) error { return punch(g.Path(path)) }},
				"write, slow clock":  {itsBytes, func(path string) error { return rewrite(slow+"/"+path, fresh) }},
				"write, right clock": {itsBytes, func(path string) error { return rewrite(g.Path(path), fresh) }},
				"map":                {itsBytes, func(path string) error { return mapped(g.Path(path), fresh) }},
				"map, slow clock":    {itsBytes, func(path string) error { return mapped(slow+"/"+path, fresh) }},
				"touch":              {itsBytes, func(path string) error { return os.Chtimes(g.Path(path), longAgo, longAgo.Add(time.Hour)) }},
				"truncate":           {itsBytes, func(path string) error { return os.Truncate(g.Path(path), 10) }},
				"link":               {itsBytes, func(path string) error { return os.Link(g.Path(path), g.Path(path+", linked")) }},
				"chmod":              {itsMarks, func(path string) error { return os.Chmod(g.Path(path), 0o600) }},
				"chmod, slow clock":  {itsMarks, func(path string) error { return os.Chmod(slow+"/"+path, 0o600) }},
				"setxattr":           {itsMarks, func(path string) error { return unix.Setxattr(g.Path(path), "user.x", []byte("y"), 0) }},
				"rename":             {itsName, func(path string) error { return os.Rename(g.Path(path), g.Path(path+", renamed")) }},
				"read": {nothing, func(path string) error {
					_, err := os.ReadFile(g.Path(path))
					return err
				}},
				"open for writing": {nothing, func(path string) error {
					f, err := os.OpenFile(g.Path(path), os.O_RDWR, 0)
					return errors.Join(err, f.Close())
				}},
			} {
				for _, step := range tt.moments {
					for by, index := range map[string]upload.Index{"reading": nil, "the index": g.index()} {
						path := name + " before " + string(step) + ", " + by
						g.Write(path, data, longAgo)
						g.keep(path, index)
						g.mustRead(path, data)
						do := func() { check(t, row.do(path)) }
						var at func(upload.Step, gluster.File) error
						if step != "" {
							at = before(step, do)
						} else if do(); row.changes == itsName {
							path += ", renamed"
						}
						res := g.release(path, index, at)
						if row.changes == nothing || row.changes == itsMarks && slices.Contains(early, step) || row.changes == itsName && step == "" {
							if res.Outcome != outcome.Archived || !res.Adopted || res.Err != nil {
								t.Errorf("%s: %+v", path, res)
							}
							g.mustRecall(path)
							g.mustRead(path, data)
							continue
						}
						if row.changes == itsName {
							path += ", renamed"
						}
						if res.Outcome != outcome.Skipped {
							t.Errorf("%s: %s %s (%v)", path, res.Outcome, res.Reason, res.Err)
						}
						if m := g.BrickMarks(path); m.Remote || g.BrickSize(path) == 0 {
							t.Errorf("%s: %+v, %d bytes", path, m, g.BrickSize(path))
						}
					}
				}
			}
		})
	}
}

// What is the same is released without an upload, what was never copied is not released,
// and a release that stops half way forgets no copy.
func TestAReleaseUploadsNothing(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	data := randomBytes(9000)
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

// After a rebuild the objects are those of the volume that is lost, which is what the
// pointers say that clients go by. A clone of a volume, which has the same files, has
// no right to its objects.
func TestObjectsOfTheVolumeThatWasLostAreTheNewOnesOwn(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	const other = "00000000-0000-4000-8000-000000000001"
	archive := func(path string, release bool, formerly ...string) upload.Result {
		t.Helper()
		a := g.archiver()
		a.Volume, a.Formerly, a.Release = other, formerly, release
		return a.Archive(t.Context(), g.file(path))
	}
	data := randomBytes(9000)
	for path, release := range map[string]bool{"released": true, "archived": false} {
		g.Write(path, data, longAgo)
		g.keep(path, nil)
		res := archive(path, release, "some other", g.ID)
		if res.Outcome != outcome.Archived || !res.Adopted || res.Key != path {
			t.Errorf("%s: %s %s, adopted %v, key %q (%v)", path, res.Outcome, res.Reason, res.Adopted, res.Key, res.Err)
			continue
		}
		pointer, err := object.DecodePointer([]byte(g.BrickXattrs(path)[gluster.XattrPointer]))
		if err != nil || pointer.Volume != g.ID {
			t.Errorf("%s: its pointer names volume %q (%v)", path, pointer.Volume, err)
		}
		r := g.recaller()
		r.Volume, r.Formerly = other, []string{g.ID}
		if res := r.Recall(t.Context(), path, gluster.GFID{}); res.Outcome != outcome.Recalled {
			t.Errorf("recall %s: %s %s (%v)", path, res.Outcome, res.Reason, res.Err)
		}
		g.mustRead(path, data)
	}

	g.Write("cloned", data, longAgo)
	g.keep("cloned", nil)
	if res := archive("cloned", true); res.Reason != outcome.Changed {
		t.Errorf("released by a clone: %s %s (%v)", res.Outcome, res.Reason, res.Err)
	}

	// The object is gone: one that is made now is the new volume's.
	g.Write("gone", data, longAgo)
	g.keep("gone", nil)
	check(t, os.Remove(g.S3.ObjectFile("gone")))
	res := archive("gone", false, g.ID)
	pointer, err := object.DecodePointer([]byte(g.BrickXattrs("gone")[gluster.XattrPointer]))
	if res.Outcome != outcome.Archived || res.Adopted || err != nil || pointer.Volume != other {
		t.Errorf("archived anew: %s %s, adopted %v, pointer of volume %q (%v, %v)", res.Outcome, res.Reason, res.Adopted, pointer.Volume, res.Err, err)
	}
}

// Whoever pins a file has no way to know how far a run is. Until the stamp is sent it is
// left alone.
func TestAPinHoldsThoughTheFileWasFoundBefore(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	for _, step := range []upload.Step{upload.StepOpen, upload.StepPoint, upload.StepIdentify, upload.StepRecheck} {
		path := "pinned before " + string(step)
		data := randomBytes(9000)
		g.Write(path, data, longAgo)
		a := g.archiver()
		a.At = before(step, func() { check(t, unix.Setxattr(g.Path(path), gluster.XattrPin, []byte("1"), 0)) })
		res := a.Archive(t.Context(), g.file(path))
		if res.Outcome != outcome.Skipped || res.Reason != outcome.Pinned {
			t.Errorf("%s: %s %s (%v)", path, res.Outcome, res.Reason, res.Err)
		}
		g.mustRead(path, data)
	}
}
