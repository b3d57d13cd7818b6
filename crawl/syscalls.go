package crawl

import (
	"errors"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
)

// statAt fills st for the entry name of dir, a C string as for xattrs.Reader, and
// follows no symlink.
func statAt(dir int, name *byte, st *unix.Statx_t) error {
	const flags = unix.AT_SYMLINK_NOFOLLOW | unix.AT_STATX_DONT_SYNC
	_, _, errno := unix.Syscall6(unix.SYS_STATX, uintptr(dir), uintptr(unsafe.Pointer(name)),
		flags, unix.STATX_BASIC_STATS, uintptr(unsafe.Pointer(st)), 0)
	if errno != 0 {
		return os.NewSyscallError("statx", errno)
	}
	return nil
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
