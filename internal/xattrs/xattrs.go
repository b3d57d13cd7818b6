// Package xattrs reads extended attributes of the entries of a directory, with as few
// system calls and copies as the kernel allows, and follows no symlink.
package xattrs

import (
	"errors"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Reader reads the attributes of directory entries. It belongs to the goroutine that
// made it. Names are C strings, ended by a NUL, as they stand in what getdents64 and
// listxattr fill: copying each into a string and back is a good part of what a file
// costs otherwise. Errors are those of listxattr(2) and getxattr(2). Where it belongs to
// a goroutine that opens files, their paths are absolute: "cwd" moves its thread.
type Reader interface {
	// Enter makes dir, which stays open until the next Enter, the directory that
	// the other methods look in.
	Enter(dir int)
	// List fills buf, which must be on the heap, with the attributes' names.
	List(name *byte, buf []byte) (int, error)
	// Get fills buf, which must be on the heap, with the value of attr.
	Get(name, attr *byte, buf []byte) (int, error)
}

// New makes a Reader.
type New func() (Reader, error)

// Best is the fastest of the Ways.
func Best(dir int) New {
	ways := Ways(dir)
	if at, ok := ways["getxattrat"]; ok {
		return at
	}
	return ways["cwd"]
}

// Ways are those that this kernel has to read attributes, by name: any kernel's, and
// the calls of Linux 6.13. dir is any open directory.
func Ways(dir int) map[string]New {
	ways := map[string]New{"cwd": newCwdReader}
	if new(atReader).works(dir) {
		ways["getxattrat"] = func() (Reader, error) { return &atReader{}, nil }
	}
	return ways
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
	r.Enter(dir)
	name, buf := []byte(".\x00"), make([]byte, 1)
	_, err := r.Get(&name[0], &name[0], buf)
	return !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EPERM)
}

func (r *atReader) Enter(dir int) { r.dir = dir }

func (r *atReader) List(name *byte, buf []byte) (int, error) {
	n, _, errno := unix.Syscall6(unix.SYS_LISTXATTRAT, uintptr(r.dir), uintptr(unsafe.Pointer(name)),
		unix.AT_SYMLINK_NOFOLLOW, uintptr(unsafe.Pointer(unsafe.SliceData(buf))), uintptr(len(buf)), 0)
	return int(n), errnoErr("listxattrat", errno)
}

func (r *atReader) Get(name, attr *byte, buf []byte) (int, error) {
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
func newCwdReader() (Reader, error) {
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return nil, os.NewSyscallError("unshare", err)
	}
	return &cwdReader{}, nil
}

// Enter moves later, when the first attribute is asked for: a directory of warm
// files needs none.
func (r *cwdReader) Enter(dir int) { r.dir, r.moved = dir, false }

func (r *cwdReader) move() error {
	if r.moved {
		return nil
	}
	err := unix.Fchdir(r.dir)
	r.moved = err == nil
	return os.NewSyscallError("fchdir", err)
}

func (r *cwdReader) List(name *byte, buf []byte) (int, error) {
	if err := r.move(); err != nil {
		return 0, err
	}
	n, _, errno := unix.Syscall(unix.SYS_LLISTXATTR, uintptr(unsafe.Pointer(name)),
		uintptr(unsafe.Pointer(unsafe.SliceData(buf))), uintptr(len(buf)))
	return int(n), errnoErr("llistxattr", errno)
}

func (r *cwdReader) Get(name, attr *byte, buf []byte) (int, error) {
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
