package upload

import (
	"context"
	"errors"
	"io/fs"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/report"
	"github.com/coldbrick/coldbrick/internal/volume"
	"github.com/coldbrick/coldbrick/internal/workers"
)

// classify turns the error that ended a transaction into an outcome.
func classify(err error) (report.Outcome, report.Reason) {
	var left *report.Left
	var errno syscall.Errno
	var panicked *workers.PanicError
	switch {
	case errors.As(err, &panicked):
		return report.Failed, report.InternalError
	case errors.As(err, &left) && left.Reason == report.Broken:
		return report.Failed, report.Broken
	case errors.As(err, &left):
		return report.Skipped, left.Reason
	case errors.Is(err, volume.ErrLocked):
		return report.Skipped, report.InProgress
	case errors.Is(err, volume.ErrLockedByUser):
		return report.Skipped, report.LockedByUser
	case errors.Is(err, ErrDegraded):
		return report.Failed, report.Degraded
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, object.ErrStore):
		return report.Skipped, report.Interrupted
	case errors.Is(err, object.ErrStore):
		return report.Failed, report.StoreRefused
	case errors.Is(err, unix.EBADFD): // the lock was lost, and what was open with it is dead
		return report.Skipped, report.Interrupted
	case errors.Is(err, unix.EREMOTE):
		return report.Skipped, report.AlreadyRemote
	case volume.Gone(err) && !errors.Is(err, fs.ErrExist):
		return report.Skipped, report.Vanished
	case errors.Is(err, object.ErrChanged):
		return report.Skipped, report.Changed
	case errors.Is(err, object.ErrCorrupt):
		return report.Failed, report.ObjectCorrupt
	case errors.As(err, &errno):
		return report.Failed, report.IOError
	}
	return report.Failed, report.StoreRefused
}

// fatal reports whether no further file can be archived.
func fatal(err error) bool {
	return errors.Is(err, ErrDegraded) || errors.Is(err, object.ErrStore) || errors.Is(err, errRecord) || errors.Is(err, volume.ErrNoLease)
}
