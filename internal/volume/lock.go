package volume

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
)

// Whoever works on a file of the volume holds a lock on one byte of it, far
// behind any data. The brick keeps the lock while its holder is merely stopped,
// and drops it when the holder has ended or its connection is cut: that, and no
// clock and no identity of a process or host, tells whether somebody is at it.
//
// It is a lock of the open file description. A lock of the process would be
// dropped by whatever closes the file anywhere in the process.
//
// On a private mount the lock is a fence as well: once the connection to the
// brick was cut, what was opened with a lock is not opened anew (see fence), and
// reading, writing, truncating, syncing and locking by that descriptor fail. Not
// attributes and times, which FUSE addresses by inode: look at the lock right
// before, by taking it once more.
const (
	lockOffset = 1 << 62
	lockLength = 1
)

// Errors of a lock that is not to be had.
var (
	ErrLocked       = errors.New("another run holds its lock")
	ErrLockedByUser = errors.New("a user's lock covers all of it")
)

// Lock takes the lock of an open file alone; f must be open for writing. It
// waits for nobody. Taken once more by the same descriptor it tells whether the
// lock is still held. It goes with Unlock, or a moment after the descriptor.
func Lock(f *os.File) error { return lock(f, unix.F_WRLCK) }

// LockShared takes the lock beside others that share it; f must be open for
// reading. It keeps from Lock, and Lock from it.
func LockShared(f *os.File) error { return lock(f, unix.F_RDLCK) }

// Unlock drops the lock. Unlike the end of the descriptor it is done once it returns.
func Unlock(f *os.File) error {
	if err := setLock(f, unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_UNLCK}); err != nil {
		return fmt.Errorf("unlock %s: %w", f.Name(), err)
	}
	return nil
}

// Locked is nil if nobody holds the lock, else ErrLocked or ErrLockedByUser. It takes
// nothing, and f may be open for reading only. Of replicas one is asked: on others the
// lock of a process that died may live for a moment longer.
func Locked(f *os.File) error {
	other := unix.Flock_t{Type: unix.F_WRLCK}
	if err := setLock(f, unix.F_OFD_GETLK, &other); err != nil {
		return fmt.Errorf("look at the lock of %s: %w", f.Name(), err)
	}
	switch {
	case other.Type == unix.F_UNLCK:
		return nil
	case other.Start == lockOffset && other.Len == lockLength:
		return ErrLocked
	}
	return ErrLockedByUser // nobody means this very byte but us
}

// Lost reports whether an error comes of a descriptor that died, and its lock with
// it, because the connection to the brick was cut.
func Lost(err error) bool {
	return errors.Is(err, unix.EBADFD) || errors.Is(err, unix.ENOTCONN)
}

func lock(f *os.File, how int16) error {
	const tries = 3 // whoever kept us from it may be gone before we ask who it was
	for range tries {
		err := setLock(f, unix.F_OFD_SETLK, &unix.Flock_t{Type: how})
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EACCES) {
			return fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		if err := Locked(f); err != nil {
			return err
		}
	}
	return ErrLocked
}

// setLock keeps signals off the thread that asks, and Go's runtime sends some at any
// time. FUSE would pass one on, and a client (10.3) that loses its connection to a
// brick in the meantime waits for itself, for ever, in a thread that it needs for all else:
// fuse_setlk_cbk waits for the answer to the interrupt, which the same thread has to
// bring. A stop of the whole process cannot be kept off.
func setLock(f *os.File, cmd int, l *unix.Flock_t) error {
	l.Start, l.Len = lockOffset, lockLength
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all, before unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &all, &before); err != nil {
		return fmt.Errorf("signal mask: %w", err)
	}
	err := unix.FcntlFlock(f.Fd(), cmd, l)
	return errors.Join(err, unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil))
}

// fence makes the clients of a private mount leave what was open with a lock
// closed after a connection was cut, for its lock is gone and may be another's.
func fence(graph gluster.Graph) gluster.Graph {
	const name = "strict-locks"
	for i, x := range graph {
		if x.Type != gluster.TypeClient {
			continue
		}
		var options []gluster.Option
		for _, o := range x.Options {
			if o.Key != name {
				options = append(options, o)
			}
		}
		graph[i].Options = append(options, gluster.Option{Key: name, Value: gluster.NewSecret("on")})
	}
	return graph
}
