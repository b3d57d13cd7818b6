//go:build e2e

// Package e2e runs coldbrick as its users do, on real Gluster volumes of three
// hosts. Everything goes through the command line, and what is asserted is what
// bricks, mounts and buckets hold afterwards.
package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/testkit"
	"github.com/coldbrick/coldbrick/internal/testkit/cluster"
)

// ground is what all tests share: a pool of three nodes takes seconds to make, so
// each test makes volumes and a bucket of its own instead.
type ground struct {
	*cluster.Cluster
	store *cluster.Store
}

var shared struct {
	sync.Mutex
	*ground
}

func TestMain(m *testing.M) {
	code := m.Run()
	if shared.ground != nil {
		if err := shared.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// newGround returns the cluster, with coldbrick installed on every node.
func newGround(t *testing.T) *ground {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.ground != nil {
		return shared.ground
	}
	program := filepath.Join(t.TempDir(), "coldbrick")
	build := exec.Command("go", "build", "-o", program, "./cmd/coldbrick")
	build.Dir = testkit.ModuleRoot(t)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	versitygw := testkit.Versitygw(t)

	c, err := cluster.Start(3)
	if err != nil {
		t.Fatal(err)
	}
	g := &ground{Cluster: c}
	for _, n := range c.Nodes {
		err = errors.Join(err, n.Install(program))
	}
	if err == nil {
		g.store, err = c.StartStore(versitygw)
	}
	if err != nil {
		t.Fatal(errors.Join(err, c.Close()))
	}
	shared.ground = g
	return g
}

// volume is a volume with a bucket of the same name.
type volume struct {
	*cluster.Volume
	t *testing.T
	g *ground
}

// archivable are the options without which coldbrick refuses a volume.
var archivable = []string{"features.cloudsync=on", "performance.quick-read=off"}

// newVolume makes an archivable volume for the time of the test. More options
// change it before it is started.
func (g *ground) newVolume(t *testing.T, name string, layout cluster.Layout, bricks int, options ...string) *volume {
	t.Helper()
	must(t, g.store.MakeBucket(name))
	v, err := g.CreateVolume(name, layout, bricks, slices.Concat(archivable, g.store.Options(name), options)...)
	must(t, err)
	t.Cleanup(func() {
		for _, n := range g.Nodes {
			_, err := n.Run("bash", "-euc", `findmnt -rno TARGET,SOURCE | while read -r dir from; do if [[ $from == *:/`+name+` ]]; then umount "$dir"; fi; done`)
			if err != nil {
				t.Error(err)
			}
		}
		if err := v.Delete(); err != nil {
			t.Error(err)
		}
	})
	return &volume{v, t, g}
}

// mount mounts the volume anew on a node: no page of an earlier mount answers.
func (v *volume) mount(n *cluster.Node) (dir string) {
	v.t.Helper()
	dir = "/mnt/" + v.Name
	if _, err := n.Run("mountpoint", "-q", dir); err == nil {
		_, err := n.Run("umount", dir)
		must(v.t, err)
	}
	_, err := v.Mount(n)
	must(v.t, err)
	return dir
}

// fill puts a tree of cold files on the volume and returns what it holds.
func (v *volume) fill(files int, options ...testkit.TreeOption) map[string]testkit.File {
	v.t.Helper()
	dir := v.g.Nodes[0].Path(v.mount(v.g.Nodes[0]))
	testkit.Tree(v.t, dir, append(options, testkit.Files(files))...)
	return testkit.Snapshot(v.t, dir)
}

// same fails the test unless the volume, through a fresh mount, holds exactly want.
func (v *volume) same(want map[string]testkit.File) {
	v.t.Helper()
	n := v.g.Nodes[1]
	testkit.SameFiles(v.t, want, testkit.Snapshot(v.t, n.Path(v.mount(n))))
}

// entry is a regular file on a brick.
type entry struct {
	brick  int
	path   string
	size   int64
	xattrs map[string]string
}

func (e entry) stub() bool { _, ok := e.xattrs[gluster.XattrRemote]; return ok }

// marked lists the attributes that only stubs, and files on their way from or to
// that state, have.
func (e entry) marked() (names []string) {
	for _, name := range []string{
		gluster.XattrRemote, gluster.XattrDownload, gluster.XattrObjectSize, gluster.XattrBlockSize, gluster.XattrNumBlocks,
		gluster.XattrRecall,
	} {
		if _, ok := e.xattrs[name]; ok {
			names = append(names, name)
		}
	}
	return names
}

// entries lists the users' files on the bricks: each copy once, DHT's pointers
// apart.
func (v *volume) entries() (files, linktos []entry) {
	v.t.Helper()
	for i, b := range v.Bricks {
		root := b.Path()
		err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			path := strings.TrimPrefix(strings.TrimPrefix(name, root), "/")
			if d.IsDir() && gluster.IsInternal(path) {
				return fs.SkipDir
			}
			if !d.Type().IsRegular() {
				return nil
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			e := entry{i, path, info.Size(), testkit.Xattrs(v.t, name)}
			if _, ok := e.xattrs[gluster.XattrLinkto]; ok {
				linktos = append(linktos, e)
			} else {
				files = append(files, e)
			}
			return nil
		})
		must(v.t, err)
	}
	return files, linktos
}

// allArchived fails the test unless every file is a clean stub on every brick, and
// nothing but files is.
func (v *volume) allArchived() {
	v.t.Helper()
	files, linktos := v.entries()
	if len(files) == 0 {
		v.t.Error("no file on any brick")
	}
	for _, e := range files {
		if !e.stub() || e.size != 0 {
			v.t.Errorf("%s: %q has %d bytes and the marks %q", v.Bricks[e.brick], e.path, e.size, e.marked())
		}
	}
	for _, e := range linktos {
		if len(e.marked()) > 0 {
			v.t.Errorf("%s: the linkto file %q has the marks %q", v.Bricks[e.brick], e.path, e.marked())
		}
	}
}

// noneMarked fails the test if any file is, or was left as, anything but local.
func (v *volume) noneMarked() {
	v.t.Helper()
	files, linktos := v.entries()
	for _, e := range append(files, linktos...) {
		if len(e.marked()) > 0 {
			v.t.Errorf("%s: %q has the marks %q", v.Bricks[e.brick], e.path, e.marked())
		}
	}
}

// stubs counts the copies that are stubs.
func (v *volume) stubs() (n int) {
	v.t.Helper()
	files, _ := v.entries()
	for _, e := range files {
		if e.stub() {
			n++
		}
	}
	return n
}

// objects fails the test unless the bucket has that many of files.
func (v *volume) objects(want int) {
	v.t.Helper()
	keys, err := v.g.store.Objects(v.Name)
	must(v.t, err)
	keys = slices.DeleteFunc(keys, func(key string) bool {
		return strings.HasPrefix(key, object.VolumeKey("", "")) || key == object.ReservedPrefix+"taken"
	})
	if len(keys) != want {
		v.t.Errorf("the bucket has %d objects of files, want %d", len(keys), want)
	}
}

// record is a line of coldbrick's JSON, as far as tests look at it.
type record struct {
	Type    string           `json:"type"`
	Path    string           `json:"path"`
	Outcome string           `json:"outcome"`
	Files   map[string]int64 `json:"files"` // of a summary, by outcome
	Skipped map[string]int64 `json:"skipped"`
}

// result is what a run of coldbrick did.
type result struct {
	command        string
	code           int
	stdout, stderr string
	records        []record
}

// String leaves out what went well.
func (r result) String() string {
	text := fmt.Sprintf("%s: exit %d\n%s", r.command, r.code, r.stderr)
	for i, line := range slices.Collect(strings.Lines(r.stdout)) {
		if i >= len(r.records) || !slices.Contains([]string{"archived", "recalled", "skipped"}, r.records[i].Outcome) {
			text += line
		}
	}
	return text
}

// archived counts the files that the run made stubs of.
func (r result) archived() int { return r.files("archived") }

// files counts those that the run ended with so.
func (r result) files(outcome string) (n int) {
	for _, line := range r.records {
		if line.Type == "summary" {
			n += int(line.Files[outcome])
		}
	}
	return n
}

// skipped counts the files that the run left alone for a reason.
func (r result) skipped(reason string) (n int) {
	for _, line := range r.records {
		if line.Type == "summary" {
			n += int(line.Skipped[reason])
		}
	}
	return n
}

// names reports whether the run told word to people or to programs.
func (r result) names(word string) bool {
	return strings.Contains(r.stderr, word) || strings.Contains(r.stdout, word)
}

// coldbrick prepares a run on a node, without any settings but those of the command
// line and of the volume, and one: most mounts here have no plugin, as most of the tests
// are about what does not depend on it.
func coldbrick(n *cluster.Node, args ...string) *exec.Cmd {
	cmd := strictly(n, args...)
	cmd.Env = append(cmd.Env, "COLDBRICK_ALLOW_UNGUARDED_CLIENTS=true")
	return cmd
}

// strictly is coldbrick for an administrator who knows nothing of his clients.
func strictly(n *cluster.Node, args ...string) *exec.Cmd {
	return n.Command("coldbrick", append(args, "--json", "--progress=never")...)
}

// finish runs a prepared run to its end.
func finish(cmd *exec.Cmd) (result, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exited *exec.ExitError
	if err != nil && !errors.As(err, &exited) {
		return result{}, err
	}
	r := result{strings.Join(cmd.Args, " "), cmd.ProcessState.ExitCode(), stdout.String(), stderr.String(), nil}
	for line := range strings.Lines(r.stdout) {
		var rec record
		if err := json.Unmarshal([]byte(line), &rec); err != nil {
			return r, fmt.Errorf("not JSON: %q: %w of %s", line, err, r)
		}
		r.records = append(r.records, rec)
	}
	return r, nil
}

// run runs coldbrick on a node and fails the test unless it exits with code.
func run(t *testing.T, n *cluster.Node, code int, args ...string) result {
	t.Helper()
	r, err := finish(coldbrick(n, args...))
	must(t, err)
	if r.code != code {
		t.Fatalf("want exit %d: %s", code, r)
	}
	return r
}

// start runs coldbrick on a node in the background.
func start(t *testing.T, n *cluster.Node, args ...string) <-chan result {
	t.Helper()
	ended := make(chan result, 1)
	go func() {
		r, err := finish(coldbrick(n, args...))
		if err != nil {
			t.Error(err)
		}
		ended <- r
	}()
	return ended
}

// everywhere runs the same command on every node at once.
func (g *ground) everywhere(t *testing.T, args ...string) []result {
	t.Helper()
	results := make([]result, len(g.Nodes))
	errs := make([]error, len(g.Nodes))
	var running sync.WaitGroup
	for i, n := range g.Nodes {
		running.Go(func() { results[i], errs[i] = finish(coldbrick(n, args...)) })
	}
	running.Wait()
	must(t, errors.Join(errs...))
	return results
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
