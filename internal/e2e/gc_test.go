//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/testkit/cluster"
)

// A deleted file's object goes once two generations of catalogs have not seen it and
// every host has looked again; all others stay, and can be recalled. The years pass by
// the store's clock alone.
func TestOnlyGarbageIsCollected(t *testing.T) {
	g := newGround(t)
	for _, n := range g.Nodes {
		must(t, os.WriteFile(n.Path(secretFile), []byte("catalog-secret = \"kept where the volume is not\"\n"), 0o600))
	}
	v := g.newVolume(t, "years", cluster.Replica3, 3, g.store.Options("years")...)
	data := v.fill(30)
	mnt := g.Nodes[0].Path("/mnt/years")
	must(t, os.Mkdir(mnt+"/back", 0o755))
	must(t, os.WriteFile(mnt+"/back/file", []byte("of a file that comes back"), 0o640))
	must(t, os.WriteFile(mnt+"/deleted", []byte("of a file that goes"), 0o644))
	must(t, os.WriteFile(mnt+"/again", []byte("of a file that goes, but is linked"), 0o644))
	old := time.Now().Add(-1000 * time.Hour)
	for _, name := range []string{"/deleted", "/again", "/back/file"} {
		must(t, os.Chtimes(mnt+name, old, old))
	}
	config := []string{"--volume", "years", "--config", secretFile}
	everywhere := func(code int, args ...string) {
		t.Helper()
		for _, r := range g.everywhere(t, append(args, config...)...) {
			if r.code != code {
				t.Fatalf("want exit %d: %s", code, r)
			}
		}
	}
	n := g.Nodes[0]
	gc := func(code int, args ...string) result {
		t.Helper()
		return run(t, n, code, append(append([]string{"gc", "--max-delete", "100%"}, args...), config...)...)
	}
	keys := func() []string {
		t.Helper()
		all, err := g.store.Objects("years")
		must(t, err)
		return slices.DeleteFunc(all, func(key string) bool { return !object.IsData("", key) })
	}
	everywhere(0, "archive")
	before := keys()
	if !slices.Contains(before, "deleted") {
		t.Fatalf("%q", before)
	}
	gc(13) // there is no catalog
	must(t, os.Remove(mnt+"/deleted"))
	must(t, os.Link(mnt+"/again", mnt+"/hard"))
	must(t, os.Remove(mnt+"/again"))
	everywhere(0, "catalog")
	gc(13) // there is no second one
	must(t, os.RemoveAll(mnt+"/back"))
	run(t, n, 0, append([]string{"rebuild", "--volume", "years", "--under", "back"}, config...)...)
	must(t, g.store.Age("years", 32*24*time.Hour))
	everywhere(0, "catalog")

	dry := gc(0)
	if !dry.names(`"unreferenced":1,`) || !dry.names(`"key":"deleted"`) || !slices.Equal(keys(), before) {
		t.Errorf("%s", dry)
	}
	if r := gc(13, "--apply"); !r.names("have not answered") {
		t.Errorf("%s", r)
	}
	if !slices.Equal(keys(), before) {
		t.Error("deleted without the answers of others")
	}
	everywhere(0, "gc", "--answer")
	if r := gc(0, "--apply"); !r.names(`"deleted":1`) {
		t.Errorf("%s", r)
	}
	left := slices.DeleteFunc(slices.Clone(before), func(key string) bool { return key == "deleted" })
	if got := keys(); !slices.Equal(got, left) {
		t.Errorf("left: %q, want %q", got, left)
	}
	gc(0, "--apply") // nothing is left
	run(t, n, 0, "recall", "-r", "/mnt/years", "--config", secretFile)
	if b, err := os.ReadFile(mnt + "/back/file"); err != nil || string(b) != "of a file that comes back" {
		t.Errorf("what came back is %q, %v", b, err)
	}
	must(t, os.Remove(mnt+"/hard"))

	// What is to be erased has to be deleted first, and known to be.
	erase := []string{"--erase", "--apply", "back"}
	if r := gc(3, erase...); !r.names(`"reason":"not-deleted"`) || !slices.Contains(keys(), "back/file") {
		t.Errorf("%s", r)
	}
	must(t, os.RemoveAll(mnt+"/back"))
	everywhere(0, "catalog")
	if r := gc(13, erase...); !r.names("have not answered") || !slices.Contains(keys(), "back/file") {
		t.Errorf("%s", r)
	}
	everywhere(0, "gc", "--answer")
	if r := gc(0, erase...); !r.names(`"key":"back/file"`) || !r.names(`"path":"back/file"`) || slices.Contains(keys(), "back/file") {
		t.Errorf("%s", r)
	}
	protocols, err := filepath.Glob(n.Path("/var/lib/coldbrick/erasures/*.txt"))
	must(t, err)
	for _, name := range protocols {
		text, err := os.ReadFile(name)
		must(t, err)
		if !strings.Contains(string(text), "    back/file\n") || strings.Contains(string(text), "because") {
			t.Errorf("%s", text)
		}
	}
	if len(protocols) != 1 {
		t.Errorf("%q", protocols)
	}
	run(t, n, 2, append([]string{"rebuild", "--volume", "years", "--under", "back"}, config...)...) // nobody knows it
	v.same(data)
}
