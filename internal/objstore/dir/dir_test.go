package dir

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore"
	"github.com/coldbrick/coldbrick/internal/objstore/storetest"
)

func newDir(t testing.TB, path string) *Store {
	t.Helper()
	d := &Store{}
	if err := d.Init(t.Context(), map[string]string{"store-dir": path}); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDirKeepsTheContract(t *testing.T) {
	path := t.TempDir()
	storetest.Run(t, func(t *testing.T) storetest.Store { return newDir(t, path) })

	err := filepath.WalkDir(path, func(path string, e fs.DirEntry, err error) error {
		if strings.HasSuffix(path, tempSuffix) {
			t.Errorf("left behind: %s", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestDirKeepsLongNamesAndNestedKeys(t *testing.T) {
	d := newDir(t, t.TempDir())
	for _, key := range []string{
		"d", "d/x", "d/x/y", "d.object", "d.object/x", "d.object.dir/x", "d.object/data", "d.object/info.json", "x.tmp/a", "x.more/a", "x.dir/a", "data", "info.json",
		strings.Repeat("n", 255), strings.Repeat("n", 255) + "/x", strings.Repeat("é", 512), strings.Repeat("k", 1024), strings.Repeat("d/", 511) + "f",
	} {
		if _, err := d.Create(t.Context(), key, strings.NewReader(key), int64(len(key)), nil); err != nil {
			t.Fatalf("create %q: %v", key, err)
		}
	}
	var got storetest.Buffer
	if _, err := d.Download(t.Context(), "d", &got, func(object.Info) error { return nil }); err != nil || string(got.Bytes()) != "d" {
		t.Fatalf("%q, %v", got.Bytes(), err)
	}
}

func FuzzObjectPathTellsKeysApart(f *testing.F) {
	f.Add("d", "d/x")
	f.Add("d.object/x", "d.object.dir/x")
	f.Add(strings.Repeat("a", 300), strings.Repeat("a", 200)+".more/"+strings.Repeat("a", 100))
	f.Fuzz(func(t *testing.T, a, b string) {
		if objstore.CheckKey(a) != nil || objstore.CheckKey(b) != nil || a == b {
			return
		}
		path := func(key string) string {
			parent, name := objectPath(key)
			for element := range strings.SplitSeq(parent+"/"+name, "/") {
				if len(element) > 255 || element == ".." || element == "." {
					t.Fatalf("%q is at %q", key, parent+"/"+name)
				}
			}
			return parent + "/" + name
		}
		if pa, pb := path(a), path(b); pa == pb || strings.HasPrefix(pa+"/", pb+"/") {
			t.Fatalf("%q is at %q, %q at %q", a, pa, b, pb)
		}
	})
}

func TestDirDoesNotLeaveItsDirectory(t *testing.T) {
	outside, path := t.TempDir(), t.TempDir()
	if err := os.MkdirAll(filepath.Join(outside, "x.object"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(outside, "x.object", "data"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, link := range [][2]string{{outside, "link"}, {filepath.Join(outside, "x.object"), "y.object"}} {
		if err := os.Symlink(link[0], filepath.Join(path, link[1])); err != nil {
			t.Fatal(err)
		}
	}
	d := newDir(t, path)
	for _, key := range []string{"link/x", "y", "link/new"} {
		var got storetest.Buffer
		if _, err := d.Download(t.Context(), key, &got, func(object.Info) error { return nil }); err == nil || len(got.Bytes()) > 0 {
			t.Errorf("download %q: %q, %v", key, got.Bytes(), err)
		}
		if _, err := d.Create(t.Context(), key, strings.NewReader("x"), 1, nil); err == nil {
			t.Errorf("create %q went through a link", key)
		}
	}
	entries, err := os.ReadDir(outside)
	if err != nil || len(entries) != 1 {
		t.Errorf("outside now holds %v, %v", entries, err)
	}
}

func TestDirObjectsSurviveACopy(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	want := storetest.Meta()
	if _, err := newDir(t, from).Create(t.Context(), "a/b", strings.NewReader("body"), 4, want); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cp", "-r", "--", from+"/.", to).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	info, err := newDir(t, to).Head(t.Context(), "a/b")
	if err != nil || !info.HasCRC32 || info.Metadata[object.MetaAttempt] != want[object.MetaAttempt] {
		t.Fatalf("%+v, %v", info, err)
	}
}

func TestDirTellsDamage(t *testing.T) {
	for name, tt := range map[string]struct {
		damage func(object string) error
		want   error
	}{
		"bytes differ":       {func(o string) error { return os.WriteFile(o+"/data", []byte("BODY"), 0o600) }, object.ErrCorrupt},
		"bytes are missing":  {func(o string) error { return os.Truncate(o+"/data", 3) }, object.ErrCorrupt},
		"bytes are gone":     {func(o string) error { return os.Remove(o + "/data") }, fs.ErrNotExist},
		"info is no JSON":    {func(o string) error { return os.WriteFile(o+"/info.json", nil, 0o600) }, object.ErrCorrupt},
		"data is a FIFO":     {func(o string) error { return errors.Join(os.Remove(o+"/data"), unix.Mkfifo(o+"/data", 0o600)) }, object.ErrCorrupt},
		"info is gone":       {func(o string) error { return os.Remove(o + "/info.json") }, nil},
		"the root is gone":   {func(o string) error { return os.RemoveAll(filepath.Dir(o)) }, object.ErrStore},
		"the object is gone": {func(o string) error { return os.RemoveAll(o) }, fs.ErrNotExist},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "store")
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
			d := newDir(t, path)
			if _, err := d.Create(t.Context(), "a", strings.NewReader("body"), 4, storetest.Meta()); err != nil {
				t.Fatal(err)
			}
			if err := tt.damage(path + "/a.object"); err != nil {
				t.Fatal(err)
			}
			if _, err := d.Download(t.Context(), "a", &storetest.Buffer{}, func(object.Info) error { return nil }); !errors.Is(err, tt.want) {
				t.Errorf("download: %v, want %v", err, tt.want)
			}
		})
	}
}

func TestDirSaysWhatIsWrongWithTheDirectory(t *testing.T) {
	path := t.TempDir()
	if err := os.WriteFile(path+"/file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{path + "/none", path + "/file"} {
		err := (&Store{}).Init(t.Context(), map[string]string{"store-dir": dir})
		if !errors.Is(err, object.ErrStore) || !strings.Contains(err.Error(), dir) || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v", err)
		}
	}
}

// A store that is full is not a volume that is full: the error must not look
// like one of the file that is archived.
func TestDirTellsAFullStore(t *testing.T) {
	path := t.TempDir()
	if err := unix.Mount("none", path, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	d := newDir(t, path)
	_, err := d.Create(t.Context(), "big", bytes.NewReader(make([]byte, 4<<20)), 4<<20, nil)
	if !errors.Is(err, object.ErrStore) || errors.Is(err, unix.ENOSPC) {
		t.Errorf("%v", err)
	}
	entries, readErr := os.ReadDir(path)
	if readErr != nil || len(entries) != 0 {
		t.Errorf("left behind: %v, %v", entries, readErr)
	}
}

// Runs that died leave what no listing shows: it goes. What may be somebody's stays.
func TestDirTidiesWhatDeadRunsHaveLeft(t *testing.T) {
	path := t.TempDir()
	d := newDir(t, path)
	if _, err := d.Create(t.Context(), "p/q/kept", strings.NewReader("body"), 4, nil); err != nil {
		t.Fatal(err)
	}
	id := func() string { return object.NewID() + tempSuffix }
	left := map[string]time.Duration{ // age of what is in it
		"p/q/" + asidePrefix + id(): 0, "p/" + id(): 8 * 24 * time.Hour, "p/q/" + id(): 30 * 24 * time.Hour,
	}
	stays := map[string]time.Duration{"p/q/" + id(): 6 * 24 * time.Hour, "p/somebody's" + tempSuffix: 30 * 24 * time.Hour, "other/" + id(): 30 * 24 * time.Hour}
	for _, some := range []map[string]time.Duration{left, stays} {
		for name, age := range some {
			dir, then := filepath.Join(path, name), time.Now().Add(-age)
			if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(dir+"/data", []byte("x"), 0o600),
				os.Chtimes(dir+"/data", then, then), os.Chtimes(dir, time.Now(), then.Add(-time.Hour))); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := d.Tidy(t.Context(), "p/"); err != nil {
		t.Fatal(err)
	}
	for name := range left {
		if _, err := os.Stat(filepath.Join(path, name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name := range stays {
		if _, err := os.Stat(filepath.Join(path, name, "data")); err != nil {
			t.Error(err)
		}
	}
	if _, err := d.Head(t.Context(), "p/q/kept"); err != nil {
		t.Error(err)
	}
	if err := d.Tidy(t.Context(), "none/"); err != nil {
		t.Error(err)
	}
}

// An upload that was taken for dead fails, and does not become half an object.
func TestDirTidiesNoObjectInHalf(t *testing.T) {
	path := t.TempDir()
	d := newDir(t, path)
	body := lateBody{strings.NewReader("body"), func() {
		names, err := filepath.Glob(path + "/p/*" + tempSuffix)
		if err != nil || len(names) != 1 {
			t.Fatal(names, err)
		}
		then := time.Now().Add(-30 * 24 * time.Hour)
		if err := errors.Join(os.Chtimes(names[0]+"/data", then, then), os.Chtimes(names[0], then, then), d.Tidy(t.Context(), "")); err != nil {
			t.Fatal(err)
		}
	}}
	if _, err := d.Create(t.Context(), "p/a", body, 4, nil); err == nil {
		t.Error("it was created")
	}
	if _, err := d.Head(t.Context(), "p/a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// lateBody is one during whose first read something happens.
type lateBody struct {
	io.ReaderAt
	meanwhile func()
}

func (b lateBody) ReadAt(p []byte, off int64) (int, error) {
	if off == 0 {
		b.meanwhile()
	}
	return b.ReaderAt.ReadAt(p, off)
}

func TestADirectoryIsARegistryToo(t *testing.T) {
	const volumeOne, volumeTwo = "11111111-2222-4333-8444-555555555555", "66666666-7777-4888-8999-aaaaaaaaaaaa"
	d := &Store{}
	if err := d.Init(t.Context(), map[string]string{"store-dir": t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := objstore.Register(t.Context(), d, "", volumeOne, ""); err != nil {
			t.Fatal(err)
		}
	}
	// A later version may say more.
	later := `{"coldbrick":"volume","format":2,"volume":"` + volumeTwo + `","hmac":"00"}`
	if _, err := d.Create(t.Context(), object.VolumeKey("", volumeTwo), strings.NewReader(later), int64(len(later)), nil); err != nil {
		t.Fatal(err)
	}
	if err := objstore.Register(t.Context(), d, "", volumeTwo, ""); err != nil {
		t.Error(err)
	}
}

// A name that is too long for a directory is cut, and listed whole.
func TestDirListsLongNames(t *testing.T) {
	d := newDir(t, t.TempDir())
	want := []string{"p/" + strings.Repeat("long", 80) + "/y", "p/" + strings.Repeat("ü", 200)}
	for _, key := range want {
		if _, err := d.Create(t.Context(), key, strings.NewReader("123"), 3, nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, prefix := range []string{"", "p/", "p/" + strings.Repeat("long", 80) + "/"} {
		var got []string
		if err := d.List(t.Context(), prefix, func(o objstore.Listed) error { got = append(got, o.Key); return nil }); err != nil {
			t.Fatal(err)
		}
		slices.Sort(got)
		if below := slices.DeleteFunc(slices.Clone(want), func(key string) bool { return !strings.HasPrefix(key, prefix) }); !slices.Equal(got, below) {
			t.Errorf("below %q: %q", prefix, got)
		}
	}
}
