package cluster

import (
	"bufio"
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

//go:embed init.sh
var initScript string

// diskBytes is the size of a node's disk. Its backing file is sparse, so only
// what tests write is taken.
const diskBytes = 16 << 30

// namespace is a set of mount, net, pid, uts and ipc namespaces without a name on
// the host. It lives as long as its first process, which ends with this one.
type namespace struct {
	init  *exec.Cmd
	stdin *os.File // held open; its end is the end of the namespace
}

// startNamespace returns once the namespace has its private directories, its disk
// on /srv and hosts as its /etc/hosts.
func startNamespace(name, hosts string) (_ *namespace, err error) {
	disk, err := unnamedFile(diskBytes)
	if err != nil {
		return nil, err
	}
	defer disk.Close()
	stdinRead, stdin, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer stdinRead.Close()

	var stderr bytes.Buffer
	init := exec.Command("bash", "-c", initScript, "init.sh", name, hosts)
	init.Stdin = stdinRead
	init.Stderr = &stderr
	init.ExtraFiles = []*os.File{disk}
	init.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
		// A terminal's Ctrl-C is for the test, which then takes the namespaces down.
		Setpgid: true,
	}
	stdout, err := init.StdoutPipe()
	if err != nil {
		stdin.Close()
		return nil, err
	}
	if err := init.Start(); err != nil {
		stdin.Close()
		return nil, fmt.Errorf("start namespace %s: %w", name, err)
	}
	ns := &namespace{init: init, stdin: stdin}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
		ns.close()
		return nil, fmt.Errorf("set up namespace %s: %w: %s", name, errors.Join(err, errors.New("not ready")), bytes.TrimSpace(stderr.Bytes()))
	}
	return ns, nil
}

// close ends every process of the namespace and returns when they are gone; their
// mounts, interfaces and disk go with them.
func (ns *namespace) close() error {
	ns.stdin.Close()
	killErr := ns.init.Process.Kill()
	if errors.Is(killErr, os.ErrProcessDone) {
		killErr = nil
	}
	var killed *exec.ExitError
	if err := ns.init.Wait(); err != nil && !errors.As(err, &killed) {
		return errors.Join(killErr, err)
	}
	return killErr
}

// pid is the first process as the host sees it.
func (ns *namespace) pid() string { return strconv.Itoa(ns.init.Process.Pid) }

// command prepares a program to run in the namespace. It gets a clean environment.
func (ns *namespace) command(name string, args ...string) *exec.Cmd {
	enter := []string{"--target", ns.pid(), "--mount", "--net", "--pid", "--uts", "--ipc", "--", name}
	cmd := exec.Command("nsenter", append(enter, args...)...)
	cmd.Env = []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=/tmp", "LC_ALL=C.UTF-8",
	}
	return cmd
}

// unnamedFile returns a sparse file that nothing but the descriptor leads to.
func unnamedFile(size int64) (*os.File, error) {
	f, err := os.CreateTemp("", "coldbrick-cluster-disk-")
	if err != nil {
		return nil, err
	}
	if err := errors.Join(os.Remove(f.Name()), f.Truncate(size)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// run executes cmd and returns its standard output; the error has what it wrote to
// standard error.
func run(cmd *exec.Cmd) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.String(), nil
}
