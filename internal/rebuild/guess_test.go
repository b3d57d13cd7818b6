package rebuild

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/coldbrick/coldbrick/internal/catalog"
	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
)

// Of several objects of a file, and of several files of a name, the newest counts. A name
// that leads elsewhere, which somebody may have planted, is nobody's.
func TestTheNewestObjectIsTheFile(t *testing.T) {
	at := func(hours int) time.Time { return time.Unix(1_700_000_000, 0).Add(time.Duration(hours) * time.Hour) }
	object := func(key string, gfid byte, path string, changed, made int) claim {
		return claim{key, object.Metadata{Volume: "v", GFID: gluster.GFID{gfid}, Path: path, Size: 1, Mtime: gluster.TimeAt(at(changed))},
			object.Info{Size: 1}, at(made)}
	}
	cut := object("cut", 9, "cut", 1, 1)
	cut.info.Size = 2
	claims := []claim{
		object("old", 1, "d/file", 1, 5), object("new", 1, "d/file", 2, 3), object("late", 1, "d/file", 2, 4),
		object("former", 2, "d/file", 0, 0),
		object("nonce", 3, "", 1, 1), object(".coldbrick/"+gluster.GFID{4}.String()+"/x", 4, "", 1, 1),
		object("above", 5, "../x", 1, 1), object("absolute", 6, "/x", 1, 1), object("internal", 7, ".glusterfs/x", 1, 1),
		object("a directory", 8, "d", 1, 1), cut,
	}
	for range 10 { // in whatever order they come
		claims = append(claims[1:], claims[0])
		g := &Guess{}
		g.choose(slices.Clone(claims), "")
		var tree, left []string
		for _, e := range g.entries {
			name := string(e.Path)
			if e.Kind == catalog.Stub {
				name += "=" + string(e.Key)
			}
			tree = append(tree, name)
		}
		for _, l := range g.Left {
			left = append(left, l.Key)
		}
		named := gluster.GFID{4}.String()
		want := []string{Nameless, Nameless + "/" + named + "=.coldbrick/" + named + "/x", "d", "d/file=late", "nonce=nonce"}
		if !slices.Equal(tree, want) {
			t.Errorf("%q, want %q", tree, want)
		}
		if want := "[a directory above absolute cut former internal new old]"; fmt.Sprint(left) != want {
			t.Errorf("left out: %v, want %v", left, want)
		}
	}
}
