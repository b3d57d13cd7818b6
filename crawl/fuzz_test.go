package crawl

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/stub"
)

// Whatever a brick claims, a file is archived only if each condition holds, here
// written down a second time; and the answer has a meaning in the manual.
func FuzzDecide(f *testing.F) {
	f.Add(int64(1700000000), int64(0), int64(1700000000), int64(0), int64(0), int64(100), uint32(2), uint32(0o644), uint16(0xc000), "video/a", byte(0))
	f.Add(int64(1<<63-1), int64(-1), int64(-1<<63), int64(1<<62), int64(5), int64(-1), uint32(0), uint32(0o3000), uint16(0xffff), "a.tmp", byte(3))
	f.Fuzz(func(t *testing.T, mtime, ctime, clientMtime, atime, recalled, size int64, links, mode uint32, flags uint16, path string, by byte) {
		has := func(bit int) bool { return flags>>bit&1 == 1 }
		facts := Facts{
			Path: path, Size: size, Links: links, Mode: mode,
			Brick: gluster.Mdata{Mtime: time.Unix(mtime, 0), Ctime: time.Unix(ctime, 0), Atime: time.Unix(atime, 0)},
			Mdata: gluster.Mdata{Mtime: time.Unix(clientMtime, 0), Ctime: time.Unix(ctime, 0), Atime: time.Unix(atime, 0)},
			Signs: stub.Signs{
				Marks:  gluster.Marks{Remote: has(0), Downloading: has(1), ObjectSize: has(2), BlockSize: has(3), NumBlocks: has(4)},
				Linkto: has(5), Sharded: has(6), Dispersed: has(7), Pinned: has(8),
				WORM: has(11), BadFile: has(12), HasMdata: has(13), HasGFID: has(14),
			},
			PinnedAbove: has(9), HealPending: has(10), Recalled: time.Unix(recalled, 0),
		}
		if has(15) {
			facts.GFID = gluster.GFID{1}
		}
		p := limits
		p.AgeBy = []AgeBy{"", ByMtime, ByCtime, ByAtime, ByNewest}[by%5]
		reason := p.Decide(facts, now)
		if again := p.Decide(facts, now); again != reason {
			t.Fatalf("%q, then %q", reason, again)
		}
		if reason != "" {
			if outcome.Meaning[reason] == "" {
				t.Fatalf("%q means nothing", reason)
			}
			return
		}
		client := mtime
		if facts.HasMdata {
			client = clientMtime
		}
		limit := now.Add(-p.ColdAfter).Unix()
		switch {
		case flags&0b1_1111_1111_1111 != 0:
			t.Fatalf("archived with marks %b", flags)
		case links != 2, mode&0o3000 == 0o3000, !facts.HasGFID, facts.GFID.IsZero():
			t.Fatalf("archived: %+v", facts)
		case size < p.MinSize, size > p.MaxSize, size == 0:
			t.Fatalf("archived %d bytes", size)
		case client < 1_000_000_000, client > now.Unix():
			t.Fatalf("archived with mtime %d", client)
		case (by%5 == 0 || by%5 == 1 || by%5 == 4) && client > limit:
			t.Fatalf("archived while warm: mtime %d", client)
		case (by%5 == 2 || by%5 == 4) && ctime > limit && ctime <= 1<<40:
			t.Fatalf("archived while warm: ctime %d", ctime)
		case path != "video" && !strings.HasPrefix(path, "video/"), strings.HasSuffix(path, ".tmp"):
			t.Fatalf("archived %q", path)
		}
	})
}

// direntBytes is an entry as the kernel writes it.
func direntBytes(name string, kind byte) []byte {
	size := (direntNameAt + len(name) + 1 + 7) &^ 7
	b := make([]byte, size)
	binary.NativeEndian.PutUint16(b[direntLenAt:], uint16(size))
	b[direntTypeAt] = kind
	copy(b[direntNameAt:], name)
	return b
}

// No batch makes the parser read outside it, stand still, or return a name that
// is no name.
func FuzzDirents(f *testing.F) {
	f.Add(slices.Concat(direntBytes(".", unix.DT_DIR), direntBytes("..", unix.DT_DIR), direntBytes("a", unix.DT_REG), direntBytes(strings.Repeat("n", 255), unix.DT_UNKNOWN)))
	f.Add(bytes.Repeat([]byte{0xff}, 300))
	f.Fuzz(func(t *testing.T, batch []byte) {
		batch = slices.Clip(batch)
		for {
			entry, rest, ok := nextDirent(batch)
			if !ok {
				return
			}
			switch end := direntNameAt + len(entry.name); {
			case len(rest) >= len(batch), len(entry.raw)+len(rest) != len(batch):
				t.Fatalf("%d bytes, of which %d remain after one of %d", len(batch), len(rest), len(entry.raw))
			case len(entry.name) == 0, bytes.IndexByte(entry.name, 0) >= 0, entry.raw[end] != 0:
				t.Fatalf("name %q in %q", entry.name, entry.raw)
			}
			batch = rest
		}
	})
}

func TestNextDirentGivesBackWhatTheKernelWrote(t *testing.T) {
	longest := strings.Repeat("n", 255)
	batch := slices.Concat(direntBytes("a", unix.DT_REG), direntBytes("..", unix.DT_DIR), direntBytes("\n\xff", unix.DT_DIR), direntBytes(longest, unix.DT_LNK))
	var names []string
	for entry, rest, ok := nextDirent(batch); ok; entry, rest, ok = nextDirent(rest) {
		names = append(names, string(entry.name))
	}
	if want := []string{"a", "..", "\n\xff", longest}; !slices.Equal(names, want) {
		t.Errorf("got %q, want %q", names, want)
	}
}

// Names that GlusterFS or coldbrick did not set, whatever their bytes, change
// nothing; and those they set are found wherever they stand.
func FuzzAttributeNames(f *testing.F) {
	f.Add([]byte("user.trusted.glusterfs.cs.remote\x00security.selinux\x00"), []byte("trusted.glusterfs.cs.remotes\x00"))
	f.Add([]byte("trusted."), []byte("\x00\x00"))
	f.Fuzz(func(t *testing.T, before, after []byte) {
		var alone, among Facts
		noise := slices.Concat(before, []byte{0}, after)
		alone.readNames(noise)
		among.readNames(slices.Concat(before, []byte("\x00"+gluster.XattrRemote+"\x00"+gluster.XattrGFID+"\x00"), after))
		alone.Remote, alone.HasGFID = true, true
		if alone != among {
			t.Fatalf("%+v, %+v", alone, among)
		}
	})
}

// A glob that was accepted never panics, and one without special characters
// matches exactly its own path.
func FuzzGlob(f *testing.F) {
	f.Add("**/*.tmp", "a/b.tmp")
	f.Add("{a,[b-d]}/**", "\xff/\n")
	f.Fuzz(func(t *testing.T, glob, path string) {
		if validateGlob(glob) != nil || len(glob) > 100 || strings.Count(glob, "{") > 3 {
			return
		}
		got := matchesAny([]string{glob}, path)
		if !strings.ContainsAny(glob, `*?[]{}\`) && got != (glob == path) {
			t.Fatalf("%q on %q: %v", glob, path, got)
		}
	})
}
