//go:build e2e

package e2e

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/testkit"
	"github.com/coldbrick/coldbrick/internal/testkit/cluster"
)

// plugin builds coldbrick's plugin.
func plugin(t *testing.T) (library string) {
	t.Helper()
	library = filepath.Join(t.TempDir(), gluster.StoreS3+".so")
	build := exec.Command("cmd/cloudsyncs3/build.sh", library)
	build.Dir = testkit.ModuleRoot(t)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return library
}

// guard installs the plugin on a node until the volume is gone.
func (v *volume) guard(n *cluster.Node, library string) {
	v.t.Helper()
	remove, err := n.InstallPlugin(library)
	must(v.t, err)
	v.t.Cleanup(func() {
		if _, err := n.Run("umount", "/mnt/"+v.Name); err != nil {
			v.t.Error(err)
		}
		testkit.Eventually(v.t, time.Minute, "the client has let go of the library", func() bool { return remove() == nil })
	})
}

// strict runs coldbrick on a node, for an administrator who knows nothing of his
// clients, and fails the test unless it exits with code.
func strict(t *testing.T, n *cluster.Node, code int, args ...string) result {
	t.Helper()
	r, err := finish(strictly(n, args...))
	must(t, err)
	if r.code != code {
		t.Fatalf("want exit %d: %s", code, r)
	}
	return r
}

// TestAClientWithoutTheGuardIsRefusedByName: the volume has the storetype and every
// client has the volume mounted with it. One of them has no library.
func TestAClientWithoutTheGuardIsRefusedByName(t *testing.T) {
	g := newGround(t)
	v := g.newVolume(t, "guarded", cluster.Replica3, 3, "features.cloudsync-storetype="+gluster.StoreS3)
	first, second := g.Nodes[0], g.Nodes[1]
	library := plugin(t)
	v.guard(first, library)
	mount := v.mount(first)
	cold(t, first, mount+"/a", []byte("archived in spite of all"))
	cold(t, first, mount+"/b", []byte("archived when all is well"))
	v.mount(second)

	r := strict(t, first, 13, "archive", "--volume", v.Name)
	if !r.names("unguarded-clients") || !r.names("10.66.0.2") || r.names("10.66.0.1") || r.names("10.66.0.3") {
		t.Errorf("want the client without the library named, and no other host: %s", r)
	}
	v.noneMarked()
	r = strict(t, first, 13, "doctor", "-v", "--volume", v.Name)
	for _, want := range []string{"10.66.0.1 is guarded: version 1 of the guard in glusterfs", "10.66.0.2 has no guard", "10.66.0.3 is a server without mounts"} {
		if !r.names(want) {
			t.Errorf("doctor does not say %q: %s", want, r)
		}
	}

	if r := strict(t, first, 0, "archive", "--volume", v.Name, "--include", "a", "--allow-unguarded-clients"); r.archived() != 1 {
		t.Errorf("not archived, though the administrator knows the client: %s", r)
	}

	v.guard(second, library)
	v.mount(second)
	if r := strict(t, first, 0, "doctor", "-v", "--volume", v.Name); !r.names("10.66.0.2 is guarded") {
		t.Errorf("doctor: %s", r)
	}
	// What a host had long ago says nothing: the client may have been mounted anew.
	name, now := gluster.XattrVouch+"10.66.0.2", time.Now()
	for _, at := range []time.Time{now.Add(-48 * time.Hour), now.Add(48 * time.Hour)} {
		old := fmt.Appendf(nil, "1 %d 1 10.3", at.Unix())
		must(t, unix.Setxattr(first.Path(mount), name, old, 0))
		if r := strict(t, first, 13, "archive", "--volume", v.Name); !r.names("10.66.0.2") {
			t.Errorf("the vouch was of %v: %s", at, r)
		}
	}
	v.mount(second)
	strict(t, first, 0, "archive", "--volume", v.Name)
	v.allArchived()
}

// TestServersArchiveTogether: no server has a mount of users, and the private mounts of
// one run are there when another one looks.
func TestServersArchiveTogether(t *testing.T) {
	g := newGround(t)
	v := g.newVolume(t, "servers", cluster.Distribute, 3)
	v.fill(20)
	_, err := g.Nodes[0].Run("umount", "/mnt/"+v.Name)
	must(t, err)
	ended := make(chan result)
	for _, n := range g.Nodes {
		go func() {
			r, err := finish(strictly(n, "archive", "--volume", v.Name))
			if err != nil {
				t.Error(err)
			}
			ended <- r
		}()
	}
	for range g.Nodes {
		if r := <-ended; r.code != 0 {
			t.Errorf("want exit 0: %s", r)
		}
	}
	v.allArchived()
}

// TestARunEndsWhenAnUnguardedClientComes: what was fit when the run began is looked at
// again.
func TestARunEndsWhenAnUnguardedClientComes(t *testing.T) {
	g := newGround(t)
	v := g.newVolume(t, "later", cluster.Distribute, 1)
	n := g.Nodes[0]
	dir := v.mount(n)
	const files = 300 // of 20 KiB: at 20 KiB/s five minutes
	for i := range files {
		cold(t, n, fmt.Sprintf("%s/f%d", dir, i), make([]byte, 20<<10))
	}
	_, err := n.Run("umount", dir)
	must(t, err)
	ended := make(chan result, 1)
	go func() {
		r, err := finish(strictly(n, "archive", "--volume", v.Name, "--bwlimit", "20KiB/s", "--jobs", "2"))
		if err != nil {
			t.Error(err)
		}
		ended <- r
	}()
	testkit.Eventually(t, time.Minute, "the first stub", func() bool { return v.stubs() > 0 || len(ended) > 0 })
	v.mount(g.Nodes[1])
	r := <-ended
	if r.code != 13 || !r.names("unguarded-clients") || !r.names("10.66.0.2") {
		t.Errorf("want exit 13 and the new client named: %s", r)
	}
	if done := r.archived(); done == 0 || done == files || done != v.stubs() {
		t.Errorf("%d files were archived, and %d are stubs", done, v.stubs())
	}
}
