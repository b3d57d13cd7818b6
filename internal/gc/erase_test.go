package gc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coldbrick/coldbrick/internal/catalog"
	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore"
	"github.com/coldbrick/coldbrick/internal/owner"
)

// erasable is a world with a file that was archived twice, deleted, and is to be erased.
func erasable(t *testing.T) (*world, *model, gluster.GFID) {
	w := newWorld(t)
	v := w.volume(mine)
	v.archive(0, "kept")
	v.archive(1, "secret")
	f := v.files["secret"]
	again := object.NonceKey(prefix, w.id(f))
	w.putOf(mine, again, w.id(f))
	v.catalog()
	f.keys = []string{again}
	w.now = w.now.Add(day)
	v.catalog()
	delete(v.files, "secret")
	w.now = w.now.Add(day)
	v.catalog()
	w.now = w.now.Add(time.Hour)
	return w, v, w.id(f)
}

// want looks for what belongs to files.
func (w *world) want(e Erasure) (List, error) {
	e.Jobs, e.Volume = 1, mine
	return w.place().SearchErasure(context.Background(), e)
}

// erase is gc --erase --apply.
func (w *world) erase(e Erasure) error {
	found, err := w.want(e)
	if err != nil {
		return err
	}
	l, err := w.show(&found)
	if err == nil {
		err = w.answers(l)
	}
	if err == nil {
		err = w.delete(l)
	}
	return err
}

// names are what the store and the catalogs still know of a file.
func (w *world) names(gfid gluster.GFID, keys ...string) (found []string) {
	of := newTraces()
	of.files[gfid] = true
	for _, key := range keys {
		of.refer(gfid, key)
	}
	for _, v := range w.volumes {
		for _, s := range v.scans {
			known, err := s.knows(context.Background(), of)
			if err != nil {
				w.t.Fatal(err)
			}
			if len(known) > 0 {
				found = append(found, "a catalog of "+s.Brick)
			}
		}
	}
	must(w.t, w.store.List(context.Background(), prefix, func(o objstore.Listed) error {
		info, err := w.store.Head(context.Background(), o.Key)
		if made, _ := object.DecodeMetadata(info.Metadata); err == nil && made.GFID == gfid || strings.HasPrefix(o.Key, object.GarbageKey(prefix, "", "")) && strings.HasSuffix(o.Key, listPart) {
			found = append(found, o.Key)
		}
		return err
	}))
	return found
}

func TestAnErasureLeavesNothingOfAFileButANote(t *testing.T) {
	for name, e := range map[string]Erasure{"by path": {Paths: []string{"secret"}}, "by gfid": {}} {
		w, v, gfid := erasable(t)
		if e.Paths == nil {
			e.GFIDs = []gluster.GFID{gfid}
		}
		if err := w.erase(e); err != nil || w.erased[gfid] != nil || len(w.erased) != 1 {
			t.Fatalf("%s: %v, %v", name, err, w.erased)
		}
		if got := w.names(gfid); len(got) > 0 {
			t.Errorf("%s: left are %q", name, got)
		}
		if got := w.keys(); len(got) != 1 || len(v.scans) < len(v.bricks) {
			t.Errorf("%s: objects %q, %d catalogs", name, got, len(v.scans))
		}
		erased, err := w.place().Erased(t.Context())
		must(t, err)
		for gfid, want := range map[gluster.GFID]bool{gfid: true, w.id(v.files["kept"]): false} {
			if got, err := erased(t.Context(), gfid); got != want || err != nil {
				t.Errorf("%s: %s is erased: %v, %v", name, gfid, got, err)
			}
		}
		if err := w.erase(Erasure{GFIDs: []gluster.GFID{gfid}}); err != nil || w.erased[gfid] != nil {
			t.Errorf("%s, once more: %v, %v", name, err, w.erased)
		}
	}
}

