package gc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/coldbrick/coldbrick/internal/catalog"
	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore"
	"github.com/coldbrick/coldbrick/internal/workers"
)

// Erasure on purpose deletes the objects of files that were deleted, and all that is
// known of them, without a grace. In its place comes a second proof: no file with the gfid
// of an object lives on any brick, so that no run of archive can adopt it. See
// docs/decisions/0016-erasure-on-purpose.md.

// ErrLives means that a file that is to be erased has not been deleted.
var ErrLives = errors.New("the file lives: delete it first, also from the trash")

// ErrNamed means that the newest catalogs know a file that is to be erased.
var ErrNamed = errors.New("the newest catalogs know the file, or something that refers to its object: delete that, then run coldbrick catalog on every host")

// ErrUnlisted means that the list by which an erasure is under way lacks a file.
var ErrUnlisted = errors.New("the erasure that is under way is without this file: run this again when it is done")

// ErrUnknownPath means that a path to be erased is in no catalog.
var ErrUnknownPath = errors.New("no catalog of the volume has this path: name the file by its gfid")

// LockedError means that the store lets nobody delete an object.
type LockedError struct{ objstore.Lock }

func (e LockedError) Error() string { return "the store keeps it: " + e.String() }

// Erasure says what is to be erased.
type Erasure struct {
	GFIDs  []gluster.GFID
	Volume string   // id of that of the paths
	Paths  []string // as any of its catalogs has them; of a directory all that is below it
	Jobs   int      // requests at once
}

// Target is a file to be erased.
type Target struct {
	GFID  gluster.GFID    `json:"gfid"`
	Names []catalog.Bytes `json:"names,omitempty"` // by which catalogs know it
	Keys  []catalog.Bytes `json:"keys,omitempty"`  // that it referred to, or that were made from it
}

// wanted is what an erasure is about, on the way.
type wanted struct {
	Erasure
	traces
	targets map[gluster.GFID]*Target
	named   map[gluster.GFID]bool
}

// SearchErasure looks for the objects that were made from files to be erased. Of each
// volume the newest generation of catalogs may neither name a file nor refer to its
// objects.
func (p Place) SearchErasure(ctx context.Context, e Erasure) (l List, err error) {
	l.Kind, l.Volume = erasureKind, e.Volume
	known, err := p.Volumes(ctx)
	if err != nil {
		return l, err
	}
	newest, others, err := p.newestAndOthers(ctx, known, &l)
	if err != nil {
		return l, err
	}
	w := &wanted{e, newTraces(), map[gluster.GFID]*Target{}, map[gluster.GFID]bool{}}
	if err := w.resolve(ctx, slices.Concat(newest, others)); err != nil {
		return l, err
	}
	for _, s := range others {
		if err := w.read(ctx, s, false); err != nil {
			return l, err
		}
	}
	for _, s := range newest {
		if err := w.read(ctx, s, true); err != nil {
			return l, err
		}
	}
	if err := p.objectsOf(ctx, w, newest, known, &l); err != nil {
		return l, err
	}
	for _, c := range l.Candidates {
		for _, gfid := range c.Of {
			if !c.Covered { // else the key is another file's by now
				w.refer(gfid, string(c.Key))
			}
		}
	}
	for _, t := range w.sorted() {
		if w.named[t.GFID] {
			l.Named = append(l.Named, t)
		} else {
			l.Targets = append(l.Targets, t)
		}
	}
	return l, l.fits()
}

// Lacks are the files and paths of an erasure that the list knows nothing of.
func (l *List) Lacks(e Erasure) (lacking []Target) {
	files, paths := map[gluster.GFID]bool{}, map[string]bool{}
	for _, t := range slices.Concat(l.Targets, l.Named) {
		files[t.GFID] = true
		for _, name := range t.Names {
			for at := range upwards(name) {
				paths[at] = true
			}
		}
	}
	for _, gfid := range e.GFIDs {
		if !files[gfid] {
			lacking = append(lacking, Target{GFID: gfid})
		}
	}
	for _, at := range e.Paths {
		if !paths[at] {
			lacking = append(lacking, Target{Names: []catalog.Bytes{catalog.Bytes(at)}})
		}
	}
	return lacking
}

