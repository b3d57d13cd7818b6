package gc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coldbrick/coldbrick/internal/catalog"
	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore"
	"github.com/coldbrick/coldbrick/internal/owner"
	"github.com/coldbrick/coldbrick/internal/testkit/memory"
)

const (
	day    = 24 * time.Hour
	grace  = 30 * day
	prefix = "p/"
	secret = "a secret of the tests"
	mine   = "00000000-0000-4000-8000-000000000001"
	other  = "00000000-0000-4000-8000-000000000002"
)

// world is a store with a clock, and volumes whose files refer to its objects.
type world struct {
	t       testing.TB
	now     time.Time // of the store
	store   *memory.Store
	fault   func(op, key string) error // what a request meets; nil: nothing
	via     Store                      // how gc reaches the store; nil: in the usual way
	volumes map[string]*model
	deleted int
	dir     string
	ids     map[*file]gluster.GFID
	erased  map[gluster.GFID]error // what the last runs said of files to be erased
}

// id is the gfid of a file, which it keeps for life.
func (w *world) id(f *file) gluster.GFID {
	if w.ids[f].IsZero() {
		n := len(w.ids) + 1
		w.ids[f] = gluster.GFID{1, 14: byte(n >> 8), 15: byte(n)}
	}
	return w.ids[f]
}

// model is a volume: of each brick, what its files refer to.
type model struct {
	w       *world
	id      string
	bricks  []string
	files   map[string]*file
	kept    []*file // what a snapshot shows
	cluster catalog.Cluster
	scans   []Scan
	moves   int
}

type file struct {
	brick string
	keys  []string
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), volumes: map[string]*model{}, ids: map[*file]gluster.GFID{}, erased: map[gluster.GFID]error{}, dir: t.TempDir()}
	w.store = &memory.Store{Now: func() time.Time { return w.now }}
	if err := w.store.Init(t.Context(), map[string]string{"memory-place": object.NewID()}); err != nil {
		t.Fatal(err)
	}
	return w
}

// volume registers a volume of two replica sets.
func (w *world) volume(id string) *model {
	v := &model{w: w, id: id, files: map[string]*file{}, cluster: catalog.Cluster{Asked: true}}
	for set := range 2 {
		var names []string
		for r := range 2 {
			names = append(names, fmt.Sprintf("host%d:/%s/%d", r, id[34:], set))
		}
		v.cluster.Sets = append(v.cluster.Sets, names)
		v.bricks = append(v.bricks, names...)
	}
	w.volumes[id] = v
	if err := objstore.Register(w.t.Context(), w.store, prefix, id, secret); err != nil {
		w.t.Fatal(err)
	}
	return v
}

func (w *world) place() Place {
	store := w.via
	if store == nil {
		store = &seen{w}
	}
	return Place{Store: store, Prefix: prefix, Secret: secret, Dir: w.dir, Listers: 1, Scans: func(_ context.Context, id string) ([]Scan, error) {
		if v := w.volumes[id]; v != nil {
			return v.scans, nil
		}
		return nil, nil
	}, remove: func(_ context.Context, _ objstore.Deleter, id, scan string) error {
		v := w.volumes[id]
		v.scans = slices.DeleteFunc(slices.Clone(v.scans), func(s Scan) bool { return s.Scan == scan })
		if _, err := newest(v.scans); err != nil {
			w.t.Errorf("the catalogs that are left of volume %s: %v", id, err)
		}
		return nil
	}}
}

// seen is the store, as gc sees it: requests may fail, and no object may be deleted that
// any file refers to.
type seen struct{ w *world }

func (s *seen) may(op, key string) error {
	if s.w.fault == nil {
		return nil
	}
	return s.w.fault(op, key)
}

func (s *seen) Conditional(int64) bool { return true }

func (s *seen) Create(ctx context.Context, key string, body io.ReaderAt, size int64, metadata map[string]string) (object.Proof, error) {
	if err := s.may("create", key); err != nil {
		return object.Proof{}, err
	}
	return s.w.store.Create(ctx, key, body, size, metadata)
}

