package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/testkit"
)

// A run whose transfers take longer than the test is signalled; whatever it was
// at, each file is whole afterwards, here or in the store.
func TestSignalsLoseNothing(t *testing.T) {
	v := testkit.NewVolume(t)
	s := testkit.S3(t)
	s.Setenv(t)
	const size = 2 << 20
	names := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
	for _, name := range names {
		v.Write(name, bytes.Repeat([]byte(name), size), testkit.Old)
	}
	for _, tt := range []struct {
		name    string
		signals []os.Signal
		code    int
		within  time.Duration
	}{
		{"SIGTERM drains", []os.Signal{syscall.SIGTERM}, 143, 20 * time.Second},
		{"SIGINT, SIGINT drops", []os.Signal{os.Interrupt, os.Interrupt}, 130, 3 * time.Second},
		{"SIGTERM, SIGINT drops", []os.Signal{syscall.SIGTERM, os.Interrupt}, 130, 3 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			signals, state := make(chan os.Signal), t.TempDir()
			code := make(chan int)
			var stderr bytes.Buffer
			go func() {
				code <- run(t.Context(), env{
					args: []string{"archive", "--mount", v.MountDir(), "--endpoint-url", s.Endpoint, "--bucket", s.Bucket,
						"--jobs", "2", "--bwlimit", "1MiB/s", "--state-dir", state, v.BrickDir()},
					stdin: strings.NewReader(""), stdout: io.Discard, stderr: &stderr,
					environ: []string{"COLDBRICK_CONFIG=/dev/null"},
					width:   func(io.Writer) (int, bool) { return 0, false }, signals: signals,
				})
			}()
			testkit.Eventually(t, time.Minute, "a run record", func() bool {
				records, err := filepath.Glob(state + "/runs/*")
				return err == nil && len(records) > 0
			})
			time.Sleep(500 * time.Millisecond) // into the transfer
			begin := time.Now()
			for _, sig := range tt.signals {
				signals <- sig
			}
			if got := <-code; got != tt.code {
				t.Errorf("exit code %d, want %d: %s", got, tt.code, stderr.String())
			}
			if strings.Contains(stderr.String(), "failed") {
				t.Errorf("what was interrupted counts as failed: %s", stderr.String())
			}
			if took := time.Since(begin); took > tt.within {
				t.Errorf("took %v", took)
			}
			for _, name := range names {
				switch state := v.BrickMarks(name).State(v.BrickSize(name)); {
				case state == gluster.Local && v.BrickSize(name) != size:
					t.Errorf("%s is local and has %d bytes", name, v.BrickSize(name))
				case state == gluster.Local:
					if _, ok := testkit.Xattr(t, v.BrickPath(name), gluster.XattrPointer); ok {
						t.Errorf("%s is local and has a pointer", name)
					}
				case state != gluster.Remote:
					t.Errorf("%s is %s", name, state)
				}
			}
		})
	}
}
