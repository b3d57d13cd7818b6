package testkit

import (
	_ "embed"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

//go:embed testdata/slow.c
var slowClock []byte

// Clock is that of a client's host.
type Clock struct {
	file    string
	library string
}

// NewClock makes the clock of a host that has the right time, until it is Set. It
// takes a C compiler.
func NewClock(t testing.TB) *Clock {
	t.Helper()
	c := &Clock{filepath.Join(t.TempDir(), "offset"), ClockLibrary(t)}
	c.Set(t, 0)
	return c
}

// ClockLibrary builds the library by which a glusterfs has the wrong time, for hosts
// that see no directory of the test: its environment must be ClockEnvironment.
func ClockLibrary(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	source, library := filepath.Join(dir, "clock.c"), filepath.Join(dir, "clock.so")
	if err := os.WriteFile(source, slowClock, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cc", "-shared", "-fPIC", "-O", "-o", library, source).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return library
}

// ClockEnvironment makes a glusterfs add the seconds in file to its time.
func ClockEnvironment(library, file string) []string {
	return []string{"LD_PRELOAD=" + library, "CLOCK_FILE=" + file}
}

// Set steps the clock: from now on it is so much ahead of the true time.
func (c *Clock) Set(t testing.TB, ahead time.Duration) {
	t.Helper()
	// A reader finds the previous value or the new one.
	next := c.file + ".new"
	err := os.WriteFile(next, []byte(strconv.Itoa(int(ahead/time.Second))+"\n"), 0o600)
	if err == nil {
		err = os.Rename(next, c.file)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// WithClock mounts from a host that has another clock.
func WithClock(c *Clock) MountOption {
	return func(m *mountConfig) { m.environment = ClockEnvironment(c.library, c.file) }
}
