package main

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/testkit"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"coldbrick": main,
		"coldbrick-of-others": func() { // to which the glusterfs of this host is a stranger
			gluster.Qualified = []string{"9.6"}
			main()
		},
	})
}

// TestScripts runs the program itself, on a real volume and a real store where
// a script asks for them.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Values["scene"] = &scene{TB: e.T().(testing.TB)}
			e.Setenv("COLDBRICK_STATE_DIR", e.WorkDir+"/state")
			e.Setenv("COLDBRICK_METRICS_FILE", "")
			e.Setenv("COLDBRICK_CONFIG", e.WorkDir+"/coldbrick.toml")
			e.Setenv("CAPTURED", filepath.Join(testkit.ModuleRoot(e.T().(testing.TB)), "internal/gluster/testdata"))
			return os.WriteFile(e.WorkDir+"/coldbrick.toml", nil, 0o600)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":     exitsWith,
			"schema":    validate,
			"volume":    startVolume,
			"s3":        startS3,
			"hold":      holdFiles,
			"held":      waitHeld,
			"release":   release,
			"write":     write,
			"marks":     marks,
			"mount":     newMount,
			"stopbrick": stopBrick,
			"waitlock":  waitLock,
			"tmpfs":     mountTmpfs,
			"attr":      setAttr,
			"glacier":   playGlacier,
			"thawed":    thawed,
			"expire":    expire,
			"asked":     asked,
			"looked":    looked,
			"read":      readObjects,
		},
	})
}

// scene is what a script stands on.
type scene struct {
	testing.TB
	volume  *testkit.Volume
	store   *testkit.S3Server
	proxy   *testkit.Proxy // in front of the store once a script has held files
	gate    *testkit.Gate
	glacier *testkit.Glacier // played by the proxy
	records int              // of runs that waitlock has seen
}

func sceneOf(ts *testscript.TestScript) *scene { return ts.Value("scene").(*scene) }

// exits CODE COMMAND... runs a command that must end with the exit code.
func exitsWith(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// schema validates each line of stdout as docs/schema says; the last one must
// be a summary unless the command has none.
func validate(ts *testscript.TestScript, _ bool, args []string) {
	c := jsonschema.NewCompiler()
	file, err := os.ReadFile(schemaFile)
	ts.Check(err)
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(file))
	ts.Check(err)
	ts.Check(c.AddResource("record.json", doc))
	s, err := c.Compile("record.json")
	ts.Check(err)
	out := ts.ReadFile("stdout")
	if out == "" {
		ts.Fatalf("stdout is empty")
	}
	for line := range strings.Lines(out) {
		record, err := jsonschema.UnmarshalJSON(strings.NewReader(line))
		ts.Check(err)
		if err := s.Validate(record); err != nil {
			ts.Fatalf("%s: %v", line, err)
		}
	}
}

// volume [replica|small] starts a volume and sets $BRICK and $MNT. The brick of
// a small one has a file system of its own, of 64 MiB.
func startVolume(ts *testscript.TestScript, _ bool, args []string) {
	var options []testkit.Option
	switch {
	case len(args) == 0:
	case args[0] == "replica":
		options = append(options, testkit.Replica(3))
	case args[0] == "small":
		options = append(options, testkit.BrickRoom(64<<20))
	}
	g := sceneOf(ts)
	v := testkit.NewVolume(g, options...)
	g.volume = v
	ts.Setenv("BRICK", v.BrickDir())
	ts.Setenv("MNT", v.MountDir())
}

// mount NAME KIND makes another mount of the volume and sets $NAME.
func newMount(ts *testscript.TestScript, _ bool, args []string) {
	option, ok := map[string]testkit.MountOption{
		"WithoutCloudsync": testkit.WithoutCloudsync(),
		"WithQuickRead":    testkit.WithQuickRead(),
		"WithPerformance":  testkit.WithPerformance(),
		"WithName":         testkit.WithFlags("--volfile-id=vol"), // what mount.glusterfs gives
	}[args[1]]
	if !ok {
		ts.Fatalf("unknown kind of mount %s", args[1])
	}
	g := sceneOf(ts)
	ts.Setenv(args[0], g.volume.NewMount(g, option))
}

func stopBrick(ts *testscript.TestScript, _ bool, _ []string) { sceneOf(ts).volume.StopBrick() }

// s3 starts a server and sets what coldbrick needs to find it.
func startS3(ts *testscript.TestScript, _ bool, _ []string) {
	s := testkit.S3(sceneOf(ts))
	sceneOf(ts).store = s
	for _, assignment := range s.Env() {
		name, value, _ := strings.Cut(assignment, "=")
		ts.Setenv(name, value)
	}
	ts.Setenv("COLDBRICK_ENDPOINT_URL", s.Endpoint)
	ts.Setenv("COLDBRICK_BUCKET", s.Bucket)
}

