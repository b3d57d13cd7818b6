package catalog

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore"
	"github.com/coldbrick/coldbrick/internal/objstore/dir"
	"github.com/coldbrick/coldbrick/internal/testkit"
	"github.com/coldbrick/coldbrick/internal/volume"
	"github.com/coldbrick/coldbrick/internal/xattrs"
	"github.com/coldbrick/coldbrick/recall"
)

const secret = "a secret of the tests"

// ground is a volume of one brick, and a store.
type ground struct {
	*testkit.Volume
	t     *testing.T
	store *dir.Store
	place Place

	dir             string     // of a scan; "": one for each
	attrs           xattrs.New // nil: the best
	workers, memory int        // 0: 4, and the usual
}

func newGround(t *testing.T, options ...testkit.Option) *ground {
	t.Helper()
	g := &ground{Volume: testkit.NewVolume(t, options...), t: t, store: &dir.Store{}}
	if err := g.store.Init(t.Context(), map[string]string{"store-dir": t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	g.place = Place{Store: g.store, Prefix: "p/", Volume: g.ID, Secret: secret}
	return g
}

// take writes a catalog of a brick.
func (g *ground) take(p Place, brickDir string) (Manifest, []string, error) {
	g.t.Helper()
	brick, err := volume.OpenBrick(brickDir)
	if err != nil {
		g.t.Fatal(err)
	}
	defer brick.Close()
	var unreadable []string
	m, err := p.Take(g.t.Context(), Subject{
		Brick: "host:" + brickDir,
		Ask:   func(context.Context) (Cluster, error) { return Cluster{}, nil },
	}, Scan{
		Brick: brick, Dir: cmp.Or(g.dir, g.t.TempDir()), Workers: cmp.Or(g.workers, 4), Notes: notes, attrs: g.attrs, memory: g.memory,
		Unreadable: func(path string, err error) { unreadable = append(unreadable, fmt.Sprintf("%s: %v", path, err)) },
	})
	return m, unreadable, err
}

func notes(value []byte, pointed string) (Recalling, error) {
	n, err := recall.DecodeNotes(value, pointed)
	return Recalling{Key: n.Key, Size: n.Size, Atime: n.Atime, Mtime: n.Mtime}, err
}

// newest is what the only, or the newest, valid catalog says.
func (g *ground) newest() (keys []string, tree map[string]Entry) {
	g.t.Helper()
	all, err := g.place.Find(g.t.Context(), g.t.TempDir())
	if err != nil {
		g.t.Fatal(err)
	}
	if len(all) == 0 {
		g.t.Fatal("no valid catalog")
	}
	c := all[len(all)-1]
	tree = map[string]Entry{}
	if err := errors.Join(
		c.Refs(g.t.Context(), func(r Ref) error { keys = append(keys, string(r.Key)); return nil }),
		readTree(g.t.Context(), c, func(e Entry) error { tree[string(e.Path)] = e; return nil }),
	); err != nil {
		g.t.Fatal(err)
	}
	return keys, tree
}

func readTree(ctx context.Context, c Catalog, visit func(Entry) error) error {
	tree, err := c.FetchTree(ctx)
	if err != nil {
		return err
	}
	return errors.Join(tree.Tree(ctx, visit), tree.Close())
}

// none fails the test if there is a valid catalog.
func (g *ground) none() {
	g.t.Helper()
	if all, err := g.place.Find(g.t.Context(), g.t.TempDir()); err != nil || len(all) > 0 {
		g.t.Errorf("%d catalogs, %v", len(all), err)
	}
}

// brickAttr sets an attribute on the brick, where a user or a crash may have left it.
func (g *ground) brickAttr(path, name string, value []byte) {
	g.t.Helper()
	testkit.SetXattr(g.t, g.BrickPath(path), name, string(value))
}

func (g *ground) pointer(path, key string) []byte {
	return object.Pointer{GFID: g.GFID(path), Volume: g.ID, Key: key, Attempt: object.NewID()}.Encode()
}

// Whatever a file knows its object by, and wherever the file is, its key is there.
func TestEveryReferenceIsInTheCatalog(t *testing.T) {
	g := newGround(t)
	want := []string{}
	for i, path := range []string{
		"stub", "pointed", "recalled", "recalled-1", "claimed", "both", "hostile", "copy",
		"deleted-but-open", "no-name", ".trashcan/deleted", "no-handle", "d/e/f/deep", "anonymous",
	} {
		if path == "anonymous" || path == ".trashcan/deleted" {
			continue // made on the brick below
		}
		g.Write(path, []byte("x"), testkit.Old.Add(time.Duration(i)))
	}
	ref := func(key string) []byte { want = append(want, key); return []byte(key) }
	g.brickAttr("stub", gluster.XattrRemote, ref("key of a stub"))
	g.brickAttr("d/e/f/deep", gluster.XattrRemote, ref("deep"))
	g.brickAttr("pointed", gluster.XattrPointer, g.pointer("pointed", string(ref("key of a local file's pointer"))))
	g.brickAttr("recalled", gluster.XattrRecall, fmt.Appendf(nil, "2 %s 7 1.000000000 2.000000000 - run host %s", g.GFID("recalled"), ref("key of notes")))
	old := fmt.Appendf(nil, `{"v":1,"gfid":"%s","key":%q,"size":7}`, g.GFID("recalled-1"), ref("key of old notes"))
	g.brickAttr("recalled-1", gluster.XattrRecall, old)
	g.brickAttr("claimed", gluster.XattrRecall+".0123", bytes.ReplaceAll(old, []byte("old notes"), []byte("a claim")))
	ref("key of a claim")
	g.brickAttr("both", gluster.XattrRemote, ref("remote of both"))
	g.brickAttr("both", gluster.XattrPointer, g.pointer("both", string(ref("pointer of both"))))
	g.brickAttr("hostile", gluster.XattrRemote, ref("not\xffUTF-8 \n\x01"))
	g.brickAttr("copy", gluster.XattrPointer, object.Pointer{GFID: gluster.GFID{1}, Volume: "another", Key: string(ref("of the original"))}.Encode())

	// A file that a client has open while it is unlinked.
	g.brickAttr("deleted-but-open", gluster.XattrRemote, ref("deleted but open"))
	open, err := os.OpenFile(g.Path("deleted-but-open"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	// open-behind is not in the graph: the brick has it open, too.
	if err := os.Remove(g.Path("deleted-but-open")); err != nil {
		t.Fatal(err)
	}
	// A file whose name is gone, and one whose handle is.
	g.brickAttr("no-name", gluster.XattrRemote, ref("only the handle"))
	g.brickAttr("no-handle", gluster.XattrRemote, ref("only the name"))
	for _, gone := range []string{g.BrickPath("no-name"), g.HandlePath(g.GFID("no-handle"))} {
		if err := os.Remove(gone); err != nil {
			t.Fatal(err)
		}
	}
	for dir, key := range map[string]string{".trashcan": "in the trash", ".glusterfs-anonymous-inode-x": "anonymous", ".glusterfs/landfill/a": "to be purged"} {
		name := g.BrickPath(dir + "/f")
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		testkit.SetXattr(t, name, gluster.XattrRemote, string(ref(key)))
	}

	slices.Sort(want)
	// References wait on disk, below a path that is relative, as --state-dir may be.
	t.Chdir(t.TempDir())
	if err := os.Mkdir("state", 0o700); err != nil {
		t.Fatal(err)
	}
	g.dir, g.memory = "state", 1
	for way, attrs := range xattrs.Ways(unix.AT_FDCWD) {
		for _, workers := range []int{1, 4} {
			g.attrs, g.workers = attrs, workers
			m, unreadable, err := g.take(g.place, g.BrickDir())
			if err != nil {
				t.Fatal(way, workers, err, unreadable)
			}
			keys, tree := g.newest()
			if !slices.Equal(keys, want) {
				t.Errorf("%s, %d workers: keys %q\nwant %q", way, workers, keys, want)
			}
			if m.Refs.Lines != int64(len(want)) || m.Tree.Lines != int64(len(tree)) {
				t.Errorf("%s, %d workers: %+v", way, workers, m)
			}
			for path := range tree {
				if strings.HasPrefix(path, ".trashcan") || strings.HasPrefix(path, ".glusterfs") {
					t.Errorf("%q is in the tree", path)
				}
			}
		}
	}
}

// What is in the trash has a name that users chose; its file is known all the same.
func TestAReferenceInTheTrashSaysOfWhichFile(t *testing.T) {
	g := newGround(t)
	g.Write("f", []byte("x"), testkit.Old)
	g.brickAttr("f", gluster.XattrRemote, []byte("key"))
	gfid, trash := g.GFID("f"), g.BrickPath(".trashcan")
	if err := errors.Join(os.MkdirAll(trash, 0o700), os.Rename(g.BrickPath("f"), trash+"/"+"00000000-0000-4000-8000-000000000001")); err != nil {
		t.Fatal(err)
	}
	if _, unreadable, err := g.take(g.place, g.BrickDir()); err != nil {
		t.Fatal(err, unreadable)
	}
	all, err := g.place.Find(t.Context(), t.TempDir())
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	var refs []Ref
	if err := all[0].Refs(t.Context(), func(r Ref) error { refs = append(refs, r); return nil }); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(refs, []Ref{{"key", gfid}}) {
		t.Errorf("%v, want the file %s", refs, gfid)
	}
}

// What clients and runs leave on the root and on files beside references stops no catalog.
func TestAttributesWithoutAKeyNameNothing(t *testing.T) {
	g := newGround(t)
	for _, name := range []string{
		gluster.VouchName(netip.MustParseAddr("192.0.2.1")), gluster.VouchName(netip.MustParseAddr("fe80::1")), gluster.XattrRoom,
		gluster.XattrRecalled, gluster.XattrPin, gluster.XattrFormerly, gluster.XattrRebuilt,
	} {
		g.brickAttr(".", name, []byte("1"))
	}
	if _, unreadable, err := g.take(g.place, g.BrickDir()); err != nil {
		t.Fatal(err, unreadable)
	}
	if keys, _ := g.newest(); len(keys) != 0 {
		t.Errorf("keys %q", keys)
	}
}

func TestTheTreeHasAllThatAFileIs(t *testing.T) {
	g := newGround(t)
	if err := unix.Mkdir(g.Path("dir"), 0o750); err != nil {
		t.Fatal(err)
	}
	names := []string{"plain", "dir/a\nb\xff\"", "-n", "dir/<&>\u2028"}
	for _, n := range names {
		g.Write(n, []byte("data of "+n), testkit.Old)
	}
	g.Write("far", nil, time.Unix(1<<33, 5)) // an empty file, of the year 2242
	for _, err := range []error{
		os.Link(g.Path("plain"), g.Path("dir/second name")),
		os.Symlink("/etc/\xffpasswd", g.Path("dir/link")),
		unix.Chmod(g.Path("dir"), 0o2750), unix.Mkfifo(g.Path("pipe"), 0o604),
		os.Chown(g.Path("plain"), 1234, 4321), unix.Chmod(g.Path("plain"), 0o4751),
		unix.Setxattr(g.Path("plain"), "user.\xffname", []byte("\x00\xff"), 0),
		unix.Setxattr(g.BrickPath("dir"), "system.posix_acl_default", acl(), 0),
		unix.Setxattr(g.BrickPath("-n"), gluster.XattrPin, []byte("1"), 0),
		unix.Setxattr(g.BrickPath("far"), gluster.XattrLinkto, []byte("other"), 0),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for way, attrs := range xattrs.Ways(unix.AT_FDCWD) {
		t.Run(way, func(t *testing.T) {
			g.attrs = attrs
			if _, unreadable, err := g.take(g.place, g.BrickDir()); err != nil {
				t.Fatal(err, unreadable)
			}
			_, tree := g.newest()
			want := []string{".", "dir", "plain", "dir/a\nb\xff\"", "-n", "dir/<&>\u2028", "dir/second name", "dir/link", "pipe"}
			if got := slices.Sorted(maps.Keys(tree)); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
				t.Errorf("%q", got)
			}
			e := tree["plain"]
			if e.Kind != File || e.GFID != g.GFID("plain") || e.UID != 1234 || e.GID != 4321 || e.Mode != unix.S_IFREG|0o4751 ||
				e.Size != int64(len("data of plain")) || e.Links != 2 || e.Mtime != gluster.TimeAt(testkit.Old) ||
				len(e.Xattrs) != 1 || e.Xattrs[0].Name != "user.\xffname" || string(e.Xattrs[0].Value) != "\x00\xff" {
				t.Errorf("%+v", e)
			}
			if tree["dir/second name"].GFID != e.GFID {
				t.Error("two names of one file have two gfids")
			}
			if e := tree["dir/link"]; e.Kind != Symlink || e.Target != "/etc/\xffpasswd" {
				t.Errorf("%+v", e)
			}
			if e := tree["pipe"]; e.Kind != Special || e.Mode != unix.S_IFIFO|0o604 {
				t.Errorf("%+v", e)
			}
			if e := tree["dir"]; e.Kind != Directory || e.Mode != unix.S_IFDIR|0o2750 ||
				len(e.Xattrs) != 1 || e.Xattrs[0].Name != "system.posix_acl_default" || string(e.Xattrs[0].Value) != string(acl()) {
				t.Errorf("%+v", e)
			}
			if e := tree["-n"]; len(e.Xattrs) != 1 || e.Xattrs[0].Name != gluster.XattrPin {
				t.Errorf("the pin is missing: %+v", e)
			}
		})
	}
}

// acl is "u::rwx,u:1:r-x,g::---,m::r-x,o::---".
func acl() []byte {
	return []byte("\x02\x00\x00\x00" + "\x01\x00\x07\x00\xff\xff\xff\xff" + "\x02\x00\x05\x00\x01\x00\x00\x00" +
		"\x04\x00\x00\x00\xff\xff\xff\xff" + "\x10\x00\x05\x00\xff\xff\xff\xff" + "\x20\x00\x00\x00\xff\xff\xff\xff")
}

// Users rename and delete while a scan goes on. A file that lives has its reference in
// every catalog, wherever its name is just then.
func TestARenameHidesNoReference(t *testing.T) {
	g := newGround(t)
	var want []string
	for i := range 40 {
		path := fmt.Sprintf("%d/f", i)
		want = append(want, fmt.Sprintf("key %02d", i))
		g.Write(path, nil, testkit.Old)
		g.Write(fmt.Sprintf("%d/g", i), nil, testkit.Old) // comes and goes
		g.brickAttr(path, gluster.XattrRemote, []byte(want[i]))
	}
	stop, stopped := make(chan struct{}), make(chan error, 1)
	go func() {
		for round := 0; ; round++ {
			for i := range 40 {
				select {
				case <-stop:
					stopped <- nil
					return
				default:
				}
				from, to := g.Path(fmt.Sprintf("%d", (i+round)%40)), g.Path(fmt.Sprintf("%d", (i+round+1)%40))
				err := errors.Join(os.Rename(from+"/f", to+"/moving"), os.Rename(to+"/f", from+"/f"), os.Rename(to+"/moving", to+"/f"),
					os.Remove(from+"/g"), os.WriteFile(from+"/g", nil, 0o600))
				if err != nil {
					stopped <- err
					return
				}
			}
		}
	}()
	for range 10 {
		if _, unreadable, err := g.take(g.place, g.BrickDir()); err != nil {
			t.Fatal(err, unreadable)
		}
		if keys, _ := g.newest(); !slices.Equal(keys, want) {
			t.Errorf("%d keys: %q", len(keys), keys)
		}
	}
	close(stop)
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
}

// replacing renames a file over another while that is looked at.
type replacing struct {
	xattrs.Reader
	rename func() error
}

func (r replacing) List(name *byte, buf []byte) (int, error) {
	if unix.BytePtrToString(name) == "victim" {
		if err := r.rename(); err != nil {
			return 0, err
		}
	}
	return r.Reader.List(name, buf)
}

// The line of a name is of one file.
func TestAFileThatIsReplacedIsNotMixedWithAnother(t *testing.T) {
	g := newGround(t)
	g.Write("victim", []byte("a secret"), testkit.Old)
	g.Write("other", []byte("known to all"), testkit.Old)
	if err := errors.Join(os.Chmod(g.Path("victim"), 0o600), os.Chmod(g.Path("other"), 0o644)); err != nil {
		t.Fatal(err)
	}
	other := g.GFID("other")
	rename := sync.OnceValue(func() error { return os.Rename(g.Path("other"), g.Path("victim")) })
	g.attrs = func() (xattrs.Reader, error) {
		r, err := xattrs.Best(unix.AT_FDCWD)()
		return replacing{r, rename}, err
	}
	if _, unreadable, err := g.take(g.place, g.BrickDir()); err != nil {
		t.Fatal(err, unreadable)
	}
	_, tree := g.newest()
	if e := tree["victim"]; e.GFID != other || e.Mode != unix.S_IFREG|0o644 || e.Size != int64(len("known to all")) {
		t.Errorf("%+v, want the file %s", e, other)
	}
}

// On XFS a file may have any number of attributes. They cost that file some of them.
func TestManyAttributesOfOneFileStopNobody(t *testing.T) {
	g := newGround(t, testkit.BrickOn("xfs"))
	g.Write("many", []byte("x"), testkit.Old)
	g.Write("one", []byte("x"), testkit.Old)
	for i := range 40 {
		g.brickAttr("many", fmt.Sprintf("user.%d", i), bytes.Repeat([]byte("x"), 60_000))
	}
	g.brickAttr("many", gluster.XattrRemote, []byte("key"))
	g.brickAttr("one", "user.a", []byte("x"))
	if _, unreadable, err := g.take(g.place, g.BrickDir()); err != nil {
		t.Fatal(err, unreadable)
	}
	keys, tree := g.newest()
	if e := tree["many"]; !slices.Equal(keys, []string{"key"}) || !e.XattrsCut || len(e.Xattrs) == 0 || len(e.Xattrs) > 5 {
		t.Errorf("%q, %d attributes, %v", keys, len(e.Xattrs), e.XattrsCut)
	}
	if e := tree["one"]; e.XattrsCut || len(e.Xattrs) != 1 {
		t.Errorf("%+v", e)
	}
}

// On XFS the owner of a file can give it more attributes than Linux lists. It is known all
// the same, and what keeps it from being known is only what no owner can set.
func TestMoreAttributesThanLinuxListsStopNobody(t *testing.T) {
	g := newGround(t, testkit.BrickOn("xfs"))
	for _, name := range []string{"stub", "file", "recalled"} {
		g.Write(name, []byte("x"), testkit.Old)
		for i := range 280 {
			g.brickAttr(name, fmt.Sprintf("user.%0240d", i), nil)
		}
	}
	if _, err := unix.Listxattr(g.BrickPath("file"), make([]byte, 64<<10)); !errors.Is(err, unix.E2BIG) {
		t.Fatal(err)
	}
	g.brickAttr("stub", gluster.XattrRemote, []byte("key of a stub"))
	g.brickAttr("stub", gluster.XattrPin, []byte("1"))
	for way, attrs := range xattrs.Ways(unix.AT_FDCWD) {
		g.attrs = attrs
		if _, unreadable, err := g.take(g.place, g.BrickDir()); err != nil {
			t.Fatal(way, err, unreadable)
		}
		keys, tree := g.newest()
		stub, file := tree["stub"], tree["file"]
		if !slices.Equal(keys, []string{"key of a stub"}) || stub.Kind != Stub || stub.GFID != g.GFID("stub") || len(stub.Xattrs) != 1 ||
			file.Kind != File || file.GFID != g.GFID("file") || !stub.XattrsCut || !file.XattrsCut {
			t.Errorf("%s: keys %q, %+v, %+v", way, keys, stub, file)
		}
	}
	g.brickAttr("recalled", gluster.XattrRecall, fmt.Appendf(nil, "2 %s 7 1.000000000 2.000000000 - run host key of notes", g.GFID("recalled")))
	if _, unreadable, err := g.take(g.place, g.BrickDir()); !errors.Is(err, ErrIncomplete) {
		t.Errorf("with notes of a recall, to which there may be a claim: %v, %v", err, unreadable)
	}
}

// Of each replica set the newest catalog counts, of whichever brick; what is no part of
// the volume any more has given its files to others.
func TestTheNewestCatalogsMakeTheTree(t *testing.T) {
	sets := [][]string{{"a1", "a2"}, {"b1", "b2"}, {"c1", "c2"}}
	made := func(hour int, brick string, asked bool) Catalog {
		return Catalog{Manifest: Manifest{Brick: brick, Scan: fmt.Sprint(hour), End: Cluster{Asked: asked, Sets: sets}, Counts: Counts{Stubs: 10}},
			Time: time.Unix(int64(hour)*3600, 0)}
	}
	healing := func(c Catalog, stubs int64) Catalog {
		c.Begin.Healing, c.Counts.Stubs = 1, stubs
		return c
	}
	for _, tt := range []struct {
		name          string
		all           []Catalog
		want, missing []string
	}{
		{name: "nothing"},
		{"one of each set", []Catalog{made(1, "a1", true), made(2, "c2", true), made(3, "b2", true), made(4, "a2", true)}, []string{"4", "3", "2"}, nil},
		{"a set without", []Catalog{made(1, "a1", true), made(2, "b1", true)}, []string{"1", "2"}, []string{"c1", "c2"}},
		{"a brick that was removed", []Catalog{made(1, "old", true), made(2, "a1", true), made(3, "b1", true), made(4, "c1", true)}, []string{"2", "3", "4"}, nil},
		{"by hand, without glusterd, after the others", []Catalog{made(1, "a1", true), made(2, "b1", true), made(3, "c1", true), made(4, "/b1", false)}, []string{"1", "2", "3"}, nil},
		{"a brick that is healed", []Catalog{made(1, "a1", true), made(2, "b1", true), made(3, "c1", true), healing(made(4, "a2", true), 5)}, []string{"1", "2", "3"}, nil},
		{"heals, and nothing lacks", []Catalog{made(1, "a1", true), made(2, "b1", true), made(3, "c1", true), healing(made(4, "a2", true), 10)}, []string{"4", "2", "3"}, nil},
		{"heals, and the other is of last week", []Catalog{made(1, "a1", true), made(140, "b1", true), made(141, "c1", true), healing(made(142, "a2", true), 5)}, []string{"142", "140", "141"}, nil},
		{"without glusterd", []Catalog{made(1, "x", false), made(2, "y", false), made(3, "x", false)}, []string{"3", "2"}, nil},
	} {
		newest, missing := Newest(tt.all)
		var got []string
		for _, c := range newest {
			got = append(got, c.Scan)
		}
		if !slices.Equal(got, tt.want) || !slices.Equal(missing, tt.missing) {
			t.Errorf("%s: %q, missing %q; want %q, %q", tt.name, got, missing, tt.want, tt.missing)
		}
	}
}

// A catalog that lacked one reference would have its object deleted.
func TestWhatCannotBeReadLeavesNoCatalog(t *testing.T) {
	for name, value := range map[string]string{
		gluster.XattrPointer:        "{",
		gluster.XattrRecall:         "3 of a later version",
		gluster.XattrRecall + ".x":  "?",
		"trusted.coldbrick.unknown": "of a later version",
	} {
		t.Run(name, func(t *testing.T) {
			g := newGround(t)
			g.Write("d/f", []byte("x"), testkit.Old)
			g.brickAttr("d/f", name, []byte(value))
			_, unreadable, err := g.take(g.place, g.BrickDir())
			if !errors.Is(err, ErrIncomplete) || len(unreadable) == 0 || !strings.Contains(strings.Join(unreadable, "\n"), "d/f") {
				t.Errorf("%v: %q", err, unreadable)
			}
			g.none()
		})
	}
}

// failingStore fails the nth request to create.
type failingStore struct {
	Store
	left int
}

var errStore = errors.New("the store fails")

func (s *failingStore) Create(ctx context.Context, key string, body io.ReaderAt, size int64, meta map[string]string) (object.Proof, error) {
	if s.left--; s.left == 0 {
		return object.Proof{}, errStore
	}
	return s.Store.Create(ctx, key, body, size, meta)
}

func TestAnUploadThatFailsLeavesNoCatalog(t *testing.T) {
	g := newGround(t)
	g.Write("f", []byte("x"), testkit.Old)
	for n := 1; ; n++ {
		p := g.place
		p.Store = &failingStore{g.store, n}
		_, _, err := g.take(p, g.BrickDir())
		if err == nil {
			if n < 5 {
				t.Errorf("%d requests were all", n-1)
			}
			return
		}
		if !errors.Is(err, errStore) {
			t.Fatal(err)
		}
		g.none()
	}
}

func TestTheClusterThatDoesNotAnswerLeavesNoCatalog(t *testing.T) {
	g := newGround(t)
	brick, err := volume.OpenBrick(g.BrickDir())
	if err != nil {
		t.Fatal(err)
	}
	defer brick.Close()
	asked := 0
	_, err = g.place.Take(t.Context(), Subject{Ask: func(context.Context) (Cluster, error) {
		if asked++; asked == 2 {
			return Cluster{}, errStore
		}
		return Cluster{}, nil
	}}, Scan{Brick: brick, Dir: t.TempDir(), Workers: 1, Notes: notes})
	if !errors.Is(err, errStore) {
		t.Error(err)
	}
	g.none()
}

// A catalog that was changed in the bucket is no catalog.
func TestAChangedCatalogIsRefused(t *testing.T) {
	for name, change := range map[string]func(part string, b []byte) []byte{
		"a byte of the references": func(part string, b []byte) []byte {
			if part == refsPart {
				b[len(b)/2] ^= 1
			}
			return b
		},
		"the tree is cut": func(part string, b []byte) []byte {
			if part == treePart {
				return b[:len(b)-1]
			}
			return b
		},
		"a count": func(part string, b []byte) []byte {
			if part == manifestPart {
				return bytes.Replace(b, []byte(`"lines":`), []byte(`"lines":1`), 1)
			}
			return b
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGround(t)
			g.Write("f", []byte("x"), testkit.Old)
			g.brickAttr("f", gluster.XattrRemote, []byte("key"))
			if _, _, err := g.take(g.place, g.BrickDir()); err != nil {
				t.Fatal(err)
			}
			if err := g.readAll(g.place); err != nil {
				t.Fatal(err)
			}
			to := &dir.Store{}
			if err := to.Init(t.Context(), map[string]string{"store-dir": t.TempDir()}); err != nil {
				t.Fatal(err)
			}
			g.copy(to, change)
			p := g.place
			p.Store = to
			if err := g.readAll(p); !errors.Is(err, ErrInvalid) {
				t.Errorf("read: %v", err)
			}
			p = g.place
			p.Secret = "another secret of tests"
			if err := g.readAll(p); !errors.Is(err, objstore.ErrSeal) {
				t.Errorf("with another secret: %v", err)
			}
		})
	}
}

func (g *ground) readAll(p Place) error {
	all, err := p.Find(g.t.Context(), g.t.TempDir())
	if err == nil && len(all) != 1 {
		g.t.Errorf("%d catalogs", len(all))
	}
	for _, c := range all {
		err = errors.Join(err, c.Refs(g.t.Context(), func(Ref) error { return nil }), readTree(g.t.Context(), c, func(Entry) error { return nil }))
	}
	return err
}

// copy copies all objects to another store, changed.
func (g *ground) copy(to *dir.Store, change func(part string, b []byte) []byte) {
	g.t.Helper()
	err := g.store.List(g.t.Context(), "p/", func(o objstore.Listed) error {
		b, err := objstore.ReadSmall(g.t.Context(), g.store, o.Key)
		if err != nil {
			return err
		}
		b = change(o.Key[strings.LastIndexByte(o.Key, '/')+1:], b)
		_, err = to.Create(g.t.Context(), o.Key, bytes.NewReader(b), int64(len(b)), nil)
		return err
	})
	if err != nil {
		g.t.Fatal(err)
	}
}

func TestASecretIsNeeded(t *testing.T) {
	g := newGround(t)
	for _, s := range []string{"", "short"} {
		p := g.place
		p.Secret = s
		if _, _, err := g.take(p, g.BrickDir()); !errors.Is(err, ErrSecret) {
			t.Errorf("%q: %v", s, err)
		}
	}
	g.none()
}

func TestBytesComeBackAsTheyWere(t *testing.T) {
	for _, want := range []Bytes{"", "a", "\xff", "a\nb", "\u2028<&>", `{"base64":"eA=="}`, "\x00", "\ufffd"} {
		text, err := json.Marshal(want)
		var got Bytes
		if err == nil {
			err = json.Unmarshal(text, &got)
		}
		if err != nil || got != want {
			t.Errorf("%q became %q as %s: %v", want, got, text, err)
		}
	}
}

func TestScansThatFailedArePassedOver(t *testing.T) {
	g := newGround(t)
	g.Write("f", []byte("x"), testkit.Old)
	if _, _, err := g.take(g.place, g.BrickDir()); err != nil {
		t.Fatal(err)
	}
	p := g.place
	p.Store = &failingStore{g.store, 4}
	if _, _, err := g.take(p, g.BrickDir()); !errors.Is(err, errStore) {
		t.Fatal(err)
	}
	if err := g.readAll(g.place); err != nil {
		t.Error(err)
	}
}

// A stub of which nothing tells the key may need any object: whoever looks for
// references must hear of it.
func TestAStubWithoutAKeyLeavesReferencesIncomplete(t *testing.T) {
	g := newGround(t)
	g.Write("stub", []byte("x"), testkit.Old)
	references := func() (keys []string, err error) {
		brick, err := volume.OpenBrick(g.BrickDir())
		if err != nil {
			t.Fatal(err)
		}
		defer brick.Close()
		err = References(t.Context(), Scan{Brick: brick, Dir: t.TempDir(), Workers: 2, Notes: notes}, func(r Ref) error {
			keys = append(keys, string(r.Key))
			return nil
		})
		return keys, err
	}
	g.brickAttr("stub", gluster.XattrRemote, nil)
	if keys, err := references(); !errors.Is(err, ErrIncomplete) {
		t.Errorf("%q, %v", keys, err)
	}
	g.brickAttr("stub", gluster.XattrPointer, g.pointer("stub", "of the pointer"))
	if keys, err := references(); err != nil || !slices.Equal(keys, []string{"of the pointer"}) {
		t.Errorf("%q, %v", keys, err)
	}
}
