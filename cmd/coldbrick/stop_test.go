package main

import (
	"bytes"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/testkit"
)

// A run that has files on their way to the store is signalled; whatever it was at,
// each file is whole afterwards, here or in the store. What drops does not wait for
// the store.
func TestSignalsLoseNothing(t *testing.T) {
	v := testkit.NewVolume(t)
	s := testkit.S3(t)
	s.Setenv(t)
	proxy := testkit.FaultProxy(t, s)
	const size = 2 << 20
	for _, tt := range []struct {
		name    string
		signals []os.Signal
		code    int
		answers bool // the store does, once the signals were sent
	}{
		{"SIGTERM drains", []os.Signal{syscall.SIGTERM}, 143, true},
		{"SIGINT, SIGINT drops", []os.Signal{os.Interrupt, os.Interrupt}, 130, false},
		{"SIGTERM, SIGINT drops", []os.Signal{syscall.SIGTERM, os.Interrupt}, 130, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var names []string
			for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
				names = append(names, tt.name+"/"+name)
				v.Write(tt.name+"/"+name, bytes.Repeat([]byte(name), size), testkit.Old)
			}
			gate := testkit.NewGate()
			defer gate.Open()
			proxy.Clear()
			proxy.On(ofFiles, gate.Hold(nil))
			signals := make(chan os.Signal)
			code := make(chan int)
			var stderr bytes.Buffer
			go func() {
				code <- execute(t.Context(), env{
					args: []string{"archive", "--mount", v.MountDir(), "--endpoint-url", proxy.Endpoint, "--bucket", s.Bucket,
						"--jobs", "2", "--state-dir", t.TempDir(), v.BrickDir()},
					stdin: strings.NewReader(""), stdout: io.Discard, stderr: &stderr,
					environ: []string{"COLDBRICK_CONFIG=/dev/null"},
					width:   func(io.Writer) (int, bool) { return 0, false }, signals: signals,
				})
			}()
			gate.Wait(t)
			for _, sig := range tt.signals {
				signals <- sig
			}
			if tt.answers {
				gate.Open()
			}
			if got := <-code; got != tt.code {
				t.Errorf("exit code %d, want %d: %s", got, tt.code, stderr.String())
			}
			if strings.Contains(stderr.String(), "failed") {
				t.Errorf("what was interrupted counts as failed: %s", stderr.String())
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
