package testkit

// What coldbrick relies on in GlusterFS, each fact with the test that proves it.
// docs/gluster.md lists them. A test that fails after an upgrade of GlusterFS
// names the assumption that no longer holds.

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
)

// stamped is a volume with one stub, "dir/f", of 300000 bytes.
func stamped(t *testing.T, options ...Option) *Volume {
	t.Helper()
	v := NewVolume(t, options...)
	v.Write("dir/f", make([]byte, 300000), Old)
	v.Stamp("dir/f")
	return v
}

func stat(t *testing.T, path string) unix.Stat_t {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatalf("stat %s: %v", path, err)
	}
	return st
}

// stampFile stamps an open file.
func stampFile(f *os.File, value string) error {
	return unix.Fsetxattr(int(f.Fd()), gluster.XattrStamp, []byte(value), 0)
}

func open(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestAStampMakesAStub(t *testing.T) {
	v := NewVolume(t)
	v.Write("dir/f", make([]byte, 300000), Old)
	before := stat(t, v.Path("dir/f"))
	SetXattr(t, v.Path("dir/f"), gluster.XattrPointer, "ours")
	ctime := stat(t, v.Path("dir/f")).Ctim
	v.Stamp("dir/f")

	x := v.BrickXattrs("dir/f")
	for name, want := range map[string]string{
		gluster.XattrRemote:     "dir/f",
		gluster.XattrObjectSize: "300000",
		gluster.XattrBlockSize:  "4096",
		gluster.XattrPointer:    "ours", // survives
	} {
		if x[name] != want {
			t.Errorf("%s = %q, want %q", name, x[name], want)
		}
	}
	if _, stored := x[gluster.XattrStamp]; stored {
		t.Errorf("%s is stored", gluster.XattrStamp)
	}
	if size := v.BrickSize("dir/f"); size != 0 {
		t.Errorf("%d bytes left on the brick", size)
	}
	after := stat(t, v.Path("dir/f"))
	if after.Size != before.Size || after.Mtim != before.Mtim || after.Ctim != ctime || after.Ino != before.Ino {
		t.Errorf("the mount shows %+v, before %+v", after, before)
	}
	if _, err := os.ReadFile(v.NewMount(t) + "/dir/f"); !errors.Is(err, unix.EREMOTE) {
		t.Errorf("reading it: %v", err)
	}
}

// The brick compares the decimal mtime with the value as strings, and only as far
// as the value goes.
func TestTheStampChecksAPrefixOfTheMtime(t *testing.T) {
	v := NewVolume(t)
	now := time.Unix(1795000000, 0)
	for _, tt := range []struct {
		name  string
		mtime time.Time
		value string
		stub  bool
	}{
		{"the mtime", Old, "1672628645", true},
		{"nanoseconds do not count", Old.Add(800e6), "1672628645", true},
		{"a second before", Old, "1672628644", false},
		{"a second after", Old, "1672628646", true},
		{"a prefix", Old, "16726", true},
		{"nothing", Old, "", true},
		{"a letter", Old, "z", true},
		{"a rewrite of a file from 2023", now, "1672628645", false},
		{"a rewrite of a file from before 2001-09-09", now, "999999999", true}, // data loss
		{"a rewrite of a file from before 1970", now, "-5", false},
		{"a file from before 1970", time.Unix(-5, 0), "-5", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := strings.ReplaceAll(tt.name, " ", "-")
			v.Write(path, []byte("data"), tt.mtime)
			err := StampValue(v.Path(path), tt.value)
			if stub := v.BrickSize(path) == 0; stub != tt.stub || stub != (err == nil) {
				t.Errorf("stub: %t, want %t; stamp: %v", stub, tt.stub, err)
			}
			if !tt.stub && !errors.Is(err, unix.EINVAL) {
				t.Errorf("stamp: %v", err)
			}
		})
	}
}

func TestAStubsBlocksAreRightWithPaddedNumBlocks(t *testing.T) {
	v := stamped(t)
	wrong := stat(t, v.Path("dir/f")).Blocks
	if wrong == 586 {
		t.Error("num_blocks needs no cure any more")
	}
	SetXattr(t, v.Path("dir/f"), gluster.XattrNumBlocks, gluster.NumBlocks(300000, 586))
	if got := stat(t, v.Path("dir/f")).Blocks; got != 586 {
		t.Errorf("%d blocks (before: %d), want 586", got, wrong)
	}
}

