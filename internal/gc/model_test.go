package gc

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/coldbrick/coldbrick/internal/catalog"
	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/owner"
)

// history is what users, administrators and coldbrick do to two volumes that share a
// prefix, over some months, at random and in the midst of each other.
type history struct {
	*world
	*rand.Rand
	vols    []*model
	intents []undeleting
	made    int

	erasures int
}

// someone is a file that has an object, and all of a path, to be erased. Some have not
// been deleted, and the next archive may adopt what the one before has made of them.
func (h *history) someone() (e Erasure) {
	for _, v := range h.vols {
		for _, f := range v.files {
			if len(f.keys) == 0 {
				e.GFIDs = append(e.GFIDs, h.id(f))
			}
		}
	}
	if keys := h.keys(); len(keys) > 0 {
		e.GFIDs = append(e.GFIDs, h.madeFrom(keys[h.IntN(len(keys))]))
	}
	if path := fmt.Sprint("path ", h.IntN(5)); h.IntN(2) == 0 {
		for _, s := range h.volumes[mine].scans {
			_ = s.Tree(context.Background(), func(entry catalog.Entry) error {
				if string(entry.Path) == path {
					e.Paths = []string{path}
				}
				return nil
			})
		}
	}
	return e
}

// madeFrom is the file that an object was made from.
func (w *world) madeFrom(key string) gluster.GFID {
	info, err := w.store.Head(context.Background(), key)
	made, decodeErr := object.DecodeMetadata(info.Metadata)
	if err := errors.Join(err, decodeErr); err != nil {
		w.t.Fatal(err)
	}
	return made.GFID
}

// No object is ever deleted that a file, a snapshot or a file yet to come refers to:
// the store of the world fails the test.
func TestAReferencedObjectIsNeverDeleted(t *testing.T) {
	deleted, erasures := 0, 0
	for seed := range histories {
		h := &history{world: newWorld(t), Rand: rand.New(rand.NewPCG(uint64(seed), 0))}
		h.vols = []*model{h.volume(mine), h.volume(other)}
		for range 16 {
			for range h.IntN(8) {
				h.step()
			}
			h.now = h.now.Add(time.Duration(h.Int64N(int64(6 * day))))
			for _, v := range h.vols {
				if h.IntN(12) > 0 {
					h.writeDown(v)
				}
			}
			for range h.IntN(3) {
				h.step()
			}
			if h.IntN(3) > 0 {
				h.collect()
			}
		}
		deleted += h.deleted
		erasures += h.erasures
		if t.Failed() {
			t.Fatalf("history %d", seed)
		}
	}
	if deleted < histories/4 || erasures < histories/4 {
		t.Errorf("%d objects were deleted in %d histories, with %d erasures: they prove nothing", deleted, histories, erasures)
	}
}

// step is one thing that somebody does.
func (h *history) step() {
	v := h.vols[h.IntN(len(h.vols))]
	name := ""
	if names := slices.Sorted(maps.Keys(v.files)); len(names) > 0 {
		name = names[h.IntN(len(names))]
	}
	switch h.IntN(30) {
	default:
		h.archive(v)
	case 0, 1, 2, 3, 4, 5, 6: // deleted, or recalled
		delete(v.files, name)
	case 7: // renamed, or in the trash: what it refers to stays
		if f := v.files[name]; f != nil {
			delete(v.files, name)
			h.made++
			v.files[fmt.Sprint("renamed ", h.made)] = f
		}
	case 8: // copied with its attributes
		if f := v.files[name]; f != nil {
			h.made++
			v.files[fmt.Sprint("copy ", h.made)] = &file{f.brick, slices.Clone(f.keys)}
		}
	case 9: // moved by a rebalance
		if f := v.files[name]; f != nil {
			f.brick = fmt.Sprint(h.IntN(2))
			v.moves++
			v.cluster.Moves = []string{fmt.Sprint("rebalance ", v.moves)}
		}
	case 10:
		h.snapshot(v)
	case 11:
		h.undelete(v)
	case 12:
		v.cluster.Healing = h.IntN(6) / 5
	case 13: // archived again: the pointer of before is still there until the stamp
		if f := v.files[name]; f != nil {
			key := object.NonceKey(prefix, [16]byte{1})
			h.putOf(v.id, key, h.id(f))
			f.keys = append(f.keys[:min(len(f.keys), 1)], key)
			if h.IntN(2) == 0 {
				f.keys = f.keys[1:]
			}
		}
	}
}

