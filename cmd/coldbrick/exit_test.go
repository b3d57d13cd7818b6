package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/run"
	"github.com/coldbrick/coldbrick/internal/testkit"
	"github.com/coldbrick/coldbrick/internal/volume"
	"github.com/coldbrick/coldbrick/upload"
)

// codes are those of the manual, with errors that must lead to them. Where two
// things are wrong, the graver one decides.
var codes = map[int][]error{
	1:   {errors.New("anything"), run.ErrMaxErrors},
	2:   {run.Usagef("no"), run.Usagef("%w", os.ErrNotExist)},
	3:   {run.ErrSomeFailed, errors.Join(run.ErrSomeFailed, run.ErrMaxFiles), errors.Join(run.ErrMaxTime, run.ErrSomeFailed)},
	8:   {run.ErrMaxFiles, run.ErrMaxBytes},
	10:  {run.ErrMaxTime},
	11:  {run.ErrLocked},
	12:  {object.ErrStore},
	13:  {run.ErrUnsafe, run.ErrNoVolume, volume.ErrNoBrick, volume.ErrNoMount, upload.ErrDegraded, volume.ErrKernel},
	14:  {run.ErrProblems, errors.Join(run.ErrProblems, run.ErrSomeFailed)},
	15:  {run.ErrAtRisk, errors.Join(run.ErrProblems, run.ErrAtRisk, run.ErrSomeFailed)},
	129: {run.SignalError{Signal: syscall.SIGHUP}},
	130: {run.SignalError{Signal: os.Interrupt}, errors.Join(run.ErrSomeFailed, run.SignalError{Signal: os.Interrupt}), errors.Join(object.ErrStore, run.SignalError{Signal: os.Interrupt})},
	141: {syscall.EPIPE},
	143: {run.SignalError{Signal: syscall.SIGTERM}},
}

// Go itself ends with 2, which means wrong usage here.
func TestAPanicEndsWith1AndItsStack(t *testing.T) {
	var stderr bytes.Buffer
	code := execute(t.Context(), env{
		args: []string{"version"}, stdout: panicking{}, stderr: &stderr,
		width: func(io.Writer) (int, bool) { return 80, false },
	})
	if code != 1 || strings.Count(stderr.String(), "coldbrick: internal error: a mistake\n") != 1 || !strings.Contains(stderr.String(), "exit_test.go") {
		t.Errorf("exit code %d, %s", code, stderr.String())
	}
}

type panicking struct{}

func (panicking) Write([]byte) (int, error) { panic("a mistake") }

// An older kernel is named before anything else is tried.
func TestAnOlderKernelEndsWith13AndOneLine(t *testing.T) {
	v := testkit.NewVolume(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for missing, answers := range map[string]map[int]unix.Errno{
		"openat2":      {unix.SYS_OPENAT2: unix.ENOSYS},
		"STATX_MNT_ID": {unix.SYS_STATX: 0}, // with no field filled in
	} {
		for _, args := range [][]string{
			{"status", v.MountDir()}, {"recall", "-r", v.MountDir()},
			{"fsck", v.BrickDir(), "--mount", v.MountDir()}, {"archive", v.BrickDir(), "--mount", v.MountDir()},
		} {
			cmd := exec.Command(self)
			cmd.Args = append([]string{"coldbrick"}, args...)
			cmd.Env = append(os.Environ(), "COLDBRICK_STATE_DIR="+t.TempDir(), "COLDBRICK_STORE_DIR="+t.TempDir())
			var out []byte
			testkit.AnsweringCalls(t, answers, func() { out, err = cmd.CombinedOutput() })
			if cmd.ProcessState.ExitCode() != 13 || strings.Count(string(out), "\n") != 1 || !strings.Contains(string(out), "has no "+missing) {
				t.Errorf("%v without %s: %v: %s", args, missing, err, out)
			}
		}
	}
}