func TestMdataHoldsTheTimesThatClientsSee(t *testing.T) {
	v := stamped(t)
	raw, _ := Xattr(t, v.BrickPath("dir/f"), gluster.XattrMdata)
	m, err := gluster.ParseMdata(raw)
	if err != nil {
		t.Fatal(err)
	}
	client, brick := stat(t, v.Path("dir/f")), stat(t, v.BrickPath("dir/f"))
	if !m.Mtime.Equal(Old) || !m.Atime.Equal(Old) || m.Ctime.UnixNano() != client.Ctim.Nano() {
		t.Errorf("%+v; mount: %+v", m, client)
	}
	if brick.Mtim.Nano() == Old.UnixNano() {
		t.Error("the brick's own mtime did not move with the stamp")
	}
}

func TestWithoutCtimeAStampLosesTheMtime(t *testing.T) {
	v := stamped(t, WithoutCtime())
	if st := stat(t, v.Path("dir/f")); st.Mtim.Nano() == Old.UnixNano() {
		t.Error("the mtime is kept")
	}
	if _, ok := Xattr(t, v.BrickPath("dir/f"), gluster.XattrMdata); ok {
		t.Errorf("there is %s", gluster.XattrMdata)
	}
}

// An open file stays the same file, whatever happens to its name.
func TestAStampOfAnOpenFileCannotHitAnother(t *testing.T) {
	v := NewVolume(t)
	other := v.NewMount(t)

	v.Write("f", []byte("uploaded"), Old)
	v.Write("g", []byte("never uploaded"), Old)
	f := open(t, v.Path("f"))
	if err := os.Rename(other+"/g", other+"/f"); err != nil {
		t.Fatal(err)
	}
	if err := stampFile(f, "1672628645"); !errors.Is(err, unix.ESTALE) {
		t.Errorf("stamp of a replaced file: %v", err)
	}
	if size := v.BrickSize("f"); size != int64(len("never uploaded")) {
		t.Errorf("the other file has %d bytes", size)
	}

	v.Write("dir/h", []byte("data"), Old)
	h := open(t, v.Path("dir/h"))
	if err := os.Rename(other+"/dir", other+"/moved"); err != nil {
		t.Fatal(err)
	}
	if err := stampFile(h, "1672628645"); err != nil {
		t.Errorf("stamp of a moved file: %v", err)
	}
	if key := v.BrickMarks("moved/h").RemoteKey; key != "moved/h" {
		t.Errorf("%s = %q: not the path at the time of the stamp", gluster.XattrRemote, key)
	}
}

// The brick makes the key from its table of inodes. After a restart it knows no
// names until somebody looks them up.
func TestAStampOfAnOpenFileAfterABrickRestartHasNoKey(t *testing.T) {
	v := NewVolume(t)
	stampAfterRestart := func(path string, look func(string)) string {
		v.Write(path, []byte("data"), Old)
		f := open(t, v.Path(path))
		v.StopBrick()
		v.StartBrick()
		v.WaitConnected(v.MountDir())
		look(v.Path(path))
		if err := stampFile(f, "1672628645"); err != nil {
			t.Fatal(err)
		}
		if m := v.BrickMarks(path); v.BrickSize(path) != 0 || !m.Remote {
			t.Errorf("%s is no stub: %+v", path, m)
		}
		return v.BrickMarks(path).RemoteKey
	}
	if key := stampAfterRestart("d/f", func(string) {}); key != "" {
		t.Errorf("without a lookup: key %q", key)
	}
	look := func(path string) {
		Eventually(t, time.Minute, "the client opens its files anew", func() bool { // EBADFD until then
			_, err := os.Stat(path)
			return err == nil
		})
	}
	if key := stampAfterRestart("d/g", look); key != "d/g" {
		t.Errorf("with a lookup: key %q", key)
	}
}

