package safety

import (
	"fmt"
	"os"
	"path"
	"strings"
	"testing"

	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/report"
	"github.com/coldbrick/coldbrick/internal/testkit"
)

// A stamp that finds no room for an attribute ends half way, and a recall that
// finds none fails for ever. Whatever is archived comes back, also under a longer
// name; the rest is left alone.
func TestAFileWithoutRoomForAttributesIsLeftAlone(t *testing.T) {
	g := newGround(t, testkit.BrickOn("ext4", "-b", "4096"))
	data := randomBytes(5000)
	var archived, left int
	for size := 0; size < 3600; size += 200 {
		path := fmt.Sprintf("d/f%d", size)
		g.Write(path, data, longAgo)
		if size > 0 {
			testkit.SetXattr(t, g.Path(path), "user.own", strings.Repeat("x", size))
		}
		switch res := g.archive(path); {
		case res.Outcome == report.Archived && res.Err == nil:
			archived++
			longer := "d/" + strings.Repeat("n", 255-len(fmt.Sprint(size))) + fmt.Sprint(size)
			check(t, os.Rename(g.Path(path), g.Path(longer)))
			g.mustRecall(longer)
			g.mustRead(longer, data)
			g.mustBeUnmarked(longer)
		case res.Outcome == report.Skipped && res.Reason == report.NoAttributeRoom:
			left++
			g.mustBeUnmarked(path)
			g.mustRead(path, data)
		default:
			t.Errorf("with %d bytes of its own: %+v", size, res)
		}
	}
	t.Logf("%d archived, %d left alone", archived, left)
	if archived < 5 || left < 5 {
		t.Errorf("%d archived, %d left alone", archived, left)
	}
}

// Pointer, notes and cs.remote all hold the key. One that is too long for them
// gives way to one that nobody can read, but that can be recalled.
func TestALongPathOnExt4GetsAShortKey(t *testing.T) {
	g := newGround(t, testkit.BrickOn("ext4", "-b", "4096"))
	data := randomBytes(5000)
	long := path.Join(strings.Repeat(strings.Repeat("d", 200)+"/", 4), strings.Repeat("f", 100))
	g.Write(long, data, longAgo)
	res := g.mustArchive(long)
	if !strings.HasPrefix(res.Key, object.ReservedPrefix) {
		t.Errorf("key %q", res.Key)
	}
	g.mustRecall(long)
	g.mustRead(long, data)
	g.mustBeUnmarked(long)
}
