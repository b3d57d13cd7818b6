package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coldbrick/coldbrick/internal/gluster"
	s3store "github.com/coldbrick/coldbrick/internal/objstore/s3"
	"github.com/coldbrick/coldbrick/internal/testkit"
)

// Every way in which a stub and its object can disagree is found by its class,
// what can be fixed without a guess is fixed, and the rest is left as it was.
func TestFsckFindsWhatIsWrongAndMendsWhatItCan(t *testing.T) {
	v, s3 := testkit.NewVolume(t), testkit.S3(t)
	nocs := v.NewMount(t, testkit.WithoutCloudsync())
	coldbrick := anyCommandOn(t, v, s3)
	content := func(name string) []byte { return bytes.Repeat([]byte(name+"\n"), 500) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	stub := func(name string) string { return filepath.Join(nocs, name) }
	fixed := map[string]struct {
		class  string
		damage func(name string)
	}{
		"dir/empty-key": {"key-empty", func(name string) {
			testkit.SetXattr(t, stub(name), gluster.XattrRemote, "")
		}},
		"dir/wrong-key": {"key-differs", func(name string) {
			testkit.SetXattr(t, stub(name), gluster.XattrRemote, "dir/whole")
		}},
		"dir/healed-back": {"bytes-in-stub", func(name string) {
			must(os.WriteFile(stub(name), content(name), 0o644))
		}},
		"dir/cut-recall": {"recall-interrupted", func(name string) {
			must(os.WriteFile(stub(name), []byte("half"), 0o644))
			testkit.SetXattr(t, stub(name), gluster.XattrDownload, "1")
			// Nothing names the process, so only stillness tells that it is dead.
			ageCtime(t, v, name, time.Hour)
		}},
	}
	broken := map[string]struct {
		class  string
		damage func(name string)
	}{
		"dir/no-object":  {"object-missing", func(name string) { must(os.Remove(s3.ObjectFile(name))) }},
		"dir/cut-object": {"object-size", func(name string) { must(os.Truncate(s3.ObjectFile(name), 10)) }},
		"dir/rotten": {"object-checksum", func(name string) {
			rotten := content(name)
			rotten[7] ^= 1
			f, err := os.OpenFile(s3.ObjectFile(name), os.O_WRONLY, 0) // the server keeps attributes on it
			must(err)
			_, err = f.Write(rotten)
			must(err)
			must(f.Close())
		}},
		"dir/written-into": {"bytes-in-stub", func(name string) {
			must(os.WriteFile(stub(name), []byte("written past cloudsync"), 0o644))
		}},
	}
	long := time.Unix(1672628645, 123456789)
	files := slices.Concat(slices.Collect(maps.Keys(fixed)), slices.Collect(maps.Keys(broken)), []string{"dir/whole"})
	for _, name := range files {
		v.Write(name, content(name), long)
	}
	v.Write("dir/cold", []byte("never archived"), time.Now())
	if _, code, stderr := coldbrick("archive", v.BrickDir(), "--mount", v.MountDir(), "--json"); code != 0 {
		t.Fatalf("archive: %d: %s", code, stderr)
	}
	if lines, code, stderr := coldbrick("fsck", v.BrickDir(), "--mount", v.MountDir(), "--read", "--json"); code != 0 {
		t.Fatalf("fsck of a sound volume: %d: %+v %s", code, lines, stderr)
	}
	for name, d := range fixed {
		d.damage(name)
	}
	for name, d := range broken {
		d.damage(name)
	}

	v.StopBrick() // it remembers times
	v.StartBrick()
	v.WaitConnected(v.MountDir())

	check := func(wantRepaired bool, args ...string) {
		t.Helper()
		lines, code, stderr := coldbrick(slices.Concat([]string{"fsck", v.BrickDir(), "--mount", v.MountDir(), "--read", "--json"}, args)...)
		if code != 15 {
			t.Errorf("exit code %d: %s", code, stderr)
		}
		found := map[string]string{}
		for _, l := range lines {
			if l.Type != "finding" {
				continue
			}
			found[l.path()] = l.Class
			if _, can := fixed[l.path()]; l.Repaired != (can && wantRepaired) {
				t.Errorf("%s: %s: repaired = %v: %s", l.path(), l.Class, l.Repaired, l.Detail)
			}
		}
		want := map[string]string{}
		for name, d := range fixed {
			want[name] = d.class
		}
		for name, d := range broken {
			want[name] = d.class
		}
		if !maps.Equal(found, want) {
			t.Errorf("found %v\nwant  %v", found, want)
		}
	}
	check(false)
	check(true, "--repair")
	for name := range fixed {
		if _, code, stderr := coldbrick("recall", v.Path(name)); code != 0 {
			t.Errorf("recall %s: %d: %s", name, code, stderr)
		}
	}
	fresh := v.NewMount(t)
	for name := range fixed {
		if got, err := os.ReadFile(filepath.Join(fresh, name)); err != nil || !bytes.Equal(got, content(name)) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	if got, err := os.ReadFile(stub("dir/written-into")); err != nil || string(got) != "written past cloudsync" {
		t.Errorf("what was written past cloudsync became %q, %v", got, err)
	}
	for name := range broken {
		if !v.BrickMarks(name).Remote {
			t.Errorf("%s is no stub any more", name)
		}
	}
	_, code, stderr := coldbrick("recall", v.Path("dir/rotten"))
	if code != 3 || !strings.Contains(stderr, "object-corrupt") {
		t.Errorf("recall of a rotten object: %d: %s", code, stderr)
	}
}

// ageCtime moves back the ctime that clients see: it stands in mdata.
func ageCtime(t *testing.T, v *testkit.Volume, name string, d time.Duration) {
	t.Helper()
	value := []byte(v.BrickXattrs(name)[gluster.XattrMdata])
	m, err := gluster.ParseMdata(value)
	if err != nil {
		t.Fatal(err)
	}
	binary.BigEndian.PutUint64(value[9:], uint64(m.Ctime.Add(-d).Unix()))
	testkit.SetXattr(t, v.BrickPath(name), gluster.XattrMdata, string(value))
}

// The shell script of Gluster's guide puts objects under base names and stamps
// empty files as well. Two stubs may so have one candidate: fsck says that nothing
// but its content tells whose it is. An empty file is made one again.
func TestFsckAndWhatTheGuidesScriptLeft(t *testing.T) {
	v, s3 := testkit.NewVolume(t), testkit.S3(t)
	coldbrick := anyCommandOn(t, v, s3)
	store := &s3store.Store{}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(store.Init(t.Context(), map[string]string{
		"endpoint-url": s3.Endpoint, "bucket": s3.Bucket, "region": s3.Region,
		"access-key-id": s3.AccessKey, "secret-access-key": s3.SecretKey,
	}))
	defer func() { must(store.Fini()) }()
	script := func(path, key string, data []byte) {
		t.Helper()
		v.Write(path, data, testkit.Old)
		if _, err := store.Create(t.Context(), key, bytes.NewReader(data), int64(len(data)), nil); !errors.Is(err, fs.ErrExist) {
			must(err)
		}
		v.Stamp(path)
	}
	script("x/a.mov", "a.mov", []byte("film x"))
	script("y/a.mov", "a.mov", []byte("film y"))
	script("empty", "empty", nil)
	script("dir/empty", "unrelated", nil)       // no object stands under its key
	script("full", "full", []byte("not empty")) // as the store has it
	testkit.SetXattr(t, v.BrickPath("full"), gluster.XattrObjectSize, "0")

	lines, code, stderr := coldbrick("fsck", v.BrickDir(), "--mount", v.MountDir(), "--json", "--repair")
	if code != 15 {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	found, shared := map[string][]string{}, 0
	for _, l := range lines {
		if l.Type != "finding" || l.Class == "no-pointer" {
			continue
		}
		found[l.path()] = append(found[l.path()], l.Class)
		if l.Class == "key-shared" {
			shared++
			continue
		}
		if want := strings.HasSuffix(l.path(), "empty"); l.Repaired != want {
			t.Errorf("%s: %s: repaired = %v: %s", l.path(), l.Class, l.Repaired, l.Detail)
		}
		if l.Class == "object-missing" && !strings.Contains(l.Detail, "only its content shows whose it is") {
			t.Errorf("%s: %s: %q", l.path(), l.Class, l.Detail)
		}
	}
	if shared != 1 {
		t.Errorf("the second stub of one object was said %d times: %v", shared, found)
	}
	for path, class := range map[string]string{
		"x/a.mov": "object-missing", "y/a.mov": "object-missing", "empty": "empty-stub", "dir/empty": "empty-stub", "full": "object-size",
	} {
		if !slices.Contains(found[path], class) {
			t.Errorf("%s: %v", path, found[path])
		}
	}
	for _, path := range []string{"empty", "dir/empty"} {
		if m := v.BrickMarks(path); !m.Clean() || v.BrickSize(path) != 0 {
			t.Errorf("%s: %d bytes, %+v", path, v.BrickSize(path), m)
		}
		if info, err := os.Stat(v.Path(path)); err != nil || info.Size() != 0 || !info.ModTime().Equal(testkit.Old) {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}
	for _, path := range []string{"x/a.mov", "y/a.mov", "full"} {
		if !v.BrickMarks(path).Remote {
			t.Errorf("%s is no stub any more", path)
		}
	}

	script("one-more", "one-more", nil)
	if _, code, stderr := coldbrick("recall", v.Path("one-more")); code != 0 || !v.BrickMarks("one-more").Clean() {
		t.Errorf("recall of an empty file: %d: %s", code, stderr)
	}
}
