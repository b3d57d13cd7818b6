package gc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coldbrick/coldbrick/internal/catalog"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore"
	"github.com/coldbrick/coldbrick/internal/owner"
)

// ripe is a world in which gc would delete prefix+"data/garbage", and nothing else.
func ripe(t *testing.T) (*world, *model) {
	w := newWorld(t)
	v := w.volume(mine)
	v.archive(0, "kept")
	v.archive(1, "kept too")
	v.archive(1, "garbage")
	w.now = w.now.Add(10 * day)
	delete(v.files, "garbage")
	v.catalog()
	w.now = w.now.Add(grace + time.Hour)
	v.catalog()
	w.now = w.now.Add(time.Hour)
	return w, v
}

// forgetAfter adds objects that were referred to before the catalogs, and by none of them.
func (v *model) forgetAfter(t *testing.T, names ...string) {
	at := v.w.now
	v.w.now = v.scans[0].Begun.Add(-10 * day)
	defer func() { v.w.now = at }()
	for _, name := range names {
		v.archive(0, name)
		delete(v.files, name)
	}
}

func TestOnlyWhatNothingRefersToIsDeleted(t *testing.T) {
	w, v := ripe(t)
	v.archive(0, "new") // after the catalogs: nobody has written it down
	delete(v.files, "new")
	w.put(mine, prefix+".coldbrick/01000000-0000-0000-0000-000000000002/0123456789abcdef0123456789abcdef")
	f, err := w.search()
	if err != nil || len(f.List.Candidates) != 1 || f.List.Candidates[0].Key != prefix+"data/garbage" || f.List.Objects != 5 {
		t.Fatalf("%+v, %v", f, err)
	}
	if err := w.apply(); err != nil {
		t.Fatal(err)
	}
	if got := w.keys(); slices.Contains(got, prefix+"data/garbage") || len(got) != 4 || w.deleted != 1 {
		t.Errorf("%q are left", got)
	}
	w.now = w.now.Add(time.Hour)
	if err := w.apply(); err != nil || w.deleted != 1 {
		t.Errorf("once more: %v, %d deleted", err, w.deleted)
	}
}