func (s *seen) Head(ctx context.Context, key string) (object.Info, error) {
	if err := s.may("head", key); err != nil {
		return object.Info{}, err
	}
	return s.w.store.Head(ctx, key)
}

func (s *seen) Download(ctx context.Context, key string, dst io.WriterAt, accept func(object.Info) error) (object.Proof, error) {
	if err := s.may("download", key); err != nil {
		return object.Proof{}, err
	}
	return s.w.store.Download(ctx, key, dst, accept)
}

func (s *seen) List(ctx context.Context, under string, visit func(objstore.Listed) error) error {
	if err := s.may("list", under); err != nil {
		return err
	}
	return s.w.store.List(ctx, under, visit)
}

func (s *seen) Tidy(_ context.Context, under string) error { return s.may("tidy", under) }

// Split is what a store with directories knows.
func (s *seen) Split(ctx context.Context, under string) (objects []objstore.Listed, below []string, whole bool, err error) {
	if err := s.may("split", under); err != nil {
		return nil, nil, false, err
	}
	err = s.w.store.List(ctx, under, func(o objstore.Listed) error {
		dir, _, inside := strings.Cut(strings.TrimPrefix(o.Key, under), "/")
		switch {
		case !inside:
			objects = append(objects, o)
		case !slices.Contains(below, under+dir+"/"):
			below = append(below, under+dir+"/")
		}
		return nil
	})
	return objects, below, true, err
}

func (s *seen) Delete(ctx context.Context, key string, is object.Info) error {
	if err := s.may("delete", key); err != nil {
		return err
	}
	if by := s.w.referred(key); by != "" {
		s.w.t.Errorf("%q is deleted, and %s refers to it", key, by)
	}
	err := s.w.store.Delete(ctx, key, is)
	if err == nil && object.IsData(prefix, key) {
		s.w.deleted++
	}
	return err
}

// referred is a file that refers to a key, "" if none does.
func (w *world) referred(key string) string {
	for id, v := range w.volumes {
		for name, f := range v.files {
			if slices.Contains(f.keys, key) {
				return id + " " + name
			}
		}
		for _, f := range v.kept {
			if slices.Contains(f.keys, key) {
				return id + ", a snapshot"
			}
		}
	}
	return ""
}

// put makes an object of a file that nobody knows.
func (w *world) put(volumeID, key string) { w.putOf(volumeID, key, gluster.GFID{1}) }

// putOf makes an object of a file.
func (w *world) putOf(volumeID, key string, gfid gluster.GFID) {
	meta := object.Metadata{Volume: volumeID, GFID: gfid, Size: 1, Attempt: object.NewID()}
	if _, err := w.store.Create(context.Background(), key, bytes.NewReader([]byte("x")), 1, meta.Encode()); err != nil {
		w.t.Fatal(err)
	}
}

// archive makes a file on a replica set refer to a new object under a key of its own.
func (v *model) archive(set int, name string) string {
	key := prefix + "data/" + name
	v.files[name] = &file{fmt.Sprint(set), []string{key}}
	v.w.putOf(v.id, key, v.w.id(v.files[name]))
	return key
}

