package safety

import (
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/testkit"
	"github.com/coldbrick/coldbrick/upload"
)

// ext4 keeps all attributes of a file in one block. Where those of a user leave
// room for the marks of a stamp up to one, the brick refuses the rest. The marks
// that it has set by then would hide what the user appends.
func TestAStampThatIsRefusedLeavesNoMarks(t *testing.T) {
	t.Parallel()
	g := newGround(t, testkit.BrickOn("ext4", "-b", "4096"))
	seen := map[string]bool{}
	for room := 2600; room < 3500; room += 20 {
		path := "d/" + strconv.Itoa(room)
		data := randomBytes(5000)
		g.Write(path, data, longAgo)
		a := g.archiver()
		// The user's attribute comes after coldbrick has looked at the room.
		full := false
		a.At = before(upload.StepIdentify, func() {
			full = unix.Setxattr(g.Path(path), "user.samba", []byte(strings.Repeat("x", room)), 0) != nil
		})
		res := a.Archive(t.Context(), g.file(path))
		if res.Outcome == outcome.Archived || full {
			continue
		}
		seen[string(res.Reason)] = true
		if marks := g.BrickMarks(path); marks != (gluster.Marks{}) {
			t.Errorf("room %d: %s %s (%v) left %+v", room, res.Outcome, res.Reason, res.Err, marks)
		}
		if _, ok := g.BrickXattrs(path)[gluster.XattrPointer]; ok {
			t.Errorf("room %d: %s %s (%v) left a pointer", room, res.Outcome, res.Reason, res.Err)
		}
		appendTo(t, g.Path(path), []byte("more"))
		g.mustRead(path, append(data, "more"...))
	}
	if len(seen) == 0 {
		t.Error("no stamp was refused")
	}
}
