//go:build bench

package transfer

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/bench/measured"
	"github.com/coldbrick/coldbrick/internal/testkit"
)

// tool is a command of a contestant. Whose CPU its children's is depends on
// what they are: the clients of private mounts are servers to coldbrick, the
// commands that xargs starts are part of the tool.
type tool struct {
	command     []string
	env         []string
	dir         string
	ownChildren bool
	toNull      bool // its output is the data
}

// run runs a command to its end, which must be a good one.
func (c tool) run(t testing.TB) (u measured.Usage) {
	t.Helper()
	cmd := exec.Command(c.command[0], c.command[1:]...)
	cmd.Env = append(os.Environ(), c.env...)
	cmd.Dir = c.dir
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if c.toNull {
		cmd.Stdout = nil
	}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	peak := make(chan int64)
	go func() {
		var most int64
		for tick := time.NewTicker(20 * time.Millisecond); ; {
			most = max(most, residentPeak(cmd.Process.Pid))
			select {
			case <-tick.C:
			case <-ended:
				tick.Stop()
				peak <- most
				return
			}
		}
	}()
	// Its record is read before it is reaped: own and children's CPU apart.
	for {
		err := unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err == nil {
			break
		}
		if err != unix.EINTR {
			t.Fatalf("wait for %s: %v", c.command[0], err)
		}
	}
	u.Wall = time.Since(start)
	own, children := processCPU(cmd.Process.Pid)
	close(ended)
	u.RSS = <-peak
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(c.command, " "), err, output.Bytes())
	}
	u.CPU = own
	if c.ownChildren {
		u.CPU += children
	} else {
		u.Servers = children
	}
	return u
}

// together joins the steps of one contestant.
func together(u, v measured.Usage) measured.Usage {
	return measured.Usage{Wall: u.Wall + v.Wall, CPU: u.CPU + v.CPU, Servers: u.Servers + v.Servers, RSS: max(u.RSS, v.RSS)}
}

// residentPeak is VmHWM. The maximum that wait tells is of no use: it counts
// the parent's pages before exec, and the children's.
func residentPeak(pid int) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0 // it ended
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			return kib << 10
		}
	}
	return 0
}

// processCPU is the CPU time of a process, and of those that it has waited for.
func processCPU(pid int) (own, children time.Duration) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0
	}
	const tick = time.Second / 100 // USER_HZ is 100 on every Linux
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	at := func(field int) time.Duration { // as numbered in proc(5)
		n, _ := strconv.ParseInt(fields[field-3], 10, 64)
		return time.Duration(n) * tick
	}
	return at(14) + at(15), at(16) + at(17)
}

// serversCPU is the CPU time of all processes that have one of the directories
// in their arguments. It is read while they live: a contestant's own mount stays
// until the test ends.
func serversCPU(t testing.TB, dirs ...string) (sum time.Duration) {
	t.Helper()
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		args, err := os.ReadFile(line)
		if err != nil {
			continue // it ended
		}
		mine := slices.ContainsFunc(dirs, func(dir string) bool { return bytes.Contains(args, []byte(dir+"/")) })
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(line)))
		if mine && err == nil && pid != os.Getpid() {
			own, _ := processCPU(pid)
			sum += own
		}
	}
	return sum
}

// settle lets the disk finish what others have written to it.
func settle() { unix.Sync() }

// save writes the table where the report of make bench finds it.
func save(t testing.TB, tab *measured.Table) {
	t.Helper()
	root := testkit.ModuleRoot(t)
	tab.Machine = measured.Machine(root)
	if err := tab.Save(filepath.Join(root, ".cache/bench")); err != nil {
		t.Fatal(err)
	}
	t.Log(tab.Markdown())
}
