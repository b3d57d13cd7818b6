package volume

import (
	"errors"
	"fmt"
	"os"
	"sync"
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

// Lease is a read lease on the file of a brick. While it is unbroken, nobody has
// opened the file for writing, or changed its size by name, since it was taken.
type Lease struct{ file *os.File }

// TakeLease asks the kernel for a lease on a file that is open for reading only.
// It grants one while no process has the file open for writing, which takes
// CAP_LEASE, or the file's owner, else the error is ErrNoLease; and ErrInUse if
// one still has after a second.
//
// A thread of the brick that waits for the lease serves nobody else, so it is to
// be given back within milliseconds.
func TakeLease(file *os.File) (Lease, error) {
	for waited := time.Duration(0); ; waited += closePause {
		_, err := unix.FcntlInt(file.Fd(), unix.F_SETLEASE, unix.F_RDLCK)
		switch {
		case err == nil:
			return Lease{file}, nil
		case err == unix.EINTR:
		case err != unix.EAGAIN:
			return Lease{}, fmt.Errorf("%w: %w: it takes CAP_LEASE, fs.leases-enable = 1 and a local file system", ErrNoLease, err)
		case waited >= closePatience:
			return Lease{}, ErrInUse
		}
		time.Sleep(closePause)
	}
}

// Unbroken reports whether nobody has wanted to write since the lease was taken.
// F_GETLEASE tells what a lease is about to become, as soon as it is broken.
func (l Lease) Unbroken() (bool, error) {
	kind, err := unix.FcntlInt(l.file.Fd(), unix.F_GETLEASE, 0)
	if err != nil {
		return false, fmt.Errorf("look at the lease: %w", err)
	}
	return kind == unix.F_RDLCK, nil
}

// GiveBack lets those go on who wait for the lease.
func (l Lease) GiveBack() error {
	if _, err := unix.FcntlInt(l.file.Fd(), unix.F_SETLEASE, unix.F_UNLCK); err != nil {
		return fmt.Errorf("give back the lease: %w", err)
	}
	return nil
}

// LongestLease is how long a BriefLease keeps a thread of the brick waiting at most.
const LongestLease = 200 * time.Millisecond

// BriefLease is a lease that ends by itself.
type BriefLease struct {
	limit *time.Timer

	mu    sync.Mutex
	lease Lease
	over  bool
}

// TakeBriefLease is TakeLease for as long as LongestLease.
func TakeBriefLease(file *os.File) (*BriefLease, error) {
	lease, err := TakeLease(file)
	if err != nil {
		return nil, err
	}
	l := &BriefLease{lease: lease}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limit = time.AfterFunc(LongestLease, func() { _, _ = l.End() }) // whoever asks later hears that it is over
	return l, nil
}

// End gives the lease back, and reports whether it was unbroken until now.
func (l *BriefLease) End() (unbroken bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limit.Stop()
	if l.over {
		return false, nil
	}
	l.over = true
	unbroken, err = l.lease.Unbroken()
	return unbroken, errors.Join(err, l.lease.GiveBack())
}

// NotInUse returns nil if no process has a file open for writing at this moment;
// the errors are those of TakeLease.
func NotInUse(file *os.File) error {
	lease, err := TakeLease(file)
	if err != nil {
		return err
	}
	return lease.GiveBack()
}