// A catalog may know a key of the file without knowing whose it is: of a copy on the brick
// that was not made through Gluster, for one.
func TestAnErasureFindsAKeyThatNamesNoFile(t *testing.T) {
	w, v, gfid := erasable(t)
	key := prefix + "data/secret"
	nameless := func(s *Scan) {
		s.Refs = func(_ context.Context, visit func(catalog.Ref) error) error {
			return visit(catalog.Ref{Key: catalog.Bytes(key)})
		}
	}
	nameless(&v.scans[0]) // of a brick that the file was not on
	if err := w.erase(Erasure{GFIDs: []gluster.GFID{gfid}}); err != nil || w.erased[gfid] != nil {
		t.Fatal(err, w.erased)
	}
	if got := w.names(gfid, key); len(got) > 0 {
		t.Errorf("left are %q", got)
	}

	w, v, gfid = erasable(t)
	nameless(&v.scans[len(v.scans)-1])
	found, err := w.want(Erasure{GFIDs: []gluster.GFID{gfid}})
	if err != nil || len(found.Named) != 1 || len(found.Targets)+len(found.Candidates) > 0 {
		t.Errorf("with a newest catalog that knows the key: %+v, %v", found, err)
	}
}

// Whatever of the proof is missing: nothing is deleted.
func TestNothingIsErasedWithoutProof(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(w *world, v *model) // before the search
		late   func(w *world, v *model) // between list and answers
		want   string
	}{
		"catalogs of before":        {change: func(_ *world, v *model) { v.scans = v.scans[:8] }, want: "the newest catalogs know the file"},
		"catalogs that are too old": {change: func(w *world, _ *model) { w.now = w.now.Add(8 * day) }, want: "newest complete catalogs"},
		"a copy with attributes, written down": {change: func(_ *world, v *model) {
			v.files["copy"] = &file{"0", []string{prefix + "data/secret"}}
			v.catalog()
		}, want: "something that refers to its object"},
		"a copy with attributes": {late: func(_ *world, v *model) {
			v.files["copy"] = &file{"0", []string{prefix + "data/secret"}}
		}, want: "a file refers to it"},
		"a file that came back from a backup, without a pointer": {late: func(w *world, v *model) {
			f := &file{brick: "0"}
			w.ids[f] = gluster.GFID{1, 15: 2} // of the second file that was made
			v.files["back"] = f
		}, want: "the file lives"},
		"a brick down":   {late: func(_ *world, v *model) { v.cluster.Down = v.bricks[:1] }, want: "down: host0"},
		"a heal":         {late: func(_ *world, v *model) { v.cluster.Healing = 1 }, want: "wait for a heal"},
		"a snapshot":     {late: func(_ *world, v *model) { v.cluster.Snapshots = 1 }, want: "1 snapshots"},
		"a rebalance":    {late: func(_ *world, v *model) { v.cluster.Moving = true }, want: "moved files"},
		"a silent brick": {late: func(_ *world, v *model) { v.bricks = v.bricks[:3] }, want: "have not answered: host1"},
		"a late answer":  {late: func(w *world, _ *model) { w.now = w.now.Add(25 * time.Hour) }, want: "more than a day ago"},
		"an intent": {change: func(w *world, _ *model) {
			_, err := w.place().Intend(context.Background(), "rebuild", owner.Owner{Host: "h"})
			must(w.t, err)
		}, want: "rebuild on h has not been completed"},
		"another volume without catalogs": {change: func(w *world, _ *model) { w.volume(other) }, want: "volume " + other},
		"a volume that came in the meantime": {late: func(w *world, _ *model) {
			must(w.t, objstore.Register(context.Background(), w.store, prefix, other, secret))
		}, want: "has come since"},
		"a path that nobody knows": {change: func(_ *world, v *model) { v.scans = v.scans[8:] }, want: "no catalog of the volume has this path"},
	} {
		w, v, gfid := erasable(t)
		catalogs := len(v.scans)
		if tt.change != nil {
			tt.change(w, v)
			catalogs = len(v.scans)
		}
		found, err := w.want(Erasure{Paths: []string{"secret"}})
		for _, named := range found.Named {
			err = errors.Join(err, fmt.Errorf("%s: %w", named.GFID, ErrNamed))
		}
		if err == nil {
			l, publishErr := w.show(&found)
			if err = publishErr; err == nil {
				if tt.late != nil {
					tt.late(w, v)
				}
				if err = errors.Join(w.answers(l), w.delete(l)); err == nil {
					err = w.erased[gfid]
				}
			}
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
		// Of a file to one of whose objects something else refers the others may go.
		if got := w.keys(); !slices.Contains(got, prefix+"data/kept") || !slices.Contains(got, prefix+"data/secret") || len(v.scans) != catalogs {
			t.Errorf("%s: objects %q, %d catalogs of %d", name, got, len(v.scans), catalogs)
		}
	}
}

