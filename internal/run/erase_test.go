package run

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coldbrick/coldbrick/internal/catalog"
	"github.com/coldbrick/coldbrick/internal/gc"
	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/owner"
	"github.com/coldbrick/coldbrick/internal/report"
	"github.com/coldbrick/coldbrick/internal/testkit/memory"
	"github.com/coldbrick/coldbrick/internal/volume"
)

// openErasure is a run of a volume whose erasure of a file is open, with the answer of
// its brick.
func openErasure(t *testing.T, of gc.Target) (*collection, *listener) {
	const id, brick, secret = "11111111-2222-4333-8444-555555555555", "far:/brick", "a secret of the tests"
	store := &memory.Store{}
	self, err := owner.Self(object.NewID())
	place := gc.NewPlace(store, "p/", secret, t.TempDir())
	if err := errors.Join(err, store.Init(t.Context(), map[string]string{"memory-place": object.NewID()}),
		objstore.Register(t.Context(), store, place.Prefix, id, secret)); err != nil {
		t.Fatal(err)
	}
	l := &listener{}
	c := &collection{&Session{UI: l, ExitCode: func(error) int { return 0 }}, &scope{cluster: &volume.Volume{}, mount: &volume.Mount{}}, place, self}
	c.Apply, c.Erase, c.Store.Name, c.StateDir = true, true, "dir", t.TempDir()
	c.scope.cluster.ID, c.scope.cluster.Name = id, "vol"
	status, err := c.publish(t.Context(), &gc.List{
		Kind: "gc-erasure", Volume: id, Targets: []gc.Target{of},
		Volumes: []gc.Shared{{ID: id, Name: "vol", Bricks: []string{brick}, Begun: time.Now()}},
	})
	if err != nil {
		t.Fatal(err)
	}
	list, err := place.Read(t.Context(), *status)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := place.Answer(t.Context(), list, id, catalog.Subject{Brick: brick, Ask: func(context.Context) (catalog.Cluster, error) {
		return catalog.Cluster{Asked: true, Sets: [][]string{{brick}}}, nil
	}}, gc.Look{
		References: func(context.Context, func(catalog.Ref) error) error { return nil },
		Lives:      func(gluster.GFID) (bool, error) { return false, nil },
	}); err != nil {
		t.Fatal(err)
	}
	return c, l
}

func named(all ...string) func(func(string, error) bool) {
	return func(yield func(string, error) bool) {
		for _, name := range all {
			if !yield(name, nil) {
				return
			}
		}
	}
}

// protocols are the texts of all erasures.
func (c *collection) protocols(t *testing.T) (texts []string) {
	names, err := filepath.Glob(c.StateDir + "/erasures/*")
	for _, name := range names {
		text, readErr := os.ReadFile(name)
		err = errors.Join(err, readErr)
		texts = append(texts, string(text))
	}
	if err != nil {
		t.Fatal(err)
	}
	return texts
}

// Who repeats the command with another file, while a list without it is open, is told that
// this one was not erased.
func TestAFileThatAnOpenErasureLacksIsNotSaidToBeErased(t *testing.T) {
	listed, lacking := gluster.NewGFID(), gluster.NewGFID()
	c, l := openErasure(t, gc.Target{GFID: listed, Names: []catalog.Bytes{"dir/listed"}})
	if err := c.erase(t.Context(), named("dir", listed.String(), lacking.String(), "lacking")); !errors.Is(err, gc.ErrNotProven) {
		t.Errorf("%v", err) // the listed file is not erased either: there are no catalogs
	}
	told := 0
	for _, r := range l.records {
		if e, ok := r.(report.Erasure); ok && errors.Is(e.Err, gc.ErrUnlisted) && e.Reason == outcome.NotErasable &&
			(e.GFID == lacking || e.GFID.IsZero() && len(e.Names) == 1 && e.Names[0] == "lacking") {
			told++
		}
	}
	if failed := c.tally.Outcome(outcome.Failed).Files; told != 2 || failed != 3 {
		t.Errorf("%d told, %d failed: %+v", told, failed, l.records)
	}
	all := c.protocols(t)
	if len(all) != 1 {
		t.Fatalf("%q", all)
	}
	_, left, _ := strings.Cut(all[0], "NOT erased")
	for _, name := range []string{lacking.String(), "    lacking\n", listed.String()} {
		if !strings.Contains(left, name) {
			t.Errorf("the protocol lacks %q: %s", name, all[0])
		}
	}
}

// A volume that shares the prefix does not go on with the erasure of another one, whose
// paths are not its own.
func TestAnErasureIsContinuedByItsOwnVolumeAlone(t *testing.T) {
	listed := gluster.NewGFID()
	c, l := openErasure(t, gc.Target{GFID: listed, Names: []catalog.Bytes{"listed"}})
	own := c.scope.cluster.ID
	c.scope.cluster.ID, c.scope.cluster.Name = "66666666-7777-4888-8999-aaaaaaaaaaaa", "other"
	if err := c.erase(t.Context(), named("listed")); !errors.Is(err, gc.ErrNotProven) || !strings.Contains(err.Error(), own) {
		t.Errorf("%v", err)
	}
	if all := c.protocols(t); len(all) > 0 || len(l.records) > 0 {
		t.Errorf("%q, %+v", all, l.records)
	}
	if open, err := c.place.Open(t.Context()); err != nil || open == nil || open.Claimed {
		t.Errorf("the list is %+v, %v", open, err)
	}
}
