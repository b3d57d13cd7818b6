//go:build e2e

package e2e

import (
	"fmt"
	"maps"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coldbrick/coldbrick/internal/testkit"
	"github.com/coldbrick/coldbrick/internal/testkit/cluster"
)

// TestEveryHostArchivesItsShare runs one command on all hosts at once, as a timer
// does, and then does to the volume what administrators do while it holds stubs.
func TestEveryHostArchivesItsShare(t *testing.T) {
	for _, tt := range []struct {
		name   string
		layout cluster.Layout
		bricks int
		linkto bool // renamed files leave DHT pointers
		change func(v *volume) error
	}{
		{"distribute", cluster.Distribute, 3, true, func(v *volume) error {
			if err := v.AddBricks(v.g.NewBrick(v.Volume)); err != nil {
				return err
			}
			return v.Rebalance()
		}},
		{"replica3", cluster.Replica3, 3, false, func(v *volume) error {
			if err := v.ReplaceBrick(0, v.g.NewBrick(v.Volume)); err != nil {
				return err
			}
			return v.Heal("full")
		}},
		{"arbiter", cluster.Arbiter, 3, false, func(v *volume) error { return v.Heal("full") }},
		{"2x3", cluster.Replica3, 6, true, func(v *volume) error {
			if err := v.AddBricks(v.g.NewBricks(v.Volume, 3)...); err != nil {
				return err
			}
			if err := v.Rebalance(); err != nil {
				return err
			}
			return v.Heal() // a rebalance may leave directories of new bricks to heal, and fsck refuses such a set
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := newGround(t)
			v := g.newVolume(t, tt.name, tt.layout, tt.bricks)
			want := v.fill(200)
			if tt.linkto {
				dir := g.Nodes[0].Path("/mnt/" + v.Name)
				renamed := 0
				for path := range maps.Clone(want) {
					if strings.HasPrefix(path, "many/") && renamed < 20 {
						renamed++
						to := fmt.Sprintf("renamed-%d", renamed)
						must(t, os.Rename(dir+"/"+path, dir+"/"+to))
						want[to] = want[path]
						delete(want, path)
					}
				}
				if _, linktos := v.entries(); len(linktos) == 0 {
					t.Fatal("no linkto file on any brick: this test would show less than it says")
				}
			}

			archived := 0
			for _, r := range g.everywhere(t, "archive", "--volume", v.Name) {
				if r.code != 0 {
					t.Errorf("want exit 0: %s", r)
				}
				archived += r.archived()
			}
			if archived != len(want) {
				t.Errorf("%d files were archived, want each of %d once", archived, len(want))
			}
			v.objects(len(want))
			v.allArchived()

			for _, r := range g.everywhere(t, "archive", "--volume", v.Name) {
				if r.code != 0 || r.archived() != 0 {
					t.Errorf("want nothing left to do: %s", r)
				}
			}
			v.objects(len(want))

			must(t, tt.change(v))
			v.allArchived()
			run(t, g.Nodes[0], 0, "fsck", "--volume", v.Name)

			if r := run(t, g.Nodes[1], 0, "recall", "-r", v.mount(g.Nodes[1])); r.files("recalled") != len(want) {
				t.Errorf("%d files were recalled, want %d: %+v", r.files("recalled"), len(want), r.records[len(r.records)-1])
			}
			v.noneMarked()
			v.same(want)
		})
	}
}

// TestOverlappingRunsLoseNothing runs archive twice on one brick, with locks that
// do not know of each other.
func TestOverlappingRunsLoseNothing(t *testing.T) {
	g := newGround(t)
	v := g.newVolume(t, "overlap", cluster.Distribute, 1)
	want := v.fill(300)
	n := v.Bricks[0].Node

	second := start(t, n, "archive", "--volume", v.Name, "--state-dir", "/var/lib/coldbrick-2")
	run(t, n, 0, "archive", "--volume", v.Name)
	if r := <-second; r.code != 0 {
		t.Errorf("want exit 0: %s", r)
	}
	v.allArchived()
	run(t, n, 0, "fsck", "--volume", v.Name)
	run(t, n, 0, "recall", "-r", v.mount(n))
	v.same(want)
	v.noneMarked()
}

// TestNoPrivateMountOutlivesTheNextRun kills a run in the middle.
func TestNoPrivateMountOutlivesTheNextRun(t *testing.T) {
	g := newGround(t)
	v := g.newVolume(t, "killed", cluster.Distribute, 1)
	want := v.fill(300)
	n := v.Bricks[0].Node
	dir := v.mount(n)
	mounts := func() string {
		out, err := n.Run("findmnt", "-rn", "-t", "fuse.glusterfs", "-o", "TARGET")
		must(t, err)
		return out
	}

	before := mounts() // also those that this host had when the node was made
	cmd := coldbrick(n, "archive", "--volume", v.Name, "--jobs", "1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // nsenter and coldbrick
	must(t, cmd.Start())
	testkit.Eventually(t, time.Minute, "some files are stubs", func() bool { return v.stubs() > 5 })
	must(t, syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL))
	if err := cmd.Wait(); err == nil {
		t.Fatal("the run was over before it could be killed")
	}

	run(t, n, 0, "archive", "--volume", v.Name)
	if after := mounts(); after != before {
		t.Errorf("mounted after the next run: %q, before the first %q", after, before)
	}
	v.allArchived()
	run(t, n, 0, "recall", "-r", dir)
	v.same(want)
}

// TestRecalledFilesStayForTheirGrace keeps what was just recalled from going at
// once.
func TestRecalledFilesStayForTheirGrace(t *testing.T) {
	g := newGround(t)
	v := g.newVolume(t, "grace", cluster.Replica3, 3)
	want := v.fill(100)
	n := g.Nodes[0]
	run(t, n, 0, "archive", "--volume", v.Name)
	run(t, n, 0, "recall", "-r", v.mount(n))
	if r := run(t, n, 0, "archive", "--volume", v.Name); r.archived() != 0 {
		t.Errorf("want every file left alone: %s", r)
	}
	v.noneMarked()
	run(t, n, 0, "archive", "--volume", v.Name, "--recall-grace", "0")
	v.allArchived()
	run(t, n, 0, "recall", "-r", v.mount(n))
	v.same(want)
}
