package volume

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

var (
	// ErrInUse means that a process has a file of a brick open for writing. That
	// is glusterfsd, for as long as a client has it open or mapped.
	ErrInUse = errors.New("open for writing")
	// ErrNoLease means that nobody can tell whether a file is in use.
	ErrNoLease = errors.New("no lease on the brick's file")
)

// A brick closes its file a moment after the client was told that its own is
// closed.
const (
	closePatience = time.Second
	closePause    = 10 * time.Millisecond
)

// NotInUse returns nil if no process has a file open for writing, and ErrInUse if
// one still has after a second. The kernel tells by granting a lease or not, which
// takes CAP_LEASE, or the file's owner; else the error is ErrNoLease. file must be
// open for reading only.
//
// The lease is given back at once. To hold it any longer would keep writers off,
// but a thread of the brick that waits for it serves nobody else.
func NotInUse(file *os.File) error {
	for waited := time.Duration(0); ; waited += closePause {
		_, err := unix.FcntlInt(file.Fd(), unix.F_SETLEASE, unix.F_RDLCK)
		switch {
		case err == nil:
			if _, err := unix.FcntlInt(file.Fd(), unix.F_SETLEASE, unix.F_UNLCK); err != nil {
				return fmt.Errorf("give back the lease: %w", err)
			}
			return nil
		case err == unix.EINTR:
		case err != unix.EAGAIN:
			return fmt.Errorf("%w: %w: it takes CAP_LEASE, fs.leases-enable = 1 and a local file system", ErrNoLease, err)
		case waited >= closePatience:
			return ErrInUse
		}
		time.Sleep(closePause)
	}
}
