package crawl

import (
	"errors"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
)

// The calls of this file take names as they stand in a getdents64 or listxattr
// buffer, ended by a NUL, since copying each into a string and back is a good
// part of what a file costs otherwise. name and attr point at such a C string.

// statAt fills st for the entry name of dir and follows no symlink.
func statAt(dir int, name *byte, st *unix.Statx_t) error {
	const flags = unix.AT_SYMLINK_NOFOLLOW | unix.AT_STATX_DONT_SYNC
	_, _, errno := unix.Syscall6(unix.SYS_STATX, uintptr(dir), uintptr(unsafe.Pointer(name)),
		flags, unix.STATX_BASIC_STATS, uintptr(unsafe.Pointer(st)), 0)
	return errnoErr("statx", errno)
}

// openDirAt opens the directory name of dir, which must not be a symlink.
func openDirAt(dir int, name string) (int, error) {
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	for {
		// NOATIME: a crawl is no use of a directory, and must not write to disks.
		fd, err := unix.Openat(dir, name, flags|unix.O_NOATIME, 0)
		if errors.Is(err, unix.EPERM) { // not ours, and we are not root
			fd, err = unix.Openat(dir, name, flags, 0)
		}
		if !errors.Is(err, unix.EINTR) {
			return fd, os.NewSyscallError("openat", err)
		}
	}
}

// readDirents fills buf with entries. It returns 0 at the end, and for a
// directory that was removed in the meantime.
func readDirents(dir int, buf []byte) (int, error) {
	for {
		n, err := unix.Getdents(dir, buf)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.ENOENT):
			return 0, nil
		default:
			return n, os.NewSyscallError("getdents64", err)
		}
	}
}

// isPinned reports whether an open directory itself carries the pin.
func isPinned(dir int) (bool, error) {
	_, err := unix.Fgetxattr(dir, gluster.XattrPin, nil)
	if errors.Is(err, unix.ENODATA) {
		return false, nil
	}
	return err == nil, os.NewSyscallError("fgetxattr", err)
}

// attrReader reads extended attributes of directory entries and follows no
// symlink. It belongs to one crawler.
type attrReader interface {
	// enter makes dir, which stays open until the next enter, the directory that
	// the other methods look in.
	enter(dir int)
	// list fills buf, which must be on the heap, with the attributes' names.
	list(name *byte, buf []byte) (int, error)
	// get fills buf, which must be on the heap, with the value of attr.
	get(name, attr *byte, buf []byte) (int, error)
}

// attrReaders says how to make readers: with the calls of Linux 6.13 if the
// kernel has them. dir is any open directory.
func attrReaders(dir int) func() (attrReader, error) {
	if new(atReader).works(dir) {
		return func() (attrReader, error) { return &atReader{}, nil }
	}
	return func() (attrReader, error) { return newCwdReader() }
}

// atReader uses getxattrat and listxattrat.
type atReader struct {
	dir  int
	args xattrArgs
}

// xattrArgs is the kernel's struct xattr_args.
type xattrArgs struct {
	value uint64 // the buffer's address
	size  uint32
	flags uint32
}

// works reports whether the kernel has the calls and lets us use them: sandboxes
// answer those they do not know with EPERM.
func (r *atReader) works(dir int) bool {
	r.enter(dir)
	name, buf := []byte(".\x00"), make([]byte, 1)
	_, err := r.get(&name[0], &name[0], buf)
	return !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EPERM)
}

func (r *atReader) enter(dir int) { r.dir = dir }

func (r *atReader) list(name *byte, buf []byte) (int, error) {
	n, _, errno := unix.Syscall6(unix.SYS_LISTXATTRAT, uintptr(r.dir), uintptr(unsafe.Pointer(name)),
		unix.AT_SYMLINK_NOFOLLOW, uintptr(unsafe.Pointer(unsafe.SliceData(buf))), uintptr(len(buf)), 0)
	return int(n), errnoErr("listxattrat", errno)
}

func (r *atReader) get(name, attr *byte, buf []byte) (int, error) {
	r.args.value, r.args.size = uint64(uintptr(unsafe.Pointer(unsafe.SliceData(buf)))), uint32(len(buf))
	n, _, errno := unix.Syscall6(unix.SYS_GETXATTRAT, uintptr(r.dir), uintptr(unsafe.Pointer(name)),
		unix.AT_SYMLINK_NOFOLLOW, uintptr(unsafe.Pointer(attr)), uintptr(unsafe.Pointer(&r.args)), unsafe.Sizeof(r.args))
	runtime.KeepAlive(buf) // args has its address as a number only
	return int(n), errnoErr("getxattrat", errno)
}

// cwdReader does the same on any kernel: it gives its thread a working directory
// of its own and goes there, so that a bare name is enough.
type cwdReader struct {
	dir   int
	moved bool // dir is the working directory
}

// newCwdReader ties the calling goroutine to its thread for good: the thread
// ends with the goroutine, and no other goroutine ever finds itself elsewhere.
func newCwdReader() (*cwdReader, error) {
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return nil, os.NewSyscallError("unshare", err)
	}
	return &cwdReader{}, nil
}

// enter moves later, when the first attribute is asked for: a directory of warm
// files needs none.
func (r *cwdReader) enter(dir int) { r.dir, r.moved = dir, false }

func (r *cwdReader) move() error {
	if r.moved {
		return nil
	}
	err := unix.Fchdir(r.dir)
	r.moved = err == nil
	return os.NewSyscallError("fchdir", err)
}

func (r *cwdReader) list(name *byte, buf []byte) (int, error) {
	if err := r.move(); err != nil {
		return 0, err
	}
	n, _, errno := unix.Syscall(unix.SYS_LLISTXATTR, uintptr(unsafe.Pointer(name)),
		uintptr(unsafe.Pointer(unsafe.SliceData(buf))), uintptr(len(buf)))
	return int(n), errnoErr("llistxattr", errno)
}

func (r *cwdReader) get(name, attr *byte, buf []byte) (int, error) {
	if err := r.move(); err != nil {
		return 0, err
	}
	n, _, errno := unix.Syscall6(unix.SYS_LGETXATTR, uintptr(unsafe.Pointer(name)), uintptr(unsafe.Pointer(attr)),
		uintptr(unsafe.Pointer(unsafe.SliceData(buf))), uintptr(len(buf)), 0, 0)
	return int(n), errnoErr("lgetxattr", errno)
}

// errnoErr costs nothing where all went well.
func errnoErr(call string, errno unix.Errno) error {
	if errno == 0 {
		return nil
	}
	return os.NewSyscallError(call, errno)
}
