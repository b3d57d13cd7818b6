//go:build bench

package transfer

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/coldbrick/coldbrick/internal/bench/measured"
	"github.com/coldbrick/coldbrick/internal/testkit"
)

// contestant is one way to do the work of a table.
type contestant struct {
	name string
	run  func(w workload, tree string) measured.Usage
}

func TestArchive(t *testing.T) {
	g := newGround(t)
	for _, w := range []workload{
		{fmt.Sprintf("%d files of 4 KiB", smallFiles), smallFiles, 4 << 10},
		{fmt.Sprintf("%d files of 1 MiB", mediumFiles), mediumFiles, 1 << 20},
		{fmt.Sprintf("one file of %d MiB", largeMiB), 1, int64(largeMiB) << 20},
	} {
		all := []contestant{
			{"coldbrick archive", g.archive},
			{"rclone copy, then setfattr", g.rclone},
		}
		if w.size < 1<<20 {
			all = append(all,
				contestant{"mount operations alone, 16 workers", func(w workload, tree string) measured.Usage { return g.floor(w, tree, 16) }},
				contestant{"mount operations alone, 1 worker", func(w workload, tree string) measured.Usage { return g.floor(w, tree, 1) }})
		}
		g.compete("archive", "Archive of "+w.name, w, all, true)
	}
}

// compete lets the contestants take turns, each on a tree of its own.
func (g *ground) compete(id, title string, w workload, all []contestant, stubs bool) {
	g.Helper()
	tab := &measured.Table{ID: id, Title: title, Files: w.files, Bytes: w.bytes()}
	for range rounds {
		for _, c := range all {
			tree := g.makeTree(w)
			before := serversCPU(g, g.volume.Dir(), g.store.Dir())
			u := c.run(w, tree)
			u.Servers += serversCPU(g, g.volume.Dir(), g.store.Dir()) - before
			if stubs {
				g.mustAllBeStubs(w, tree)
			}
			g.removeTree(tree)
			tab.Add(c.name, u)
			g.Logf("%s: %s: %v, CPU %v, servers %v, %d MiB", title, c.name, u.Wall, u.CPU, u.Servers, u.RSS>>20)
		}
	}
	save(g.T, tab)
}

func (g *ground) archive(_ workload, tree string) measured.Usage {
	return g.archiveCommand(tree).run(g.T)
}

func (g *ground) archiveCommand(tree string) tool { return g.archiveTo(tree, g.store.Endpoint) }

func (g *ground) archiveTo(tree, endpoint string) tool {
	return tool{
		command: []string{g.coldbrick(), "archive", g.volume.BrickDir(), "--mount", g.mount, "--under", tree,
			"--bucket", g.store.Bucket, "--endpoint-url", endpoint, "--state-dir", g.state, "--recall-grace", "0", "--quiet"},
		env: g.store.Env(),
	}
}

// rclone is what one would do without coldbrick, as fast as it goes: a copy
// tuned by PERF-FACTS of the project, then the stamps, many at once. It proves
// nothing, and stamps whatever is there by then.
func (g *ground) rclone(w workload, tree string) measured.Usage {
	transfers := "16"
	if w.size < 1<<20 {
		transfers = "64"
	}
	copied := g.rcloneTo(g.store.Endpoint, g.store.Env(), "copy", filepath.Join(g.mount, tree), "store:"+g.store.Bucket+"/"+tree, transfers)
	stamped := tool{
		command: []string{"xargs", "-0", "-a", g.list(w, g.mount, tree), "-P", "16", "-n", "100",
			"setfattr", "-n", "trusted.glusterfs.csou.complete", "-v", strconv.FormatInt(testkit.Old.Unix(), 10)},
		ownChildren: true,
	}.run(g.T)
	return together(copied, stamped)
}

func (g *ground) rcloneTo(endpoint string, credentials []string, verb, from, to, transfers string) measured.Usage {
	return tool{
		command: []string{needs(g.T, "rclone"), verb, from, to,
			"--transfers", transfers, "--checkers", transfers, "--s3-no-head", "--s3-no-check-bucket", "--no-traverse", "--no-check-dest",
			"--s3-chunk-size", "16M", "--s3-upload-concurrency", "8"},
		env: append(slices.Clone(credentials), "RCLONE_CONFIG=/dev/null", "RCLONE_CONFIG_STORE_TYPE=s3", "RCLONE_CONFIG_STORE_PROVIDER=Other",
			"RCLONE_CONFIG_STORE_ENV_AUTH=true", "RCLONE_CONFIG_STORE_ENDPOINT="+endpoint, "RCLONE_CONFIG_STORE_REGION="+g.store.Region),
		ownChildren: true,
	}.run(g.T)
}

// floor does the mount operations of coldbrick's transaction and nothing else:
// no store, no brick, no run record. It is another process, as coldbrick is.
func (g *ground) floor(w workload, tree string, workers int) measured.Usage {
	mount := g.volume.NewMount(g.T)
	return tool{
		command: []string{"/proc/self/exe"},
		env: []string{roleVariable + "=floor", "FLOOR_WORKERS=" + strconv.Itoa(workers),
			"FLOOR_MOUNT=" + mount, "FLOOR_LIST=" + g.list(w, "", tree)},
	}.run(g.T)
}

const roleVariable = "COLDBRICK_BENCH_ROLE"

func TestMain(m *testing.M) {
	var err error
	switch role := os.Getenv(roleVariable); role {
	case "":
		os.Exit(m.Run())
	case "floor":
		err = runFloor()
	case "delay":
		err = runDelay()
	case "sink":
		err = runSink()
	case "uploader":
		err = runUploader()
	default:
		err = fmt.Errorf("no role %q", role)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
