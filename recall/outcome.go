package recall

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

// harmless are the reasons for which a recall that does nothing is no failure.
var harmless = map[report.Reason]bool{
	report.AlreadyLocal: true,
	report.Vanished:     true,
	report.InProgress:   true,
	report.LockedByUser: true,
	report.Interrupted:  true,
}

func classify(err error) (report.Outcome, report.Reason) {
	reason := reasonOf(err)
	if harmless[reason] {
		return report.Skipped, reason
	}
	return report.Failed, reason
}

func reasonOf(err error) report.Reason {
	var left *report.Left
	var errno syscall.Errno
	var panicked *workers.PanicError
	switch {
	case errors.As(err, &panicked):
		return report.InternalError
	case errors.As(err, &left):
		return left.Reason
	case errors.Is(err, volume.ErrLocked):
		return report.InProgress
	case errors.Is(err, volume.ErrLockedByUser):
		return report.LockedByUser
	case errors.Is(err, object.ErrStore):
		return report.StoreRefused
	case errors.Is(err, context.Canceled):
		return report.Interrupted
	case errors.Is(err, object.ErrForeign):
		return report.ObjectForeign
	case errors.Is(err, object.ErrCold):
		return report.ObjectCold
	case errors.Is(err, object.ErrCorrupt), errors.Is(err, object.ErrChanged):
		return report.ObjectCorrupt
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return report.NoSpace
	case errors.Is(err, unix.EROFS):
		return report.ReadOnly
	case errors.As(err, &errno) && volume.Gone(err):
		return report.Vanished
	case errors.Is(err, fs.ErrNotExist):
		return report.ObjectMissing
	case errors.As(err, &errno):
		return report.IOError
	}
	return report.StoreRefused
}
