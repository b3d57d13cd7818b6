package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coldbrick/coldbrick/internal/testkit"
)

// probeGround is a volume, and a store that notes each request.
type probeGround struct {
	t     *testing.T
	v     *testkit.Volume
	s     *testkit.S3Server
	proxy *testkit.Proxy
	state string
}

func newProbeGround(t *testing.T) *probeGround {
	g := &probeGround{t: t, v: testkit.NewVolume(t), s: testkit.S3(t), state: t.TempDir()}
	g.s.Setenv(t)
	g.proxy = testkit.FaultProxy(t, g.s)
	return g
}

// run runs a command, which must end with the exit code, and gives what it printed
// and how many requests it sent to make probe objects.
func (g *probeGround) run(want int, command string, args ...string) (out string, probed int) {
	g.t.Helper()
	before := g.puts()
	args = append([]string{command, "--endpoint-url", g.proxy.Endpoint, "--bucket", g.s.Bucket,
		"--state-dir", g.state, "--mount", g.v.MountDir()}, args...)
	var both bytes.Buffer
	code := execute(g.t.Context(), env{
		args: args, stdin: strings.NewReader(""), stdout: &both, stderr: &both,
		environ: []string{"COLDBRICK_CONFIG=/dev/null"},
		width:   func(io.Writer) (int, bool) { return 0, false },
	})
	if code != want {
		g.t.Fatalf("%s: exit code %d, want %d: %s", args, code, want, &both)
	}
	return both.String(), g.puts() - before
}

func (g *probeGround) puts() (n int) {
	for _, r := range g.proxy.Requests(testkit.Match{Method: http.MethodPut}) {
		if strings.Contains(r.Key, ".coldbrick/probe/") {
			n++
		}
	}
	return n
}

// kept are the files of probes.
func (g *probeGround) kept() []string {
	files, err := filepath.Glob(g.state + "/probes/*")
	if err != nil {
		g.t.Fatal(err)
	}
	return files
}