func TestTheKeyOfAStubCanBeRewritten(t *testing.T) {
	v := stamped(t)
	key := ".coldbrick/" + strings.Repeat("k", 2000)
	SetXattr(t, v.Path("dir/f"), gluster.XattrRemote, key)
	if got := v.BrickMarks("dir/f").RemoteKey; got != key {
		t.Errorf("%d bytes of key, want %d", len(got), len(key))
	}
}

func TestNamesAreBytesInKeys(t *testing.T) {
	v := NewVolume(t)
	for _, name := range []string{"a b", "new\nline", "\xff\xfe", "-rf", "%2F", strings.Repeat("n", 255)} {
		v.Write("d/"+name, []byte("data"), Old)
		v.Stamp("d/" + name)
		if key := v.BrickMarks("d/" + name).RemoteKey; key != "d/"+name {
			t.Errorf("%q has the key %q", name, key)
		}
	}
}

// What looks like success where nothing, or the wrong thing, happened.
func TestAStampMayLie(t *testing.T) {
	v := stamped(t)
	v.Stamp("dir") // no error
	if m := v.BrickMarks("dir"); m.Remote || !m.ObjectSize {
		t.Errorf("a stamped directory has %+v", m)
	}
	plain := filepath.Join(v.Dir(), "plain")
	if err := os.WriteFile(plain, []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := StampValue(plain, "1672628645"); err != nil {
		t.Errorf("stamp outside of Gluster: %v", err)
	}
	if err := StampValue(v.Path("dir/f"), "1672628645"); !errors.Is(err, unix.EINVAL) {
		t.Errorf("stamp of a stub: %v", err)
	}
}

func TestObjectSizeLeftBehindHidesGrowth(t *testing.T) {
	v := stamped(t)
	nocs := v.NewMount(t, WithoutCloudsync())
	if err := os.WriteFile(nocs+"/dir/f", make([]byte, 300000), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := unix.Lremovexattr(nocs+"/dir/f", gluster.XattrRemote); err != nil {
		t.Fatal(err)
	}
	appendTo := func(mount string) {
		f, err := os.OpenFile(mount+"/dir/f", os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString("more"); err != nil {
			t.Error(err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	appendTo(v.NewMount(t))
	if size := stat(t, v.NewMount(t)+"/dir/f").Size; size != 300000 {
		t.Errorf("the mount shows %d bytes", size)
	}
	for _, name := range []string{gluster.XattrObjectSize, gluster.XattrBlockSize, gluster.XattrNumBlocks} {
		if err := unix.Lremovexattr(nocs+"/dir/f", name); err != nil {
			t.Fatal(err)
		}
	}
	if size := stat(t, v.NewMount(t)+"/dir/f").Size; size != 300004 {
		t.Errorf("after the cure the mount shows %d bytes", size)
	}
}

// The protocol of a recall: with downloading set and remote gone, nobody sees
// half a file, and nobody's stamp can take the bytes away.
func TestDownloadingWithoutRemoteHidesHalfAFile(t *testing.T) {
	v := stamped(t)
	nocs := v.NewMount(t, WithoutCloudsync()) + "/dir/f"
	SetXattr(t, nocs, gluster.XattrDownload, "1")
	if _, err := os.ReadFile(v.NewMount(t) + "/dir/f"); !errors.Is(err, unix.EIO) {
		t.Errorf("reading with remote and downloading: %v", err)
	}
	if err := unix.Lremovexattr(nocs, gluster.XattrRemote); err != nil {
		t.Fatal(err)
	}
	if err := unix.Lremovexattr(nocs, gluster.XattrRemote); !errors.Is(err, unix.ENODATA) {
		t.Errorf("claiming it a second time: %v", err)
	}
	half, err := os.OpenFile(nocs, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer half.Close()
	if _, err := half.Write(make([]byte, 150000)); err != nil {
		t.Fatal(err)
	}
	fresh := v.NewMount(t) + "/dir/f"
	if _, err := os.ReadFile(fresh); !errors.Is(err, unix.EREMOTE) {
		t.Errorf("reading half a file: %v", err)
	}
	if size := stat(t, fresh).Size; size != 300000 {
		t.Errorf("stat of half a file: %d bytes", size)
	}
	if err := StampValue(fresh, "1672628645"); !errors.Is(err, unix.EINVAL) {
		t.Errorf("stamp of half a file: %v", err)
	}
	if size := v.BrickSize("dir/f"); size != 150000 {
		t.Errorf("the brick has %d bytes after that", size)
	}
}

func TestQuickReadMakesStubsReadable(t *testing.T) {
	v := NewVolume(t)
	v.Write("f", make([]byte, 30000), Old)
	v.Stamp("f")
	data, err := os.ReadFile(v.NewMount(t, WithQuickRead()) + "/f")
	if errors.Is(err, unix.EREMOTE) {
		t.Errorf("%d bytes, %v: quick-read is safe now", len(data), err)
	}
}

func TestABrickHasAHandleForEachFile(t *testing.T) {
	v := NewVolume(t)
	v.Write("dir/f", []byte("data"), Old)
	g := v.GFID("dir/f")
	file, handle, client := stat(t, v.BrickPath("dir/f")), stat(t, v.HandlePath(g)), stat(t, v.Path("dir/f"))
	if file.Ino != handle.Ino {
		t.Errorf("%s is another file", g.HandlePath())
	}
	if client.Nlink != 1 || file.Nlink != 2 {
		t.Errorf("%d links on the mount, %d on the brick", client.Nlink, file.Nlink)
	}
	if client.Ino != g.Inode() {
		t.Errorf("inode %d, want %d", client.Ino, g.Inode())
	}
	text, _ := Xattr(t, v.Path("dir/f"), gluster.VirtualGFID)
	if string(text) != g.String() {
		t.Errorf("%s = %q, want %q", gluster.VirtualGFID, text, g)
	}
	path, _ := Xattr(t, v.Path("dir/f"), gluster.VirtualPath)
	if string(path) != "/dir/f" {
		t.Errorf("%s = %q", gluster.VirtualPath, path)
	}
	want := v.GFID("dir").String() + "/f"
	for name, value := range v.BrickXattrs("dir/f") {
		if strings.HasPrefix(name, gluster.XattrGFID2Path) && value == want {
			return
		}
	}
	t.Errorf("no %s* = %q", gluster.XattrGFID2Path, want)
}

func TestTheRootOfABrick(t *testing.T) {
	v := NewVolume(t)
	if g := v.GFID("."); g != gluster.RootGFID {
		t.Errorf("gfid of the root: %s", g)
	}
	id, err := gluster.GFIDFromBytes([]byte(v.BrickXattrs(".")[gluster.XattrVolumeID]))
	if err != nil || id.String() != v.ID {
		t.Errorf("volume id: %s, %v, want %s", id, err, v.ID)
	}
}

// A file renamed to a name that belongs on another brick leaves its data where it
// is and a pointer in the other place.
func TestALinktoFileIsMarkedByItsXattr(t *testing.T) {
	v := NewVolume(t, Bricks(2))
	linkto := 0
	for i := range 20 {
		from, to := "old"+string(rune('a'+i)), "new"+string(rune('a'+i))
		v.Write(from, []byte("data"), Old)
		if err := os.Rename(v.Path(from), v.Path(to)); err != nil {
			t.Fatal(err)
		}
		for _, dir := range v.BrickDirs() {
			info, err := os.Lstat(dir + "/" + to)
			if errors.Is(err, os.ErrNotExist) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := Xattr(t, dir+"/"+to, gluster.XattrLinkto); ok != (info.Size() == 0) {
				t.Errorf("%s/%s: %d bytes, linkto: %t", dir, to, info.Size(), ok)
			} else if ok {
				linkto++
			}
		}
	}
	if linkto == 0 {
		t.Error("twenty renames made no linkto file")
	}
}

func TestAMountDescribesItself(t *testing.T) {
	v := NewVolume(t, Replica(2))
	read := func(name string) string {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(v.MountDir(), ".meta", name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if kind := read("graphs/active/vol-cloudsync/type"); strings.TrimSpace(kind) != "features/cloudsync" {
		t.Errorf("type: %q", kind)
	}
	if value := read("graphs/active/vol-cloudsync/options/cloudsync"); strings.TrimSpace(value) != "on" {
		t.Errorf("option: %q", value)
	}
	if _, err := os.Stat(v.MountDir() + "/.meta/graphs/active/vol-quick-read"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("quick-read is not in the graph, but: %v", err)
	}
	if brick := read("graphs/active/vol-client-1/options/remote-subvolume"); strings.TrimSpace(brick) != v.BrickDirs()[1] {
		t.Errorf("remote-subvolume: %q", brick)
	}
	volfile := read("graphs/active/volfile")
	for _, want := range []string{"volume vol-client-0\n", "type cluster/replicate\n", "subvolumes vol-client-0 vol-client-1"} {
		if !strings.Contains(volfile, want) {
			t.Errorf("the volfile has no %q:\n%s", want, volfile)
		}
	}
	var started any
	if err := json.Unmarshal([]byte(read("cmdline")), &started); err != nil {
		t.Errorf("cmdline: %v", err)
	}
	if version := read("version"); !strings.Contains(version, "10.") && !strings.Contains(version, "11.") {
		t.Errorf("version: %q", version)
	}
	if s := read("graphs/active/vol-client-1/private"); !strings.Contains(s, "connected = 1\n") {
		t.Errorf("a running brick: %q", s)
	}
	v.StopBrick(1)
	if s := read("graphs/active/vol-client-1/private"); !strings.Contains(s, "connected = 0\n") {
		t.Errorf("a dead brick: %q", s)
	}
	if s := read("graphs/active/vol-replicate-0/private"); !strings.Contains(s, "child_up[1] = 0\n") {
		t.Errorf("a set with a dead brick: %q", s)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(v.MountDir(), &fs); err != nil || fs.Type != unix.FUSE_SUPER_MAGIC {
		t.Errorf("statfs: type %#x, %v", fs.Type, err)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, " "+v.MountDir()+" ") && strings.Contains(line, " - fuse.glusterfs ") {
			return
		}
	}
	t.Errorf("no fuse.glusterfs mount of %s in mountinfo", v.MountDir())
}

// A brick has a file open for writing as long as a client has: also one that has
// it mapped only, or that has yet to send what it wrote. The kernel then grants
// no lease on it.
func TestABrickHasAFileOpenAsItsClientsHave(t *testing.T) {
	v := NewVolume(t)
	for mount, dir := range map[string]string{"plain": v.NewMount(t), "of a user": v.NewMount(t, WithPerformance())} {
		t.Run(mount, func(t *testing.T) {
			v.Write("f", []byte("0123456789"), Old)
			brick := open(t, v.BrickPath("f"))
			leased := func() bool {
				_, err := unix.FcntlInt(brick.Fd(), unix.F_SETLEASE, unix.F_RDLCK)
				if err == nil {
					_, err = unix.FcntlInt(brick.Fd(), unix.F_SETLEASE, unix.F_UNLCK)
				}
				if err != nil && err != unix.EAGAIN {
					t.Fatal(err)
				}
				return err == nil
			}
			Eventually(t, time.Minute, "the file is closed on the brick", leased)

			reader := open(t, dir+"/f")
			if _, err := reader.Read(make([]byte, 4)); err != nil {
				t.Fatal(err)
			}
			if !leased() {
				t.Error("a reader counts")
			}

			writer, err := os.OpenFile(dir+"/f", os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			if leased() {
				t.Error("a file that is open and not yet written to does not count")
			}
			mapped, err := unix.Mmap(int(writer.Fd()), 0, 10, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
			if err != nil {
				t.Fatal(err)
			}
			if err := writer.Close(); err != nil {
				t.Fatal(err)
			}
			mapped[1] = 'y'
			time.Sleep(200 * time.Millisecond)
			if leased() {
				t.Error("a mapping does not count")
			}
			if err := unix.Munmap(mapped); err != nil {
				t.Fatal(err)
			}
			Eventually(t, time.Minute, "all is closed", leased)
		})
	}
}

// docs/operations.md warns of it: of bricks' logs that fill a disk.
func TestABrickLogsErrorsForLocalFiles(t *testing.T) {
	v := NewVolume(t)
	v.Write("f", []byte("x"), Old)
	stat(t, v.Path("f"))
	if log := v.Log("b0"); !strings.Contains(log, "posix_cs_set_state") {
		t.Errorf("a brick no longer logs an error for files that are no stubs:\n%s", log)
	}
}
