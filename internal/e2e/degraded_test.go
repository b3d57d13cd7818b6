//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/testkit"
	"github.com/coldbrick/coldbrick/internal/testkit/cluster"
)

// TestNothingIsStampedWhileABrickIsDown: what is stamped then, the next heal turns
// into files that nobody can read (GLUSTER-FACTS 6.2).
func TestNothingIsStampedWhileABrickIsDown(t *testing.T) {
	for _, tt := range []struct {
		name   string
		layout cluster.Layout
	}{
		{"down-replica3", cluster.Replica3},
		{"down-arbiter", cluster.Arbiter},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := newGround(t)
			v := g.newVolume(t, tt.name, tt.layout, 3)
			want := v.fill(100)
			must(t, v.KillBrick(1))
			for _, r := range g.everywhere(t, "archive", "--volume", v.Name) {
				if r.code != 13 || !r.names(v.Bricks[1].Dir) {
					t.Errorf("want exit 13 and the brick named: %s", r)
				}
			}
			v.noneMarked()

			must(t, v.StartBricks())
			must(t, v.Heal())
			for _, r := range g.everywhere(t, "archive", "--volume", v.Name) {
				if r.code != 0 {
					t.Errorf("want exit 0: %s", r)
				}
			}
			v.allArchived()
			run(t, g.Nodes[0], 0, "recall", "-r", v.mount(g.Nodes[0]))
			v.same(want)
		})
	}
}

// TestABrickMayDieInTheMiddle kills one under a run. What was stamped in that
// moment is known and fixed by the next run.
func TestABrickMayDieInTheMiddle(t *testing.T) {
	g := newGround(t)
	v := g.newVolume(t, "middle", cluster.Replica3, 3)
	want := v.fill(400)
	n := v.Bricks[0].Node

	ended := start(t, n, "archive", "--volume", v.Name, "--jobs", "2")
	testkit.Eventually(t, time.Minute, "some files are stubs", func() bool { return v.stubs() > 20 })
	must(t, v.KillBrick(2))
	if r := <-ended; r.code != 13 || r.archived() >= len(want) {
		t.Errorf("want exit 13 before the end: %s", r)
	}

	must(t, v.StartBricks())
	must(t, v.Heal())
	v.archivedAnew()
	run(t, n, 0, "fsck", "--volume", v.Name)
	run(t, n, 0, "recall", "-r", v.mount(n))
	v.same(want)
	v.noneMarked()
}

// TestAHostMayBeCutOffInTheMiddle: nobody tells the client, so the stamps of that
// moment wait for its ping-timeout and then succeed without that host.
func TestAHostMayBeCutOffInTheMiddle(t *testing.T) {
	g := newGround(t)
	v := g.newVolume(t, "cut-off", cluster.Replica3, 3, "network.ping-timeout=10")
	want := v.fill(400)
	n := v.Bricks[0].Node

	ended := start(t, n, "archive", "--volume", v.Name, "--jobs", "2")
	testkit.Eventually(t, time.Minute, "some files are stubs", func() bool { return v.stubs() > 20 })
	must(t, g.Nodes[2].Disconnect())
	t.Cleanup(func() { must(t, g.Nodes[2].Connect()) })
	if r := <-ended; r.code != 13 || r.archived() >= len(want) {
		t.Errorf("want exit 13 before the end: %s", r)
	}

	must(t, g.Nodes[2].Connect())
	must(t, g.WaitPool())
	must(t, v.Heal())
	v.archivedAnew()
	run(t, n, 0, "fsck", "--volume", v.Name)
	run(t, n, 0, "recall", "-r", v.mount(n))
	v.same(want)
	v.noneMarked()
}

// archivedAnew fails the test unless the run after one that a brick has ended mends what
// that has left, and archives all.
func (v *volume) archivedAnew() {
	v.t.Helper()
	for _, r := range v.g.everywhere(v.t, "archive", "--volume", v.Name) {
		if r.code != 0 {
			v.t.Errorf("want exit 0: %s", r)
		}
		for _, rec := range r.records {
			if rec.Type == "finding" {
				v.t.Errorf("not mended: %s", r)
			}
		}
	}
	v.allArchived()
}

// TestFsckMendsWhatAHealPutBack makes the state of GLUSTER-FACTS 6.2, as an
// archiver without these checks would.
func TestFsckMendsWhatAHealPutBack(t *testing.T) {
	g := newGround(t)
	v := g.newVolume(t, "healed", cluster.Replica3, 3)
	want := v.fill(170)
	n := g.Nodes[0]
	run(t, n, 0, "archive", "--volume", v.Name)
	run(t, n, 0, "recall", "-r", v.mount(n)) // the objects stay

	must(t, v.KillBrick(1))
	v.mount(n)
	for path := range want {
		if strings.HasPrefix(path, "many/") { // whose keys are their paths
			v.stampByHand(n, path)
		}
	}
	must(t, v.StartBricks())
	must(t, v.Heal())
	files, _ := v.entries()
	broken := map[string]bool{}
	for _, e := range files {
		if e.stub() && e.size > 0 {
			broken[e.path] = true
		}
	}
	if len(broken) == 0 {
		t.Fatal("no file has bytes beneath its stub: this test would show nothing")
	}

	found := map[string]bool{}
	for _, rec := range run(t, n, 14, "fsck", "--volume", v.Name).records {
		if rec.Type == "finding" {
			found[rec.Path] = true
		}
	}
	for path := range broken {
		if !found[path] {
			t.Errorf("fsck does not find %q", path)
		}
	}
	repair, err := finish(coldbrick(n, "fsck", "--volume", v.Name, "--repair"))
	must(t, err)
	t.Logf("%d findings, then exit %d", len(found), repair.code)
	run(t, n, 0, "fsck", "--volume", v.Name)
	v.same(want) // readable again, without a recall
	v.noneMarked()
}