// hold lets the data of files wait on its way to the store, until release.
func holdFiles(ts *testscript.TestScript, _ bool, _ []string) {
	g := sceneOf(ts)
	putProxy(ts)
	g.gate = testkit.NewGate()
	g.Cleanup(g.gate.Open)
	g.proxy.On(ofFiles, g.gate.Hold(nil))
}

func putProxy(ts *testscript.TestScript) {
	if g := sceneOf(ts); g.proxy == nil {
		g.proxy = testkit.FaultProxy(g, g.store)
		ts.Setenv("COLDBRICK_ENDPOINT_URL", g.proxy.Endpoint)
	}
}

// glacier lets the store have storage classes that cannot be read at once.
func playGlacier(ts *testscript.TestScript, _ bool, _ []string) {
	putProxy(ts)
	sceneOf(ts).glacier = sceneOf(ts).proxy.Glacier()
}

// thawed KEY... ends the restore of objects.
func thawed(ts *testscript.TestScript, _ bool, args []string) {
	for _, key := range args {
		sceneOf(ts).glacier.Finish(key)
	}
}

// expire KEY lets a restored object expire when it is about to be read.
func expire(ts *testscript.TestScript, _ bool, args []string) {
	g := sceneOf(ts)
	g.proxy.On(testkit.Match{Method: http.MethodGet, Key: args[0], Times: 1}, func(w http.ResponseWriter, r *http.Request, forward func() testkit.Answer) {
		g.glacier.Freeze(args[0], "GLACIER")
		testkit.Refuse(http.StatusForbidden, "InvalidObjectState")(w, r, forward)
	})
}

// asked N TIER KEY... waits until so many restores of each were asked for, and none more.
func asked(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	g := sceneOf(ts)
	for _, key := range args[2:] {
		if n > 0 {
			g.glacier.AwaitAsked(g, key, n)
		}
		got := g.glacier.Asked(key)
		if len(got) != n || n > 0 && got[n-1].Tier != args[1] {
			ts.Fatalf("asked for %s: %+v", key, got)
		}
	}
}

// looked N KEY waits until the object was looked at so often since it changed.
func looked(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	sceneOf(ts).glacier.AwaitLooks(sceneOf(ts), args[1], n)
}

// read N KEY... checks how often the store was asked for the bytes of objects.
func readObjects(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	for _, key := range args[1:] {
		got += len(sceneOf(ts).proxy.Requests(testkit.Match{Method: http.MethodGet, Key: key}))
	}
	if got != want {
		ts.Fatalf("%d reads of %q, not %d", got, args[1:], want)
	}
}

// ofFiles are the requests that carry the data of a small file.
var ofFiles = testkit.Match{Method: http.MethodPut, Header: []string{"X-Amz-Meta-" + object.MetaAttempt}}

// held waits until the data of a file is on its way to the store.
func waitHeld(ts *testscript.TestScript, _ bool, _ []string) { sceneOf(ts).gate.Wait(sceneOf(ts)) }

func release(ts *testscript.TestScript, _ bool, _ []string) {
	g := sceneOf(ts)
	g.proxy.Clear()
	g.gate.Open()
}

// write AGE SIZE PATH... makes files of so many bytes on the mount.
func write(ts *testscript.TestScript, _ bool, args []string) {
	age, err := time.ParseDuration(args[0])
	ts.Check(err)
	size, err := strconv.Atoi(args[1])
	ts.Check(err)
	for _, path := range args[2:] {
		name, err := strconv.Unquote(`"` + path + `"`)
		ts.Check(err)
		sceneOf(ts).volume.Write(name, bytes.Repeat([]byte("x"), size), time.Now().Add(-age))
	}
}

// tmpfs DIR BYTES mounts a file system of so many bytes.
func mountTmpfs(ts *testscript.TestScript, _ bool, args []string) {
	size, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	testkit.MountTmpfs(sceneOf(ts), ts.MkAbs(args[0]), size)
}

// attr NAME VALUE PATH... sets an attribute of files, through the mount.
func setAttr(ts *testscript.TestScript, _ bool, args []string) {
	v := sceneOf(ts).volume
	for _, path := range args[2:] {
		testkit.SetXattr(sceneOf(ts), v.Path(path), args[0], args[1])
	}
}

// marks STATE PATH... checks where the data of files is, on the brick.
func marks(ts *testscript.TestScript, _ bool, args []string) {
	for _, path := range args[1:] {
		v := sceneOf(ts).volume
		if got := v.BrickMarks(path).State(v.BrickSize(path)); string(got) != args[0] {
			ts.Fatalf("%s is %s, not %s", path, got, args[0])
		}
	}
}

const schemaFile = "../../docs/schema/record.json"

// waitlock waits until a run in the background holds its brick.
func waitLock(ts *testscript.TestScript, _ bool, _ []string) {
	g := sceneOf(ts)
	testkit.Eventually(g, time.Minute, "a run record", func() bool {
		records, err := filepath.Glob(ts.MkAbs("state") + "/runs/*")
		ts.Check(err)
		return len(records) > g.records
	})
	g.records++
}
