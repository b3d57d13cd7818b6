package run

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/object"
)

// newFile is a file that gets its name, below root, once it is complete.
type newFile struct {
	*os.File
	root *os.Root
	path string // to be

	dir  *os.File // where it is until then
	temp string   // its name there; empty if it has none, and no kill can leave it behind
}

// newFileAt creates the file in the deepest directory on the way to path that
// exists: there it is on the file system where it will be, and nothing else is
// made for a file that may never come.
func newFileAt(root *os.Root, name string) (*newFile, error) {
	switch _, err := root.Lstat(name); {
	case err == nil:
		return nil, &fs.PathError{Op: "create", Path: name, Err: unix.EEXIST}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	n := &newFile{root: root, path: name}
	var err error
	parent := path.Dir(name)
	for n.dir, err = root.Open(parent); errors.Is(err, fs.ErrNotExist) && parent != "."; n.dir, err = root.Open(parent) {
		parent = path.Dir(parent)
	}
	if err != nil {
		return nil, err
	}
	const flags, private = unix.O_RDWR | unix.O_CLOEXEC, 0o600 // the file's owner is not asked: it is root's copy
	fd, err := unix.Openat(int(n.dir.Fd()), ".", flags|unix.O_TMPFILE, private)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EISDIR) { // NFS, FUSE, FAT
		n.temp = ".coldbrick-" + object.NewID()
		fd, err = unix.Openat(int(n.dir.Fd()), n.temp, flags|unix.O_CREAT|unix.O_EXCL, private)
	}
	if err != nil {
		n.dir.Close()
		return nil, &fs.PathError{Op: "create", Path: name, Err: err}
	}
	n.File = os.NewFile(uintptr(fd), name)
	return n, nil
}

// publish gives the file its times and then its name, for good.
func (n *newFile) publish(mtime unix.Timespec) error {
	const private = 0o700
	if err := n.setTimes(mtime); err != nil {
		return err
	}
	if err := n.Sync(); err != nil {
		return err
	}
	if err := n.root.MkdirAll(path.Dir(n.path), private); err != nil {
		return err
	}
	dir, err := n.root.Open(path.Dir(n.path))
	if err != nil {
		return err
	}
	defer dir.Close() // read only
	if err := n.name(dir); err != nil {
		return &fs.PathError{Op: "create", Path: n.path, Err: err}
	}
	return dir.Sync()
}

func (n *newFile) setTimes(mtime unix.Timespec) error {
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, n.fdPath(), []unix.Timespec{mtime, mtime}, 0); err != nil {
		return fmt.Errorf("set times of %s: %w", n.path, err)
	}
	return nil
}

// fdPath leads to the file even while it has no name. It is our own descriptor, so
// the link is safe to follow.
func (n *newFile) fdPath() string { return "/proc/self/fd/" + strconv.Itoa(int(n.Fd())) }

// name makes the file appear in dir. No file is replaced.
func (n *newFile) name(dir *os.File) error {
	base := path.Base(n.path)
	if n.temp == "" {
		return unix.Linkat(unix.AT_FDCWD, n.fdPath(), int(dir.Fd()), base, unix.AT_SYMLINK_FOLLOW)
	}
	err := unix.Renameat2(int(n.dir.Fd()), n.temp, int(dir.Fd()), base, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) { // NFS, FUSE
		return unix.Linkat(int(n.dir.Fd()), n.temp, int(dir.Fd()), base, 0) // discard removes the other name
	}
	if err == nil {
		n.temp = ""
	}
	return err
}

// discard lets go of the file. Unless it was published, nothing of it stays.
func (n *newFile) discard() {
	if n.temp != "" {
		_ = unix.Unlinkat(int(n.dir.Fd()), n.temp, 0) // what cannot be removed shows by its name what it is
	}
	n.Close() // synced, or not wanted
	n.dir.Close()
}