// upwards are a path and the directories that it is in.
func upwards(of catalog.Bytes) iter.Seq[string] {
	return func(yield func(string) bool) {
		for at := string(of); at != "." && at != "/" && yield(at); at = path.Dir(at) {
		}
	}
}

// newestAndOthers are the catalogs of the newest generation of each volume, and the rest.
func (p Place) newestAndOthers(ctx context.Context, known Known, l *List) (newest, others []Scan, err error) {
	if len(known.Living) == 0 {
		return nil, nil, fmt.Errorf("%w: no volume is registered under the prefix %q", ErrNotProven, p.Prefix)
	}
	now, err := p.now(ctx, object.VolumeKey(p.Prefix, known.Living[0]))
	if err != nil {
		return nil, nil, err
	}
	l.Forgotten = known.Forgotten
	for _, id := range known.Living {
		all, err := p.Scans(ctx, id)
		if err != nil {
			return nil, nil, err
		}
		g, err := latest(all, now)
		if err != nil {
			return nil, nil, fmt.Errorf("%w: volume %s: %w", ErrNotProven, id, err)
		}
		newest = append(newest, g.Scans...)
		others = append(others, without(all, g.Scans)...)
		l.Volumes = append(l.Volumes, Shared{ID: id, Name: g.volumeName, Bricks: g.Bricks, Begun: g.Begun})
	}
	for _, id := range known.Forgotten {
		all, err := p.Scans(ctx, id)
		if err != nil {
			return nil, nil, err
		}
		others = append(others, all...)
	}
	return newest, others, nil
}

func without(all, some []Scan) []Scan {
	return slices.DeleteFunc(slices.Clone(all), func(s Scan) bool {
		return slices.ContainsFunc(some, func(g Scan) bool { return g.Scan == s.Scan })
	})
}

// resolve finds the files of the paths.
func (w *wanted) resolve(ctx context.Context, scans []Scan) error {
	for _, gfid := range w.GFIDs {
		w.add(gfid)
	}
	named, seen := map[string]bool{}, map[string]bool{}
	for _, path := range w.Paths {
		named[path] = true
	}
	for _, s := range scans {
		if s.Volume != w.Volume || len(w.Paths) == 0 {
			continue
		}
		if err := s.Tree(ctx, func(e catalog.Entry) error {
			for at := range upwards(e.Path) {
				if named[at] {
					seen[at] = true
					w.add(e.GFID)
				}
			}
			return w.few(len(w.files))
		}); err != nil {
			return fmt.Errorf("tree of brick %s: %w", s.Brick, err)
		}
	}
	for _, path := range w.Paths {
		if !seen[path] {
			return fmt.Errorf("%q: %w", path, ErrUnknownPath)
		}
	}
	return nil
}

func (w *wanted) add(gfid gluster.GFID) {
	w.files[gfid], w.targets[gfid] = true, &Target{GFID: gfid}
}

// read looks for the files in a catalog.
func (w *wanted) read(ctx context.Context, s Scan, newest bool) error {
	err := s.find(ctx, w.traces, func(gfid gluster.GFID, name, key catalog.Bytes) {
		t := w.targets[gfid]
		if name != "" && !slices.Contains(t.Names, name) {
			t.Names = append(t.Names, name)
		}
		if key != "" {
			w.refer(gfid, string(key))
		}
		w.named[gfid] = w.named[gfid] || newest
	})
	if err != nil {
		return err
	}
	return w.few(len(w.keys))
}

var errTooMany = fmt.Errorf("more than %d files or objects are to be erased: name fewer at once", mostListed)

func (w *wanted) few(n int) error {
	if n > mostListed {
		return errTooMany
	}
	return nil
}

func (w *wanted) sorted() (all []Target) {
	for key, files := range w.keys {
		for _, gfid := range files {
			w.targets[gfid].Keys = append(w.targets[gfid].Keys, catalog.Bytes(key))
		}
	}
	for _, t := range w.targets {
		slices.Sort(t.Keys)
		all = append(all, *t)
	}
	slices.SortFunc(all, func(a, b Target) int { return strings.Compare(a.GFID.String(), b.GFID.String()) })
	return all
}

