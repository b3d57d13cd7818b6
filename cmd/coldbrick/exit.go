package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/report"
	"github.com/coldbrick/coldbrick/internal/volume"
	"github.com/coldbrick/coldbrick/upload"
)

// exit is one way for a run to end. Codes and words never change their meaning.
type exit struct {
	code    int
	outcome string // in the summary
	meaning string // in the manual
}

// exits are all ways to end, for the manual.
var exits = []exit{
	{0, "done", "all done, also when there was nothing to do, `--until-free` is reached, or all bricks here stand by; files that changed under the run are left for the next one and counted"},
	{1, "failed", "the run could not go on, also because of `--max-errors`"},
	{2, "usage", "wrong usage or configuration, or no such directory"},
	{3, "partial", "some files failed, some directories could not be read, or a rebalance ran during a recall of directories and may have hidden files; the rest is done"},
	{8, "budget", "a file or byte budget ended the run"},
	{10, "timeout", "the time budget ended the run"},
	{11, "locked", "another run holds the brick"},
	{12, "store", "the store refused the credentials, has no such bucket, or cannot be reached"},
	{13, "unsafe", "the volume, brick or mount is not safe to archive, is no brick, no Gluster mount, or they do not belong together (`coldbrick doctor` says why)"},
	{14, "problems", "`fsck` found problems, or `status` a broken file"},
	{15, "data-at-risk", "`fsck` found data at risk; 15 outranks 14, and 14 outranks 3"},
	{129, "interrupted", "ended by SIGHUP: files in work were finished or left untouched"},
	{130, "interrupted", "ended by SIGINT: files in work were finished or left untouched"},
	{141, "closed", "the reader of standard output has gone away"},
	{143, "interrupted", "ended by SIGTERM: files in work were finished or left untouched"},
}

// Errors that end a run in ways of their own.
var (
	errSomeFailed = errors.New("some files failed")
	errMaxFiles   = errors.New("--max-files reached")
	errMaxBytes   = errors.New("--max-bytes reached")
	errMaxTime    = errors.New("--max-duration reached")
	errLocked     = errors.New("another run holds the brick")
	errUnsafe     = errors.New("not safe to archive")
	errNoVolume   = errors.New("the volume cannot be reached")
	errProblems   = errors.New("problems found")
	errAtRisk     = errors.New("data is at risk")
)

// usageError is the user's to mend: it says what is wrong and what to do.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error {
	return usageError{fmt.Errorf(format, args...)}
}

// signalError ends a run that was asked to stop.
type signalError struct{ signal os.Signal }

func (e signalError) Error() string { return "stopped: " + e.signal.String() }

// code is that of a shell for a process that the signal has ended.
func (e signalError) code() int {
	const killed = 128
	if number, ok := e.signal.(syscall.Signal); ok {
		return killed + int(number)
	}
	return killed
}

// Is makes it one of the ways in which a context is cancelled, so that what it
// cuts short counts as interrupted and not as failed.
func (signalError) Is(target error) bool { return target == context.Canceled }

// exitCode is the only place that maps errors to exit codes.
func exitCode(err error) int {
	var usage usageError
	var stopped signalError
	var unsafe *volume.UnsafeError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &stopped):
		return stopped.code()
	case errors.As(err, &usage):
		return 2
	case errors.Is(err, errAtRisk):
		return 15
	case errors.Is(err, object.ErrStore):
		return 12
	case errors.Is(err, errUnsafe), errors.Is(err, errNoVolume), errors.Is(err, upload.ErrDegraded),
		errors.As(err, &unsafe), errors.Is(err, volume.ErrNoBrick), errors.Is(err, volume.ErrNoMount),
		errors.Is(err, volume.ErrDegraded), errors.Is(err, volume.ErrGraphChanged), errors.Is(err, volume.ErrNoLease), errors.Is(err, volume.ErrKernel), errors.Is(err, errMoving):
		return 13
	case errors.Is(err, errLocked):
		return 11
	case errors.Is(err, errProblems):
		return 14
	case errors.Is(err, errSomeFailed), errors.Is(err, errMoved):
		return 3
	case errors.Is(err, errMaxFiles), errors.Is(err, errMaxBytes):
		return 8
	case errors.Is(err, errMaxTime):
		return 10
	case errors.Is(err, syscall.EPIPE):
		return 141
	}
	return 1
}

// isBudget reports whether a run ended because of a limit that the user set, which
// is no news to whoever wants to be told only what went wrong.
func isBudget(err error) bool {
	return errors.Is(err, errMaxFiles) || errors.Is(err, errMaxBytes) || errors.Is(err, errMaxTime)
}

// limits are the errors by which a flag ends a run.
var limits = map[string]error{
	"max-files": errMaxFiles, "max-bytes": errMaxBytes, "max-duration": errMaxTime,
	"max-errors": errMaxErrors, "until-free": errUntilFree,
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

// outcome is the word for an exit code.
func outcome(code int) string {
	for _, e := range exits {
		if e.code == code {
			return e.outcome
		}
	}
	return "failed"
}

// complaints are the lines that tell the user of an error. That some files
// failed is known: each had its line. Whoever closed the pipe does not want to
// hear more.
func complaints(err error) []string {
	if err == nil || errors.Is(err, syscall.EPIPE) {
		return nil
	}
	var lines []string
	for line := range strings.SplitSeq(err.Error(), "\n") {
		if line != errSomeFailed.Error() {
			lines = append(lines, "coldbrick: "+report.OneLine(line))
		}
	}
	return lines
}
