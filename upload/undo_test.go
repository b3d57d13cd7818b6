package upload

import (
	"slices"
	"testing"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/stub"
)

// Whatever a failed attempt finds: what may be a stub keeps its pointer and its
// sizes, what is another run's is not touched, and a local file keeps no size that
// would hide what users append. All combinations are tried.
func TestUndoTakesNothingFromWhatMayBeAStub(t *testing.T) {
	sizes := []string{gluster.XattrObjectSize, gluster.XattrNumBlocks, gluster.XattrBlockSize}
	undone := map[int]int{}
	for bits := range 1 << 10 {
		has := func(bit int) bool { return bits>>bit&1 == 1 }
		a := aftermath{own: has(0), sent: has(1), answered: has(2), pending: has(3), linked: has(4), size: 100}
		a.signs = stub.Signs{Marks: gluster.Marks{Remote: has(5), Downloading: has(6), ObjectSize: has(7)}, Linkto: has(8)}
		if has(9) {
			a.bytes = 100
		}
		got := a.undo()
		undone[len(got)]++
		mayBeStub := a.sent && (!a.answered || a.signs.Remote || a.bytes < a.size || a.pending || a.signs.Linkto || !a.linked || a.signs.Downloading)
		switch {
		case !a.own || mayBeStub:
			if len(got) > 0 {
				t.Fatalf("%+v: %q are taken", a, got)
			}
		case got[len(got)-1] != gluster.XattrPointer:
			t.Fatalf("%+v: the pointer does not go last: %q", a, got)
		case a.sent && !slices.Equal(got[:len(got)-1], sizes):
			t.Fatalf("%+v: a size may stay: %q", a, got)
		case !a.sent && len(got) > 1:
			t.Fatalf("%+v: nobody else's attributes are touched: %q", a, got)
		}
	}
	if undone[1] == 0 || undone[4] == 0 {
		t.Errorf("lengths of the plans: %v", undone)
	}
}
