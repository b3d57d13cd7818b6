//go:build bench

// Package transfer measures archive and recall beside their peers, on a real
// brick, FUSE mounts and an S3 server of its own, in one run: the contestants
// take turns, and medians are compared. `make bench` runs it; the variables of
// sizes say how to make it shorter.
package transfer

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/coldbrick/coldbrick/internal/testkit"
)

// Sizes of the workloads and number of rounds, each by a variable of the
// environment.
var (
	smallFiles  = number("BENCH_SMALL_FILES", 10_000) // of 4 KiB
	mediumFiles = number("BENCH_MEDIUM_FILES", 1_000) // of 1 MiB
	largeMiB    = number("BENCH_LARGE_MIB", 4096)     // of one file
	rounds      = number("BENCH_ROUNDS", 3)
)

func number(name string, otherwise int) int {
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		panic(name + " is no number above 0: " + text)
	}
	return n
}

// ground is what the contestants work on.
type ground struct {
	*testing.T
	volume *testkit.Volume
	mount  string // as a user would have it
	store  *testkit.S3Server
	state  string
	trees  int // made so far
}

// newGround starts a brick, mounts and a store. The store's objects are in
// memory: it stands for another host, whose disk takes nothing from ours.
func newGround(t *testing.T, options ...testkit.Option) *ground {
	g := &ground{T: t, state: t.TempDir()}
	g.volume = testkit.NewVolume(t, options...)
	g.mount = g.volume.NewMount(t, testkit.WithPerformance())
	t.Setenv("TMPDIR", "/dev/shm")
	g.store = testkit.S3(t)
	return g
}

// coldbrick is the program, built as for users.
func (g *ground) coldbrick() string {
	return filepath.Join(testkit.ModuleRoot(g.T), "bin/coldbrick")
}

// workload is a number of files of one size.
type workload struct {
	name  string
	files int
	size  int64
}

func (w workload) bytes() int64 { return int64(w.files) * w.size }

const perDirectory = 100

func (w workload) path(tree string, i int) string {
	d := i / perDirectory
	return fmt.Sprintf("%s/project%02d/run%02d/sample-%04d.dat", tree, d/10, d%10, i)
}

// makeTree makes a new tree of old files and returns its name.
func (g *ground) makeTree(w workload) string {
	g.Helper()
	g.trees++
	tree := fmt.Sprintf("tree%d", g.trees)
	makeFiles(g.T, w, func(i int) string { return g.volume.Path(w.path(tree, i)) })
	return tree
}

// makeFiles makes the old files of a workload.
func makeFiles(t *testing.T, w workload, path func(i int) string) {
	t.Helper()
	var group errgroup.Group
	group.SetLimit(8)
	for i := range w.files {
		path := path(i)
		if i%perDirectory == 0 {
			must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		}
		group.Go(func() error {
			if err := writeFile(path, w.size, int64(i)); err != nil {
				return err
			}
			return os.Chtimes(path, testkit.Old, testkit.Old)
		})
	}
	must(t, group.Wait())
	settle()
}

// writeFile writes bytes that no layer can make less of.
func writeFile(path string, size, seed int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	block := make([]byte, min(size, 1<<20))
	for at, state := int64(0), uint64(seed)*2654435761+1; at < size; at += int64(len(block)) {
		for i := 0; i+8 <= len(block); i += 8 { // xorshift: as fast as the disk
			state ^= state << 13
			state ^= state >> 7
			state ^= state << 17
			for b := range 8 {
				block[i+b] = byte(state >> (8 * b))
			}
		}
		if _, err := f.Write(block[:min(int64(len(block)), size-at)]); err != nil {
			return err
		}
	}
	return f.Close()
}

// removeTree removes a tree and its objects.
func (g *ground) removeTree(tree string) {
	g.Helper()
	for _, dir := range []string{g.volume.Path(tree), g.store.ObjectFile(tree)} {
		if out, err := exec.Command("rm", "-rf", dir).CombinedOutput(); err != nil {
			g.Fatalf("rm %s: %v: %s", dir, err, out)
		}
	}
	settle()
}

// mustAll fails unless every file of a tree is a stub on the brick.
func (g *ground) mustAllBeStubs(w workload, tree string) {
	g.Helper()
	for i := range w.files {
		path := w.path(tree, i)
		if size := g.volume.BrickSize(path); size != 0 {
			g.Fatalf("%s has %d bytes on the brick", path, size)
		}
		if key := g.volume.BrickMarks(path).RemoteKey; key != path {
			g.Fatalf("%s: cs.remote is %q", path, key)
		}
	}
}

// needs names programs that must be installed, or were built into .cache/bin.
func needs(t *testing.T, name string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	built, _ := filepath.Glob(filepath.Join(testkit.ModuleRoot(t), ".cache/bin", name+"-v*"))
	if len(built) == 0 {
		t.Fatalf("%s is neither installed nor in .cache/bin", name)
	}
	return built[len(built)-1]
}

// list writes the paths of a tree on a mount to a file, each ended by NUL.
func (g *ground) list(w workload, mount, tree string) string {
	g.Helper()
	var b strings.Builder
	for i := range w.files {
		b.WriteString(mount + "/" + w.path(tree, i) + "\x00")
	}
	file := filepath.Join(g.state, "list")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		g.Fatal(err)
	}
	return file
}
