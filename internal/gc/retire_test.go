package gc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/catalog"
	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore"
	"github.com/coldbrick/coldbrick/internal/owner"
	"github.com/coldbrick/coldbrick/internal/volume"
)

// written is a world in which the catalogs of a volume of two bricks lie in the store.
type written struct {
	*world
	bricks  []string
	cluster catalog.Cluster
}

func newWritten(t *testing.T) *written {
	t.Helper()
	w := &written{world: newWorld(t), cluster: catalog.Cluster{Asked: true}}
	w.volumes[mine] = &model{w: w.world, id: mine, files: map[string]*file{}}
	must(t, objstore.Register(t.Context(), w.store, prefix, mine, secret))
	id, err := gluster.ParseGFID(mine)
	must(t, err)
	for n := range 2 {
		dir := t.TempDir()
		must(t, os.Mkdir(dir+"/.glusterfs", 0o700))
		must(t, unix.Lsetxattr(dir, gluster.XattrGFID, gluster.RootGFID[:], 0))
		must(t, unix.Lsetxattr(dir, gluster.XattrVolumeID, id[:], 0))
		w.bricks = append(w.bricks, dir)
		w.cluster.Sets = append(w.cluster.Sets, []string{fmt.Sprintf("host%d:%s", n, dir)})
	}
	return w
}

func (w *written) place() Place { return NewPlace(&seen{w.world}, prefix, secret, w.dir) }

// catalog writes down the bricks, and tells the names of the scans.
func (w *written) catalog(bricks ...int) (scans []string) {
	w.t.Helper()
	for _, n := range bricks {
		brick, err := volume.OpenBrick(w.bricks[n])
		must(w.t, err)
		m, err := w.place().catalogs(mine).Take(context.Background(), catalog.Subject{
			Brick: w.cluster.Sets[n][0], Ask: func(context.Context) (catalog.Cluster, error) { return w.cluster, nil },
		}, catalog.Scan{Brick: brick, Dir: w.dir, Workers: 1})
		must(w.t, errors.Join(err, brick.Close()))
		scans = append(scans, m.Scan)
	}
	return scans
}

// records are the keys below a reserved directory, up to the part.
func (w *written) records(top string) (names []string) {
	w.t.Helper()
	must(w.t, w.store.List(context.Background(), top, func(o objstore.Listed) error {
		if name, _, _ := strings.Cut(strings.TrimPrefix(o.Key, top), "/"); !slices.Contains(names, name) {
			names = append(names, name)
		}
		return nil
	}))
	slices.Sort(names)
	return names
}

