package gc

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/coldbrick/coldbrick/internal/catalog"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore"
)

// Retired is how much was retired.
type Retired struct{ Catalogs, Records int }

// Retire deletes what nobody can need any more: catalogs, which keep the names of files
// that are long deleted; the lists of a grace ago, by which nobody may delete any more;
// and the intents that ended then. Nothing is deleted while a list or an intent is open. No catalog goes that this or
// another run of gc, begun in the last days, may pick, or that a rebuild would take: of
// a volume without two whole generations none goes at all.
//
// Fewer catalogs never make more garbage: two whole generations a grace apart are
// needed, and one that lacks a catalog is not whole.
func (p Place) Retire(ctx context.Context, grace time.Duration) (r Retired, err error) {
	deleter, ok := p.Store.(objstore.Deleter)
	if !ok {
		return r, fmt.Errorf("%w: the store cannot delete", ErrNotProven)
	}
	if err := p.tidy(ctx); err != nil {
		return r, err
	}
	known, err := p.Volumes(ctx)
	if err != nil || len(known.Living) == 0 {
		return r, err
	}
	now, err := p.now(ctx, object.VolumeKey(p.Prefix, known.Living[0]))
	if err != nil {
		return r, err
	}
	for _, id := range known.Living {
		if open, err := p.Open(ctx); err != nil || open != nil {
			return r, err
		}
		if err := p.noIntents(ctx); err != nil {
			return r, err
		}
		n, err := p.retireCatalogs(ctx, deleter, id, now, grace)
		r.Catalogs += n
		if err != nil {
			return r, err
		}
	}
	before := now.Add(-grace)
	lists, err := p.removeLists(ctx, deleter, func(_ string, _ []string, newest time.Time) bool { return newest.Before(before) })
	if err != nil {
		return r, err
	}
	intents, err := objstore.RemoveRecords(ctx, p.Store, deleter, object.IntentKey(p.Prefix, "", ""), func(_ string, parts []string, newest time.Time) bool {
		return newest.Before(before) && slices.Contains(parts, endedPart)
	}, begunPart, endedPart)
	r.Records = lists + intents
	return r, err
}

// tidy removes what runs that died have left in the store, and no listing shows.
func (p Place) tidy(ctx context.Context) error {
	if t, ok := p.Store.(objstore.Tidier); ok {
		return t.Tidy(ctx, p.Prefix)
	}
	return nil
}

// runsFor is how long after its search a run of gc, or of a rebuild, may still read
// catalogs: with the newest generation being up to newestFor older than one that came
// since.
const runsFor = 2 * newestFor

func (p Place) retireCatalogs(ctx context.Context, deleter objstore.Deleter, volumeID string, now time.Time, grace time.Duration) (int, error) {
	place := p.catalogs(volumeID)
	all, err := place.Find(ctx, p.Dir)
	if err != nil {
		return 0, err
	}
	keep, before, ok := needed(all, now, grace)
	if !ok {
		return 0, nil
	}
	return place.Remove(ctx, deleter, before, keep)
}

// needed are the scans that must stay, besides all from before on. ok is false if all must.
func needed(all []catalog.Catalog, now time.Time, grace time.Duration) (keep map[string]bool, before time.Time, ok bool) {
	older, newer, err := Generations(scansOf(all), now, grace+runsFor)
	if err != nil { // what there is may be all that a rebuild has
		return nil, before, false
	}
	keep = map[string]bool{}
	for _, s := range slices.Concat(older.Scans, newer.Scans) {
		keep[s.Scan] = true
	}
	newest, _ := catalog.Newest(all)
	for _, c := range newest {
		keep[c.Scan] = true
	}
	return keep, older.Begun, true
}

func (p Place) removeLists(ctx context.Context, deleter objstore.Deleter, which objstore.Chosen) (int, error) {
	return objstore.RemoveRecords(ctx, p.Store, deleter, object.GarbageKey(p.Prefix, "", ""), which, listPart, answersPart, claimPart, donePart)
}
