package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/testkit"
)

// treeLine is what the test reads of a line of JSON.
type treeLine struct {
	Type       string
	Path       string
	PathBase64 []byte `json:"path_base64"`
	Key        string
	Outcome    string
	Reason     string
	Error      string
	Class      string
	Severity   string
	Repaired   bool
	Detail     string
}

func (l treeLine) path() string {
	if l.PathBase64 != nil {
		return string(l.PathBase64)
	}
	return l.Path
}

// A tree of the names and sizes that users really have goes to the store and
// comes back as it was, by the commands that users give.
func TestAWholeTreeComesBackAsItWas(t *testing.T) {
	v, s3 := testkit.NewVolume(t), testkit.S3(t)
	big := int64(256 << 20)
	if os.Getenv("COLDBRICK_SOAK_ROUNDS") != "" {
		big = 1 << 30
	}
	paths := testkit.Tree(t, v.MountDir(), testkit.Files(1000), testkit.Big(big))
	before := testkit.Snapshot(t, v.MountDir())
	coldbrick := commandOn(t, v, s3)

	var planned []string
	for _, l := range coldbrick("archive", v.BrickDir(), "--mount", v.MountDir(), "--dry-run", "--json") {
		if l.Type == "candidate" {
			planned = append(planned, l.path())
		}
	}
	keys := map[string]string{}
	for _, l := range coldbrick("archive", v.BrickDir(), "--mount", v.MountDir(), "--json") {
		if l.Type == "file" && l.Outcome != "archived" {
			t.Errorf("%q: %s %s: %s", l.path(), l.Outcome, l.Reason, l.Error)
		}
		if l.Type == "file" {
			keys[l.path()] = l.Key
		}
	}
	var archived []string
	for path := range keys {
		archived = append(archived, path)
	}
	for _, list := range [][]string{planned, archived, paths} {
		slices.Sort(list)
	}
	if !slices.Equal(planned, archived) || !slices.Equal(archived, paths) {
		t.Fatalf("%d files, of which --dry-run named %d and archive took %d", len(paths), len(planned), len(archived))
	}
	for path, key := range keys {
		if size := v.BrickSize(path); size != 0 {
			t.Errorf("%q has %d bytes on the brick", path, size)
		}
		if marks := v.BrickMarks(path); marks.RemoteKey != key {
			t.Errorf("%q has cs.remote %q, archived under %q", path, marks.RemoteKey, key)
		}
		if want, readable := object.PathKey("", path); readable && key != want {
			t.Errorf("%q has key %q", path, key)
		}
		if got := sumOf(t, s3.ObjectFile(key)); got != before[path].SHA256 {
			t.Errorf("object %q holds other bytes than %q did", key, path)
		}
	}
	for _, l := range coldbrick("archive", v.BrickDir(), "--mount", v.MountDir(), "--json") {
		if l.Type == "file" && l.Outcome == "archived" {
			t.Errorf("archived again: %q", l.path())
		}
	}

	for _, l := range coldbrick("recall", "-r", v.MountDir(), "--json") {
		if l.Type == "file" && l.Outcome != "recalled" {
			t.Errorf("%q: %s %s: %s", l.path(), l.Outcome, l.Reason, l.Error)
		}
	}
	testkit.SameFiles(t, before, testkit.Snapshot(t, v.NewMount(t)))
	for _, path := range paths {
		for name := range v.BrickXattrs(path) {
			if name != gluster.XattrRecalled && name != gluster.XattrPointer && (strings.HasPrefix(name, "trusted.coldbrick.") || strings.HasPrefix(name, "trusted.glusterfs.cs.")) {
				t.Errorf("%q still has %s", path, name)
			}
		}
	}
	grown := paths[len(paths)/2]
	f, err := os.OpenFile(v.Path(grown), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("more"); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(filepath.Join(v.NewMount(t), grown)); err != nil || st.Size() != before[grown].Size+4 {
		t.Errorf("%q after an append: %v, %v", grown, st, err)
	}
}

// commandOn gives a function that runs coldbrick, which must succeed, and
// returns the lines of its JSON.
func commandOn(t *testing.T, v *testkit.Volume, s3 *testkit.S3Server) func(args ...string) []treeLine {
	any := anyCommandOn(t, v, s3)
	return func(args ...string) []treeLine {
		t.Helper()
		lines, code, stderr := any(args...)
		if code != 0 {
			t.Fatalf("coldbrick %q: exit code %d: %s", args, code, stderr)
		}
		return lines
	}
}

func anyCommandOn(t *testing.T, v *testkit.Volume, s3 *testkit.S3Server) func(args ...string) ([]treeLine, int, string) {
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/coldbrick.toml", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	environ := append(s3.Env(),
		"COLDBRICK_ENDPOINT_URL="+s3.Endpoint, "COLDBRICK_BUCKET="+s3.Bucket, "COLDBRICK_REGION="+s3.Region,
		"COLDBRICK_STATE_DIR="+dir+"/state", "COLDBRICK_CONFIG="+dir+"/coldbrick.toml")
	s3.Setenv(t) // the AWS chain reads the process's own
	return func(args ...string) ([]treeLine, int, string) {
		t.Helper()
		var stdout, stderr bytes.Buffer
		code := execute(t.Context(), env{
			args: args, stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr, environ: environ,
			width: func(io.Writer) (int, bool) { return 0, false }, signals: make(chan os.Signal),
		})
		var lines []treeLine
		for s := bufio.NewScanner(&stdout); s.Scan(); {
			var l treeLine
			if err := json.Unmarshal(s.Bytes(), &l); err != nil {
				t.Fatalf("%s: %v", s.Bytes(), err)
			}
			lines = append(lines, l)
		}
		return lines, code, stderr.String()
	}
}

func sumOf(t *testing.T, name string) string {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}
