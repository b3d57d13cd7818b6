package testkit

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// dyingEnv tells the test binary, run once more, how to die.
const dyingEnv = "TESTKIT_DIE_BY"

// TestDying is the child of TestNothingIsLeftOfADeadTest and does nothing else.
func TestDying(t *testing.T) {
	how := os.Getenv(dyingEnv)
	if how == "" {
		return
	}
	v, s := NewVolume(t), S3(t)
	if err := os.WriteFile(os.Getenv("TESTKIT_REPORT"), []byte(v.Dir()+"\n"+s.dir), 0o600); err != nil {
		t.Fatal(err)
	}
	v.Write("f", []byte("data"), Old)
	switch how {
	case "kill":
		_ = unix.Kill(os.Getpid(), unix.SIGKILL)
	case "panic":
		panic("as asked")
	case "panic elsewhere":
		go panic("as asked")
		select {}
	case "failure":
		t.Fatal("as asked")
	}
}

func TestNothingIsLeftOfADeadTest(t *testing.T) {
	for _, how := range []string{"kill", "panic", "panic elsewhere", "failure"} {
		t.Run(how, func(t *testing.T) {
			report := filepath.Join(t.TempDir(), "report")
			cmd := exec.Command(os.Args[0], "-test.run=^TestDying$")
			cmd.Env = append(os.Environ(), dyingEnv+"="+how, "TESTKIT_REPORT="+report)
			out, err := cmd.CombinedOutput()
			if err == nil {
				t.Fatalf("the child lives: %s", out)
			}
			dirs, err := os.ReadFile(report)
			if err != nil {
				t.Fatalf("the child got nowhere: %v: %s", err, out)
			}
			for dir := range strings.SplitSeq(string(dirs), "\n") {
				Eventually(t, time.Minute, "nothing is left of "+dir, func() bool { return len(leftOf(t, dir)) == 0 })
			}
		})
	}
}

// A watchdog that is killed with its test leaves everything. The next test
// removes it.
func TestLeftoversOfAKilledWatchdogAreRemoved(t *testing.T) {
	dir, err := os.MkdirTemp("", dirPattern)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "lock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "m"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("none", filepath.Join(dir, "m"), "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("tail", "-f", filepath.Join(dir, "lock"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	Dir(t)
	if err := cmd.Wait(); err == nil {
		t.Error("the process was not killed")
	}
	// Or by a test of another package, which may still be at it.
	Eventually(t, time.Minute, "nothing is left of "+dir, func() bool { return len(leftOf(t, dir)) == 0 })
}

func TestDirectoriesInUseAreNotTakenForLeftovers(t *testing.T) {
	v := NewVolume(t)
	NewVolume(t)
	v.Write("f", []byte("data"), Old)
	if v.BrickSize("f") != 4 {
		t.Error("the first volume is damaged")
	}
}

// leftOf finds processes that name dir, mounts below it, and dir itself.
func leftOf(t *testing.T, dir string) []string {
	t.Helper()
	var left []string
	if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
		left = append(left, dir)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(mounts, []byte(dir+"/")) {
		left = append(left, "a mount")
	}
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range processes {
		if text, err := os.ReadFile(name); err == nil && bytes.Contains(text, []byte(dir)) {
			left = append(left, string(text))
		}
	}
	return left
}
