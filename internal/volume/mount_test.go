package volume

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/testkit"
)

func TestABrickIsKnownByItsRoot(t *testing.T) {
	v := testkit.NewVolume(t)
	v.Write("d/f", []byte("data"), testkit.Old)
	b, err := OpenBrick(v.BrickDir())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if b.VolumeID != v.ID {
		t.Errorf("volume id %q, want %q", b.VolumeID, v.ID)
	}
	f, err := b.OpenRegular(v.GFID("d/f").HandlePath())
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	for dir, want := range map[string]error{
		v.BrickDir() + "/d":   ErrNoBrick, // a directory of a brick
		v.MountDir():          ErrNoBrick,
		t.TempDir():           ErrNoBrick,
		"/proc":               ErrNoBrick,
		v.BrickDir() + "/d/f": unix.ENOTDIR,
		v.BrickDir() + "/no":  os.ErrNotExist,
	} {
		if _, err := OpenBrick(dir); !errors.Is(err, want) {
			t.Errorf("OpenBrick(%s) = %v, want %v", dir, err, want)
		}
	}
}

func TestFindMountNamesThePathInTheVolume(t *testing.T) {
	v := testkit.NewVolume(t)
	weird := "a b\n\\\xff/-x"
	v.Write(weird+"/f", []byte("data"), testkit.Old)
	for link, target := range map[string]string{"l": weird + "/f", "dl": weird, "out": "/etc/passwd"} {
		if err := os.Symlink(target, v.Path(link)); err != nil {
			t.Fatal(err)
		}
	}
	outside := t.TempDir() + "/link"
	if err := os.Symlink(v.MountDir(), outside); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		v.MountDir():                     ".",
		v.MountDir() + "/":               ".",
		v.Path(weird):                    weird,
		v.Path(weird) + "//":             weird,
		v.Path(weird + "/f"):             weird + "/f",
		v.Path("a b\n\\\xff/../l"):       "l", // the link itself
		v.Path("out"):                    "out",
		v.Path("dl/f"):                   weird + "/f",
		outside + "/" + weird + "/f":     weird + "/f",
		v.MountDir() + "/./" + weird:     weird,
		v.MountDir() + "/" + weird + "/": weird,
	} {
		dir, rel, err := FindMount(path)
		if err != nil || dir != v.MountDir() || rel != want {
			t.Errorf("FindMount(%q) = %q, %q, %v; want %q", path, dir, rel, err, want)
		}
	}
	for path, want := range map[string]error{
		v.BrickPath(weird + "/f"): ErrNoMount,
		v.Path("nothing"):         os.ErrNotExist,
		v.Path("l/x"):             unix.ENOTDIR,
		outside:                   ErrNoMount, // the link, not what it leads to
		"/":                       ErrNoMount,
		v.Path("out/"):            nil,
	} {
		if dir, rel, err := FindMount(path); !errors.Is(err, want) {
			t.Errorf("FindMount(%q) = %q, %q, %v; want %v", path, dir, rel, err, want)
		}
	}
}

// Mounts over, on and of each other.
func TestFindMountSeesThroughStackedMounts(t *testing.T) {
	v := testkit.NewVolume(t)
	v.Write("sub/inner/f", []byte("data"), testkit.Old)
	mount := func(source, target, fsType string, flags uintptr) {
		t.Helper()
		if err := os.MkdirAll(target, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount(source, target, fsType, flags, ""); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Unmount(target, unix.MNT_DETACH) })
	}
	bindWhole, bindSub := v.Dir()+"/whole", v.Dir()+"/bindsub"
	mount(v.MountDir(), bindWhole, "", unix.MS_BIND)
	mount(v.Path("sub"), bindSub, "", unix.MS_BIND)
	if dir, rel, err := FindMount(bindWhole + "/sub/inner/f"); err != nil || dir != bindWhole || rel != "sub/inner/f" {
		t.Errorf("bind mount of the whole volume: %q, %q, %v", dir, rel, err)
	}
	if _, _, err := FindMount(bindSub + "/inner/f"); !errors.Is(err, ErrNoMount) || !strings.Contains(err.Error(), "/sub") {
		t.Errorf("bind mount of a subdirectory: %v", err)
	}
	mount("none", v.Path("sub/inner"), "tmpfs", 0)
	write(t, v.Path("sub/inner/g"), "")
	if _, _, err := FindMount(v.Path("sub/inner/g")); !errors.Is(err, ErrNoMount) {
		t.Errorf("tmpfs inside the mount: %v", err)
	}
	mount("none", v.MountDir(), "tmpfs", 0)
	if _, _, err := FindMount(v.MountDir()); !errors.Is(err, ErrNoMount) {
		t.Errorf("tmpfs over the mount: %v", err)
	}
	if _, err := Inspect(v.MountDir()); !errors.Is(err, ErrNoMount) {
		t.Errorf("Inspect of a tmpfs over the mount: %v", err)
	}
}

