// Package testkit is the ground that coldbrick's tests stand on: real GlusterFS
// bricks and FUSE mounts without glusterd, a real S3 server, a proxy that makes
// its network fail on demand, and trees of files with names that users really
// choose. It needs root, the GlusterFS packages and, once, a Go toolchain; what
// is missing fails the test instead of skipping it.
//
// Everything a test starts lives in one short directory, and a watchdog process
// removes that directory with its processes and mounts when the test ends, also
// when it panics or its binary is killed.
package testkit

import (
	_ "embed"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

//go:embed reap.sh
var reapScript string

// dirPattern names the directories that reap.sh agrees to remove. The end keeps
// one name from being the beginning of another.
const dirPattern = "cb-*.d"

// Dir returns a new directory with a path short enough for unix sockets (107
// bytes). When the test ends, in whatever way, processes that have the directory
// in their arguments are killed, mounts below it are unmounted, and it is
// removed. Processes must not outlive the test with its standard output open:
// go test would wait for them.
func Dir(t testing.TB) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test needs root: it mounts file systems and sets trusted.* attributes")
	}
	reapStale(t)
	dir, err := os.MkdirTemp("", dirPattern)
	if err != nil {
		t.Fatal(err)
	}
	// Other tests take a directory whose lock is free for a leftover, so the
	// lock appears only once it is held.
	lock, err := os.Create(filepath.Join(dir, "lock.new"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Fatal(err)
	}
	end := watch(t, dir, lock)
	t.Cleanup(func() {
		if err := end(); err != nil {
			t.Errorf("clean up %s: %v", dir, err)
		}
	})
	if err := os.Rename(lock.Name(), filepath.Join(dir, "lock")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// watch starts the watchdog of dir, which inherits the lock. The function it
// returns makes the watchdog clean up, and waits for that.
func watch(t testing.TB, dir string, lock *os.File) (end func() error) {
	t.Helper()
	reap := exec.Command("/bin/sh", "-c", reapScript, "reap.sh")
	reap.Env = append(os.Environ(), "GROUND="+dir)
	reap.ExtraFiles = []*os.File{lock}
	reap.Dir = "/"
	reap.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // out of reach of a terminal's Ctrl-C
	var stderr strings.Builder
	reap.Stderr = &stderr
	alive, err := reap.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := reap.Start(); err != nil {
		t.Fatal(err)
	}
	return func() error {
		err := errors.Join(alive.Close(), reap.Wait())
		if stderr.Len() > 0 {
			err = errors.Join(err, errors.New(strings.TrimSpace(stderr.String())))
		}
		if _, statErr := os.Lstat(dir); err == nil && statErr == nil {
			err = errors.New("something in it could not be removed")
		}
		return err
	}
}

// reapStale cleans up after test runs whose watchdog was killed too.
func reapStale(t testing.TB) {
	t.Helper()
	locks, err := filepath.Glob(filepath.Join(os.TempDir(), dirPattern, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range locks {
		lock, err := os.Open(name)
		if err != nil {
			continue // just removed by its owner
		}
		if unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			t.Logf("removing what a killed test run left in %s", filepath.Dir(name))
			if err := watch(t, filepath.Dir(name), lock)(); err != nil {
				t.Errorf("clean up %s: %v", filepath.Dir(name), err)
			}
		}
		lock.Close()
	}
}

// Eventually calls ok every few milliseconds until it returns true, and fails
// the test if that takes longer than limit.
func Eventually(t testing.TB, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}
