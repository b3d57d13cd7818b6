package main_test

import (
	"bytes"
	"context"
	"os"
	"testing"

	"github.com/coldbrick/coldbrick/internal/catalog"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/rebuild"
	"github.com/coldbrick/coldbrick/internal/testkit"
	"github.com/coldbrick/coldbrick/internal/volume"
)

// A stub that was deleted and brought back on the living volume is read by whoever has
// the plugin, byte for byte, on a mount with all caches: one that is new, and one that
// has seen the file go.
func TestADeletedStubThatCameBackIsRead(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	seen := g.client(testkit.WithPerformance())
	want := map[string][]byte{"d/small": random(1, 1000), "d/in/large": random(2, 3<<20)}
	for path, data := range want {
		g.archive(path, path, data)
		if _, err := os.Stat(seen + "/" + path); err != nil {
			t.Fatal(err)
		}
	}
	place := catalog.Place{Store: g.store, Volume: g.ID, Secret: "a secret of the tests"}
	brick, err := volume.OpenBrick(g.BrickDir())
	if err != nil {
		t.Fatal(err)
	}
	defer brick.Close()
	if _, err := place.Take(t.Context(), catalog.Subject{
		Brick: g.BrickDir(), Ask: func(context.Context) (catalog.Cluster, error) { return catalog.Cluster{}, nil },
	}, catalog.Scan{Brick: brick, Dir: t.TempDir(), Workers: 2, Unreadable: func(p string, err error) { t.Error(p, err) }}); err != nil {
		t.Fatal(err)
	}
	all, err := place.Find(t.Context(), t.TempDir())
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	tree, err := all[0].FetchTree(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	if err := os.RemoveAll(g.Path("d")); err != nil {
		t.Fatal(err)
	}

	mount, err := volume.Inspect(g.MountDir())
	if err != nil {
		t.Fatal(err)
	}
	mount.RunDir = g.Dir() + "/private"
	private, err := mount.Private(t.Context(), volume.ForRebuild)
	if err != nil {
		t.Fatal(err)
	}
	defer private.Close()
	rebuilt := 0
	b := rebuild.Builder{Volume: private, Store: g.store, From: g.ID, Under: "d", Jobs: 2, Tell: func(r rebuild.Result) {
		if rebuilt++; r.Outcome != outcome.Rebuilt {
			t.Errorf("%+v", r)
		}
	}}
	if err := b.Undelete(t.Context(), []rebuild.Catalog{tree}); err != nil || rebuilt != len(want) {
		t.Fatalf("%d files came back, %v", rebuilt, err)
	}
	fresh := g.client(testkit.WithPerformance())
	for path, data := range want {
		for _, client := range []string{fresh, seen} {
			if got, err := g.read(client, path); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%s through %s: %d bytes, %v", path, client, len(got), err)
			}
		}
	}
}