// Whatever is missing or not as it should be: nothing is deleted, and the reason says
// what it is.
func TestNothingIsDeletedWithoutProof(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(w *world, v *model) // before the search
		late   func(w *world, v *model) // between list and answers
		want   string
	}{
		"a brick without catalog": {change: func(_ *world, v *model) {
			v.scans = slices.DeleteFunc(v.scans, func(s Scan) bool { return s.Brick == v.bricks[3] })
		}, want: "has no catalog"},
		"no older generation": {change: func(_ *world, v *model) { v.scans = v.scans[4:] }, want: "there is no catalog"},
		"a grace that is not over": {change: func(w *world, v *model) {
			for i := range v.scans[:4] {
				v.scans[i].Stored = v.scans[i].Stored.Add(2 * time.Hour)
			}
		}, want: "a grace earlier"},
		"catalogs that are too old":  {change: func(w *world, _ *model) { w.now = w.now.Add(8 * day) }, want: "newest complete catalogs"},
		"catalogs of the future":     {change: func(w *world, _ *model) { w.now = w.now.Add(-grace) }, want: "newest complete catalogs"},
		"catalogs days apart":        {change: func(_ *world, v *model) { v.scans[0].Begun = v.scans[0].Begun.Add(-3 * day) }, want: "apart"},
		"catalogs without a cluster": {change: func(_ *world, v *model) { v.scans[2].End = catalog.Cluster{} }, want: "glusterd was not asked"},
		"a rebalance during a catalog": {change: func(_ *world, v *model) {
			v.scans[1].End.Moves = []string{"rebalance 1"}
		}, want: "came between"},
		"a rebalance between two catalogs": {change: func(_ *world, v *model) {
			for i := range v.scans[2:4] {
				v.scans[2+i].Begin.Moves, v.scans[2+i].End.Moves = []string{"rebalance 1"}, []string{"rebalance 1"}
			}
		}, want: "came between"},
		"another volume without catalogs": {change: func(w *world, _ *model) { w.volume(other) }, want: "volume " + other},
		"an object of a volume that is not registered": {change: func(w *world, _ *model) {
			at := w.now
			w.now = at.Add(-grace - 10*day)
			w.put(other, prefix+"data/of another")
			w.now = at
		}, want: "which is not registered"},
		"a volume below the prefix": {change: func(w *world, _ *model) {
			if err := objstore.Register(context.Background(), struct{ objstore.Registry }{w.store}, prefix+"below/", other, ""); err != nil {
				w.t.Fatal(err)
			}
		}, want: "must not be nested"},
		"an intent": {change: func(w *world, _ *model) {
			if _, err := w.place().Intend(context.Background(), "rebuild", owner.Owner{Host: "h"}); err != nil {
				w.t.Fatal(err)
			}
		}, want: "rebuild on h has not been completed"},
		"a planted intent": {change: func(w *world, _ *model) { w.put(mine, prefix+".coldbrick/intents/x/begun") }, want: "keyed checksum"},
		"a brick down":     {late: func(_ *world, v *model) { v.cluster.Down = v.bricks[:1] }, want: "down: host0"},
		"a heal":           {late: func(_ *world, v *model) { v.cluster.Healing = 1 }, want: "wait for a heal"},
		"a snapshot":       {late: func(_ *world, v *model) { v.cluster.Snapshots = 1 }, want: "1 snapshots"},
		"a clone":          {late: func(_ *world, v *model) { v.cluster.Clones = []string{other} }, want: "may be clones"},
		"a rebalance":      {late: func(_ *world, v *model) { v.cluster.Moving = true }, want: "moved files"},
		"a new brick": {late: func(_ *world, v *model) {
			v.cluster.Sets = append(slices.Clone(v.cluster.Sets), []string{"host3:/new"})
		}, want: "other bricks"},
		"a brick that does not answer": {late: func(_ *world, v *model) { v.bricks = v.bricks[:3] }, want: "have not answered: host1"},
		"a late answer":                {late: func(w *world, _ *model) { w.now = w.now.Add(25 * time.Hour) }, want: "more than a day ago"},
		"a volume that came in the meantime": {late: func(w *world, _ *model) {
			if err := objstore.Register(context.Background(), w.store, prefix, other, secret); err != nil {
				w.t.Fatal(err)
			}
		}, want: "has come since"},
	} {
		w, v := ripe(t)
		if tt.change != nil {
			tt.change(w, v)
		}
		l, err := w.publish()
		if err == nil && tt.late != nil {
			tt.late(w, v)
		}
		if err == nil {
			err = errors.Join(w.answers(l), w.delete(l))
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) || w.deleted > 0 {
			t.Errorf("%s: %d deleted, %v", name, w.deleted, err)
		}
	}
}

