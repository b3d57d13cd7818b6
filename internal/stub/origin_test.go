package stub

import (
	"errors"
	"testing"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
)

func TestAnObjectIsTakenOnlyIfItWasMadeFromTheFile(t *testing.T) {
	gfid, mtime := gluster.GFID{15: 7}, gluster.Time{Sec: 1700000000, Nsec: 1}
	own := object.Metadata{Volume: "v", GFID: gfid, Size: 5, Mtime: mtime}
	whole := Origin{GFID: gfid, Volumes: []string{"v"}, Size: 5, Mtime: &mtime}
	for name, tt := range map[string]struct {
		origin func(*Origin)
		made   func(*object.Metadata)
		bytes  int64
		want   error
	}{
		"its own":                                 {nil, nil, 5, nil},
		"of another file":                         {nil, func(m *object.Metadata) { m.GFID[0] = 1 }, 5, ErrOtherFile},
		"of a file of another volume":             {nil, func(m *object.Metadata) { m.Volume = "w" }, 5, ErrOtherFile},
		"of a volume that is its own too":         {func(o *Origin) { o.Volumes = []string{"v", "w"} }, func(m *object.Metadata) { m.Volume = "w" }, 5, nil},
		"of a volume, where none is known":        {func(o *Origin) { o.Volumes = nil }, func(m *object.Metadata) { m.Volume = "w" }, 5, nil},
		"with fewer bytes":                        {nil, nil, 4, object.ErrCorrupt},
		"made from fewer bytes":                   {nil, func(m *object.Metadata) { m.Size = 4 }, 5, object.ErrCorrupt},
		"of another mtime":                        {nil, func(m *object.Metadata) { m.Mtime.Nsec++ }, 5, object.ErrCorrupt},
		"of another mtime, which does not matter": {func(o *Origin) { o.Mtime = nil }, func(m *object.Metadata) { m.Mtime.Nsec++ }, 5, nil},
	} {
		o, made := whole, own
		if tt.origin != nil {
			tt.origin(&o)
		}
		if tt.made != nil {
			tt.made(&made)
		}
		got, err := o.Made(object.Info{Size: tt.bytes, Metadata: made.Encode()})
		if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
		if errors.Is(err, ErrOtherFile) && got != made {
			t.Errorf("%s: %+v does not say whose it is", name, got)
		}
	}
	if _, err := whole.Made(object.Info{Size: 5}); !errors.Is(err, object.ErrForeign) {
		t.Errorf("without metadata: %v", err)
	}
}

func TestAPointerOfAnotherFileOrLifeIsNotTheFilesOwn(t *testing.T) {
	gfid := gluster.GFID{15: 7}
	for _, tt := range []struct {
		pointer    object.Pointer
		objectSize bool
		want       bool
	}{
		{object.Pointer{GFID: gfid, Key: "k"}, true, true},
		{object.Pointer{GFID: gluster.GFID{15: 8}, Key: "k"}, true, false},
		{object.Pointer{GFID: gfid, Key: "k", Recalled: true}, true, false},
		{object.Pointer{GFID: gfid, Key: "k", Recalled: true}, false, true}, // a client died at the recall
	} {
		p, own, err := PointerOf(tt.pointer.Encode(), gfid, tt.objectSize)
		if err != nil || own != tt.want || p.Key != "k" {
			t.Errorf("%+v, with a size %v: own %v, %v", tt.pointer, tt.objectSize, own, err)
		}
	}
	if _, own, err := PointerOf(nil, gfid, false); own || err != nil {
		t.Errorf("no pointer: own %v, %v", own, err)
	}
	if _, own, err := PointerOf([]byte(`{"v":99}`), gfid, false); own || err == nil {
		t.Errorf("a later version: own %v, %v", own, err)
	}
}

func TestThePointersKeyComesFirst(t *testing.T) {
	for _, tt := range [][4]string{
		{"", "", "", ""}, {"p", "", "p", ""}, {"", "r", "r", ""}, {"p", "p", "p", ""}, {"p", "r", "p", "r"},
	} {
		if first, second := Keys(tt[0], tt[1]); first != tt[2] || second != tt[3] {
			t.Errorf("pointer %q, cs.remote %q: %q, then %q", tt[0], tt[1], first, second)
		}
	}
}
