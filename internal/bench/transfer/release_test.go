//go:build bench

package transfer

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/coldbrick/coldbrick/internal/bench/measured"
)

// TestRelease holds an archive against a copy that is made ahead, and its release.
func TestRelease(t *testing.T) {
	g := newGround(t)
	for _, w := range []workload{
		{fmt.Sprintf("%d files of 4 KiB", smallFiles), smallFiles, 4 << 10},
		{fmt.Sprintf("%d files of 1 GiB", largeMiB>>10), largeMiB >> 10, 1 << 30},
	} {
		g.compete("release", "Release of "+w.name, w, []contestant{
			{"coldbrick archive", g.archive},
			{"coldbrick release, of what was copied before", func(_ workload, tree string) measured.Usage { return g.release(tree) }},
			{"coldbrick release, with its index lost", func(_ workload, tree string) measured.Usage {
				return g.release(tree, filepath.Join(g.state, "copied"))
			}},
		}, true)
	}
}

// release copies a tree, and measures what comes then. lost is removed in between.
func (g *ground) release(tree string, lost ...string) measured.Usage {
	before := serversCPU(g, g.volume.Dir(), g.store.Dir())
	keep := g.archiveCommand(tree)
	keep.command = append(keep.command, "--keep")
	keep.run(g.T)
	copying := serversCPU(g, g.volume.Dir(), g.store.Dir()) - before
	for _, path := range lost {
		if err := os.RemoveAll(path); err != nil {
			g.Fatal(err)
		}
	}
	release := g.archiveCommand(tree)
	release.command[1] = "release"
	u := release.run(g.T)
	u.Servers -= copying
	return u
}