func TestMountinfo(t *testing.T) {
	const text = `21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
40 21 0:39 / /mnt/a\040b\011\012\134\043 rw,nosuid shared:2 master:1 - fuse.glusterfs host:/vol rw,user_id=0
41 21 0:40 / /mnt/s rw - fuse.glusterfs 10.0.0.1:vol/sub/dir rw
42 21 0:41 / /mnt/f rw - fuse.glusterfs glusterfs:(null) rw
43 21 0:42 / /mnt/e rw - tmpfs  rw
44 21 0:39 /x /mnt/b rw - fuse.glusterfs host:/vol rw
`
	mounts, err := mountinfo.GetMountsFromReader(strings.NewReader(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range mounts {
		e := mountEntry(*m)
		got = append(got, fmt.Sprintf("%d %q vol=%q sub=%q ok=%t", e.ID, e.Mountpoint, e.volume(), e.subdir(), e.check() == nil))
	}
	want := []string{
		`21 "/" vol="" sub="" ok=false`,
		`40 "/mnt/a b\t\n\\#" vol="vol" sub="" ok=true`,
		`41 "/mnt/s" vol="vol" sub="sub/dir" ok=false`,
		`42 "/mnt/f" vol="" sub="" ok=true`,
		`43 "/mnt/e" vol="" sub="" ok=false`,
		`44 "/mnt/b" vol="vol" sub="" ok=false`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestInspectReadsWhatAMountSays(t *testing.T) {
	v := testkit.NewVolume(t, testkit.Bricks(2))
	dir := v.NewMount(t, testkit.WithTimeouts(time.Second/2, 600*time.Second), testkit.WithQuickRead(),
		testkit.WithPlugin("cloudsyncs3", "s3plugin-seckey SEKRIT", "s3plugin-bucketid b"))
	m, err := Inspect(dir)
	if err != nil {
		t.Fatal(err)
	}
	if m.AttributeTimeout != time.Second/2 || m.EntryTimeout != 600*time.Second {
		t.Errorf("timeouts %v, %v", m.AttributeTimeout, m.EntryTimeout)
	}
	if !strings.HasPrefix(m.Version, "1") {
		t.Errorf("version %q", m.Version)
	}
	var brickDirs []string
	for _, x := range m.Graph.Of(gluster.TypeClient) {
		brickDirs = append(brickDirs, x.Option("remote-subvolume"))
	}
	if fmt.Sprint(brickDirs) != fmt.Sprint(v.BrickDirs()) {
		t.Errorf("bricks %q", brickDirs)
	}
	if !m.Graph.Has(gluster.TypeQuickRead) || !m.Graph.Has(gluster.TypeCloudsync) || m.Graph.Has(gluster.TypeShard) {
		t.Errorf("graph: %v", m.Graph)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if text := fmt.Sprintf(verb, m); strings.Contains(text, "SEKRIT") {
			t.Errorf("%s shows the secret: %s", verb, text)
		}
	}
	if err := m.Unchanged(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestInspectRefusesWhatIsNoGlusterMount(t *testing.T) {
	v := testkit.NewVolume(t)
	v.Write("d/.meta/graphs/active/volfile", []byte("fake"), testkit.Old)
	fake := t.TempDir()
	write(t, fake+"/.meta/graphs/x/volfile", "volume a\ntype b\nend-volume\n")
	for dir, want := range map[string]error{
		fake:                             ErrNoMount,
		v.BrickDir():                     ErrNoMount,
		v.Path("d"):                      ErrNoMount,
		"/proc":                          ErrNoMount,
		fake + "/no":                     os.ErrNotExist,
		fake + "/.meta/graphs/x/volfile": unix.ENOTDIR,
	} {
		if _, err := Inspect(dir); !errors.Is(err, want) {
			t.Errorf("Inspect(%s) = %v, want %v", dir, err, want)
		}
	}
	// A mount whose client is dead says so, and does not hang.
	v.Unmount(v.MountDir())
	if _, err := Inspect(v.MountDir()); !errors.Is(err, ErrNoMount) {
		t.Errorf("Inspect of what is unmounted: %v", err)
	}
}

func FuzzMountinfo(f *testing.F) {
	f.Add(`40 21 0:39 / /mnt/a\040b\011 rw,nosuid shared:2 - fuse.glusterfs host:/vol/sub rw` + "\n")
	f.Fuzz(func(t *testing.T, text string) {
		mounts, err := mountinfo.GetMountsFromReader(strings.NewReader(text), nil)
		if err != nil {
			return
		}
		for _, m := range mounts {
			if e := mountEntry(*m); e.check() == nil && (e.FSType != mountType || e.subdir() != "" || strings.Contains(e.volume(), "/")) {
				t.Fatalf("%q is taken for a mount of a whole volume: %+v", text, e)
			}
		}
	})
}
