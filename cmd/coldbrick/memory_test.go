//go:build soak

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coldbrick/coldbrick/internal/testkit"
)

// The peak memory of an archive run depends on jobs and part size, not on how
// many files there are.
func TestMemoryDoesNotGrowWithTheNumberOfFiles(t *testing.T) {
	many := 200_000
	if n, err := strconv.Atoi(os.Getenv("COLDBRICK_SOAK_FILES")); err == nil {
		many = n
	}
	program := filepath.Join(t.TempDir(), "coldbrick")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v: %s", err, out)
	}
	few := peak(t, program, many/10)
	all := peak(t, program, many)
	t.Logf("peak RSS: %d KiB with %d files, %d KiB with %d", few, many/10, all, many)
	if few == 0 || all > few+few/4 {
		t.Errorf("peak RSS grew from %d to %d KiB", few, all)
	}
}

// peak archives n small files and returns the peak RSS of the process, in KiB.
func peak(t *testing.T, program string, n int) int64 {
	t.Helper()
	v, s3 := testkit.NewVolume(t), testkit.S3(t)
	writeSmall(t, v.MountDir(), n)
	var out bytes.Buffer
	cmd := exec.CommandContext(t.Context(), program, "archive", v.BrickDir(), "--mount", v.MountDir(), "--state-dir", t.TempDir())
	cmd.Env = append(s3.Env(), "COLDBRICK_ENDPOINT_URL="+s3.Endpoint, "COLDBRICK_BUCKET="+s3.Bucket, "PATH="+os.Getenv("PATH"))
	cmd.Stdout, cmd.Stderr = &out, &out
	began := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	// Not ru_maxrss, which a process inherits from the one that started it.
	var highest int64
	for {
		select {
		case err := <-ended:
			if err != nil {
				t.Fatalf("archive: %v: %s", err, out.Bytes())
			}
			t.Logf("%s (%.0f files/s)", strings.TrimSpace(out.String()), float64(n)/time.Since(began).Seconds())
			return highest
		case <-time.After(100 * time.Millisecond):
			highest = max(highest, highWater(cmd.Process.Pid))
		}
	}
}

// highWater is the peak RSS of a process so far, in KiB; 0 if it has ended.
func highWater(pid int) (kib int64) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			_, _ = fmt.Sscan(value, &kib) // a kernel that says it otherwise is told by the zero
		}
	}
	return kib
}

// writeSmall makes n cold files, by several writers: each costs the mount a few
// round trips.
func writeSmall(t *testing.T, dir string, n int) {
	t.Helper()
	const perDir, writers = 100, 8
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	cold := time.Now().AddDate(-1, 0, 0)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for d := w; d*perDir < n && ctx.Err() == nil; d += writers {
				sub := filepath.Join(dir, fmt.Sprintf("d%d", d))
				err := os.Mkdir(sub, 0o755)
				for i := 0; i < min(perDir, n-d*perDir) && err == nil; i++ {
					name := filepath.Join(sub, strconv.Itoa(i))
					err = errors.Join(os.WriteFile(name, []byte(name), 0o644), os.Chtimes(name, cold, cold))
				}
				if err != nil {
					cancel(err)
				}
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		t.Fatal(err)
	}
}
