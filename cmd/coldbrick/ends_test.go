package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/run"
	"github.com/coldbrick/coldbrick/internal/testkit"
)

// held is a store whose transfers of one kind stand still until they are let go.
type held struct {
	*testkit.Proxy
	arrived chan struct{} // one for each transfer
	letGo   func()        // they go on
}

// holdRequests holds the requests of this method for all that is not coldbrick's own.
func holdRequests(t *testing.T, s *testkit.S3Server, method string) *held {
	on, letGo := context.WithCancel(context.Background())
	h := &held{testkit.FaultProxy(t, s), make(chan struct{}, 4096), letGo}
	t.Cleanup(letGo) // the end of a client is not noticed before its body is read
	h.On(testkit.Match{Method: method}, func(w http.ResponseWriter, r *http.Request, forward func() testkit.Answer) {
		if !strings.Contains(r.URL.Path, "/.coldbrick/") && !r.URL.Query().Has("list-type") {
			h.arrived <- struct{}{}
			<-on.Done()
		}
		a := forward()
		for name, values := range a.Header {
			w.Header()[name] = values
		}
		w.WriteHeader(a.Status)
		_, _ = w.Write(a.Body) // the client may be gone
	})
	return h
}

// inBackground runs a command line and gives what stops it and how it ends.
func inBackground(t *testing.T, args ...string) (signals chan os.Signal, code chan int, stderr *bytes.Buffer) {
	signals, code, stderr = make(chan os.Signal), make(chan int, 1), &bytes.Buffer{}
	go func() {
		code <- execute(t.Context(), env{
			args: args, stdin: strings.NewReader(""), stdout: io.Discard, stderr: stderr,
			environ: []string{"COLDBRICK_CONFIG=/dev/null"},
			width:   func(io.Writer) (int, bool) { return 0, false }, signals: signals,
		})
	}()
	return signals, code, stderr
}

// The file that was dropped is the last one: nothing is left to be found, and
// yet the run did not do what it was asked for.
func TestADroppedLastFileIsAnInterruptedRun(t *testing.T) {
	v, s := testkit.NewVolume(t), testkit.S3(t)
	s.Setenv(t)
	v.Write("last", []byte("x"), testkit.Old)
	for sig, want := range map[os.Signal]int{os.Interrupt: 130, syscall.SIGTERM: 143, syscall.SIGHUP: 129} {
		t.Run(sig.String(), func(t *testing.T) {
			h, dir := holdRequests(t, s, http.MethodPut), t.TempDir()
			signals, code, stderr := inBackground(t, "archive", "--mount", v.MountDir(), "--endpoint-url", h.Endpoint, "--bucket", s.Bucket,
				"--state-dir", dir, "--metrics-file", dir+"/metrics.prom", v.BrickDir())
			<-h.arrived
			signals <- sig
			signals <- sig
			if got := <-code; got != want {
				t.Errorf("exit code %d, want %d: %s", got, want, stderr)
			}
			metrics, err := os.ReadFile(dir + "/metrics.prom")
			if err != nil || !strings.Contains(string(metrics), fmt.Sprintf("} %d\n", want)) {
				t.Errorf("metrics do not tell exit code %d: %v\n%s", want, err, metrics)
			}
			var history bytes.Buffer
			got := execute(t.Context(), env{
				args: []string{"report", "--json", "--state-dir", dir, v.BrickDir()}, stdout: &history, stderr: io.Discard,
				environ: []string{"COLDBRICK_CONFIG=/dev/null"}, width: func(io.Writer) (int, bool) { return 0, false },
			})
			if got != 0 || strings.Count(history.String(), `"outcome":"interrupted"`) != 1 {
				t.Errorf("exit code %d, history: %s", got, history.String())
			}
			if state := v.BrickMarks("last").State(v.BrickSize("last")); state != gluster.Local {
				t.Errorf("the file is %s", state)
			}
		})
	}
}

