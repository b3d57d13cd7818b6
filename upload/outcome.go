package upload

import (
	"context"
	"errors"
	"io/fs"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/volume"
	"github.com/coldbrick/coldbrick/internal/workers"
)

// classify turns the error that ended a transaction into an outcome.
func classify(err error) (outcome.Outcome, outcome.Reason) {
	var left *outcome.Left
	var errno syscall.Errno
	var panicked *workers.PanicError
	switch {
	case errors.As(err, &panicked):
		return outcome.Failed, outcome.InternalError
	case errors.As(err, &left):
		return left.Outcome, left.Reason
	case errors.Is(err, volume.ErrLocked):
		return outcome.Skipped, outcome.InProgress
	case errors.Is(err, volume.ErrLockedByUser):
		return outcome.Skipped, outcome.LockedByUser
	case errors.Is(err, ErrDegraded):
		return outcome.Failed, outcome.Degraded
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, object.ErrStore):
		return outcome.Skipped, outcome.Interrupted
	case errors.Is(err, object.ErrStore):
		return outcome.Failed, outcome.StoreRefused
	case errors.Is(err, unix.EBADFD): // the lock was lost, and what was open with it is dead
		return outcome.Skipped, outcome.Interrupted
	case errors.Is(err, unix.EREMOTE):
		return outcome.Skipped, outcome.AlreadyRemote
	case volume.Gone(err) && !errors.Is(err, fs.ErrExist):
		return outcome.Skipped, outcome.Vanished
	case errors.Is(err, object.ErrChanged):
		return outcome.Skipped, outcome.Changed
	case errors.Is(err, object.ErrCorrupt):
		return outcome.Failed, outcome.ObjectCorrupt
	case errors.As(err, &errno):
		return outcome.Failed, outcome.IOError
	}
	return outcome.Failed, outcome.StoreRefused
}

// fatal reports whether no further file can be archived.
func fatal(err error) bool {
	return errors.Is(err, ErrDegraded) || errors.Is(err, object.ErrStore) || errors.Is(err, errRecord) || errors.Is(err, volume.ErrNoLease)
}