// archive makes a file a stub. Its path may be that of an object that is there.
func (h *history) archive(v *model) {
	path := fmt.Sprint("path ", h.IntN(5))
	f := v.files[path]
	if f == nil {
		f = &file{brick: fmt.Sprint(h.IntN(2))}
		v.files[path] = f
	}
	if len(f.keys) > 0 {
		return
	}
	key := prefix + v.id[34:] + "/" + path
	info, err := h.store.Head(context.Background(), key)
	made, _ := object.DecodeMetadata(info.Metadata)
	switch {
	case err == nil && info.Adoptable() && made.GFID == h.id(f):
	case err == nil:
		key = object.NonceKey(prefix, [16]byte{1})
		h.putOf(v.id, key, h.id(f))
	default:
		h.putOf(v.id, key, h.id(f))
	}
	if h.IntN(4) > 0 { // else it dies before the stamp, and the next run gives the pointer up
		f.keys = []string{key}
	}
}

func (h *history) snapshot(v *model) {
	switch {
	case v.cluster.Snapshots == 0:
		for _, f := range v.files {
			kept := &file{f.brick, slices.Clone(f.keys)}
			h.ids[kept] = h.id(f)
			v.kept = append(v.kept, kept)
		}
		v.cluster.Snapshots = 1
		return
	case h.IntN(2) == 0: // restored
		v.files = map[string]*file{}
		for _, f := range v.kept {
			h.made++
			v.files[fmt.Sprint("restored ", h.made)] = f
		}
	}
	v.kept, v.cluster.Snapshots = nil, 0
}

// undeleting is an undelete that was interrupted before its stub was made.
type undeleting struct {
	Intent
	key string
}

// undelete makes a stub for any object. It may be interrupted; a later one goes on.
func (h *history) undelete(v *model) {
	for _, u := range h.intents {
		h.stub(v, u)
	}
	h.intents = nil
	keys := h.keys()
	if len(keys) == 0 {
		return
	}
	i, err := h.place().Intend(context.Background(), "undelete", owner.Owner{Run: object.NewID()})
	if err != nil {
		return
	}
	erased, err := h.place().Erased(context.Background())
	if err != nil {
		h.t.Fatal(err)
	}
	keys = slices.DeleteFunc(keys, func(key string) bool {
		is, err := erased(context.Background(), h.madeFrom(key))
		return is || err != nil
	})
	if len(keys) == 0 {
		if err := i.End(context.Background()); err != nil {
			h.t.Fatal(err)
		}
		return
	}
	if u := (undeleting{i, keys[h.IntN(len(keys))]}); h.IntN(2) == 0 {
		h.stub(v, u)
	} else {
		h.intents = append(h.intents, u)
	}
}

func (h *history) stub(v *model, u undeleting) {
	if !slices.Contains(h.keys(), u.key) {
		h.t.Errorf("%q is deleted, and an undelete needs it", u.key)
	}
	h.made++
	f := &file{fmt.Sprint(h.IntN(2)), []string{u.key}}
	h.ids[f] = h.madeFrom(u.key)
	v.files[fmt.Sprint("undeleted ", h.made)] = f
	if err := u.End(context.Background()); err != nil {
		h.t.Fatal(err)
	}
}

// writeDown writes catalogs, while the users go on. One may be missing.
func (h *history) writeDown(v *model) {
	for _, b := range v.bricks {
		if h.IntN(60) == 0 {
			continue
		}
		v.scan(b, func() {
			if h.IntN(6) == 0 {
				h.step()
			}
			h.now = h.now.Add(time.Duration(h.Int64N(int64(time.Hour))))
		})
	}
}

// collect is gc --apply, in which each request may fail or be the moment of something else.
func (h *history) collect() {
	h.fault = func(string, string) error {
		if h.IntN(400) == 0 {
			return errors.New("a fault of the test")
		}
		if h.IntN(12) == 0 {
			fault := h.fault
			h.fault = nil
			h.step()
			h.fault = fault
		}
		return nil
	}
	defer func() { h.fault = nil }()
	var l *List
	var err error
	if h.IntN(3) > 0 {
		l, err = h.publish()
	} else if found, searchErr := h.want(h.someone()); searchErr != nil {
		err = searchErr
	} else if l, err = h.show(&found); err == nil {
		h.erasures++
	}
	if err != nil {
		h.close()
		return
	}
	for _, v := range h.vols {
		for _, b := range v.bricks {
			h.now = h.now.Add(time.Duration(h.Int64N(int64(time.Hour))))
			if v.answer(l, b) != nil {
				h.close()
				return
			}
		}
	}
	if h.delete(l) != nil {
		h.close()
	}
}

// close is what the next run does on the host of one that has died.
func (h *history) close() {
	h.fault = nil
	all, err := h.place().Lists(context.Background())
	for _, s := range all {
		err = errors.Join(err, h.place().Finish(context.Background(), s.ID))
	}
	if err != nil {
		h.t.Fatal(err)
	}
}
