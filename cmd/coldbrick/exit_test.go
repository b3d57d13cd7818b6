package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/volume"
	"github.com/coldbrick/coldbrick/upload"
)

// codes are those of the manual, with errors that must lead to them. Where two
// things are wrong, the graver one decides.
var codes = map[int][]error{
	1:   {errors.New("anything"), errMaxErrors},
	2:   {usagef("no"), usageError{os.ErrNotExist}},
	3:   {errSomeFailed, errors.Join(errSomeFailed, errMaxFiles), errors.Join(errMaxTime, errSomeFailed)},
	8:   {errMaxFiles, errMaxBytes},
	10:  {errMaxTime},
	11:  {errLocked},
	12:  {object.ErrStore},
	13:  {errUnsafe, errNoVolume, volume.ErrNoBrick, volume.ErrNoMount, upload.ErrDegraded},
	14:  {errProblems, errors.Join(errProblems, errSomeFailed)},
	15:  {errAtRisk, errors.Join(errProblems, errAtRisk, errSomeFailed)},
	129: {signalError{syscall.SIGHUP}},
	130: {signalError{os.Interrupt}, errors.Join(errSomeFailed, signalError{os.Interrupt}), errors.Join(object.ErrStore, signalError{os.Interrupt})},
	141: {syscall.EPIPE},
	143: {signalError{syscall.SIGTERM}},
}

// Go itself ends with 2, which means wrong usage here.
func TestAPanicEndsWith1AndItsStack(t *testing.T) {
	var stderr bytes.Buffer
	code := run(t.Context(), env{
		args: []string{"version"}, stdout: panicking{}, stderr: &stderr,
		width: func(io.Writer) (int, bool) { return 80, false },
	})
	if code != 1 || strings.Count(stderr.String(), "coldbrick: internal error: a mistake\n") != 1 || !strings.Contains(stderr.String(), "exit_test.go") {
		t.Errorf("exit code %d, %s", code, stderr.String())
	}
}

type panicking struct{}

func (panicking) Write([]byte) (int, error) { panic("a mistake") }