// The last look finds what refers to an object by then, on whatever brick. That object
// stays, and so does one that has changed; each is told of, and all others go.
func TestTheLastLookVetoes(t *testing.T) {
	w, v := ripe(t)
	v.forgetAfter(t, "vanished", "made anew", "garbage too")
	l, err := w.publish()
	if err != nil || len(l.Candidates) != 4 {
		t.Fatal(l, err)
	}
	v.files["a copy with attributes"] = &file{"1", []string{prefix + "data/garbage"}}
	for _, gone := range []string{"vanished", "made anew"} {
		key := prefix + "data/" + gone
		info, err := w.store.Head(t.Context(), key)
		if err := errors.Join(err, w.store.Delete(t.Context(), key, info)); err != nil {
			t.Fatal(err)
		}
	}
	w.put(mine, prefix+"data/made anew")
	told := map[string]error{}
	if err := errors.Join(w.answers(l), w.deleteTelling(l, func(c Candidate, err error) { told[string(c.Key)] = err })); err != nil {
		t.Error(err)
	}
	for name, want := range map[string]error{"garbage": ErrReferred, "vanished": fs.ErrNotExist, "made anew": object.ErrChanged, "garbage too": nil} {
		if got, ok := told[prefix+"data/"+name]; !ok || !errors.Is(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	if w.deleted != 1 {
		t.Errorf("%d deleted", w.deleted)
	}
}

// Each request of a run fails once; nothing is deleted that should not be, and after a
// failure before the first delete nothing is.
func TestEachRequestMayFail(t *testing.T) {
	errFault := errors.New("a fault of the test")
	total := 0
	for nth := 1; ; nth++ {
		w, _ := ripe(t)
		n, failed := 0, ""
		w.fault = func(op, key string) error {
			if n++; n == nth {
				failed = op
				return errFault
			}
			return nil
		}
		err := w.apply()
		if failed == "" {
			break
		}
		total++
		if err == nil {
			t.Errorf("request %d, %s: no error", nth, failed)
		}
		if failed != "create" && w.deleted > 0 { // the last one says that all is done
			t.Errorf("request %d, %s: %d deleted", nth, failed, w.deleted)
		}
	}
	if total < 15 {
		t.Errorf("%d requests", total)
	}
}

// Two runs delete by one list: one of them only.
func TestOneRunDeletesByAList(t *testing.T) {
	w, _ := ripe(t)
	l, err := w.publish()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.publish(); !errors.Is(err, ErrNotProven) {
		t.Errorf("a second list: %v", err)
	}
	if err := w.answers(l); err != nil {
		t.Fatal(err)
	}
	first, second := w.delete(l), w.delete(l)
	if first != nil || !errors.Is(second, ErrNotProven) || w.deleted != 1 {
		t.Errorf("%v, %v, %d deleted", first, second, w.deleted)
	}
}

// A run was killed after it had claimed its list: its last request may arrive late.
func TestTheListOfADeadRunStaysOpen(t *testing.T) {
	w, _ := ripe(t)
	l, err := w.publish()
	if err != nil {
		t.Fatal(err)
	}
	killed := Deletion{Place: w.place(), List: l, Owner: owner.Owner{Run: "killed", PID: 1 << 30}}
	if err := killed.claim(t.Context()); err != nil {
		t.Fatal(err)
	}
	status, err := w.place().Open(t.Context())
	if err != nil || status == nil {
		t.Fatalf("%v, %v", status, err)
	}
	if stale, err := w.place().Stale(t.Context(), *status); stale || !errors.Is(err, ErrNotProven) {
		t.Errorf("the next run: stale %v, %v", stale, err)
	}
	if _, err := w.place().Intend(t.Context(), "a rebuild", owner.Owner{}); err == nil {
		t.Error("a rebuild may refer to what is perhaps deleted")
	}
}

// While a list is open nobody refers to objects anew, and the other way round.
func TestWhoDeletesAndWhoRefersNeverMeet(t *testing.T) {
	w, v := ripe(t)
	l, err := w.publish()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.place().Intend(t.Context(), "rebuild", owner.Owner{}); err == nil || !strings.Contains(err.Error(), "gc may be deleting") {
		t.Errorf("an intent beside an open list: %v", err)
	}
	if err := errors.Join(w.answers(l), w.delete(l)); err != nil { // that intent has ended
		t.Fatal(err)
	}
	i, err := w.place().Intend(t.Context(), "rebuild", owner.Owner{})
	if err != nil {
		t.Fatal(err)
	}
	v.archive(0, "more")
	if _, err := w.publish(); !errors.Is(err, ErrNotProven) {
		t.Errorf("a list beside an intent: %v", err)
	}
	if err := i.End(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := w.publish(); err != nil {
		t.Error(err)
	}
}

func TestAVolumeThatIsGoneIsForgotten(t *testing.T) {
	w, _ := ripe(t)
	gone := w.volume(other)
	w.now = w.now.Add(-grace - 9*day)
	gone.archive(0, "of the lost volume")
	gone.catalog()
	w.now = w.now.Add(day)
	if _, err := w.place().Forget(t.Context(), other, grace); err == nil || !strings.Contains(err.Error(), "older than --grace") {
		t.Errorf("so soon: %v", err)
	}
	w.now = w.now.Add(grace + 8*day)
	if wait, err := w.place().Forget(t.Context(), other, grace); err != nil || wait != 0 {
		t.Fatal(wait, err)
	}
	delete(w.volumes, other)
	if err := w.apply(); err != nil || w.deleted != 2 {
		t.Errorf("%v, %d deleted", err, w.deleted)
	}
	// It lives after all.
	if err := objstore.Register(t.Context(), w.store, prefix, other, secret); err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(time.Hour)
	if _, err := w.search(); !errors.Is(err, ErrNotProven) {
		t.Error(err)
	}
}

// Of a volume that has never registered nothing tells whether it lives, but that it does
// not register for a month.
func TestAVolumeThatNeverRegisteredIsForgottenLater(t *testing.T) {
	w, v := ripe(t)
	key := prefix + "data/of the unknown volume"
	w.put(other, key)
	for _, later := range []time.Duration{day, grace + 8*day} {
		w.now = w.now.Add(later)
		v.catalog()
	}
	if _, err := w.search(); !errors.Is(err, ErrNotProven) {
		t.Fatalf("beside an object of an unknown volume: %v", err)
	}
	if wait, err := w.place().Forget(t.Context(), other, grace); err != nil || wait != unheard {
		t.Fatal(wait, err)
	}
	w.now = w.now.Add(unheard - day)
	v.catalog()
	if _, err := w.search(); !errors.Is(err, ErrNotProven) {
		t.Errorf("too soon: %v", err)
	}
	w.now = w.now.Add(2 * day)
	v.catalog()
	if err := w.apply(); err != nil || slices.Contains(w.keys(), key) {
		t.Errorf("a month later: %v", err)
	}
}

// An intent of a run that died ends with the next run of the same purpose, and with no other.
func TestAnIntentOfADeadRunEndsWithTheNextOne(t *testing.T) {
	w, _ := ripe(t)
	self, err := owner.Self(object.NewID())
	if err != nil {
		t.Fatal(err)
	}
	killed := self
	killed.PID, killed.Start = 1<<30, 1
	for _, purpose := range []string{"a rebuild", "an undelete"} {
		if _, err := w.place().Intend(t.Context(), purpose, killed); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct{ purpose, open string }{{"a rebuild", "an undelete"}, {"an undelete", ""}} {
		i, err := w.place().Intend(t.Context(), tt.purpose, self)
		if err == nil {
			err = i.End(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		err = w.apply()
		if tt.open == "" && err != nil || tt.open != "" && (err == nil || !strings.Contains(err.Error(), tt.open)) {
			t.Errorf("after %s: %v", tt.purpose, err)
		}
	}
	if w.deleted != 1 {
		t.Errorf("%d deleted", w.deleted)
	}
}

// A host whose backups are older than the grace of a list does not answer it.
func TestAListSaysItsGrace(t *testing.T) {
	w, _ := ripe(t)
	l, err := w.publish()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.KeepsFor(grace); err != nil {
		t.Error(err)
	}
	if err := l.KeepsFor(grace + time.Hour); !errors.Is(err, ErrNotProven) {
		t.Errorf("backups that are older than the grace: %v", err)
	}
}

// A listing comes in parts. Each may fail: then there is no garbage.
func TestEachPartOfAListingMayFail(t *testing.T) {
	errFault := errors.New("a fault of the test")
	for nth := int64(1); ; nth++ {
		w, _ := ripe(t)
		for n := range 10 {
			w.put(mine, fmt.Sprintf("%sdir %d/file", prefix, n))
		}
		p := w.place()
		p.Listers = 4
		scans, err := p.Scans(t.Context(), mine)
		must(t, err)
		var n atomic.Int64
		w.fault = func(op, _ string) error {
			if n.Add(1) == nth {
				return errFault
			}
			return nil
		}
		var found []string
		objects, err := p.Unreferenced(t.Context(), scans, w.now.Add(time.Second), func(o objstore.Listed) error {
			found = append(found, o.Key)
			return nil
		})
		if n.Load() < nth {
			if err != nil || objects != 13 || len(found) != 11 || !slices.IsSorted(found) || n.Load() < 13 {
				t.Errorf("%d requests, %d objects, %q, %v", n.Load(), objects, found, err)
			}
			return
		}
		if !errors.Is(err, errFault) || len(found) > 0 {
			t.Errorf("request %d of a listing failed: %v, found %q", nth, err, found)
		}
	}
}