// Hundreds are still to be recalled when the first signal comes: those in work are
// finished, no other is begun, and none is half way.
func TestASignalLeavesNoRecallHalfWay(t *testing.T) {
	v, s := testkit.NewVolume(t), testkit.S3(t)
	s.Setenv(t)
	const files, jobs = 300, 4
	var names []string
	for i := range files {
		names = append(names, fmt.Sprintf("d/%04d", i))
		v.Write(names[i], []byte("x"), testkit.Old)
	}
	_, code, stderr := inBackground(t, "archive", "--mount", v.MountDir(), "--endpoint-url", s.Endpoint, "--bucket", s.Bucket,
		"--state-dir", t.TempDir(), v.BrickDir())
	if got := <-code; got != 0 {
		t.Fatalf("archive: exit code %d: %s", got, stderr)
	}
	before := 0
	for sig, want := range map[os.Signal]int{os.Interrupt: 130, syscall.SIGHUP: 129} {
		t.Run(sig.String(), func(t *testing.T) {
			h := holdRequests(t, s, http.MethodGet)
			signals, code, stderr := inBackground(t, "recall", "-r", "--jobs", fmt.Sprint(jobs),
				"--endpoint-url", h.Endpoint, "--bucket", s.Bucket, v.Path("d"))
			for range jobs {
				<-h.arrived
			}
			signals <- sig // is taken: from here on no file may be begun
			h.letGo()
			if got := <-code; got != want {
				t.Errorf("exit code %d, want %d: %s", got, want, stderr)
			}
			local := 0
			for _, name := range names {
				switch state := v.BrickMarks(name).State(v.BrickSize(name)); state {
				case gluster.Local:
					local++
				case gluster.Remote:
				default:
					t.Errorf("%s is %s", name, state)
				}
			}
			// A worker may be about to begin one while the signal comes in.
			if n := local - before; n < jobs || n > 2*jobs {
				t.Errorf("%d files were recalled, %d were in work", n, jobs)
			}
			before = local
		})
	}
}

// The walk is in its middle and waits for the workers when the first signal comes.
func TestASignalEndsAnFsckAsASignal(t *testing.T) {
	v, s := testkit.NewVolume(t), testkit.S3(t)
	s.Setenv(t)
	const files, jobs = 40, 2
	for i := range files {
		v.Write(fmt.Sprintf("d%d/%04d", i%8, i), []byte("x"), testkit.Old)
	}
	_, code, stderr := inBackground(t, "archive", "--mount", v.MountDir(), "--endpoint-url", s.Endpoint, "--bucket", s.Bucket,
		"--state-dir", t.TempDir(), v.BrickDir())
	if got := <-code; got != 0 {
		t.Fatalf("archive: exit code %d: %s", got, stderr)
	}
	h := holdRequests(t, s, http.MethodHead)
	signals, code, stderr := inBackground(t, "fsck", "--mount", v.MountDir(), "--jobs", fmt.Sprint(jobs), "--endpoint-url", h.Endpoint, "--bucket", s.Bucket,
		"--state-dir", t.TempDir(), v.BrickDir())
	for range jobs {
		<-h.arrived
	}
	signals <- syscall.SIGTERM
	h.letGo()
	if got := <-code; got != 143 || !strings.Contains(stderr.String(), "stopped: terminated") {
		t.Errorf("exit code %d, want 143: %s", got, stderr)
	}
}

// Whoever sets a limit knows that runs end at it.
func TestQuietSaysNothingOfAPlannedEnd(t *testing.T) {
	v, s := testkit.NewVolume(t), testkit.S3(t)
	s.Setenv(t)
	for _, name := range []string{"a", "b"} {
		v.Write(name, []byte("x"), testkit.Old)
	}
	for _, tt := range []struct {
		limit []string
		code  int
	}{
		{[]string{"--max-files", "1"}, 8},
		{[]string{"--max-bytes", "1"}, 8},
	} {
		args := append([]string{"archive", "--dry-run", "--mount", v.MountDir(), "--endpoint-url", s.Endpoint, "--bucket", s.Bucket,
			"--state-dir", t.TempDir(), v.BrickDir()}, tt.limit...)
		_, code, stderr := inBackground(t, append(args, "--quiet")...)
		if got := <-code; got != tt.code || stderr.Len() > 0 {
			t.Errorf("%s --quiet: exit code %d, want %d, and says %q", tt.limit, got, tt.code, stderr)
		}
		_, code, stderr = inBackground(t, args...)
		if got := <-code; got != tt.code || !strings.Contains(stderr.String(), tt.limit[0]+" reached") {
			t.Errorf("%s: exit code %d, want %d, and says %q", tt.limit, got, tt.code, stderr)
		}
	}
}

// One set of flags serves all commands that take a brick, a volume or paths.
func TestEveryCommandOnAVolumeTakesTheStateDir(t *testing.T) {
	for _, cmd := range newApp(env{}, &run.Stopper{}).command().Commands() {
		switch cmd.Name() {
		case "crawl", "archive", "recall", "status", "fsck", "doctor", "report", "catalog", "rebuild":
			if cmd.Flags().Lookup("state-dir") == nil {
				t.Errorf("%s has no --state-dir", cmd.Name())
			}
		}
	}
}
