package safety

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/testkit"
)

// allocated is the room that a file has, in bytes.
func allocated(t *testing.T, path string) int64 {
	t.Helper()
	var st unix.Stat_t
	check(t, unix.Stat(path, &st))
	return st.Blocks * 512
}

// A sparse file comes back sparse, onto the volume and beside it, with the bytes
// and the size that it had: also where its last block is a hole, on each replica,
// and where a range of it came in two pieces.
func TestASparseFileComesBackSparse(t *testing.T) {
	t.Parallel()
	g := newGround(t, testkit.Replica(3))
	const size = 24 << 20 // three ranges of a download
	for name, ends := range map[string][]int64{
		"data-at-both-ends": {0, size - 4096},
		"a-hole-at-the-end": {0, 9 << 20},
	} {
		want := make([]byte, size)
		file, err := os.Create(g.Path(name))
		check(t, err)
		check(t, file.Truncate(size))
		for _, off := range ends {
			copy(want[off:], randomBytes(4096))
			_, err := file.WriteAt(want[off:off+4096], off)
			check(t, err)
		}
		check(t, file.Close())
		g.SetMtime(name, longAgo)
		g.mustArchive(name)

		copied, err := os.Create(filepath.Join(t.TempDir(), "copied"))
		check(t, err)
		if r := g.recaller().Fetch(t.Context(), name, gluster.GFID{}, copied); r.Outcome != outcome.Recalled {
			t.Errorf("%s: fetch: %s %s: %v", name, r.Outcome, r.Reason, r.Err)
		}
		check(t, copied.Close())
		g.Proxy.On(testkit.Match{Method: "GET", Key: name, Times: 1}, testkit.CutBody(5<<20))
		g.mustRecall(name)
		places := []string{copied.Name()}
		for _, dir := range g.BrickDirs() {
			places = append(places, filepath.Join(dir, name))
		}
		for _, place := range places {
			if got, err := os.ReadFile(place); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s has other bytes: %d of %d, %v", place, len(got), size, err)
			}
			if got := allocated(t, place); got > 1<<20 {
				t.Errorf("%s has %d bytes allocated, wrote 8192", place, got)
			}
		}
		g.mustRead(name, want)
	}
}