func (w *written) scans() []string { return w.records(object.CatalogKey(prefix, mine, "", "")) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Catalogs that are older than those that gc and rebuild may take are deleted, with what
// was left of a scan that failed. gc finds the same as before.
func TestOldCatalogsAreRetired(t *testing.T) {
	w := newWritten(t)
	var weeks [][]string
	for range 10 {
		weeks = append(weeks, w.catalog(0, 1))
		w.now = w.now.Add(7 * day)
	}
	w.now = w.now.Add(-6 * day)
	cut := object.CatalogKey(prefix, mine, object.NewID(), "begin")
	at := w.now
	w.now = w.now.Add(-100 * day)
	w.put(mine, cut)
	w.now = at
	before, after := w.picked(grace), []string(nil)
	r, err := w.place().Retire(t.Context(), grace)
	must(t, err)
	after = w.picked(grace)
	if !slices.Equal(before, after) {
		t.Errorf("gc went by %q before, and goes by %q", before, after)
	}
	// The newest is of a day ago; 30 and 14 days before it was the week with number 2.
	want := slices.Concat(weeks[2:]...)
	slices.Sort(want)
	if left := w.scans(); !slices.Equal(left, want) || r.Catalogs != 2*2+1 {
		t.Errorf("%d were deleted, left are %q, want %q", r.Catalogs, left, want)
	}
	// A run that began when the newest catalog was not there yet goes on.
	w.now = w.now.Add(-2 * day)
	if _, _, err := Generations(w.scansNow()[:len(want)-2], w.now, grace); err != nil {
		t.Error(err)
	}
}

func (w *written) scansNow() []Scan {
	w.t.Helper()
	all, err := w.place().readScans(context.Background(), mine)
	must(w.t, err)
	return all
}

// picked are the scans that gc goes by.
func (w *written) picked(grace time.Duration) (scans []string) {
	w.t.Helper()
	older, newer, err := Generations(w.scansNow(), w.now, grace)
	must(w.t, err)
	for _, s := range slices.Concat(older.Scans, newer.Scans) {
		scans = append(scans, s.Scan)
	}
	return scans
}

// Where somebody may still need a catalog, none is deleted.
func TestNoCatalogIsRetiredThatMayBeNeeded(t *testing.T) {
	for name, tt := range map[string]func(w *written){
		"the newest catalogs are old: the volume may be lost": func(w *written) { w.now = w.now.Add(8 * day) },
		"one brick was not written down since": func(w *written) {
			for _, s := range w.scansNow()[2:] {
				if s.Brick == w.cluster.Sets[1][0] {
					_, err := w.place().catalogs(mine).Remove(context.Background(), w.store, w.now.Add(day), w.allBut(s.Scan))
					must(w.t, err)
				}
			}
		},
		"no generation is a grace and two weeks older": func(w *written) {
			for _, s := range w.scansNow() {
				if w.now.Sub(s.Begun) > 40*day {
					_, err := w.place().catalogs(mine).Remove(context.Background(), w.store, w.now.Add(day), w.allBut(s.Scan))
					must(w.t, err)
				}
			}
		},
		"an undelete": func(w *written) {
			_, err := w.place().Intend(context.Background(), "undelete", owner.Owner{})
			must(w.t, err)
		},
		"a list that is open": func(w *written) {
			l := List{Volumes: []Shared{{ID: mine, Begun: w.now}}}
			must(w.t, w.place().Publish(context.Background(), &l))
		},
	} {
		w := newWritten(t)
		for range 10 {
			w.catalog(0, 1)
			w.now = w.now.Add(7 * day)
		}
		w.now = w.now.Add(-6 * day)
		tt(w)
		before := w.scans()
		r, err := w.place().Retire(t.Context(), grace)
		if after := w.scans(); !slices.Equal(before, after) || r.Catalogs > 0 || err != nil && !errors.Is(err, ErrNotProven) {
			t.Errorf("%s: %d of %d are left, %v", name, len(after), len(before), err)
		}
	}
}

func (w *written) allBut(scan string) map[string]bool {
	keep := map[string]bool{}
	for _, s := range w.scans() {
		keep[s] = s != scan
	}
	return keep
}

// A run that is killed while it deletes a catalog leaves one that does not count, and
// the next one goes on.
func TestARetirementThatWasKilledGoesOn(t *testing.T) {
	for how := range deaths {
		w := newWritten(t)
		for range 10 {
			w.catalog(0, 1)
			w.now = w.now.Add(7 * day)
		}
		w.now = w.now.Add(-6 * day)
		before := w.picked(grace)
		for nth := 0; ; nth++ {
			p := w.place()
			m := &mortal{seen: &seen{w.world}, left: nth, how: how}
			p.Store = m
			_, err := p.Retire(t.Context(), grace)
			if after := w.picked(grace); !slices.Equal(before, after) {
				t.Errorf("killed at request %d: gc goes by %q, and before by %q", nth, after, before)
			}
			if !m.dead {
				must(t, err)
				break
			}
			if m.late != nil {
				_ = m.late()
			}
		}
		if left := w.scans(); len(left) != 16 {
			t.Errorf("%d scans are left", len(left))
		}
	}
}

// Lists and intents go once their work has ended a grace ago. An intent that has not
// ended stays.
func TestOldRecordsAreRetired(t *testing.T) {
	w := newWritten(t)
	l := List{Volumes: []Shared{{ID: mine, Begun: w.now}}}
	must(t, w.place().Publish(t.Context(), &l))
	must(t, w.place().Finish(t.Context(), l.ID))
	i, err := w.place().Intend(t.Context(), "undelete", owner.Owner{})
	must(t, err)
	must(t, i.End(t.Context()))
	killed := List{Volumes: []Shared{{ID: mine, Begun: w.now}}}
	must(t, w.place().Publish(t.Context(), &killed))
	must(t, (&Deletion{Place: w.place(), List: &killed}).claim(t.Context()))
	records := func() int {
		return len(w.records(object.GarbageKey(prefix, "", ""))) + len(w.records(object.IntentKey(prefix, "", "")))
	}
	w.now = w.now.Add(grace - time.Hour)
	if r, err := w.place().Retire(t.Context(), grace); err != nil || r.Records != 0 || records() != 3 {
		t.Errorf("%+v, %v, %d records", r, err, records())
	}
	w.now = w.now.Add(2 * time.Hour)
	if r, err := w.place().Retire(t.Context(), grace); err != nil || r.Records != 3 || records() != 0 {
		t.Errorf("%+v, %v, %d records", r, err, records())
	}
	_, err = w.place().Intend(t.Context(), "undelete", owner.Owner{})
	must(t, err)
	w.now = w.now.Add(2 * grace)
	if r, err := w.place().Retire(t.Context(), grace); !errors.Is(err, ErrNotProven) || r.Records != 0 || records() != 1 {
		t.Errorf("%+v, %v, %d records", r, err, records())
	}
}
