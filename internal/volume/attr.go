package volume

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/pkg/xattr"
	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/stub"
)

// Attrs are the extended attributes of one file that coldbrick goes by. They
// read the same on a brick and, for root, on a mount.
type Attrs struct {
	stub.Signs
	Pointer     []byte // value of XattrPointer, nil if absent
	Recall      []byte // value of XattrRecall, nil if absent
	Recalled    time.Time
	HealPending bool
}

// ReadAttrs reads the attributes of an open file. It costs one system call to
// list them, and one more for each that matters. If one of these vanishes after
// it was listed, all are read again: what is returned was there at one instant,
// though its values may be newer.
func ReadAttrs(f *os.File) (a Attrs, err error) {
	for range rereads {
		if a, err = readAttrs(f); !errors.Is(err, unix.ENODATA) {
			break
		}
	}
	return a, err
}

// rereads: others are at the attributes as well, but not for ever.
const rereads = 100

func readAttrs(f *os.File) (a Attrs, err error) {
	names, err := List(f)
	if err != nil {
		return Attrs{}, err
	}
	for _, name := range names {
		a.ReadName(name)
		switch {
		case name == gluster.XattrRemote:
			var key []byte
			key, err = Get(f, name)
			a.RemoteKey = string(key)
		case name == gluster.XattrPointer:
			a.Pointer, err = Get(f, name)
		case name == gluster.XattrRecall:
			a.Recall, err = Get(f, name)
		case name == gluster.XattrRecalled:
			a.Recalled, err = getTime(f, name)
		case strings.HasPrefix(name, gluster.XattrAFR):
			var pending []byte
			pending, err = Get(f, name)
			a.HealPending = a.HealPending || gluster.AFRPending(pending)
		}
		if err != nil {
			return Attrs{}, err
		}
	}
	return a, nil
}

// ReadMarks reads the cloudsync marks of an open file, all but RemoteKey, in one
// system call.
func ReadMarks(f *os.File) (gluster.Marks, error) {
	names, err := List(f)
	var s stub.Signs
	for _, name := range names {
		s.ReadName(name)
	}
	return s.Marks, err
}

// List lists the names of all extended attributes of an open file.
func List(f *os.File) ([]string, error) {
	return list(f.Name(), func(buf []byte) (int, error) { return unix.Flistxattr(int(f.Fd()), buf) })
}

// list calls read with a buffer, and once more with a larger one if that is too small.
func list(name string, read func(buf []byte) (int, error)) ([]string, error) {
	for buf := make([]byte, 4<<10); ; buf = make([]byte, 64<<10) { // no more fits in Linux
		n, err := read(buf)
		switch {
		case errors.Is(err, unix.ERANGE) && len(buf) < 64<<10:
			continue
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return nil, &os.PathError{Op: "listxattr", Path: name, Err: err}
		case n == 0:
			return nil, nil
		}
		return strings.Split(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00"), nil
	}
}

// glance is what a look at a file tells that opens nothing.
type glance struct {
	gluster.Marks // all but RemoteKey
	HealPending   bool
}

// glanceAt reads a file by an O_PATH handle: on a mount that saves the requests of an open
// and of its end. It costs one system call, and one more for each mark of replicate.
func glanceAt(at *os.File) (g glance, err error) {
	for range rereads {
		if g, err = glanceOnce(procPath(at)); !errors.Is(err, unix.ENODATA) { // a mark has gone since it was listed
			break
		}
	}
	if err != nil {
		return g, fmt.Errorf("look at %s: %w", at.Name(), err)
	}
	return g, nil
}

func glanceOnce(path string) (glance, error) {
	names, err := list(path, func(buf []byte) (int, error) { return unix.Listxattr(path, buf) })
	if err != nil {
		return glance{}, err
	}
	var s stub.Signs
	pending := false
	for _, name := range names {
		s.ReadName(name)
		if strings.HasPrefix(name, gluster.XattrAFR) {
			value, err := xattr.Get(path, name)
			if err != nil {
				return glance{}, err
			}
			pending = pending || gluster.AFRPending(value)
		}
	}
	return glance{s.Marks, pending}, nil
}

// PointerOf decodes the pointer of the file gfid, see stub.PointerOf.
func (a Attrs) PointerOf(gfid gluster.GFID) (p object.Pointer, ok bool, err error) {
	return stub.PointerOf(a.Pointer, gfid, a.ObjectSize)
}

// Get reads one extended attribute, never nil; unix.ENODATA and nil if the file
// has none.
func Get(f *os.File, name string) ([]byte, error) {
	b, err := xattr.FGet(f, name)
	if err == nil && b == nil {
		b = []byte{}
	}
	return b, err
}

// GFIDOf asks a mount for the gfid of an open file.
func GFIDOf(f *os.File) (gluster.GFID, error) {
	b, err := Get(f, gluster.VirtualGFID)
	if err != nil {
		return gluster.GFID{}, fmt.Errorf("read gfid: %w", err)
	}
	return gluster.ParseGFID(strings.TrimRight(string(b), "\x00"))
}

// Create sets an attribute that the file must not have yet (unix.EEXIST).
func Create(f *os.File, name string, value []byte) error {
	return xattr.FSetWithFlags(f, name, value, xattr.XATTR_CREATE)
}

// Replace sets an attribute that the file must have (unix.ENODATA). What
// another process may have removed in the meantime is so never brought back.
func Replace(f *os.File, name string, value []byte) error {
	return xattr.FSetWithFlags(f, name, value, xattr.XATTR_REPLACE)
}

// Set sets an attribute in either case.
func Set(f *os.File, name string, value []byte) error { return xattr.FSet(f, name, value) }

// Remove removes an attribute; unix.ENODATA if the file has none.
func Remove(f *os.File, name string) error { return xattr.FRemove(f, name) }

// RemoveAny removes an attribute that may be absent.
func RemoveAny(f *os.File, name string) error {
	if err := Remove(f, name); err != nil && !errors.Is(err, unix.ENODATA) {
		return err
	}
	return nil
}

func getTime(f *os.File, name string) (time.Time, error) {
	b, err := Get(f, name)
	if err != nil {
		return time.Time{}, err
	}
	sec, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("%s: no time: %q", name, b)
	}
	return gluster.Time{Sec: sec}.Std(), nil
}