// TestARebalanceIsLeftInPeace starts one before, and another one during a run.
func TestARebalanceIsLeftInPeace(t *testing.T) {
	g := newGround(t)
	v := g.newVolume(t, "rebalance", cluster.Distribute, 2, "cluster.rebal-throttle=lazy")
	want := v.fill(300)
	n := v.Bricks[0].Node
	// Warm files, which no run touches, keep the rebalance busy in the meantime.
	_, err := n.Run("bash", "-euc", "mkdir /mnt/rebalance/warm; cd /mnt/rebalance/warm; for i in {1..2000}; do echo $i >$i; done")
	must(t, err)

	// A change of the volume takes seconds: the run must still be at it then.
	ended := start(t, n, "archive", "--volume", v.Name, "--jobs", "1", "--max-size", "16KiB", "--bwlimit", "20KB/s")
	testkit.Eventually(t, 2*time.Minute, "some files are stubs", func() bool { return v.stubs() > 3 })
	must(t, v.AddBricks(g.NewBrick(v.Volume)))
	_, err = v.Gluster("rebalance", "start", "force")
	must(t, err)
	for _, r := range g.everywhere(t, "archive", "--volume", v.Name, "--state-dir", "/var/lib/coldbrick-2") {
		if r.code != 13 || !r.names("rebalance") {
			t.Errorf("want exit 13 and the rebalance named: %s", r)
		}
	}
	if r := <-ended; r.code != 13 {
		t.Errorf("want exit 13: %s", r)
	}
	must(t, v.WaitRebalanced())
	_, err = n.Run("rm", "-r", "/mnt/rebalance/warm")
	must(t, err)

	for _, r := range g.everywhere(t, "archive", "--volume", v.Name) {
		if r.code != 0 {
			t.Errorf("want exit 0: %s", r)
		}
	}
	v.allArchived()
	run(t, n, 0, "recall", "-r", v.mount(n))
	v.same(want)
	v.noneMarked()
}

// TestARecallKeepsOutOfARebalance starts one before, and another one during a
// recall.
func TestARecallKeepsOutOfARebalance(t *testing.T) {
	g := newGround(t)
	v := g.newVolume(t, "recall-moving", cluster.Distribute, 2, "cluster.rebal-throttle=lazy")
	n := v.Bricks[0].Node
	dir := v.mount(n)
	// Files to keep a rebalance busy.
	_, err := n.Run("bash", "-euc", "cd "+dir+"; for i in {1..1000}; do echo $i >$i; done")
	must(t, err)
	rebalance := func() {
		must(t, v.AddBricks(g.NewBrick(v.Volume)))
		_, err := v.Gluster("rebalance", "start", "force")
		must(t, err)
	}

	run(t, n, 0, "recall", "-r", dir)
	rebalance()
	for _, args := range [][]string{{"recall", "-r", dir}, {"recall", dir + "/1"}, {"fsck", "--repair", "--volume", v.Name}} {
		if r := run(t, n, 13, args...); !r.names("rebalance") {
			t.Errorf("want the rebalance named: %s", r)
		}
	}
	run(t, n, 0, "status", dir+"/1")
	must(t, v.WaitRebalanced())
	run(t, n, 0, "recall", "-r", dir)

	list := n.Command("coldbrick", "recall", "--files-from", "-", "--json", "--progress=never")
	paths, err := list.StdinPipe()
	must(t, err)
	ended := make(chan result, 1)
	go func() {
		r, err := finish(list)
		if err != nil {
			t.Error(err)
		}
		ended <- r
	}()
	_, err = fmt.Fprintln(paths, dir+"/1")
	must(t, err)
	testkit.Eventually(t, time.Minute, "the recall has its private mount", func() bool {
		out, err := n.Run("findmnt", "-rn", "-o", "TARGET")
		must(t, err)
		return strings.Contains(out, "/run/coldbrick/")
	})
	rebalance()
	must(t, v.WaitRebalanced())
	time.Sleep(35 * time.Second) // it has asked by then
	_, err = fmt.Fprintln(paths, dir+"/2")
	must(t, errors.Join(err, paths.Close()))
	if r := <-ended; r.code != 13 || !r.names("rebalance") && !r.names("options or bricks changed") { // whichever it saw first
		t.Errorf("want exit 13 and the rebalance, or the new brick, named: %s", r)
	}
}

// stampByHand stamps a file as no run of coldbrick would: without looking at the
// bricks. The object under its path must have its bytes.
func (v *volume) stampByHand(n *cluster.Node, path string) {
	v.t.Helper()
	name := n.Path("/mnt/"+v.Name) + "/" + path
	info, err := os.Stat(name)
	must(v.t, err)
	testkit.SetXattr(v.t, name, gluster.XattrStamp, fmt.Sprint(info.ModTime().Unix()))
}
