package testkit

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
)

// Old is a time of modification that no policy takes for warm, with
// nanoseconds so that a test notices when they are lost.
var Old = time.Unix(1672628645, 123456789)

// Write makes a file on the first mount, with the directories it needs, and sets
// its times of access and modification. path is relative and of any bytes.
func (v *Volume) Write(path string, data []byte, mtime time.Time) {
	v.t.Helper()
	name := v.Path(path)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		v.t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o644); err != nil {
		v.t.Fatal(err)
	}
	v.SetMtime(path, mtime)
}

// SetMtime sets the times of access and modification through the first mount.
func (v *Volume) SetMtime(path string, mtime time.Time) {
	v.t.Helper()
	if err := os.Chtimes(v.Path(path), mtime, mtime); err != nil {
		v.t.Fatal(err)
	}
}

// Age makes a file look unmodified for d.
func (v *Volume) Age(path string, d time.Duration) {
	v.t.Helper()
	v.SetMtime(path, time.Now().Add(-d))
}

// Path is where the first mount shows path. Unlike filepath.Join it keeps every
// byte.
func (v *Volume) Path(path string) string { return v.mount + "/" + path }

// BrickPath is where the only, or the first, brick keeps path.
func (v *Volume) BrickPath(path string) string { return v.bricks[0].dir + "/" + path }

// GFID is the identity of path, read from the brick.
func (v *Volume) GFID(path string) gluster.GFID {
	v.t.Helper()
	value, ok := Xattr(v.t, v.BrickPath(path), gluster.XattrGFID)
	g, err := gluster.GFIDFromBytes(value)
	if !ok || err != nil {
		v.t.Fatalf("gfid of %s: %v", v.BrickPath(path), err)
	}
	return g
}

// HandlePath is where the only, or the first, brick keeps the file of that
// identity, whatever its name is by now.
func (v *Volume) HandlePath(g gluster.GFID) string { return v.BrickPath(g.HandlePath()) }

// BrickSize is the number of bytes of path on the brick: 0 for a stub.
func (v *Volume) BrickSize(path string) int64 {
	v.t.Helper()
	info, err := os.Lstat(v.BrickPath(path))
	if err != nil {
		v.t.Fatal(err)
	}
	return info.Size()
}

// BrickXattrs are all extended attributes of path on the brick.
func (v *Volume) BrickXattrs(path string) map[string]string {
	v.t.Helper()
	return Xattrs(v.t, v.BrickPath(path))
}

// BrickMarks are the cloudsync attributes of path on the brick.
func (v *Volume) BrickMarks(path string) gluster.Marks {
	v.t.Helper()
	x := v.BrickXattrs(path)
	has := func(name string) bool { _, ok := x[name]; return ok }
	return gluster.Marks{
		Remote:      has(gluster.XattrRemote),
		RemoteKey:   x[gluster.XattrRemote],
		Downloading: has(gluster.XattrDownload),
		ObjectSize:  has(gluster.XattrObjectSize),
		BlockSize:   has(gluster.XattrBlockSize),
		NumBlocks:   has(gluster.XattrNumBlocks),
	}
}

// Stamp asks Gluster to turn path into a stub, by name and without any of the
// precautions that coldbrick takes.
func (v *Volume) Stamp(path string) {
	v.t.Helper()
	info, err := os.Lstat(v.Path(path))
	if err != nil {
		v.t.Fatal(err)
	}
	if err := StampValue(v.Path(path), strconv.FormatInt(info.ModTime().Unix(), 10)); err != nil {
		v.t.Fatalf("stamp %s: %v", path, err)
	}
}

// DropPages makes the kernel forget what it has of the file at path, a path on one
// mount. It opens the file, which recalls no stub.
func DropPages(t testing.TB, path string) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close() // read only
	if err := unix.Fadvise(int(file.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		t.Fatalf("drop the pages of %s: %v", path, err)
	}
}

// StampValue sends a stamp with any value, by a path on any mount.
func StampValue(mountPath, value string) error {
	return unix.Lsetxattr(mountPath, gluster.XattrStamp, []byte(value), 0)
}

// Xattrs are all extended attributes of the file at path, which is not followed
// if it is a symlink.
func Xattrs(t testing.TB, path string) map[string]string {
	t.Helper()
	buf := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, buf)
	if err != nil {
		t.Fatalf("list xattrs of %s: %v", path, err)
	}
	all := map[string]string{}
	for name := range strings.SplitSeq(string(bytes.TrimRight(buf[:n], "\x00")), "\x00") {
		if value, ok := Xattr(t, path, name); ok {
			all[name] = string(value)
		}
	}
	return all
}

// Xattr is the value of one extended attribute, and whether there is one.
func Xattr(t testing.TB, path, name string) (value []byte, ok bool) {
	t.Helper()
	buf := make([]byte, 64<<10)
	n, err := unix.Lgetxattr(path, name, buf)
	if errors.Is(err, unix.ENODATA) || name == "" {
		return nil, false
	}
	if err != nil {
		t.Fatalf("get xattr %s of %s: %v", name, path, err)
	}
	return buf[:n], true
}

// SetXattr sets an extended attribute of the file at path, on a brick or mount.
func SetXattr(t testing.TB, path, name, value string) {
	t.Helper()
	if err := unix.Lsetxattr(path, name, []byte(value), 0); err != nil {
		t.Fatalf("set xattr %s of %s: %v", name, path, err)
	}
}

// Below lists all that there is below dir.
func Below(t testing.TB, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
		if name != dir {
			names = append(names, strings.TrimPrefix(name, dir+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