// A list that is open knows which files are not on it, and those that were below a
// directory and cannot be erased yet.
func TestAnOpenErasureTellsWhatItLacks(t *testing.T) {
	w, v, _ := erasable(t)
	v.archive(0, "dir/gone")
	v.archive(0, "dir/sub/kept")
	v.archive(0, "later")
	v.catalog()
	gone, kept, later := w.id(v.files["dir/gone"]), w.id(v.files["dir/sub/kept"]), w.id(v.files["later"])
	delete(v.files, "dir/gone")
	delete(v.files, "later")
	w.now = w.now.Add(time.Hour)
	v.catalog()
	found, err := w.want(Erasure{Paths: []string{"dir"}})
	must(t, err)
	l, err := w.show(&found)
	must(t, err)
	if len(l.Targets) != 1 || l.Targets[0].GFID != gone || len(l.Named) != 1 || l.Named[0].GFID != kept || l.Volume != mine {
		t.Errorf("of volume %s: %v, and %v cannot be erased yet", l.Volume, l.Targets, l.Named)
	}
	for _, has := range []Erasure{{Paths: []string{"dir", "dir/gone", "dir/sub"}}, {GFIDs: []gluster.GFID{gone, kept}}} {
		if got := l.Lacks(has); len(got) > 0 {
			t.Errorf("%v: lacks %v", has, got)
		}
	}
	got := l.Lacks(Erasure{Paths: []string{"di", "dir", "dir/gone/x", "later"}, GFIDs: []gluster.GFID{gone, later}})
	want := []Target{{GFID: later}, {Names: []catalog.Bytes{"di"}}, {Names: []catalog.Bytes{"dir/gone/x"}}, {Names: []catalog.Bytes{"later"}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("lacks %v, want %v", got, want)
	}
}

// What has come to the key of an object since the list was made stays, and its file is not
// said to be erased.
func TestWhatWasMadeAnewIsNotSaidToBeErased(t *testing.T) {
	w, _, gfid := erasable(t)
	found, err := w.want(Erasure{GFIDs: []gluster.GFID{gfid}})
	if err != nil || len(found.Candidates) == 0 {
		t.Fatal(found.Candidates, err)
	}
	l, err := w.show(&found)
	if err != nil {
		t.Fatal(err)
	}
	key := string(l.Candidates[0].Key)
	info, err := w.store.Head(t.Context(), key)
	if err := errors.Join(err, w.store.Delete(t.Context(), key, info)); err != nil {
		t.Fatal(err)
	}
	w.putOf(mine, key, gfid)
	if err := errors.Join(w.answers(l), w.delete(l)); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(w.erased[gfid], object.ErrChanged) || !slices.Contains(w.keys(), key) {
		t.Errorf("said of the file: %v; left are %q", w.erased[gfid], w.keys())
	}
}

// An erasure is killed at each of its requests, in each way. A new file of the same name
// is archived whenever that can be: its object stays, also when the last request of the
// dead run is carried out only then. A later run erases all that is left.
func TestAnErasureThatWasKilledIsEndedByTheNext(t *testing.T) {
	for how := range deaths {
		for nth := 0; ; nth++ {
			w, v, gfid := erasable(t)
			m := &mortal{seen: &seen{w}, left: nth, how: how}
			w.via = m
			err := w.erase(Erasure{GFIDs: []gluster.GFID{gfid}})
			if !m.dead {
				must(t, err)
				break
			}
			w.via = nil
			done := false
			for try := range 60 {
				w.now = w.now.Add(2 * time.Hour)
				if try%12 == 0 {
					v.catalog()
				}
				if key := prefix + "data/secret"; v.files["secret"] == nil && !slices.Contains(w.keys(), key) {
					v.archive(0, "secret")
				}
				if m.late != nil && try == 22 { // not after its host gave up
					_ = m.late()
					m.late, done = nil, false
				}
				if try%3 == 2 && !done {
					clear(w.erased)
					err := w.resumeErasure(gfid)
					why, told := w.erased[gfid]
					done = err == nil && told && why == nil
				}
			}
			if got := w.names(gfid); len(got) > 0 || !done {
				t.Errorf("killed at request %d, way %d: left are %q, erased: %v", nth, how, got, done)
			}
			if !slices.Contains(w.keys(), prefix+"data/kept") || !slices.Contains(w.keys(), prefix+"data/secret") {
				t.Errorf("killed at request %d, way %d: %q", nth, how, w.keys())
			}
			if t.Failed() {
				return
			}
		}
	}
}

// resumeErasure is gc --erase --apply, whatever another run has left.
func (w *world) resumeErasure(gfid gluster.GFID) error {
	return w.resumeOr(func() error { return w.erase(Erasure{GFIDs: []gluster.GFID{gfid}}) })
}

// Each request of an erasure fails once: that is an error, and no other file suffers.
func TestEachRequestOfAnErasureMayFail(t *testing.T) {
	errFault := errors.New("a fault of the test")
	for nth := 1; ; nth++ {
		w, v, gfid := erasable(t)
		n, failed := 0, ""
		w.fault = func(op, key string) error {
			if n++; n == nth {
				failed = op + " " + key
				return errFault
			}
			return nil
		}
		err := w.erase(Erasure{GFIDs: []gluster.GFID{gfid}})
		if failed == "" {
			return
		}
		why, told := w.erased[gfid]
		if err == nil || told && why == nil {
			t.Errorf("request %d, %s: %v, told %v", nth, failed, err, why)
		}
		if !slices.Contains(w.keys(), v.files["kept"].keys[0]) {
			t.Errorf("request %d, %s: %q are left", nth, failed, w.keys())
		}
	}
}

// In a store that keeps versions all of them go, and so do those of records that name
// the file. What the store keeps is said, and everything that was not the file's stays.
func TestAnErasureTakesVersionsToo(t *testing.T) {
	for _, locked := range []bool{false, true} {
		w, v, gfid := erasable(t)
		k := newKeeper(w)
		w.via = k
		key := prefix + "data/secret"
		k.delete(t, key) // gc did, long ago
		v.archive(0, "secret")
		other := v.files["secret"]
		k.delete(t, key)
		w.putOf(mine, key, gfid) // archived under its old name, and deleted
		k.delete(t, key)
		delete(v.files, "secret")
		v.catalog()
		w.now = w.now.Add(time.Hour)
		if locked {
			k.locks[k.versions[key][0].ID] = objstore.Lock{Until: time.Now().Add(time.Hour)}
		}
		err := w.erase(Erasure{GFIDs: []gluster.GFID{gfid}})
		must(t, err)
		var lock LockedError
		if why := w.erased[gfid]; errors.As(why, &lock) != locked || !locked && why != nil {
			t.Errorf("locked %v: %v", locked, why)
		}
		var left []string
		for _, versions := range k.versions {
			for _, x := range versions {
				if x.of == gfid || strings.Contains(x.Key, "/gc/") && !locked {
					left = append(left, x.Key)
				}
			}
		}
		if locked != (len(left) == 1) {
			t.Errorf("locked %v: left are %q", locked, left)
		}
		if !slices.ContainsFunc(k.versions[key], func(x kept) bool { return x.of == w.id(other) }) || !k.gone(key) {
			t.Errorf("the version of another file is gone, or is seen again: %+v", k.versions[key])
		}
	}
}

// keeper is a store that keeps versions.
type keeper struct {
	*seen
	versions map[string][]kept // by key, oldest first; the current one as well
	locks    map[string]objstore.Lock
}

type kept struct {
	objstore.Version
	of   gluster.GFID
	info object.Info
}

func newKeeper(w *world) *keeper {
	return &keeper{&seen{w}, map[string][]kept{}, map[string]objstore.Lock{}}
}

// note adds the current version of each object that is new.
func (k *keeper) note() {
	must(k.w.t, k.w.store.List(context.Background(), "", func(o objstore.Listed) error {
		info, err := k.w.store.Head(context.Background(), o.Key)
		made, _ := object.DecodeMetadata(info.Metadata)
		if all := k.versions[o.Key]; len(all) == 0 || all[len(all)-1].Marker {
			k.versions[o.Key] = append(all, kept{objstore.Version{Listed: o, ID: object.NewID()}, made.GFID, info})
		}
		return err
	}))
}

// delete leaves a marker.
func (k *keeper) delete(t *testing.T, key string) {
	info, err := k.Head(t.Context(), key)
	must(t, err)
	must(t, k.Delete(t.Context(), key, info))
}

func (k *keeper) gone(key string) bool {
	all := k.versions[key]
	return len(all) > 0 && all[len(all)-1].Marker
}

func (k *keeper) Delete(ctx context.Context, key string, is object.Info) error {
	k.note()
	if err := k.w.store.Delete(ctx, key, is); err != nil {
		return err
	}
	k.versions[key] = append(k.versions[key], kept{Version: objstore.Version{
		Listed: objstore.Listed{Key: key, Modified: k.w.now}, ID: object.NewID(), Marker: true,
	}})
	return nil
}

func (k *keeper) KeepsVersions(context.Context) (bool, error) { return true, nil }

func (k *keeper) Versions(_ context.Context, under string, visit func(objstore.Version) error) error {
	k.note()
	for key, all := range k.versions {
		for n, x := range all {
			if x.Latest = n == len(all)-1; !strings.HasPrefix(key, under) {
				continue
			}
			if err := visit(x.Version); err != nil {
				return err
			}
		}
	}
	return nil
}

func (k *keeper) HeadVersion(_ context.Context, key, id string) (v objstore.VersionInfo, err error) {
	for _, x := range k.versions[key] {
		if x.ID == id && !x.Marker {
			return objstore.VersionInfo{Info: x.info, Lock: k.locks[id]}, nil
		}
	}
	return v, fs.ErrNotExist
}

func (k *keeper) DeleteVersion(_ context.Context, key, id string) error {
	if k.locks[id].Holds(time.Now()) {
		return fs.ErrPermission
	}
	all := slices.DeleteFunc(slices.Clone(k.versions[key]), func(x kept) bool { return x.ID == id })
	if by := k.w.referred(key); by != "" && slices.ContainsFunc(k.versions[key], func(x kept) bool { return x.ID == id && !k.gone(key) }) {
		k.w.t.Errorf("a version of %q is deleted, and %s refers to it", key, by)
	}
	if len(all) < len(k.versions[key]) && !k.gone(key) && k.versions[key][len(all)].ID == id { // it was the current one
		info, err := k.w.store.Head(context.Background(), key)
		must(k.w.t, err)
		must(k.w.t, k.w.store.Delete(context.Background(), key, info))
	}
	k.versions[key] = all
	return nil
}

// A run of archive has died before its stamp, and the file lives without a reference to
// its object. The next run adopts that at whatever moment of an erasure: it stays.
func TestAnErasureNeverMeetsAnAdoption(t *testing.T) {
	adopted := 0
	for nth := 1; ; nth++ {
		w, v, _ := erasable(t)
		key := v.archive(0, "young")
		young := v.files["young"]
		young.keys = nil
		n := 0
		w.fault = func(string, string) error {
			if n++; n == nth && slices.Contains(w.keys(), key) {
				young.keys = []string{key}
				adopted++
			}
			return nil
		}
		_ = w.erase(Erasure{GFIDs: []gluster.GFID{w.id(young)}}) // the store of the world fails the test
		if n < nth {
			break
		}
		if !slices.Contains(w.keys(), key) {
			t.Errorf("request %d: the object is gone", nth)
		}
	}
	if adopted < 20 {
		t.Errorf("%d adoptions: they prove nothing", adopted)
	}
}
