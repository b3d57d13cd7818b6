package volume

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ErrUntold means that a file system does not tell what a file alone takes.
var ErrUntold = errors.New("the file system does not tell which bytes a file shares")

// The structures and numbers of linux/fiemap.h.
const (
	fiemapRequest = 0xc020660b // FS_IOC_FIEMAP
	extentIsLast  = 0x1
	extentShared  = 0x2000
)

type extent struct {
	logical, physical, length uint64
	_                         [2]uint64
	flags                     uint32
	_                         [3]uint32
}

type extentMap struct {
	start, length         uint64
	flags, mapped, places uint32
	_                     uint32
	extents               [128]extent
}

// OwnBytes is how many bytes the brick gains once an open file of it is empty, and how
// many it does not, since a reflink or a snapshot shares them. Its blocks do not tell, and
// they count those of its attributes. The error is ErrUntold where the file system does
// not know.
func OwnBytes(f *os.File) (own, shared int64, err error) {
	var m extentMap
	for at := uint64(0); ; {
		m.start, m.length, m.places = at, ^uint64(0)-at, uint32(len(m.extents))
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), fiemapRequest, uintptr(unsafe.Pointer(&m)))
		switch errno {
		case 0:
		case unix.EINTR:
			continue
		case unix.EOPNOTSUPP, unix.ENOTTY:
			return 0, 0, ErrUntold
		default:
			return 0, 0, fmt.Errorf("extents of %s: %w", f.Name(), errno)
		}
		for _, e := range m.extents[:m.mapped] {
			if e.flags&extentShared == 0 {
				own += int64(e.length)
			} else {
				shared += int64(e.length)
			}
			if e.flags&extentIsLast != 0 {
				return own, shared, nil
			}
			at = e.logical + e.length
		}
		if m.mapped == 0 {
			return own, shared, nil
		}
	}
}
