package packaging_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// inNamespace tells the test binary that it runs in a mount namespace of its own.
const inNamespace = "COLDBRICK_TEST_MOUNT_NAMESPACE"

// overlaid is all that packages write to. In the namespace of the tests these
// are the host's directories with a layer above that takes every change, so
// that the real dpkg can install into them.
var overlaid = []string{"/etc", "/usr", "/var"}

func TestMain(m *testing.M) {
	if os.Getenv(inNamespace) == "" {
		os.Exit(enterNamespace())
	}
	if err := cover(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func enterNamespace() int {
	runtime.LockOSThread() // Pdeathsig is about the thread
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inNamespace+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS, Pdeathsig: unix.SIGKILL}
	if err := cmd.Run(); err != nil {
		if cmd.ProcessState == nil {
			fmt.Fprintln(os.Stderr, "start in a mount namespace (needs root):", err)
		}
		return 1
	}
	return 0
}

// cover puts the layers over the host's directories. They are in memory and go
// with the namespace. Unshareflags has made all mounts private already.
func cover() error {
	// As on a host without systemd, also where the tests run on one with it.
	if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, "mode=0755"); err != nil {
		return fmt.Errorf("mount a tmpfs on /run: %w", err)
	}
	const layers = "/run/layers"
	if err := os.Mkdir(layers, 0o700); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", layers, "tmpfs", 0, "mode=0700"); err != nil {
		return fmt.Errorf("mount a tmpfs: %w", err)
	}
	for _, dir := range overlaid {
		upper, work := layers+dir+".upper", layers+dir+".work"
		for _, d := range []string{upper, work} {
			if err := os.Mkdir(d, 0o755); err != nil {
				return err
			}
		}
		options := "lowerdir=" + dir + ",upperdir=" + upper + ",workdir=" + work
		if err := unix.Mount("overlay", dir, "overlay", 0, options); err != nil {
			return fmt.Errorf("mount a layer over %s: %w", dir, err)
		}
	}
	// Of a coldbrick that this host may have; an overlay hides, it does not
	// touch what is below.
	for _, dir := range []string{"/etc/coldbrick", "/var/lib/coldbrick"} {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	if err := unix.Unmount(layers, unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount %s: %w", layers, err)
	}
	return os.Remove(layers)
}

// run executes a command that must succeed, and returns what it printed.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// build makes the packages of one version, once for all tests, and returns their
// directory, which goes with the namespace.
func build(t *testing.T, version string) string {
	t.Helper()
	dir := filepath.Join("/run/packages", version)
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	cmd := exec.Command("./build.sh", dir)
	cmd.Env = append(os.Environ(), "VERSION="+version)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build.sh: %v\n%s", err, out)
	}
	return dir
}

// file is the one in dir that matches the pattern.
func file(t *testing.T, dir, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: %q, %v", pattern, found, err)
	}
	return found[0]
}