// Identity is all of a file that must stay the same from the first byte that is
// read to the stamp. An mtime that is put back still moves the ctime.
type Identity struct {
	Inode        uint64 // of a mount: derived from the gfid, see gluster.GFID.Inode
	Size         int64
	Mtime, Ctime unix.Timespec
	Links        uint64
}

// Stat is what stat tells of an open file.
type Stat struct {
	Identity
	Atime    unix.Timespec
	Mode     uint32
	UID, GID uint32
	Blocks   int64 // of 512 bytes
}

// StatOf asks for the attributes of an open file. On a mount with
// attribute-timeout 0 the answer comes from the brick.
func StatOf(f *os.File) (Stat, error) {
	var st unix.Stat_t
	err := unix.Fstat(int(f.Fd()), &st)
	for errors.Is(err, unix.EINTR) {
		err = unix.Fstat(int(f.Fd()), &st)
	}
	if err != nil {
		return Stat{}, &os.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	return Stat{
		Identity: Identity{Inode: st.Ino, Size: st.Size, Mtime: st.Mtim, Ctime: st.Ctim, Links: uint64(st.Nlink)},
		Atime:    st.Atim, Mode: st.Mode, UID: st.Uid, GID: st.Gid, Blocks: st.Blocks,
	}, nil
}

// StatAsOpened is what the lookup that opened f, or any answer since, told of
// it. It asks nothing, so on a mount it saves a round trip where that lookup is
// recent enough.
func StatAsOpened(f *os.File) (Stat, error) {
	var st unix.Statx_t
	for {
		switch err := unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_BASIC_STATS, &st); err {
		case nil:
			timespec := func(t unix.StatxTimestamp) unix.Timespec { return unix.Timespec{Sec: t.Sec, Nsec: int64(t.Nsec)} }
			return Stat{
				Identity: Identity{Inode: st.Ino, Size: int64(st.Size), Mtime: timespec(st.Mtime), Ctime: timespec(st.Ctime), Links: uint64(st.Nlink)},
				Atime:    timespec(st.Atime), Mode: uint32(st.Mode), UID: st.Uid, GID: st.Gid, Blocks: int64(st.Blocks),
			}, nil
		case unix.EINTR:
		default:
			return Stat{}, &os.PathError{Op: "stat", Path: f.Name(), Err: err}
		}
	}
}

// Time converts a time of a Stat.
func Time(t unix.Timespec) time.Time { return gluster.TimeOf(t).Std() }

// Gone reports whether err says that a name or an inode is no more what it was:
// users may rename and delete at any time. ELOOP, EXDEV, ENOTDIR and
// ErrNotRegular come from names that became something else, perhaps a symlink
// out of the volume.
func Gone(err error) bool {
	for _, gone := range []error{unix.ENOENT, unix.ESTALE, unix.ENOTDIR, unix.ELOOP, unix.EXDEV, ErrNotRegular} {
		if errors.Is(err, gone) {
			return true
		}
	}
	return false
}
