package volume

import (
	"errors"
	"io/fs"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/testkit"
)

func TestADirectoryInsideTheVolumeIsKnownByItsIdentity(t *testing.T) {
	v := testkit.NewVolume(t)
	m, err := Inspect(v.MountDir())
	if err != nil {
		t.Fatal(err)
	}
	work := t.TempDir()
	made := func(dir string) string {
		t.Helper()
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	link := func(to, name string) string {
		t.Helper()
		if err := os.Symlink(to, work+"/"+name); err != nil {
			t.Fatal(err)
		}
		return work + "/" + name
	}
	below := made(v.Path("a/b/c"))
	elsewhere := made(work + "/elsewhere")
	bound := made(work + "/bound") // a part of the volume under another name
	if err := unix.Mount(v.Path("a"), bound, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(bound, 0); err != nil {
			t.Error(err)
		}
	})
	brick := link(v.BrickDir(), "brick")
	for _, dir := range []string{
		v.MountDir(), below, bound, bound + "/b", link(below, "to-mount"),
		v.BrickDir(), v.BrickDir() + "/a/b", v.BrickDir() + "/.glusterfs", link(v.BrickDir()+"/a", "to-brick"), brick + "/a",
	} {
		if err := m.CheckOutside(dir, []string{brick}); !errors.Is(err, ErrInside) {
			t.Errorf("%s: %v", dir, err)
		}
	}
	for _, dir := range []string{elsewhere, made(v.BrickDir() + "-objects"), work, "/", link(elsewhere, "to-elsewhere")} {
		if err := m.CheckOutside(dir, []string{brick, work + "/of-another-host", elsewhere}); err != nil {
			t.Errorf("%s: %v", dir, err)
		}
	}
	other := testkit.NewVolume(t) // such as one for archives
	if err := m.CheckOutside(other.MountDir(), []string{brick}); err != nil {
		t.Errorf("on another volume: %v", err)
	}
	if err := m.CheckOutside(work+"/none", nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no such directory: %v", err)
	}
}
