package catalog

import (
	"context"
	"strings"
	"time"

	"github.com/coldbrick/coldbrick/internal/objstore"
)

// Remove deletes all scans of the volume of which each part was written before a moment,
// but for those to keep: also what was left of scans that failed. It tells how many. The
// manifest goes first, without which a catalog does not count, and the begin last: so
// one that was removed half way is never taken for whole or for broken.
func (p Place) Remove(ctx context.Context, deleter objstore.Deleter, before time.Time, keep map[string]bool) (scans int, err error) {
	top := p.key("", "")
	found := map[string]map[string]bool{} // parts by scan
	newer := map[string]bool{}
	err = p.Store.List(ctx, top, func(o objstore.Listed) error {
		scan, part, _ := strings.Cut(strings.TrimPrefix(o.Key, top), "/")
		if found[scan] == nil {
			found[scan] = map[string]bool{}
		}
		found[scan][part] = true
		newer[scan] = newer[scan] || !o.Modified.Before(before)
		return nil
	})
	if err != nil {
		return 0, err
	}
	for scan, parts := range found {
		if newer[scan] || keep[scan] {
			continue
		}
		if err := p.remove(ctx, deleter, scan, parts); err != nil {
			return scans, err
		}
		scans++
	}
	return scans, nil
}

// RemoveScan deletes one catalog.
func (p Place) RemoveScan(ctx context.Context, deleter objstore.Deleter, scan string) error {
	return p.remove(ctx, deleter, scan, map[string]bool{manifestPart: true, treePart: true, refsPart: true, beginPart: true})
}

func (p Place) remove(ctx context.Context, deleter objstore.Deleter, scan string, parts map[string]bool) error {
	for _, part := range []string{manifestPart, treePart, refsPart, beginPart} {
		if parts[part] {
			if err := objstore.Remove(ctx, p.Store, deleter, p.key(scan, part)); err != nil {
				return err
			}
		}
	}
	return nil
}
