package recall

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

// classify turns the error that ended a recall into an outcome.
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
	case errors.Is(err, object.ErrStore):
		return outcome.Failed, outcome.StoreRefused
	case errors.Is(err, context.Canceled):
		return outcome.Skipped, outcome.Interrupted
	case errors.Is(err, object.ErrForeign):
		return outcome.Failed, outcome.ObjectForeign
	case errors.Is(err, object.ErrCold):
		return outcome.Failed, outcome.ObjectCold
	case errors.Is(err, object.ErrCorrupt), errors.Is(err, object.ErrChanged):
		return outcome.Failed, outcome.ObjectCorrupt
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return outcome.Failed, outcome.NoSpace
	case errors.Is(err, unix.EROFS):
		return outcome.Failed, outcome.ReadOnly
	case errors.As(err, &errno) && volume.Gone(err):
		return outcome.Skipped, outcome.Vanished
	case errors.Is(err, fs.ErrNotExist):
		return outcome.Failed, outcome.ObjectMissing
	case errors.As(err, &errno):
		return outcome.Failed, outcome.IOError
	}
	return outcome.Failed, outcome.StoreRefused
}