// Nightly runs do not fill a bucket with probe objects that nobody can delete.
func TestARunGoesByTheProbeOfTheLastDay(t *testing.T) {
	g := newProbeGround(t)
	archive := func(args ...string) int {
		t.Helper()
		_, probed := g.run(0, "archive", append(args, g.v.BrickDir())...)
		return probed
	}
	if archive() == 0 {
		t.Fatal("the first run did not probe")
	}
	files := g.kept()
	if len(files) != 1 {
		t.Fatalf("kept: %q", files)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(files[0]); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if strings.Contains(string(text), g.s.AccessKey) || strings.Contains(string(text), g.s.SecretKey) {
		t.Errorf("a secret is kept: %s", text)
	}
	g.v.Write("a", []byte("x"), testkit.Old)
	if n := archive(); n != 0 {
		t.Errorf("the second run sent %d requests of a probe", n)
	}
	if g.v.BrickMarks("a").RemoteKey != "a" {
		t.Error("a run without a probe of its own gave the file a nonce key, or none")
	}
	if archive("--key-prefix", "other/") == 0 {
		t.Error("another prefix was not probed")
	}
	if _, probed := g.run(0, "doctor", "-v", "--brick", g.v.BrickDir()); probed == 0 {
		t.Error("doctor did not probe")
	}
	keep := func(version int, build string, at time.Time) {
		t.Helper()
		text, err := json.Marshal(map[string]any{"v": version, "coldbrick": build, "time": at})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(files[0], text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	keep(1, buildInfo(), time.Now().Add(-time.Hour))
	if n := archive(); n != 0 {
		t.Errorf("with a probe of an hour ago a run sent %d requests of one", n)
	}
	for name, kept := range map[string]struct {
		version int
		build   string
		at      time.Time
	}{
		"a day old":          {1, buildInfo(), time.Now().Add(-day)},
		"from the future":    {1, buildInfo(), time.Now().Add(time.Hour)},
		"of another version": {1, "coldbrick 0.1", time.Now()},
		"in another form":    {2, buildInfo(), time.Now()},
		"that says nothing":  {},
	} {
		keep(kept.version, kept.build, kept.at)
		if archive() == 0 {
			t.Errorf("a run went by a probe %s", name)
		}
	}
	t.Setenv("AWS_SECRET_ACCESS_KEY", "wrong")
	if out, probed := g.run(12, "archive", g.v.BrickDir()); probed != 0 || !strings.Contains(out, "the secret key is wrong") {
		t.Errorf("with a wrong secret, and a kept probe: %d requests, %s", probed, out)
	}
}

// A store that has been put behind something else since is not taken at its word,
// and credentials that may no longer write are named.
func TestAKeptProbeHoldsOnlyWhileTheStoreLeavesTakenKeysAlone(t *testing.T) {
	g := newProbeGround(t)
	g.run(0, "archive", g.v.BrickDir())
	if len(g.kept()) != 1 {
		t.Fatalf("kept: %q", g.kept())
	}
	g.proxy.On(testkit.Match{Method: http.MethodPut}, testkit.Refuse(403, "AccessDenied"))
	if out, _ := g.run(12, "archive", g.v.BrickDir()); !strings.Contains(out, "PutObject") {
		t.Error(out)
	}
	g.proxy.Clear()
	g.run(0, "archive", g.v.BrickDir())
	g.proxy.On(testkit.Match{Method: http.MethodPut}, g.proxy.IgnoreHeader("If-None-Match"))
	g.v.Write("a", []byte("x"), testkit.Old)
	_, probed := g.run(0, "archive", g.v.BrickDir())
	if key := g.v.BrickMarks("a").RemoteKey; probed == 0 || !strings.HasPrefix(key, ".coldbrick/") {
		t.Errorf("%d requests of a probe, key %q", probed, key)
	}
}

// What a store lacks is asked again, and so is what it has ceased to do.
func TestOnlyAGoodProbeIsKept(t *testing.T) {
	g := newProbeGround(t)
	g.run(0, "archive", g.v.BrickDir())
	if len(g.kept()) != 1 {
		t.Fatalf("kept: %q", g.kept())
	}
	g.proxy.On(testkit.Match{Method: http.MethodPut}, g.proxy.IgnoreHeader("If-None-Match"))
	if out, _ := g.run(0, "doctor", "-v", "--brick", g.v.BrickDir()); !strings.Contains(out, "conditional-put") || len(g.kept()) != 0 {
		t.Errorf("kept: %q after\n%s", g.kept(), out)
	}
	for range 2 {
		if _, probed := g.run(0, "archive", g.v.BrickDir()); probed == 0 || len(g.kept()) != 0 {
			t.Errorf("%d requests of a probe; kept: %q", probed, g.kept())
		}
	}
}

// As in a bucket with Object Lock.
func TestDoctorTellsOfProbeObjectsThatStay(t *testing.T) {
	g := newProbeGround(t)
	g.proxy.On(testkit.Match{Method: http.MethodDelete}, testkit.Refuse(403, "AccessDenied"))
	out, _ := g.run(0, "doctor", "-v", "--brick", g.v.BrickDir())
	if !strings.Contains(out, "warning probe-objects: the store did not delete") || !strings.Contains(out, "Object Lock") {
		t.Error(out)
	}
	if _, probed := g.run(0, "archive", g.v.BrickDir()); probed != 0 {
		t.Errorf("archive added to them, with %d requests", probed)
	}
}

// A key that may not ask is no sign that a bucket is without versions.
func TestDoctorSaysWhatTheStoreDoesNotTell(t *testing.T) {
	g := newProbeGround(t)
	for _, query := range []string{"versioning", "lifecycle"} {
		g.proxy.On(testkit.Match{Method: http.MethodGet, Query: []string{query}}, testkit.Refuse(403, "AccessDenied"))
	}
	out, _ := g.run(0, "doctor", "-v", "--brick", g.v.BrickDir())
	for _, want := range []string{
		"warning versioning: the store does not tell whether the bucket keeps old versions",
		"warning left-over-uploads: the store does not tell whether a rule aborts",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q:\n%s", want, out)
		}
	}
	g.proxy.Clear()
	g.proxy.On(testkit.Match{Method: http.MethodGet, Query: []string{"versioning"}}, func(w http.ResponseWriter, _ *http.Request, _ func() testkit.Answer) {
		_, _ = io.WriteString(w, "<VersioningConfiguration/>")
	})
	g.proxy.On(testkit.Match{Method: http.MethodGet, Query: []string{"lifecycle"}}, testkit.Refuse(404, "NoSuchLifecycleConfiguration"))
	out, _ = g.run(0, "doctor", "-v", "--brick", g.v.BrickDir())
	for _, want := range []string{"warning versioning: the bucket keeps no old versions", "warning left-over-uploads: no rule aborts"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q:\n%s", want, out)
		}
	}
}

func TestDoctorNamesPrefixesWithinEachOther(t *testing.T) {
	g := newProbeGround(t)
	outer := testkit.NewVolume(t)
	g.run(0, "archive", "--key-prefix", "vol2/", g.v.BrickDir()) // nobody is above it yet
	if _, code, stderr := inBackground(t, "archive", "--endpoint-url", g.proxy.Endpoint, "--bucket", g.s.Bucket, "--state-dir", g.state,
		"--mount", outer.MountDir(), outer.BrickDir()); <-code != 0 {
		t.Fatal(stderr)
	}
	g.run(0, "archive", "--key-prefix", "vol2/", g.v.BrickDir()) // and keeps its place
	g.run(2, "archive", "--key-prefix", "vol3/", g.v.BrickDir())
	for _, tt := range []struct{ prefix, want string }{
		{"vol2/", `warning key-prefix: the prefix "vol2/" is below "" of volume ` + outer.ID},
		{"vol2/x/", `warning key-prefix: the prefix "vol2/x/" is below "" of volume ` + outer.ID}, // its own one apart
		{"", "ok      key-prefix: shared with volume " + outer.ID},
	} {
		out, _ := g.run(0, "doctor", "-v", "--brick", g.v.BrickDir(), "--key-prefix", tt.prefix)
		if !strings.Contains(out, tt.want) {
			t.Errorf("%q is missing in\n%s", tt.want, out)
		}
	}
	inner := g.v.ID
	g.v = outer
	if out, _ := g.run(0, "doctor", "-v", "--brick", g.v.BrickDir()); !strings.Contains(out, `warning key-prefix: the prefix "" is above "vol2/" of volume `+inner) {
		t.Error(out)
	}
}
