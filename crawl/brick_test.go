package crawl

import (
	"bytes"
	"context"
	"encoding/binary"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/xattrs"
)

// now is the moment that tests count ages to.
var now = time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

// node is one file of a brick made by hand. The zero value is a cold local file
// of one byte that GlusterFS made.
type node struct {
	size   int64         // 0: one byte; empty: none
	age    time.Duration // 0: a year
	mdata  time.Duration // age by mdata, if not 0
	mode   uint32        // 0: 0644
	xattrs map[string]string
	names  []string // further names
	alien  bool     // made on the brick itself: no gfid, no handle
}

const empty = -1

// brick makes a directory that looks like a brick: directories as needed, files
// with gfid and handle.
func brick(t testing.TB, files map[string]node) string {
	t.Helper()
	root := t.TempDir()
	must(t, os.Mkdir(root+"/.glusterfs", 0o700))
	for name, n := range files {
		addFile(t, root, name, n)
	}
	return root
}

var lastGFID struct {
	sync.Mutex
	n uint64
}

func newGFID() (g gluster.GFID) {
	lastGFID.Lock()
	defer lastGFID.Unlock()
	lastGFID.n++
	binary.BigEndian.PutUint64(g[8:], lastGFID.n)
	return g
}

func addFile(t testing.TB, root, name string, n node) {
	t.Helper()
	file := filepath.Join(root, name)
	must(t, os.MkdirAll(filepath.Dir(file), 0o755))
	size := max(n.size, 0)
	if n.size == 0 {
		size = 1
	}
	must(t, os.WriteFile(file, bytes.Repeat([]byte{'x'}, int(size)), 0o600))
	mode := n.mode
	if mode == 0 {
		mode = 0o644
	}
	must(t, unix.Chmod(file, mode))
	if !n.alien {
		g := newGFID()
		setXattr(t, file, gluster.XattrGFID, string(g[:]))
		must(t, os.Link(file, root+"/.glusterfs/"+g.String()))
	}
	if n.mdata != 0 {
		setXattr(t, file, gluster.XattrMdata, mdata(now.Add(-n.mdata)))
	}
	for attr, value := range n.xattrs {
		setXattr(t, file, attr, value)
	}
	for _, other := range n.names {
		must(t, os.Link(file, filepath.Join(root, other)))
	}
	age := n.age
	if age == 0 {
		age = 365 * day
	}
	must(t, os.Chtimes(file, now.Add(-age), now.Add(-age)))
}

// mdata is trusted.glusterfs.mdata with all three times at t.
func mdata(t time.Time) string {
	value := make([]byte, 1+8, 57)
	value[0] = 1
	for range 3 {
		value = binary.BigEndian.AppendUint64(value, uint64(t.Unix()))
		value = binary.BigEndian.AppendUint64(value, uint64(t.Nanosecond()))
	}
	return string(value)
}

func setXattr(t testing.TB, file, attr, value string) {
	t.Helper()
	must(t, unix.Lsetxattr(file, attr, []byte(value), 0))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// readers are the ways to read attributes that this kernel has; each test of
// what a walk finds goes through all.
func readers() map[string]xattrs.New { return xattrs.Ways(unix.AT_FDCWD) }

// found is what a walk emitted and reported.
type found struct {
	mu         sync.Mutex
	files      map[string]gluster.File
	unreadable map[string]error
}

func (f *found) emit(t testing.TB) func(context.Context, gluster.File) error {
	return func(_ context.Context, file gluster.File) error {
		f.mu.Lock()
		defer f.mu.Unlock()
		if _, again := f.files[file.Path]; again {
			t.Errorf("%q emitted twice", file.Path)
		}
		f.files[file.Path] = file
		return nil
	}
}

func (f *found) paths() map[string]bool {
	paths := make(map[string]bool)
	for p := range maps.Keys(f.files) {
		paths[p] = true
	}
	return paths
}

// walkAll walks root to its end, by the given way to read attributes, and holds
// what any walk must add up to.
func walkAll(t testing.TB, root string, opts Options, attrs xattrs.New) (*found, Stats) {
	t.Helper()
	f := &found{files: map[string]gluster.File{}, unreadable: map[string]error{}}
	opts.Unreadable = func(path string, err error) { f.unreadable[path] = err }
	stats, err := walkWith(t, t.Context(), root, opts, attrs, f.emit(t))
	must(t, err)
	sum := stats.Candidates
	for _, count := range stats.Skipped {
		sum.merge(count)
	}
	if sum != stats.Seen || int(stats.Candidates.Files) != len(f.files) {
		t.Errorf("saw %+v, but %d candidates and those skipped make %+v", stats.Seen, len(f.files), sum)
	}
	return f, stats
}

func walkWith(t testing.TB, ctx context.Context, root string, opts Options, attrs xattrs.New, emit func(context.Context, gluster.File) error) (Stats, error) {
	t.Helper()
	dir, err := os.Open(root)
	must(t, err)
	defer dir.Close()
	if opts.Now.IsZero() {
		opts.Now = now
	}
	before := descriptors(t)
	defer func() {
		t.Helper()
		if after := descriptors(t); after != before {
			t.Errorf("%d descriptors before the walk, %d after", before, after)
		}
	}()
	w, start, err := newWalk(dir, opts, emit)
	if err != nil {
		return Stats{}, err
	}
	if attrs != nil {
		w.newAttrs = attrs
	}
	return w.run(ctx, start, opts.Crawlers)
}

func sorted(paths map[string]bool) []string { return slices.Sorted(maps.Keys(paths)) }

func descriptors(t testing.TB) int {
	entries, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(entries)
}

// reasons turns the tally into what a test can name: how many files by reason.
func reasons(stats Stats) map[outcome.Reason]int {
	n := make(map[outcome.Reason]int)
	for reason, count := range stats.Skipped {
		n[reason] = int(count.Files)
	}
	return n
}

func parents(p string) (dirs []string) {
	for p = path.Dir(p); p != "."; p = path.Dir(p) {
		dirs = append(dirs, p)
	}
	return dirs
}
