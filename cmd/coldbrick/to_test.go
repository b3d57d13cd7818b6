package main

import (
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/testkit"
)

// However recall --to ends before a file is whole and proven, it leaves nothing:
// no part of the file, under no name, nor a directory for it.
func TestACopyElsewhereIsWholeOrNotThere(t *testing.T) {
	v, s3 := testkit.NewVolume(t), testkit.S3(t)
	proxy := testkit.FaultProxy(t, s3)
	program := filepath.Join(t.TempDir(), "coldbrick")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v: %s", err, out)
	}
	state := t.TempDir()
	start := func(args ...string) (*exec.Cmd, *bytes.Buffer) {
		t.Helper()
		var stderr bytes.Buffer
		cmd := exec.Command(program, args...)
		cmd.Env = append(s3.Env(), "PATH="+os.Getenv("PATH"), "COLDBRICK_CONFIG=/dev/null", "COLDBRICK_STATE_DIR="+state,
			"COLDBRICK_ENDPOINT_URL="+proxy.Endpoint, "COLDBRICK_BUCKET="+s3.Bucket)
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd, &stderr
	}
	content := bytes.Repeat([]byte("0123456789abcde\n"), 3<<20/16)
	v.Write("dir/f", content, testkit.Old)
	cmd, stderr := start("archive", v.BrickDir(), "--mount", v.MountDir())
	if err := cmd.Wait(); err != nil {
		t.Fatalf("archive: %v: %s", err, stderr)
	}
	get := testkit.Match{Method: "GET", Key: "dir/f"}

	for _, tt := range []struct {
		name  string
		fault testkit.Fault
	}{
		{"refused in the middle", testkit.CutBody(256 << 10)},
		{"wrong bytes", testkit.WrongBody()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			proxy.On(get, tt.fault)
			defer proxy.Clear()
			out := t.TempDir()
			cmd, stderr := start("recall", "--to", out, v.Path("dir/f"))
			if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != 3 {
				t.Errorf("%v: %s", err, stderr)
			}
			if left := testkit.Below(t, out); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}

	for _, signals := range [][]syscall.Signal{{unix.SIGKILL}, {unix.SIGTERM, unix.SIGINT}} {
		t.Run(signals[0].String(), func(t *testing.T) {
			half := make(chan struct{}, 1)
			proxy.On(get, func(w http.ResponseWriter, r *http.Request, forward func() testkit.Answer) {
				answer := forward()
				for name, values := range answer.Header {
					w.Header()[name] = values
				}
				w.WriteHeader(answer.Status)
				_, _ = w.Write(answer.Body[:2<<20])
				_ = http.NewResponseController(w).Flush()
				half <- struct{}{}
				<-r.Context().Done()
			})
			defer proxy.Clear()
			out := t.TempDir()
			cmd, _ := start("recall", "--to", out, v.Path("dir/f"))
			<-half
			testkit.Eventually(t, 20*time.Second, "half of the file is written", func() bool { return holdsHalf(cmd.Process.Pid, 1<<20) })
			if left := testkit.Below(t, out); len(left) > 0 {
				t.Errorf("while it is written: %q", left)
			}
			for _, sig := range signals {
				if err := cmd.Process.Signal(sig); err != nil {
					t.Fatal(err)
				}
			}
			_ = cmd.Wait() // what it says of its end is another test's
			if left := testkit.Below(t, out); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}

	out := t.TempDir()
	cmd, stderr = start("recall", "--to", out, v.Path("dir/f"))
	if err := cmd.Wait(); err != nil {
		t.Fatalf("recall --to: %v: %s", err, stderr)
	}
	got, err := os.ReadFile(out + "/dir/f")
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes of %d, or others: %v", len(got), len(content), err)
	}
	info, err := os.Stat(out + "/dir/f")
	if err != nil || !info.ModTime().Equal(testkit.Old) || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}

// holdsHalf reports whether a process has a regular file open that has so many
// bytes.
func holdsHalf(pid int, size int64) bool {
	open, err := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/fd/*")
	if err != nil {
		return false
	}
	for _, fd := range open {
		info, err := os.Stat(fd)
		if err == nil && info.Mode().IsRegular() && info.Size() >= size {
			return true
		}
	}
	return false
}
