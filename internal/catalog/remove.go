package catalog

import (
	"context"
	"time"

	"github.com/coldbrick/coldbrick/internal/objstore"
)

// Remove deletes all scans of the volume of which each part was written before a moment,
// but for those to keep: also what was left of scans that failed. It tells how many. The
// manifest goes first, without which a catalog does not count, and the begin last: so
// one that was removed half way is never taken for whole or for broken.
func (p Place) Remove(ctx context.Context, deleter objstore.Deleter, before time.Time, keep map[string]bool) (scans int, err error) {
	return objstore.RemoveRecords(ctx, p.Store, deleter, p.key("", ""), func(scan string, _ []string, newest time.Time) bool {
		return newest.Before(before) && !keep[scan]
	}, removed...)
}

// removed are the parts in the order in which they go.
var removed = []string{manifestPart, treePart, refsPart, beginPart}

// RemoveScan deletes one catalog.
func (p Place) RemoveScan(ctx context.Context, deleter objstore.Deleter, scan string) error {
	for _, part := range removed {
		if err := objstore.Remove(ctx, p.Store, deleter, p.key(scan, part)); err != nil {
			return err
		}
	}
	return nil
}
