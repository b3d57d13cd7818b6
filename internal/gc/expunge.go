package gc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/coldbrick/coldbrick/internal/catalog"
	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore"
)

// erase does an erasure: notes first, so that no rebuild brings a file back whatever is
// left; then the objects; and last what is known of the names, by which a run that was
// cut is found again.
func (d *Deletion) erase(ctx context.Context, deleter objstore.Deleter, garbage []Candidate) (err error) {
	if d.keeper, err = d.Place.keeper(ctx); err != nil {
		return err
	}
	if d.List.Versions != (d.keeper != nil) {
		return fmt.Errorf("%w: whether the bucket keeps versions was changed since the list was published", ErrNotProven)
	}
	if err := d.may(ctx); err != nil {
		return err
	}
	for _, t := range d.List.Targets {
		if errors.Is(d.left[t.GFID], ErrLives) {
			continue
		}
		if err := d.Place.bury(ctx, t.GFID, d.List.ID, d.Owner); err != nil {
			return err
		}
	}
	// A marker goes first: without it a version is seen again, and is found by the next
	// run if this one is cut. One of a key of which something stays, stays.
	var markers, data []Candidate
	for _, c := range garbage {
		switch {
		case !c.Marker:
			data = append(data, c)
		case !slices.ContainsFunc(c.Of, func(g gluster.GFID) bool { return d.left[g] != nil }):
			markers = append(markers, c)
		}
	}
	for _, some := range [][]Candidate{markers, data} {
		if err := d.delete(ctx, deleter, some); err != nil {
			return err
		}
	}
	if err := d.Place.tidy(ctx); err != nil { // a delete that was cut is not found by a search
		return err
	}
	return d.expunge(ctx, deleter)
}

// expunge deletes the catalogs that know a file that is erased, of all volumes. Those of
// the newest generations do not: the search has seen to that. One that came since and
// does know it stays, and so the file is not erased.
//
// gc needs two generations a grace apart, and has to wait for the older one again.
func (d *Deletion) expunge(ctx context.Context, deleter objstore.Deleter) error {
	if err := d.may(ctx); err != nil {
		return err
	}
	known, err := d.known(ctx)
	if err != nil {
		return err
	}
	var now List
	newest, others, err := d.Place.newestAndOthers(ctx, known, &now)
	if err != nil {
		return err
	}
	erased := newTraces()
	for _, t := range d.List.Targets {
		erased.files[t.GFID] = d.left[t.GFID] == nil
		for _, key := range t.Keys {
			erased.refer(t.GFID, string(key))
		}
	}
	for _, s := range newest {
		names, err := s.knows(ctx, erased)
		if err != nil {
			return err
		}
		for _, gfid := range names {
			d.left[gfid] = ErrNamed
			erased.files[gfid] = false
		}
	}
	for _, s := range others {
		names, err := s.knows(ctx, erased)
		if err == nil && len(names) > 0 {
			err = d.Place.remove(ctx, deleter, s.Volume, s.Scan)
		}
		if err != nil {
			return err
		}
	}
	keep := map[string]bool{}
	for _, s := range slices.Concat(newest, others) {
		keep[s.Scan] = true
	}
	for _, v := range now.Volumes { // what scans that failed have left; none is under way for so long
		if _, err := d.Place.catalogs(v.ID).Remove(ctx, deleter, v.Begun.Add(-runsFor), keep); err != nil {
			return err
		}
	}
	if d.keeper == nil {
		return nil
	}
	return d.purge(ctx, object.CatalogsPrefix(d.Place.Prefix))
}

// knows are those of some files that a catalog names, or whose objects it knows.
func (s Scan) knows(ctx context.Context, of traces) (known []gluster.GFID, err error) {
	err = s.find(ctx, of, func(gfid gluster.GFID, _, _ catalog.Bytes) {
		if !slices.Contains(known, gfid) {
			known = append(known, gfid)
		}
	})
	return known, err
}

// dropLists deletes the lists by which nobody deletes any more, also that of this run:
// they name objects, and so files.
func (d *Deletion) dropLists(ctx context.Context, deleter objstore.Deleter) error {
	all, err := d.Place.Lists(ctx)
	if err != nil {
		return err
	}
	closed := map[string]bool{}
	for _, s := range all {
		closed[s.ID] = s.Done || d.List.Published.Sub(s.Published) >= closedAfter
	}
	_, err = d.Place.removeLists(ctx, deleter, func(id string, _ []string, _ time.Time) bool { return closed[id] })
	if err != nil || d.keeper == nil {
		return err
	}
	return d.purge(ctx, object.GarbageKey(d.Place.Prefix, "", ""))
}

// purge deletes all versions of records that were deleted. No record is ever written
// again under the key of another one.
func (d *Deletion) purge(ctx context.Context, top string) error {
	gone := map[string]bool{}
	var versions []objstore.Version
	err := d.keeper.Versions(ctx, top, func(v objstore.Version) error {
		gone[v.Key] = gone[v.Key] || v.Latest && v.Marker
		versions = append(versions, v)
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortStableFunc(versions, func(a, b objstore.Version) int { // data before markers: without them it would count again
		switch {
		case a.Marker == b.Marker:
			return strings.Compare(a.Key, b.Key)
		case a.Marker:
			return 1
		}
		return -1
	})
	kept := map[string]bool{}
	for _, v := range versions {
		if !gone[v.Key] || kept[v.Key] {
			continue
		}
		err := d.keeper.DeleteVersion(ctx, v.Key, v.ID)
		if errors.Is(err, fs.ErrPermission) { // a lock: its marker stays, too
			kept[v.Key] = true
			continue
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if len(kept) > 0 {
		err = fmt.Errorf("%w: the store lets nobody delete %d old versions of catalogs or lists, which may name files: %s is one",
			fs.ErrPermission, len(kept), slices.Sorted(maps.Keys(kept))[0])
	}
	return err
}