// refs are what a brick's files refer to now.
func (v *model) refs(brick string) (refs []catalog.Ref) {
	set := fmt.Sprint(slices.Index(v.bricks, brick) / 2)
	found := map[string]gluster.GFID{}
	for _, f := range v.files {
		if f.brick == set {
			for _, key := range f.keys {
				found[key] = v.w.id(f)
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(found)) {
		refs = append(refs, catalog.Ref{Key: catalog.Bytes(key), GFID: found[key]})
	}
	return refs
}

// scan writes down one brick; in the meantime, which may be nil, happens half way.
func (v *model) scan(brick string, meanwhile func()) {
	s := Scan{Begun: v.w.now}
	s.Scan, s.Volume, s.Brick, s.Begin = object.NewID(), v.id, brick, v.asked()
	refs, tree := v.refs(brick), v.tree(brick)
	if meanwhile != nil {
		meanwhile()
	}
	s.End = v.asked()
	s.Stored = v.w.now
	s.Refs = func(_ context.Context, visit func(catalog.Ref) error) error { return visitAll(refs, visit) }
	s.Tree = func(_ context.Context, visit func(catalog.Entry) error) error { return visitAll(tree, visit) }
	v.scans = append(v.scans, s)
}

// tree are the names of a brick's files.
func (v *model) tree(brick string) (tree []catalog.Entry) {
	set := fmt.Sprint(slices.Index(v.bricks, brick) / 2)
	for _, name := range slices.Sorted(maps.Keys(v.files)) {
		if f := v.files[name]; f.brick == set {
			tree = append(tree, catalog.Entry{Kind: catalog.Stub, Path: catalog.Bytes(name), GFID: v.w.id(f)})
		}
	}
	return tree
}

func visitAll[T any](all []T, visit func(T) error) error {
	for _, one := range all {
		if err := visit(one); err != nil {
			return err
		}
	}
	return nil
}

func (v *model) asked() catalog.Cluster {
	c := v.cluster
	c.Moves = slices.Clone(c.Moves)
	return c
}

func (v *model) catalog() {
	for _, b := range v.bricks {
		v.scan(b, nil)
	}
}

// search is gc without --apply.
func (w *world) search() (Found, error) {
	return w.place().Search(context.Background(), Search{Grace: grace, Jobs: 1, Found: func(Candidate) error { return nil }}) // one job: a request may be the moment of another step
}

// publish is the first half of gc --apply.
func (w *world) publish() (*List, error) {
	f, err := w.search()
	if err != nil {
		return nil, err
	}
	return w.show(&f.List)
}

// show publishes a list.
func (w *world) show(l *List) (*List, error) {
	p := w.place()
	if err := p.Publish(context.Background(), l); err != nil {
		return nil, err
	}
	status, err := p.Open(context.Background())
	if err != nil || status == nil {
		return nil, errors.Join(err, errors.New("no list is open"))
	}
	return p.Read(context.Background(), *status)
}

// answer has one brick looked at.
func (v *model) answer(l *List, brick string) error {
	ask := func(context.Context) (catalog.Cluster, error) { return v.asked(), nil }
	_, err := v.w.place().Answer(context.Background(), l, v.id, catalog.Subject{Brick: brick, Ask: ask},
		Look{func(_ context.Context, visit func(catalog.Ref) error) error { return visitAll(v.refs(brick), visit) },
			func(gfid gluster.GFID) (bool, error) {
				return slices.ContainsFunc(v.tree(brick), func(e catalog.Entry) bool { return e.GFID == gfid }), nil
			}})
	return err
}

func (w *world) answers(l *List) error {
	for _, v := range w.volumes {
		for _, b := range v.bricks {
			if err := v.answer(l, b); err != nil {
				return err
			}
		}
	}
	return nil
}

// delete is the second half of gc --apply.
func (w *world) delete(l *List) error { return w.deleteTelling(l, func(Candidate, error) {}) }

func (w *world) deleteTelling(l *List, tell func(Candidate, error)) error {
	d := Deletion{Place: w.place(), List: l, Owner: owner.Owner{Run: object.NewID()}, Jobs: 1, Most: 1 << 40,
		Record: func(Candidate) error { return nil }, Tell: tell,
		Erased: func(t Target, err error) { w.erased[t.GFID] = err }}
	return d.Run(context.Background())
}

func (w *world) apply() error {
	l, err := w.publish()
	if err == nil {
		err = w.answers(l)
	}
	if err == nil {
		err = w.delete(l)
	}
	return err
}

// keys are the objects of files.
func (w *world) keys() (keys []string) {
	if err := w.store.List(context.Background(), prefix, func(o objstore.Listed) error {
		if object.IsData(prefix, o.Key) {
			keys = append(keys, o.Key)
		}
		return nil
	}); err != nil {
		w.t.Fatal(err)
	}
	slices.Sort(keys)
	return keys
}
