package upload

import (
	"context"
	"errors"
	"io/fs"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/report"
)

// leaveError is the error of a file that is left alone, for a reason that is
// nobody's fault.
type leaveError struct {
	reason report.Reason
	detail string
}

func leave(reason report.Reason, detail string) error { return &leaveError{reason, detail} }

func (e *leaveError) Error() string {
	if e.detail == "" {
		return string(e.reason)
	}
	return string(e.reason) + ": " + e.detail
}

// gone reports whether err says that the name or the inode is no more what it
// was: users may rename and delete at any time. ELOOP, EXDEV and ENOTDIR come
// from names that became something else, perhaps a symlink out of the volume.
func gone(err error) bool {
	for _, errno := range []error{unix.ENOENT, unix.ESTALE, unix.ENOTDIR, unix.ELOOP, unix.EXDEV} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// classify turns the error that ended a transaction into an outcome.
func classify(err error) (report.Outcome, report.Reason) {
	var left *leaveError
	var errno syscall.Errno
	switch {
	case errors.As(err, &left) && left.reason == report.Broken:
		return report.Failed, report.Broken
	case errors.As(err, &left):
		return report.Skipped, left.reason
	case errors.Is(err, ErrDegraded):
		return report.Failed, report.Degraded
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, object.ErrStore):
		return report.Skipped, report.Interrupted
	case errors.Is(err, object.ErrStore):
		return report.Failed, report.StoreRefused
	case errors.Is(err, unix.EREMOTE):
		return report.Skipped, report.AlreadyRemote
	case gone(err) && !errors.Is(err, fs.ErrExist):
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
	return errors.Is(err, ErrDegraded) || errors.Is(err, object.ErrStore) || errors.Is(err, errRecord)
}
