package safety

import (
	"bytes"
	"context"
	"maps"
	"os"
	"testing"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/testkit"
)

// A file under file-level WORM takes attributes and no bytes. So it is not archived,
// and as a stub, made by whatever means, it is not even marked by a recall, unless
// somebody knows that the volume no longer keeps WORM; copies are always made.
func TestAFileUnderWORMIsLeftAsItIs(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	data := randomBytes(5000)
	for _, mark := range []string{gluster.XattrWORM, gluster.XattrRetention} {
		g.Write(mark, data, longAgo)
		g.mustArchive(mark)
		testkit.SetXattr(t, g.Path(mark), mark, "3/120/180")
		before := g.BrickXattrs(mark)
		if res := g.recall(mark); res.Reason != outcome.Retained || res.Outcome != outcome.Failed {
			t.Errorf("%s: recall: %s %s: %v", mark, res.Outcome, res.Reason, res.Err)
		}
		if after := g.BrickXattrs(mark); !maps.Equal(before, after) {
			t.Errorf("%s: the stub had %v and has %v", mark, before, after)
		}
		dst, err := os.Create(t.TempDir() + "/copy")
		check(t, err)
		defer dst.Close()
		if res := g.recaller().Fetch(t.Context(), mark, gluster.GFID{}, dst); res.Outcome != outcome.Recalled {
			t.Errorf("%s: copy: %s %s: %v", mark, res.Outcome, res.Reason, res.Err)
		}
		if got, err := os.ReadFile(dst.Name()); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: copy of %d bytes, %v", mark, len(got), err)
		}
		r := g.recaller()
		r.WORMOff = func(context.Context) bool { return true }
		if res := r.Recall(t.Context(), mark, gluster.GFID{}); res.Outcome != outcome.Recalled {
			t.Errorf("%s: recall without WORM: %s %s: %v", mark, res.Outcome, res.Reason, res.Err)
		}
		g.mustRead(mark, data)
		if res := g.archive(mark); res.Reason != outcome.Retained {
			t.Errorf("%s: archive: %s %s: %v", mark, res.Outcome, res.Reason, res.Err)
		}
		g.mustRead(mark, data)
	}
}

// What the scrubber has found damaged is no data to keep for ever.
func TestADamagedFileIsNotArchived(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	g.Write("f", randomBytes(5000), longAgo)
	testkit.SetXattr(t, g.BrickDir()+"/f", gluster.XattrBadFile, "1")
	if res := g.archive("f"); res.Reason != outcome.BadFile {
		t.Errorf("archive: %s %s: %v", res.Outcome, res.Reason, res.Err)
	}
	g.mustBeUnmarked("f")
}
