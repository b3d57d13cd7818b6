// Package volume does what coldbrick does to bricks and mounts: it opens files
// beneath a root that users write to, reads what a mount says about itself,
// and makes the private mounts through which files are stamped and recalled.
package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// ErrNotRegular means that a path names a symlink, FIFO, device, socket or
// directory where a file with data was asked for. Nothing of it was opened.
var ErrNotRegular = errors.New("not a regular file")

// Root is a directory whose files are opened only beneath it: no symlink is
// followed, whoever made it, no ".." leads out, and no other file system that
// is mounted inside is entered. Paths are bytes, relative to the root; "" and
// "." name the root itself. A Root may be used by many goroutines at once.
type Root struct {
	dir    string
	fd     *os.File
	recent *recent // nil: every path is walked from the root
}

// OpenRoot opens dir, which may itself be reached through symlinks: its name
// comes from the administrator.
func OpenRoot(dir string) (*Root, error) {
	f, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	return &Root{dir: dir, fd: f}, nil
}

// Dir is the name that the root was opened by; of a brick it is absolute.
func (r *Root) Dir() string { return r.dir }

// Fd is the root's own descriptor; it is valid until Close.
func (r *Root) Fd() int { return int(r.fd.Fd()) }

// Close closes the root; files opened beneath it stay open.
func (r *Root) Close() error {
	if r.recent != nil {
		r.recent.close()
	}
	return r.fd.Close()
}

// Open opens path beneath the root with the flags of open(2). It is meant for
// directories and for O_PATH: opening a FIFO or device of a user's making may
// block or have effects, so files are opened by OpenRegular.
//
// A symlink on the way is ELOOP, a way out of the root or into another mount
// EXDEV.
func (r *Root) Open(path string, flags int) (*os.File, error) {
	if path == "" {
		path = "."
	}
	return openBeneath(r.fd, path, path, flags)
}

// openBeneath opens path beneath dir. name is what messages call it.
func openBeneath(dir *os.File, name, path string, flags int) (*os.File, error) {
	how := unix.OpenHow{
		Flags:   uint64(flags | unix.O_CLOEXEC | unix.O_NOCTTY),
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
	}
	if flags&unix.O_PATH != 0 {
		how.Flags = uint64(flags | unix.O_CLOEXEC) // openat2 refuses other flags beside O_PATH
	}
	conn, err := dir.SyscallConn() // keeps dir open in the meantime
	if err != nil {
		return nil, err
	}
	var fd int
	var openErr error
	err = conn.Control(func(at uintptr) {
		for {
			fd, openErr = unix.Openat2(int(at), path, &how)
			if openErr != unix.EINTR && openErr != unix.EAGAIN { // EAGAIN: a rename raced with ".." in path
				return
			}
		}
	})
	switch {
	case err != nil:
		// Closed in the meantime, which is all that Control fails of, with an error
		// of a package that nobody can name.
		return nil, &fs.PathError{Op: "open", Path: name, Err: os.ErrClosed}
	case openErr == unix.ENOSYS:
		return nil, kernelLacks("openat2")
	case openErr != nil:
		return nil, &fs.PathError{Op: "open", Path: name, Err: openErr}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// OpenRegular opens a regular file for reading. On a private mount its directory
// may be the one that had that name up to a second ago, if the file is in it.
func (r *Root) OpenRegular(path string) (*os.File, error) { return r.openRegular(path, unix.O_RDONLY) }

// OpenRegularRDWR is OpenRegular for reading and writing.
func (r *Root) OpenRegularRDWR(path string) (*os.File, error) {
	return r.openRegular(path, unix.O_RDWR)
}

// openRegular looks before it opens: with O_PATH nothing happens to whatever
// path names, and the reopening through /proc acts on that same inode, however
// often users swap the name in the meantime.
func (r *Root) openRegular(path string, flags int) (*os.File, error) {
	at, err := r.Lookup(path)
	if err != nil {
		return nil, err
	}
	defer at.Close()
	fd, err := reopen(at, flags)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// Lookup gives an O_PATH handle of a regular file, with the attributes that the
// look-up of its name has brought. Of its directory the same is true as for
// OpenRegular.
func (r *Root) Lookup(path string) (*os.File, error) {
	at, err := r.at(path)
	if err != nil {
		return nil, err
	}
	// The type of an inode never changes, so a FUSE client need not be asked.
	var st unix.Statx_t
	err = unix.Statx(int(at.Fd()), "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_TYPE, &st)
	if err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		err = ErrNotRegular
	}
	if err != nil {
		at.Close()
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return at, nil
}

func (r *Root) at(path string) (*os.File, error) {
	if r.recent != nil {
		return r.recent.lookup(r, path)
	}
	return r.Open(path, unix.O_PATH|unix.O_NOFOLLOW)
}

// reopen opens the inode behind an O_PATH handle.
func reopen(at *os.File, flags int) (int, error) {
	for {
		fd, err := unix.Open(procPath(at), flags|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// procPath names the inode of an open file, whatever its directory entry says
// by now.
func procPath(f *os.File) string { return "/proc/self/fd/" + strconv.Itoa(int(f.Fd())) }

// readAll reads a small file beneath the root that may be a virtual one, whose
// size is 0.
func (r *Root) readAll(path string) ([]byte, error) {
	at, err := r.Lookup(path)
	if err != nil {
		return nil, err
	}
	defer at.Close()
	b, err := readVirtual(at)
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: path, Err: err}
	}
	return b, nil
}

// maxVirtual bounds what is read of a virtual file, in bytes. The volume file
// of a volume of 1,000 bricks has about 500 KB.
const maxVirtual = 16 << 20

// readVirtual reads the file behind an O_PATH handle from its beginning, as it
// is now: the meta translator renders a file once for each open.
func readVirtual(at *os.File) ([]byte, error) { return readOnce(at, 8<<10, false) }

// glanceVirtual is readVirtual for a file that has a few KiB as a rule: what one
// read does not fill is taken for all of it.
func glanceVirtual(at *os.File) ([]byte, error) { return readOnce(at, 16<<10, true) }

// readOnce opens and reads a virtual file, with size bytes at first. A short
// read ends it if shortEnds is set, else only one of nothing.
func readOnce(at *os.File, size int, shortEnds bool) ([]byte, error) {
	fd, err := reopen(at, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	b := make([]byte, 0, size)
	for {
		n, err := unix.Read(fd, b[len(b):cap(b)])
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return nil, err
		}
		b = b[:len(b)+n]
		switch full := len(b) == cap(b); {
		case n == 0, shortEnds && !full:
			return b, nil
		case full && len(b) >= maxVirtual:
			return nil, fmt.Errorf("over %d bytes", maxVirtual)
		case full:
			b = append(b, make([]byte, len(b))...)[:len(b)]
		}
	}
}
