package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore"
	"github.com/coldbrick/coldbrick/internal/testkit"
)

// disaster is a store, and how the program is run on one volume after the other.
type disaster struct {
	t      *testing.T
	s3     *testkit.S3Server
	config string
	state  string
}

func newDisaster(t *testing.T) *disaster {
	d := &disaster{t: t, s3: testkit.S3(t), config: filepath.Join(t.TempDir(), "coldbrick.toml"), state: t.TempDir()}
	d.s3.Setenv(t)
	if err := os.WriteFile(d.config, []byte("catalog-secret = \"kept where the volume is not\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *disaster) run(want int, args ...string) string {
	d.t.Helper()
	if len(args) > 0 && args[0] != "version" {
		args = append(args, "--state-dir", d.state, "--endpoint-url", d.s3.Endpoint, "--bucket", d.s3.Bucket)
	}
	var both bytes.Buffer
	code := execute(d.t.Context(), env{
		args: args, stdin: strings.NewReader(""), stdout: &both, stderr: &both,
		environ: []string{"COLDBRICK_CONFIG=" + d.config},
		width:   func(io.Writer) (int, bool) { return 0, false },
	})
	if code != want {
		d.t.Fatalf("%s: exit code %d, want %d: %s", args, code, want, &both)
	}
	return both.String()
}

// A volume is archived, written down and lost. What a new one has after rebuild is
// found sound, and comes back byte for byte.
func TestAVolumeIsRebuiltAndRecalled(t *testing.T) {
	d := newDisaster(t)
	old := testkit.NewVolume(t)
	files := len(testkit.Tree(t, old.MountDir(), testkit.Files(100)))
	before := testkit.Snapshot(t, old.MountDir())
	d.run(0, "archive", "--mount", old.MountDir(), old.BrickDir())
	old.Write("written since", []byte("only here"), testkit.Old)
	d.run(0, "catalog", old.BrickDir())

	onto := testkit.NewVolume(t, testkit.Replica(3))
	to := []string{"--mount", onto.MountDir(), "--brick", onto.BrickDir()}
	dry := d.run(3, append([]string{"rebuild", "--from", old.ID, "-n"}, to...)...)
	if !strings.Contains(dry, fmt.Sprintf("would rebuild %d files", files)) || !strings.Contains(dry, "failed 1 (lost 1)") {
		t.Error(dry)
	}
	out := d.run(3, append([]string{"rebuild", "--from", old.ID}, to...)...)
	if !strings.Contains(out, "failed: written since: lost") || !strings.Contains(out, fmt.Sprintf("rebuilt %d files", files)) {
		t.Error(out)
	}
	d.run(0, "fsck", "--mount", onto.MountDir(), onto.BrickDir())
	d.run(0, "recall", "-r", onto.MountDir())
	testkit.SameFiles(t, before, testkit.Snapshot(t, onto.MountDir()))
}

// A stub that was rebuilt and never recalled is one of the volume before, also when
// its new volume is lost.
func TestStubsAreRebuiltTwice(t *testing.T) {
	d := newDisaster(t)
	first := testkit.NewVolume(t)
	first.Write("d/a", []byte("data"), testkit.Old)
	d.run(0, "archive", "--mount", first.MountDir(), first.BrickDir())
	d.run(0, "catalog", first.BrickDir())
	last := first
	for range 2 {
		next := testkit.NewVolume(t)
		d.run(0, "rebuild", "--from", last.ID, "--mount", next.MountDir(), "--brick", next.BrickDir())
		d.run(0, "catalog", next.BrickDir())
		last = next
	}
	d.run(0, "fsck", "--mount", last.MountDir(), last.BrickDir())
	d.run(0, "recall", last.Path("d/a"))
	if b, err := os.ReadFile(last.Path("d/a")); err != nil || string(b) != "data" {
		t.Errorf("%q, %v", b, err)
	}
}

// What was deleted from a volume that lives comes back under its old names, byte for
// byte, also as an older catalog alone knows it. What exists is not touched.
func TestDeletedFilesComeBack(t *testing.T) {
	d := newDisaster(t)
	v := testkit.NewVolume(t, testkit.Replica(2), testkit.Bricks(4))
	catalogs := func() {
		for _, brick := range v.BrickDirs() {
			d.run(0, "catalog", brick)
		}
	}
	data := map[string]string{}
	for _, path := range []string{"d/gone", "d/hostile\n\xff\"", "d/deep/er/gone", "d/moved", "d/stays", "d/replaced", "d/two names", "d/early", "other/gone"} {
		data[path] = "data of " + path
		v.Write(path, []byte(data[path]), testkit.Old)
	}
	check(t, os.Chown(v.Path("d/gone"), 1234, 4321))
	testkit.SetXattr(t, v.Path("d/gone"), "user.\xff", "\x00")
	check(t, os.Chmod(v.Path("d/deep"), 0o2751))
	before := testkit.Snapshot(t, v.MountDir())
	for _, brick := range v.BrickDirs() {
		d.run(0, "archive", "--mount", v.MountDir(), brick)
	}
	check(t, os.Link(v.Path("d/two names"), v.Path("d/deep/second")))
	catalogs()
	check(t, os.Remove(v.Path("d/early")))
	v.Write("d/local", []byte("only here"), testkit.Old)
	catalogs()
	for _, path := range []string{"d/gone", "d/hostile\n\xff\"", "d/two names", "d/replaced", "d/local", "other/gone"} {
		check(t, os.Remove(v.Path(path)))
	}
	check(t, os.Rename(v.Path("d/moved"), v.Path("elsewhere")))
	check(t, os.RemoveAll(v.Path("d/deep")))
	v.Write("d/replaced", []byte("a new one"), testkit.Old)

	at := []string{"--mount", v.MountDir(), "--brick", v.BrickDir(), "--under", "d"}
	dry := d.run(3, append([]string{"rebuild", "-n"}, at...)...)
	if !strings.Contains(dry, "would rebuild 6 files") {
		t.Error(dry)
	}
	out := d.run(3, append([]string{"rebuild"}, at...)...)
	if !strings.Contains(out, "rebuilt 6 files") || !strings.Contains(out, "failed: d/local: lost") || !strings.Contains(out, "failed: d/replaced: name-taken") {
		t.Error(out)
	}
	for _, path := range []string{"d/moved", "other/gone"} {
		if _, err := os.Lstat(v.Path(path)); err == nil {
			t.Errorf("%q is back", path)
		}
	}
	for _, brick := range v.BrickDirs() {
		d.run(0, "fsck", "--mount", v.MountDir(), brick)
	}
	d.run(0, "recall", "-r", v.MountDir())
	data["d/replaced"], data["d/deep/second"], data["elsewhere"] = "a new one", data["d/two names"], data["d/moved"]
	delete(data, "d/moved")
	delete(data, "other/gone")
	// The mount that deleted a directory may miss a name in it once, by what it remembers
	// of that: what has come back is looked at by a new one.
	fresh := v.NewMount(t)
	for path, want := range data {
		if b, err := os.ReadFile(filepath.Join(fresh, path)); err != nil || string(b) != want {
			t.Errorf("%q: %q, %v", path, b, err)
		}
	}
	after := testkit.Snapshot(t, fresh)
	for path := range before {
		switch path {
		case "d/replaced", "d/moved", "other/gone", "d/two names":
			delete(before, path)
		}
	}
	for path := range after {
		if _, ok := before[path]; !ok {
			delete(after, path)
		}
	}
	testkit.SameFiles(t, before, after)
	if out := d.run(3, append([]string{"rebuild"}, at...)...); strings.Contains(out, "rebuilt 1") {
		t.Error(out)
	}
	if entries, err := os.ReadDir(v.BrickDir()); err != nil || strings.Contains(fmt.Sprint(entries), ".coldbrick-rebuild") {
		t.Error(entries, err)
	}
}

// With no catalog, or none that can be read, the objects alone are enough for every byte
// that was archived. What cannot be known is said, and marked on each stub.
func TestObjectsAloneAreEnoughForTheData(t *testing.T) {
	d := newDisaster(t)
	old := testkit.NewVolume(t)
	data := map[string]string{}
	for _, path := range []string{"d/a", "d/hostile\n\xff\"", "d/in/b", "twice", "moved", "erased"} {
		data[path] = "data of " + path
		old.Write(path, []byte(data[path]), testkit.Old)
	}
	check(t, os.Chown(old.Path("d/a"), 1234, 4321))
	check(t, os.Chmod(old.Path("d/a"), 0o4751))
	d.run(0, "archive", "--mount", old.MountDir(), old.BrickDir())
	d.run(0, "recall", old.Path("twice"))
	data["twice"] = "written anew"
	old.Write("twice", []byte(data["twice"]), testkit.Old.Add(time.Hour))
	d.run(0, "archive", "--mount", old.MountDir(), old.BrickDir(), "--recall-grace", "0")
	check(t, os.Rename(old.Path("moved"), old.Path("elsewhere"))) // its object knows the first name alone
	want := map[string]os.FileInfo{}
	for path := range data {
		at := path
		if path == "moved" {
			at = "elsewhere"
		}
		info, err := os.Lstat(old.Path(at))
		check(t, err)
		want[path] = info
	}

	// A note that it was erased counts, also where its object is, as in a replica of the bucket.
	note := object.ErasedKey("", old.GFID("erased"))
	check(t, os.MkdirAll(filepath.Dir(d.s3.ObjectFile(note)), 0o755))
	check(t, os.WriteFile(d.s3.ObjectFile(note), objstore.Seal("kept where the volume is not", note, nil), 0o644))
	delete(data, "erased")
	delete(want, "erased")

	next := testkit.NewVolume(t)
	to := []string{"--from", old.ID, "--mount", next.MountDir(), "--brick", next.BrickDir()}
	if out := d.run(2, append([]string{"rebuild"}, to...)...); !strings.Contains(out, "--without-catalog") {
		t.Error(out)
	}
	out := d.run(0, append([]string{"rebuild", "--without-catalog"}, to...)...)
	for _, said := range []string{"rebuilt 5 files", "erased 1", "nobody can tell", "there is a newer object of the file"} {
		if !strings.Contains(out, said) {
			t.Errorf("%q is not said: %s", said, out)
		}
	}
	for path, w := range want {
		info, err := os.Lstat(next.Path(path))
		check(t, err)
		a, b := w.Sys().(*syscall.Stat_t), info.Sys().(*syscall.Stat_t)
		if a.Ino != b.Ino || a.Mode&^0o7000 != b.Mode || a.Uid != b.Uid || a.Gid != b.Gid || a.Mtim != b.Mtim {
			t.Errorf("%q is %+v, was %+v", path, b, a)
		}
		if value, _ := testkit.Xattr(t, next.BrickPath(path), "trusted.coldbrick.rebuilt"); len(value) == 0 {
			t.Errorf("%q is not marked", path)
		}
	}
	for _, dir := range []string{"d", "d/in"} { // nobody knows who was let into it
		if info, err := os.Lstat(next.Path(dir)); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%q: %v, %v", dir, info, err)
		}
	}
	if out := d.run(0, append([]string{"rebuild", "--without-catalog"}, to...)...); !strings.Contains(out, "present 5") {
		t.Errorf("again: %s", out)
	}
	d.run(0, "fsck", "--mount", next.MountDir(), next.BrickDir())
	d.run(0, "recall", "-r", next.MountDir())
	for path, want := range data {
		if b, err := os.ReadFile(next.Path(path)); err != nil || string(b) != want {
			t.Errorf("%q: %q, %v", path, b, err)
		}
	}
	d.run(0, "catalog", old.BrickDir())
	if out := d.run(2, append([]string{"rebuild", "--without-catalog"}, to...)...); !strings.Contains(out, "there is a catalog") {
		t.Error(out)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Without the note of its previous volume, the same object is another's.
func TestAnotherVolumesObjectsStayForeign(t *testing.T) {
	d := newDisaster(t)
	old := testkit.NewVolume(t)
	old.Write("a", []byte("data"), testkit.Old)
	d.run(0, "archive", "--mount", old.MountDir(), old.BrickDir())
	d.run(0, "catalog", old.BrickDir())
	next := testkit.NewVolume(t, testkit.Replica(2))
	d.run(0, "rebuild", "--from", old.ID, "--mount", next.MountDir(), "--brick", next.BrickDir())
	testkit.SetXattr(t, next.MountDir(), "trusted.coldbrick.formerly", "11111111-2222-4333-8444-555555555555")
	if out := d.run(3, "recall", next.Path("a")); !strings.Contains(out, "object-foreign") {
		t.Error(out)
	}
}

func TestRebuildSaysWhatIsWrong(t *testing.T) {
	d := newDisaster(t)
	v := testkit.NewVolume(t)
	v.Write("d/a", []byte("data"), testkit.Old)
	d.run(0, "archive", "--mount", v.MountDir(), v.BrickDir())
	d.run(0, "catalog", v.BrickDir())
	next := testkit.NewVolume(t)
	to := []string{"--mount", next.MountDir(), "--brick", next.BrickDir()}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--from", "x"}, `--from: "x" is not the id of a volume`},
		{[]string{"--from", next.ID}, "is this volume itself"},
		{[]string{"--from", "11111111-2222-4333-8444-555555555555"}, "has no catalog of volume 11111111-"},
		{[]string{"--from", v.ID, "--under", "none"}, `--under: "none": no such directory in the catalogs`},
		{[]string{"--from", v.ID, "--under", "../d"}, `--under: "../d": no such directory`},
	} {
		if out := d.run(2, append(append([]string{"rebuild"}, to...), tt.args...)...); !strings.Contains(out, tt.want) {
			t.Errorf("%q: %s", tt.args, out)
		}
	}
	d.run(2, "rebuild", "--from", v.ID)
	d.run(13, "rebuild", "--from", v.ID, "--mount", next.MountDir(), "--brick", t.TempDir())
	if err := os.WriteFile(d.config, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if out := d.run(2, append([]string{"rebuild", "--from", v.ID}, to...)...); !strings.Contains(out, "catalog-secret is not set") {
		t.Error(out)
	}
	if err := os.WriteFile(d.config, []byte("catalog-secret = \"of somebody who plants\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := d.run(1, append([]string{"rebuild", "--from", v.ID}, to...)...); !strings.Contains(out, "not a valid catalog") || strings.Contains(out, "plants") {
		t.Error(out)
	}
	if entries, err := os.ReadDir(next.MountDir()); err != nil || len(entries) > 0 {
		t.Errorf("%v, %v", entries, err)
	}
}