// files are those that must not live.
func (l *List) files() []gluster.GFID {
	found := map[gluster.GFID]bool{}
	for _, t := range l.Targets {
		found[t.GFID] = true
	}
	for _, c := range l.Candidates {
		for _, gfid := range c.Of {
			found[gfid] = true
		}
	}
	return slices.SortedFunc(maps.Keys(found), func(a, b gluster.GFID) int { return strings.Compare(a.String(), b.String()) })
}

// fits refuses a list of an erasure that is too long to be read by the others.
func (l *List) fits() error {
	bytes := 0
	for _, c := range l.Candidates {
		bytes += len(c.Key)
	}
	for _, t := range slices.Concat(l.Targets, l.Named) {
		for _, name := range slices.Concat(t.Names, t.Keys) {
			bytes += len(name)
		}
	}
	if len(l.Candidates) > mostListed || bytes > mostListedKeys {
		return errTooMany
	}
	return nil
}

// keeper is the store if it keeps versions, else nil.
func (p Place) keeper(ctx context.Context) (objstore.Versioner, error) {
	v, ok := p.Store.(objstore.Versioner)
	if !ok {
		return nil, nil
	}
	keeps, err := v.KeepsVersions(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotProven, err)
	}
	if !keeps {
		return nil, nil
	}
	return v, nil
}

// found are versions under one key, and whether the newest generations refer to it.
type found struct {
	versions []objstore.Version
	refers   bool
}

// objectsOf asks the store about all that the newest generations do not refer to, and
// about what files to be erased are known to have referred to. It lists what was made
// from a target. A target whose object something else refers to is none.
func (p Place) objectsOf(ctx context.Context, w *wanted, newest []Scan, known Known, l *List) error {
	keeper, err := p.keeper(ctx)
	if err != nil {
		return err
	}
	l.Versions = keeper != nil
	list := p.listed
	if keeper != nil {
		list = keeper.Versions
	}
	var mu sync.Mutex
	err = workers.Run(ctx, max(w.Jobs, 1), func(ctx context.Context, emit func(context.Context, found) error) error {
		l.Objects, err = p.join(ctx, newest, list, func(versions []objstore.Version, refers bool) error {
			if refers && len(versions) == 1 && w.keys[versions[0].Key] == nil {
				return nil
			}
			return emit(ctx, found{slices.Clone(versions), refers})
		})
		return err
	}, func(ctx context.Context, f found) error {
		made, err := p.madeFrom(ctx, w, f, known)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		for _, c := range made {
			if f.refers && !c.Covered {
				w.named[c.gfid] = true
			}
		}
		l.Candidates = append(l.Candidates, made...)
		return w.few(len(l.Candidates))
	})
	l.Candidates = slices.DeleteFunc(l.Candidates, func(c Candidate) bool {
		return slices.ContainsFunc(c.Of, func(gfid gluster.GFID) bool { return w.named[gfid] })
	})
	slices.SortFunc(l.Candidates, func(a, b Candidate) int {
		return cmp.Or(strings.Compare(string(a.Key), string(b.Key)), strings.Compare(a.Version, b.Version))
	})
	return err
}

// madeFrom are those versions of one key that were made from a file to be erased. Markers
// go if no version of another file would be seen again without them.
func (p Place) madeFrom(ctx context.Context, w *wanted, f found, known Known) (made []Candidate, err error) {
	key := f.versions[0].Key
	covered, all := false, !f.refers
	var of []gluster.GFID
	for _, v := range f.versions {
		if v.Marker {
			continue
		}
		c, err := p.identify(ctx, v, known)
		if err != nil {
			return nil, err
		}
		if c == nil || !w.files[c.gfid] {
			all = false
			covered = covered || v.Latest
			continue
		}
		c.Of = []gluster.GFID{c.gfid}
		if !slices.Contains(of, c.gfid) {
			of = append(of, c.gfid)
		}
		made = append(made, *c)
	}
	for n := range made {
		made[n].Covered = covered
	}
	for _, v := range f.versions {
		if v.Marker && all && (len(made) > 0 || w.keys[key] != nil) {
			made = append(made, Candidate{Key: catalog.Bytes(key), Modified: v.Modified, Volume: w.Volume, Version: v.ID, Marker: true, Of: of})
		}
	}
	return made, nil
}
