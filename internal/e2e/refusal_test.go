//go:build e2e

package e2e

import (
	"maps"
	"strings"
	"testing"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/testkit"
	"github.com/coldbrick/coldbrick/internal/testkit/cluster"
)

// TestUnsafeVolumesAreRefusedByName: doctor and archive agree, say why, and change
// nothing.
func TestUnsafeVolumesAreRefusedByName(t *testing.T) {
	for _, tt := range []struct {
		check  string
		layout cluster.Layout
		bricks int
		option string
	}{
		{"disperse", cluster.Disperse, 3, ""},
		{"shard", cluster.Distribute, 1, "features.shard=on"},
		{"cloudsync", cluster.Distribute, 1, "features.cloudsync=off"},
		{"quick-read", cluster.Distribute, 1, "performance.quick-read=on"},
		{"ctime", cluster.Distribute, 1, "features.ctime=off"},
	} {
		t.Run(tt.check, func(t *testing.T) {
			g := newGround(t)
			var options []string
			if tt.option != "" {
				options = append(options, tt.option)
			}
			v := g.newVolume(t, "no-"+tt.check, tt.layout, tt.bricks, options...)
			n := v.Bricks[0].Node
			dir := n.Path(v.mount(n))
			testkit.Tree(t, dir, testkit.Files(100))
			before, _ := v.entries()

			for _, command := range []string{"doctor", "archive"} {
				r := run(t, n, 13, command, "--volume", v.Name)
				if !r.names(tt.check) {
					t.Errorf("want the check %q named: %s", tt.check, r)
				}
			}
			after, _ := v.entries()
			if len(before) != len(after) {
				t.Fatalf("the bricks had %d files and have %d", len(before), len(after))
			}
			for i := range before {
				b, a := before[i], after[i]
				if b.path != a.path || b.size != a.size || !maps.Equal(lasting(b.xattrs), lasting(a.xattrs)) {
					t.Errorf("the brick had %+v and has %+v", b, a)
				}
			}
			v.objects(0)
		})
	}
}

// lasting leaves out the counters that replicate and disperse change by
// themselves for a while after a write.
func lasting(xattrs map[string]string) map[string]string {
	kept := maps.Clone(xattrs)
	maps.DeleteFunc(kept, func(name, _ string) bool {
		return strings.HasPrefix(name, gluster.XattrAFR) || strings.HasPrefix(name, gluster.XattrEC)
	})
	return kept
}

// TestABrickIsArchivedOnlyThroughItsOwnVolume takes brick and mount from two
// volumes.
func TestABrickIsArchivedOnlyThroughItsOwnVolume(t *testing.T) {
	g := newGround(t)
	v := g.newVolume(t, "own", cluster.Distribute, 1)
	other := g.newVolume(t, "other", cluster.Distribute, 1)
	v.fill(100)
	other.fill(100) // the same paths
	n := v.Bricks[0].Node
	args := []string{"archive", v.Bricks[0].Dir, "--bucket", v.Name, "--endpoint-url", g.store.Endpoint, "--mount"}

	for _, mount := range []string{other.mount(n), "/tmp", "/srv"} {
		cmd := coldbrick(n, append(args, mount)...)
		cmd.Env = append(cmd.Env, g.store.Env()...)
		r, err := finish(cmd)
		must(t, err)
		if r.code != 13 {
			t.Errorf("want exit 13: %s", r)
		}
		v.noneMarked()
		other.noneMarked()
		v.objects(0)
	}
}

// TestDoctorFindsNothingWrongWithAGoodVolume, so that its exit code can guard a
// timer.
func TestDoctorFindsNothingWrongWithAGoodVolume(t *testing.T) {
	g := newGround(t)
	v := g.newVolume(t, "good", cluster.Replica3, 3)
	want := v.fill(100)
	for _, r := range g.everywhere(t, "doctor", "-v", "--volume", v.Name) {
		if r.code != 0 {
			t.Errorf("want exit 0: %s", r)
		}
		if len(r.records) < 10 {
			t.Errorf("want every check listed: %s", r)
		}
	}
	v.objects(0)
	v.noneMarked()
	v.same(want)
}

// TestDoctorTellsWhichClientsAreSafe: without the plugin a client needs both halves
// of the remedy, and doctor names the hosts that it cannot speak for.
func TestDoctorTellsWhichClientsAreSafe(t *testing.T) {
	g := newGround(t)
	v := g.newVolume(t, "clients", cluster.Replica3, 3, "performance.md-cache-timeout=600") // not a matter of speed
	n := g.Nodes[0]
	dir := v.mount(n)
	if r := run(t, n, 0, "doctor", "-v", "--volume", v.Name); !r.names("doctor --client") || !r.names(".0.1 has no guard") {
		t.Errorf("the hosts with mounts are not named: %s", r)
	}
	if r := run(t, n, 13, "doctor", "--client", dir); !r.names("attribute-timeout=0") || !r.names("stat-prefetch is on") {
		t.Errorf("a default mount: %s", r)
	}
	remount := func(options ...string) {
		t.Helper()
		_, err := n.Run("umount", dir)
		must(t, err)
		_, err = v.Mount(n, options...)
		must(t, err)
	}
	remount("attribute-timeout=0,entry-timeout=0")
	if r := run(t, n, 13, "doctor", "--client", dir); r.names("kernel keeps") || !r.names("after a chmod of a stub, stat reports 0 bytes") {
		t.Errorf("without the kernel's cache: %s", r)
	}
	must(t, v.Set("performance.stat-prefetch=off"))
	remount()
	if r := run(t, n, 13, "doctor", "--client", dir); !r.names("kernel keeps") || r.names("stat-prefetch is on") {
		t.Errorf("without md-cache: %s", r)
	}
	remount("attribute-timeout=0,entry-timeout=0")
	run(t, n, 0, "doctor", "--client", dir)
	if files, _ := v.entries(); len(files) > 0 {
		t.Errorf("left behind: %v", files)
	}
}
