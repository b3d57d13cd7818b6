package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/coldbrick/coldbrick/internal/gc"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/volume"
	"github.com/coldbrick/coldbrick/upload"
)

// End is one way for a run to end, in a word that never changes its meaning.
type End string

// All ways to end.
const (
	EndDone        End = "done"
	EndFailed      End = "failed"
	EndUsage       End = "usage"
	EndPartial     End = "partial"
	EndBudget      End = "budget"
	EndTimeout     End = "timeout"
	EndLocked      End = "locked"
	EndStore       End = "store"
	EndUnsafe      End = "unsafe"
	EndProblems    End = "problems"
	EndAtRisk      End = "data-at-risk"
	EndInterrupted End = "interrupted"
	EndClosed      End = "closed"
)

// Errors that end a run in ways of their own.
var (
	ErrSomeFailed = errors.New("some files failed")
	ErrMaxFiles   = errors.New("--max-files reached")
	ErrMaxBytes   = errors.New("--max-bytes reached")
	ErrMaxTime    = errors.New("--max-duration reached")
	ErrMaxErrors  = errors.New("--max-errors reached") // so much fails that going on makes no sense
	ErrLocked     = errors.New("another run holds the brick")
	ErrUnsafe     = errors.New("not safe to archive")
	ErrNoVolume   = errors.New("the volume cannot be reached")
	ErrProblems   = errors.New("problems found")
	ErrAtRisk     = errors.New("data is at risk")

	errKept      = errors.New("setup takes nothing back") // as stubs may need it
	errUntilFree = errors.New("--until-free reached")     // the goal, and no failure
	errThawing   = errors.New("--wait is over")

	errFreesNothing = errors.New("what is released frees nothing")
)

// UsageError is the user's to fix: it says what is wrong and what to do.
type UsageError struct{ error }

func (e UsageError) Unwrap() error { return e.error }

// Usagef makes a UsageError as fmt.Errorf does.
func Usagef(format string, args ...any) error {
	return UsageError{fmt.Errorf(format, args...)}
}

// SignalError ends a run that was asked to stop.
type SignalError struct{ Signal os.Signal }

func (e SignalError) Error() string { return "stopped: " + e.Signal.String() }

// Is makes it one of the ways in which a context is cancelled, so that what it
// cuts short counts as interrupted and not as failed.
func (SignalError) Is(target error) bool { return target == context.Canceled }

// EndOf is how a run has ended that returned err. Where two things are wrong, the
// graver one decides.
func EndOf(err error) End {
	var usage UsageError
	var stopped SignalError
	var unsafe *volume.UnsafeError
	switch {
	case err == nil:
		return EndDone
	case errors.As(err, &stopped):
		return EndInterrupted
	case errors.As(err, &usage):
		return EndUsage
	case errors.Is(err, ErrAtRisk):
		return EndAtRisk
	case errors.Is(err, object.ErrStore):
		return EndStore
	case errors.Is(err, ErrUnsafe), errors.Is(err, ErrNoVolume), errors.Is(err, upload.ErrDegraded),
		errors.As(err, &unsafe), errors.Is(err, volume.ErrNoBrick), errors.Is(err, volume.ErrNoMount),
		errors.Is(err, volume.ErrDegraded), errors.Is(err, volume.ErrGraphChanged), errors.Is(err, volume.ErrNoLease),
		errors.Is(err, volume.ErrKernel), errors.Is(err, errMoving), errors.Is(err, errKept), errors.Is(err, gc.ErrNotProven):
		return EndUnsafe
	case errors.Is(err, ErrLocked):
		return EndLocked
	case errors.Is(err, ErrProblems):
		return EndProblems
	case errors.Is(err, ErrSomeFailed), errors.Is(err, errMoved):
		return EndPartial
	case errors.Is(err, ErrMaxFiles), errors.Is(err, ErrMaxBytes):
		return EndBudget
	case errors.Is(err, ErrMaxTime), errors.Is(err, errThawing):
		return EndTimeout
	case errors.Is(err, syscall.EPIPE):
		return EndClosed
	}
	return EndFailed
}

// IsBudget reports whether a run ended because of a limit that the user set, which
// is no news to whoever wants to be told only what went wrong.
func IsBudget(err error) bool {
	return errors.Is(err, ErrMaxFiles) || errors.Is(err, ErrMaxBytes) ||
		errors.Is(err, ErrMaxTime) || errors.Is(err, errThawing)
}

// limits are the errors by which a flag ends a run.
var limits = map[string]error{
	"max-files": ErrMaxFiles, "max-bytes": ErrMaxBytes, "max-duration": ErrMaxTime,
	"max-errors": ErrMaxErrors, "until-free": errUntilFree, "wait": errThawing,
}

// limitOf is the flag that ended a run, empty if none did.
func limitOf(err error) string {
	for flag, limit := range limits {
		if errors.Is(err, limit) {
			return flag
		}
	}
	return ""
}

// verdict decides between the error that ended a run and the files that failed.
func verdict(err error, failed int64) error {
	if failed > 0 && (err == nil || IsBudget(err)) {
		return ErrSomeFailed // a budget that ends a run is planned, a failure is not
	}
	return err
}
