package rebuild

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/catalog"
	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore/dir"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/testkit"
	"github.com/coldbrick/coldbrick/internal/volume"
)

const secret = "a secret of the tests"

// lost is a volume that was written down.
type lost struct {
	*testkit.Volume
	trees []Catalog
	names map[string]catalog.Entry
}

// writeDown takes catalogs of all bricks of a volume, and reads them back.
func writeDown(t *testing.T, v *testkit.Volume) *lost {
	t.Helper()
	store := &dir.Store{}
	if err := store.Init(t.Context(), map[string]string{"store-dir": t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	place := catalog.Place{Store: store, Volume: v.ID, Secret: secret}
	for _, dir := range v.BrickDirs() {
		brick, err := volume.OpenBrick(dir)
		if err != nil {
			t.Fatal(err)
		}
		_, err = place.Take(t.Context(), catalog.Subject{
			Brick: dir, Ask: func(context.Context) (catalog.Cluster, error) { return catalog.Cluster{}, nil },
		}, catalog.Scan{Brick: brick, Dir: t.TempDir(), Workers: 2, Unreadable: func(p string, err error) { t.Error(p, err) }})
		brick.Close()
		if err != nil {
			t.Fatal(err)
		}
	}
	return readBack(t, v, place)
}

func readBack(t *testing.T, v *testkit.Volume, place catalog.Place) *lost {
	t.Helper()
	all, err := place.Find(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	l := &lost{Volume: v, names: map[string]catalog.Entry{}}
	for _, c := range all {
		tree, err := c.FetchTree(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { tree.Close() })
		l.trees = append(l.trees, tree)
		if err := tree.Tree(t.Context(), func(e catalog.Entry) error { l.names[string(e.Path)] = e; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

// mountOf is a private mount to rebuild on.
func mountOf(t *testing.T, v *testkit.Volume) *volume.Private {
	t.Helper()
	m, err := volume.Inspect(v.MountDir())
	if err != nil {
		t.Fatal(err)
	}
	m.RunDir = v.Dir() + "/private"
	p, err := m.Private(t.Context(), volume.ForRebuild)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// told collects what became of names.
type told struct {
	results map[string]Result
}

func (l *lost) run(t *testing.T, on Volume, change func(*Builder)) (told, error) {
	t.Helper()
	got := told{results: map[string]Result{}}
	b := &Builder{Volume: on, Store: l, From: l.ID, Jobs: 4, Tell: func(r Result) { got.results[string(r.Entry.Path)] = r }}
	if change != nil {
		change(b)
	}
	return got, b.Run(t.Context(), l.trees)
}

// Head tells of the objects that the stubs of the volume have.
func (l *lost) Head(_ context.Context, key string) (object.Info, error) {
	for _, e := range l.names {
		if string(e.Key) == key {
			made := object.Metadata{Volume: e.Pointer.Volume, GFID: e.GFID, Size: e.Size, Mtime: e.Pointer.Proof.Mtime}
			return object.Info{Size: e.Size, CRC32: e.Pointer.Proof.CRC32, HasCRC32: true, Metadata: made.Encode()}, nil
		}
	}
	return object.Info{}, fs.ErrNotExist
}

func (g told) of(outcome outcome.Outcome, reason outcome.Reason) (paths []string) {
	for path, r := range g.results {
		if r.Outcome == outcome && r.Reason == reason {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return paths
}

// makeStub makes a file that counts as a stub of size bytes, as far as the brick is
// concerned.
func makeStub(t *testing.T, v *testkit.Volume, path string, size int) {
	t.Helper()
	v.Write(path, nil, testkit.Old)
	p := object.Pointer{GFID: v.GFID(path), Volume: v.ID, Key: "key of " + path, Attempt: object.NewID(),
		Proof: &object.Stamped{Size: int64(size), Mtime: gluster.TimeAt(testkit.Old), CRC32: 7}}
	for _, m := range (&Builder{From: v.ID}).marks(catalog.Entry{GFID: v.GFID(path), Key: catalog.Bytes("key of " + path), Size: int64(size), Pointer: &p}) {
		for _, brick := range v.BrickDirs() {
			if _, err := os.Lstat(brick + "/" + path); err == nil {
				testkit.SetXattr(t, brick+"/"+path, m.name, string(m.value))
			}
		}
	}
	v.SetMtime(path, testkit.Old)
}

// fill makes one of each kind.
func fill(t *testing.T, v *testkit.Volume) {
	t.Helper()
	for i, path := range []string{"top", "a/b/c/deep", "a/hostile\n\xff\"", "a/-n", "z/other", "z/ü"} {
		makeStub(t, v, path, 1000+i)
	}
	v.Write("a/empty", nil, testkit.Old)
	v.Write("a/local", []byte("lost"), testkit.Old)
	for _, err := range []error{
		os.Symlink("/etc/\xffx", v.Path("a/link")), os.Link(v.Path("z/other"), v.Path("a/second")),
		unix.Mkfifo(v.Path("z/pipe"), 0o604),
		os.Chown(v.Path("top"), 1234, 4321), unix.Chmod(v.Path("top"), 0o4751), unix.Chmod(v.Path("a/b"), 0o2711),
		os.Lchown(v.Path("a/link"), 12, 13),
		unix.Setxattr(v.Path("a/empty"), "user.\xffname", []byte("\x00\xff"), 0),
		unix.Setxattr(v.Path("a"), "user.of-a-directory", []byte("x"), 0),
		unix.UtimesNanoAt(unix.AT_FDCWD, v.Path("z/ü"), []unix.Timespec{{Sec: 5, Nsec: 6}, {Sec: 1 << 33, Nsec: 7}}, 0),
		unix.UtimesNanoAt(unix.AT_FDCWD, v.Path("a/link"), []unix.Timespec{{Sec: 8, Nsec: 9}, {Sec: 10, Nsec: 11}}, unix.AT_SYMLINK_NOFOLLOW),
		unix.UtimesNanoAt(unix.AT_FDCWD, v.Path("a"), []unix.Timespec{{Sec: 12, Nsec: 13}, {Sec: 14, Nsec: 15}}, 0),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// same compares two written-down volumes, entry by entry.
func same(t *testing.T, want, got map[string]catalog.Entry, less ...string) {
	t.Helper()
	text := func(e catalog.Entry) string {
		if e.Kind == catalog.Directory && e.Path == "." {
			return "" // its times are the new volume's while the mount is in use
		}
		pointer := e.Pointer
		e.Pointer = nil
		return fmt.Sprintf("%+v %+v", e, pointer)
	}
	for path, w := range want {
		if slices.Contains(less, path) {
			continue
		}
		g, ok := got[path]
		if !ok {
			t.Errorf("%q is missing", path)
			continue
		}
		if w.Pointer != nil && g.Pointer != nil {
			if *w.Pointer.Proof != *g.Pointer.Proof || w.Pointer.Key != g.Pointer.Key || w.Pointer.Volume != g.Pointer.Volume {
				t.Errorf("pointer of %q: %+v, want %+v", path, g.Pointer, w.Pointer)
			}
			w.Pointer, g.Pointer = nil, nil
		}
		if text(w) != text(g) {
			t.Errorf("%q\n is %s\nwas %s", path, text(g), text(w))
		}
	}
	for path := range got {
		if _, ok := want[path]; !ok {
			t.Errorf("%q was not there", path)
		}
	}
}

func TestALostTreeComesBack(t *testing.T) {
	for name, options := range map[string][]testkit.Option{
		"one brick":  nil,
		"distribute": {testkit.Bricks(3)},
		"replica":    {testkit.Replica(3)},
		"2x2":        {testkit.Replica(2), testkit.Bricks(4)},
	} {
		t.Run(name, func(t *testing.T) {
			old := testkit.NewVolume(t)
			fill(t, old)
			l := writeDown(t, old)
			v := testkit.NewVolume(t, options...)
			private := mountOf(t, v)

			dry, err := l.run(t, private, func(b *Builder) { b.DryRun = true })
			if err != nil {
				t.Fatal(err)
			}
			if entries, err := os.ReadDir(v.MountDir()); err != nil || len(entries) != 0 {
				t.Errorf("a dry run made %v, %v", entries, err)
			}
			got, err := l.run(t, private, nil)
			if err != nil {
				t.Fatal(err, got)
			}
			if a, b := dry.of(outcome.Rebuilt, ""), got.of(outcome.Rebuilt, ""); !slices.Equal(a, b) {
				t.Errorf("rebuilt %q, announced %q", b, a)
			}
			if lost := got.of(outcome.Failed, outcome.Lost); !slices.Equal(lost, []string{"a/local"}) {
				t.Errorf("lost: %q", lost)
			}
			if n := len(got.results) - len(got.of(outcome.Rebuilt, "")); n != 1 {
				t.Errorf("%+v", got.results)
			}
			same(t, l.names, writeDown(t, v).names, "a/local")
			for _, brick := range v.BrickDirs() {
				if id, _ := testkit.Xattr(t, brick, gluster.XattrFormerly); string(id) != old.ID {
					t.Errorf("formerly %q on %s", id, brick)
				}
			}
			logs, err := filepath.Glob(v.Dir() + "/private/*/log")
			if err != nil || len(logs) != 1 {
				t.Fatal(logs, err)
			}
			if text, err := os.ReadFile(logs[0]); err != nil || strings.Contains(string(text), "remote operation failed") {
				t.Errorf("the log of the mount, which is kept in memory, grows with the tree: %v\n%s", err, text)
			}
			again, err := l.run(t, private, nil)
			if err != nil || len(again.of(outcome.Skipped, outcome.Present)) != len(got.of(outcome.Rebuilt, "")) {
				t.Errorf("again: %+v, %v", again, err)
			}
		})
	}
}

// Every brick has its own times of a directory, and clients are shown the newest.
func TestADirectoryOfManyBricksHasItsNewestTimes(t *testing.T) {
	old := testkit.NewVolume(t, testkit.Bricks(3))
	want := map[string]time.Time{}
	for i := range 8 { // each change is on one brick
		old.Write(fmt.Sprintf("d/%d", i), nil, testkit.Old)
		old.Write(fmt.Sprintf("d/in/%d", i), nil, testkit.Old)
	}
	for _, dir := range []string{"d", "d/in"} {
		info, err := os.Lstat(old.Path(dir))
		if err != nil {
			t.Fatal(err)
		}
		want[dir] = info.ModTime()
	}
	l := writeDown(t, old)
	for range l.trees { // whichever comes last
		l.trees = append(l.trees[1:], l.trees[0])
		v := testkit.NewVolume(t)
		if got, err := l.run(t, mountOf(t, v), nil); err != nil || len(got.of(outcome.Rebuilt, "")) != 16 {
			t.Fatal(got, err)
		}
		for dir, mtime := range want {
			if info, err := os.Lstat(v.Path(dir)); err != nil || !info.ModTime().Equal(mtime) {
				t.Errorf("%s was changed at %v: %v, %v", dir, mtime, info.ModTime(), err)
			}
		}
	}
}

// cut is a volume on which only so many calls succeed.
type cut struct {
	Volume
	mu   sync.Mutex
	left int
}

var errCut = errors.New("cut")

func (c *cut) Open(path string, flags int) (*os.File, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left--; c.left < 0 {
		return nil, errCut
	}
	return c.Volume.Open(path, flags)
}

// A rebuild that ends anywhere shows nothing half made, and the next one goes on.
func TestARebuildThatWasCutGoesOn(t *testing.T) {
	old := testkit.NewVolume(t)
	fill(t, old)
	l := writeDown(t, old)
	v := testkit.NewVolume(t)
	private := mountOf(t, v)
	cuts := 0
	for n := 1; ; n += 7 {
		got, err := l.run(t, &cut{Volume: private, left: n}, func(b *Builder) { b.Jobs = 1 })
		for path, e := range writeDown(t, v).names { // what users see
			if w, ok := l.names[path]; path != "." && (!ok || w.Kind != e.Kind || w.Mtime != e.Mtime || w.UID != e.UID || w.Mode != e.Mode || w.Key != e.Key) {
				t.Errorf("after %d calls %q is %+v", n, path, e)
			}
		}
		if err == nil && len(got.of(outcome.Failed, outcome.IOError)) == 0 {
			break
		}
		cuts++
	}
	if cuts < 5 {
		t.Errorf("cut %d times only", cuts)
	}
	same(t, l.names, writeDown(t, v).names, "a/local")
}

func TestWhatExistsIsLeftAlone(t *testing.T) {
	old := testkit.NewVolume(t)
	fill(t, old)
	l := writeDown(t, old)
	v := testkit.NewVolume(t)
	v.Write("top", []byte("another"), testkit.Old)
	v.Write("z/new", []byte("another"), testkit.Old)
	private := mountOf(t, v)
	got, err := l.run(t, private, nil)
	if err != nil {
		t.Fatal(err)
	}
	if taken := got.of(outcome.Failed, outcome.NameTaken); !slices.Contains(taken, "top") || !slices.Contains(taken, "z") {
		t.Errorf("taken: %q", taken)
	}
	names := writeDown(t, v).names
	for _, path := range []string{"a/b/c/deep", "a/link", "a/second", "z/new"} { // a/second was a name of z/other, too
		if _, ok := names[path]; !ok {
			t.Errorf("%q is missing", path)
		}
	}
	if e := names["top"]; e.Size != int64(len("another")) {
		t.Errorf("%+v", e)
	}
	if _, ok := names["z/other"]; ok {
		t.Error("a directory of users was written into")
	}
}

// What a user has put on one file, and the new volume has no room for, costs nobody
// else anything.
func TestAttributesWithoutRoomCostOneFile(t *testing.T) {
	old := testkit.NewVolume(t, testkit.BrickOn("xfs"))
	makeStub(t, old, "d/much", 7)
	makeStub(t, old, "d/other", 8)
	testkit.SetXattr(t, old.BrickPath("d/much"), "user.much", strings.Repeat("x", 30_000))
	l := writeDown(t, old)
	v := testkit.NewVolume(t, testkit.Ext4(256))
	got, err := l.run(t, mountOf(t, v), nil)
	if err != nil {
		t.Fatal(err)
	}
	if failed := got.of(outcome.Failed, outcome.IOError); !slices.Equal(failed, []string{"d/much"}) {
		t.Errorf("failed: %q", failed)
	}
	names := writeDown(t, v).names
	for _, path := range []string{"d/much", "d/other"} {
		if e := names[path]; e.Kind != catalog.Stub || e.Mtime != gluster.TimeAt(testkit.Old) {
			t.Errorf("%q: %+v", path, e)
		}
	}
}

func TestAGFIDThatIsInUseIsNamed(t *testing.T) {
	old := testkit.NewVolume(t)
	makeStub(t, old, "moved", 7)
	makeStub(t, old, "d/moved too", 8)
	makeStub(t, old, "d/stays", 9)
	l := writeDown(t, old)
	for name, options := range map[string][]testkit.Option{"one brick": nil, "2x2": {testkit.Replica(2), testkit.Bricks(4)}} {
		t.Run(name, func(t *testing.T) {
			v := testkit.NewVolume(t, options...)
			private := mountOf(t, v)
			if _, err := l.run(t, private, nil); err != nil {
				t.Fatal(err)
			}
			for from, to := range map[string]string{"moved": "elsewhere", "d/moved too": "elsewhere too"} {
				if err := os.Rename(v.Path(from), v.Path(to)); err != nil {
					t.Fatal(err)
				}
			}
			got, err := l.run(t, private, nil)
			if taken := got.of(outcome.Failed, outcome.GFIDTaken); err != nil || !slices.Equal(taken, []string{"d/moved too", "moved"}) {
				t.Errorf("taken: %q of %+v, %v", taken, got.results, err)
			}
			names := writeDown(t, v).names
			for _, path := range []string{"elsewhere", "elsewhere too", "d/stays"} {
				if names[path].Kind != catalog.Stub {
					t.Errorf("%q: %+v", path, names[path])
				}
			}
		})
	}
}

func TestOneDirectoryComesBack(t *testing.T) {
	old := testkit.NewVolume(t)
	fill(t, old)
	l := writeDown(t, old)
	v := testkit.NewVolume(t)
	private := mountOf(t, v)
	if _, err := l.run(t, private, func(b *Builder) { b.Under = "a/b" }); err != nil {
		t.Fatal(err)
	}
	got := writeDown(t, v).names
	want := map[string]catalog.Entry{}
	for _, path := range []string{".", "a", "a/b", "a/b/c", "a/b/c/deep"} {
		want[path] = l.names[path]
	}
	a := want["a"]
	a.Atime, a.Mtime = got["a"].Atime, got["a"].Mtime // something was moved into it
	want["a"] = a
	same(t, want, got)
	for _, under := range []string{"../x", "/a", "none"} {
		if _, err := l.run(t, private, func(b *Builder) { b.Under = under }); err == nil {
			t.Errorf("--under %q was taken", under)
		}
	}
}

// What is missing in a directory that exists is made there: the rest after one directory
// was wanted first, and a stub whose object was not there the first time.
func TestWhatIsMissingInADirectoryThatExistsIsMade(t *testing.T) {
	old := testkit.NewVolume(t)
	fill(t, old)
	l := writeDown(t, old)
	for name, options := range map[string][]testkit.Option{"one brick": nil, "2x2": {testkit.Replica(2), testkit.Bricks(4)}} {
		t.Run(name, func(t *testing.T) {
			v := testkit.NewVolume(t, options...)
			private := mountOf(t, v)
			if _, err := l.run(t, private, func(b *Builder) { b.Under = "a/b" }); err != nil {
				t.Fatal(err)
			}
			got, err := l.run(t, private, func(b *Builder) { b.Store = without{l, "key of a/-n", "key of z/other"} })
			if missing := got.of(outcome.Failed, outcome.ObjectMissing); err != nil || !slices.Equal(missing, []string{"a/-n", "a/second", "z/other"}) {
				t.Fatalf("missing: %q, %v", missing, err)
			}
			names := writeDown(t, v).names
			for _, path := range []string{"a/b/c/deep", "a/link", "a/empty", "z/ü", "top"} {
				if _, ok := names[path]; !ok {
					t.Errorf("%q is not there", path)
				}
			}
			got, err = l.run(t, private, nil)
			if made := got.of(outcome.Rebuilt, ""); err != nil || !slices.Equal(made, []string{"a/-n", "a/second", "z/other"}) {
				t.Errorf("made: %q, %v", made, err)
			}
			same(t, l.names, writeDown(t, v).names, "a/local", "a", "z") // something was moved into the directories
		})
	}
}

// without is a store that lacks objects.
type without struct {
	Store
	first, second string
}

func (w without) Head(ctx context.Context, key string) (object.Info, error) {
	if key == w.first || key == w.second {
		return object.Info{}, fs.ErrNotExist
	}
	return w.Store.Head(ctx, key)
}

// Users rename a directory while catalogs are written, which know it by both names, or
// after it was rebuilt. Gluster would make a second directory of its gfid.
func TestADirectoryIsMadeOnce(t *testing.T) {
	old := testkit.NewVolume(t)
	makeStub(t, old, "top/before/in/first", 7)
	l := writeDown(t, old)
	if err := os.Rename(old.Path("top/before"), old.Path("top/after")); err != nil {
		t.Fatal(err)
	}
	makeStub(t, old, "top/after/in/second", 8)
	next := writeDown(t, old)
	l.trees = append(l.trees, next.trees...)
	for path, e := range next.names {
		l.names[path] = e
	}
	v := testkit.NewVolume(t, testkit.Bricks(2))
	private := mountOf(t, v)
	got, err := l.run(t, private, nil)
	if err != nil || len(got.of(outcome.Rebuilt, "")) != 2 || len(got.of(outcome.Skipped, outcome.Present)) != 1 {
		t.Fatal(got, err)
	}
	mustHave := func(dir string) {
		t.Helper()
		names := writeDown(t, v).names
		if len(names) != 6 { // with the root
			t.Errorf("%d names: %v", len(names), names)
		}
		for _, name := range []string{"first", "second"} {
			if e := names[dir+"/in/"+name]; e.Kind != catalog.Stub || e.GFID != old.GFID("top/after/in/"+name) {
				t.Errorf("%s: %+v", name, e)
			}
		}
	}
	mustHave("top/before")

	if err := os.Rename(v.Path("top"), v.Path("moved")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(v.Path("moved/before/in/second")); err != nil {
		t.Fatal(err)
	}
	if got, err := l.run(t, private, nil); err != nil || !slices.Equal(got.of(outcome.Rebuilt, ""), []string{"top/after/in/second"}) {
		t.Error(got, err)
	}
	if names := writeDown(t, v).names; len(names) != 6 {
		t.Errorf("%v", names)
	}
	mustHave("moved/before")
}

// A file whose first name cannot be made costs its other names, and nobody else.
func TestAFailedFirstNameHoldsNothingBack(t *testing.T) {
	old := testkit.NewVolume(t)
	makeStub(t, old, "a/first", 7)
	makeStub(t, old, "b/other", 8)
	if err := os.Link(old.Path("a/first"), old.Path("b/second")); err != nil {
		t.Fatal(err)
	}
	l := writeDown(t, old)
	v := testkit.NewVolume(t)
	private := mountOf(t, v)
	got, err := l.run(t, private, func(b *Builder) { b.Store = without{l, "key of a/first", ""} })
	if missing := got.of(outcome.Failed, outcome.ObjectMissing); err != nil || !slices.Equal(missing, []string{"a/first", "b/second"}) {
		t.Errorf("missing: %q of %v, %v", missing, got, err)
	}
	if e := writeDown(t, v).names["b/other"]; e.Kind != catalog.Stub {
		t.Errorf("b/other: %+v", e)
	}
}

// A run that was cut has made a part of what another run makes with more above it.
func TestWhatAnotherRunLeftIsTakenOver(t *testing.T) {
	old := testkit.NewVolume(t)
	fill(t, old)
	l := writeDown(t, old)
	v := testkit.NewVolume(t)
	private := mountOf(t, v)
	got, err := l.run(t, private, func(b *Builder) {
		b.Under = "a/b"
		b.Store = refusing{}
	})
	if !errors.Is(err, ErrLeft) || len(got.of(outcome.Failed, outcome.StoreRefused)) != 1 {
		t.Fatal(got, err)
	}
	if got, err := l.run(t, private, nil); err != nil || len(got.of(outcome.Failed, outcome.IOError)) != 0 {
		t.Fatal(got, err)
	}
	same(t, l.names, writeDown(t, v).names, "a/local")
}

type refusing struct{}

func (refusing) Head(context.Context, string) (object.Info, error) {
	return object.Info{}, object.ErrStore
}

// What was a file when one brick was written down may be a directory in the catalog of
// another one. It has one name, and the file that lost it is told in each run.
func TestAFileWhoseNameADirectoryHasIsTold(t *testing.T) {
	old := testkit.NewVolume(t)
	makeStub(t, old, "x", 7)
	l := writeDown(t, old)
	if err := os.Remove(old.Path("x")); err != nil {
		t.Fatal(err)
	}
	makeStub(t, old, "x/in", 8)
	next := writeDown(t, old)
	l.trees = append(l.trees, next.trees...)
	l.names["x/in"] = next.names["x/in"]
	v := testkit.NewVolume(t)
	private := mountOf(t, v)
	for run := range 2 {
		got, err := l.run(t, private, nil)
		if taken := got.of(outcome.Failed, outcome.NameTaken); err != nil || !slices.Equal(taken, []string{"x"}) {
			t.Errorf("run %d: taken: %q of %v, %v", run, taken, got, err)
		}
		if e := writeDown(t, v).names["x/in"]; e.Kind != catalog.Stub {
			t.Errorf("run %d: x/in: %+v", run, e)
		}
	}
}
