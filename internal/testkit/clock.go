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
	dir := t.TempDir()
	c := &Clock{filepath.Join(dir, "offset"), filepath.Join(dir, "clock.so")}
	source := filepath.Join(dir, "clock.c")
	if err := os.WriteFile(source, slowClock, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cc", "-shared", "-fPIC", "-O", "-o", c.library, source).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	c.Set(t, 0)
	return c
}

// Set steps the clock: from now on it is so much ahead of the true time.
func (c *Clock) Set(t testing.TB, ahead time.Duration) {
	t.Helper()
	// A reader finds the former value or the new one.
	next := c.file + ".new"
	err := os.WriteFile(next, []byte(strconv.Itoa(int(ahead/time.Second))+"\n"), 0o600)
	if err == nil {
		err = os.Rename(next, c.file)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (c *Clock) environment() []string {
	return []string{"LD_PRELOAD=" + c.library, "CLOCK_FILE=" + c.file}
}

// WithClock mounts from a host that has another clock.
func WithClock(c *Clock) MountOption {
	return func(m *mountConfig) { m.environment = c.environment() }
}
