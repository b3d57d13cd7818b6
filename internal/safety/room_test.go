package safety

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"strconv"
	"strings"
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

// A stamp that finds no room for an attribute ends half way, and a recall that
// finds none fails for ever. Whatever is archived comes back, also under a longer
// name; the rest is left alone.
func TestAFileWithoutRoomForAttributesIsLeftAlone(t *testing.T) {
	t.Parallel()
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
		case res.Outcome == outcome.Archived && res.Err == nil:
			archived++
			longer := "d/" + strings.Repeat("n", 255-len(fmt.Sprint(size))) + fmt.Sprint(size)
			check(t, os.Rename(g.Path(path), g.Path(longer)))
			g.mustRecall(longer)
			g.mustRead(longer, data)
			g.mustBeUnmarked(longer)
		case res.Outcome == outcome.Skipped && res.Reason == outcome.NoAttributeRoom:
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
	t.Parallel()
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

// crowd gives a stub attributes of a user's, until no more than room bytes are left
// of those that ext4 has for all.
func (s *subject) crowd(t *testing.T, room int) {
	t.Helper()
	name, low, high := s.BrickPath(s.path), 0, 4096
	for low < high { // the largest value that fits
		size := (low + high + 1) / 2
		if err := unix.Lsetxattr(name, "user.own", make([]byte, size), 0); err == nil {
			low = size
		} else if errors.Is(err, unix.ENOSPC) {
			high = size - 1
		} else {
			t.Fatal(err)
		}
	}
	check(t, unix.Lsetxattr(name, "user.own", make([]byte, low-room), 0))
}

// What a stub got after it was archived may leave no room for the notes of a
// recall. It is recalled nevertheless, wherever a mark fits, as a plugin can do,
// and as often as recalls are cut; else it stays as it was.
func TestAStubWithoutRoomForNotesIsRecalled(t *testing.T) {
	t.Parallel()
	p := newProving(t, testkit.Ext4(256))
	for _, room := range []int{0, 16, 44, 100, 160, 240} {
		s, err := p.subject(single)
		check(t, err)
		check(t, s.archived())
		s.crowd(t, room)
		before := s.attributes()
		res := s.recall(func(r *recall.Recaller) { r.Plugin = broken{s.Store} })
		if room > 0 && res.Reason != outcome.StoreRefused {
			t.Errorf("%d bytes left: a store that fails: %s %s: %v", room, res.Outcome, res.Reason, res.Err)
		}
		if got := s.attributes(); !maps.Equal(got, before) {
			t.Errorf("%d bytes left: taken back, it has %q, had %q", room, got, before)
		}
		if room > 0 {
			s.cutRecall(recall.StepTimes)
			s.recall(func(r *recall.Recaller) { r.Plugin = broken{s.Store} })
			if m := s.BrickMarks(s.path); !m.Remote || m.Downloading {
				t.Errorf("%d bytes left: half written and taken back, it is no stub: %+v", room, m)
			}
		}
		for _, step := range inWork {
			if room > 0 {
				s.cutRecall(step)
			}
			check(t, s.neverWrong())
		}
		if room == 100 { // fsck does it as well
			_, err := s.fix()
			check(t, err)
			check(t, s.whole())
			continue
		}
		switch res := s.recall(nil); {
		case res.Outcome == outcome.Recalled:
			check(t, s.whole())
		case room > 0 || res.Reason != outcome.NoAttributeRoom:
			t.Errorf("%d bytes left: %s %s: %v", room, res.Outcome, res.Reason, res.Err)
		case !maps.Equal(s.attributes(), before):
			t.Errorf("left alone, it has %q, had %q", s.attributes(), before)
		}
	}
}

// Earlier versions kept in the pointer who made the stub; that makes room enough
// for a mark. And where their stamp found no room, it left a size on a local file.
func TestPointersOfEarlierVersionsMakeRoom(t *testing.T) {
	t.Parallel()
	p := newProving(t, testkit.Ext4(256))
	long := func(s *subject) {
		pointer, err := object.DecodePointer([]byte(s.attributes()[gluster.XattrPointer]))
		check(t, err)
		pointer.Owner, pointer.Time = p.self, time.Now()
		check(t, unix.Lsetxattr(s.BrickPath(s.path), gluster.XattrPointer, pointer.Encode(), 0))
		s.crowd(t, 0)
	}
	stub, err := p.subject(single)
	check(t, err)
	check(t, stub.archived())
	long(stub)
	if res := stub.recall(nil); res.Outcome != outcome.Recalled {
		t.Fatalf("a stub: %s %s: %v", res.Outcome, res.Reason, res.Err)
	}
	check(t, stub.whole())

	half, err := p.subject(single)
	check(t, err)
	half.cutArchive(upload.StepStamp)
	check(t, unix.Lsetxattr(half.BrickPath(half.path), gluster.XattrObjectSize, []byte("70001"), 0))
	long(half)
	if res := half.recall(nil); res.Reason != outcome.AlreadyLocal {
		t.Fatalf("half a stamp: %s %s: %v", res.Outcome, res.Reason, res.Err)
	}
	check(t, half.whole())
}

// Recalls of earlier versions that were killed one after the other have each left
// a claim, until the next one found no room for its own.
func TestAPileOfClaimsIsRecalled(t *testing.T) {
	t.Parallel()
	p := newProving(t, testkit.Ext4(256))
	s, err := p.subject(single)
	check(t, err)
	check(t, s.archived())
	name := s.BrickPath(s.path)
	check(t, unix.Lsetxattr(name, gluster.XattrDownload, []byte("1"), 0))
	check(t, unix.Lremovexattr(name, gluster.XattrRemote))
	attribute := gluster.XattrRecall
	for n := 0; ; n++ {
		attempt := fmt.Sprintf("a%d", n)
		value := strings.Replace(s.notes1(p.self.Boot, 1<<30), `"a1"`, strconv.Quote(attempt), 1)
		err := unix.Lsetxattr(name, attribute, []byte(value), 0)
		if errors.Is(err, unix.ENOSPC) && n > 2 {
			break
		}
		check(t, err)
		attribute = gluster.XattrRecall + "." + attempt
	}
	s.crowd(t, 0)
	if res := s.recall(nil); res.Outcome != outcome.Recalled {
		t.Fatalf("%s %s: %v", res.Outcome, res.Reason, res.Err)
	}
	check(t, s.whole())
}

// broken is a store that gives nothing.
type broken struct{ recall.Plugin }

func (broken) Download(context.Context, string, io.WriterAt, func(recall.Info) error) (recall.Proof, error) {
	return recall.Proof{}, errors.New("the store is down")
}

// attributes are all of the subject but its times.
func (s *subject) attributes() map[string]string {
	all := s.BrickXattrs(s.path)
	delete(all, gluster.XattrMdata)
	return all
}

// Bytes that somebody wrote into a stub past cloudsync are not given up because a
// recall had begun before, and left its notes.
func TestBytesInAStubOutliveNotes(t *testing.T) {
	t.Parallel()
	p := newProving(t)
	s, err := p.subject(single)
	check(t, err)
	check(t, s.archived())
	s.cutRecall(recall.StepMark)
	written := []byte("past cloudsync")
	check(t, os.WriteFile(s.BrickPath(s.path), written, 0o644))
	for range 2 {
		if res := s.recall(nil); res.Reason != outcome.Broken {
			t.Errorf("%s %s: %v", res.Outcome, res.Reason, res.Err)
		}
		s.cutRecall(recall.StepClaim)
		s.cutRecall(recall.StepCheck)
		if got, err := os.ReadFile(s.BrickPath(s.path)); err != nil || !bytes.Equal(got, written) {
			t.Fatalf("they are %.40q now, %v", got, err)
		}
	}
}
