package objstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/coldbrick/coldbrick/internal/object"
)

// Heads tells about objects; every Store does.
type Heads interface {
	Head(ctx context.Context, key string) (object.Info, error)
}

// Remove deletes one of coldbrick's own records, as it is now. That none is there is
// well: somebody else was faster.
func Remove(ctx context.Context, store Heads, deleter Deleter, key string) error {
	info, err := store.Head(ctx, key)
	if err == nil {
		err = deleter.Delete(ctx, key, info)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	return nil
}

// Chosen says which records are to go: by id, parts, and when the newest part was written.
type Chosen func(id string, parts []string, newest time.Time) bool

// RemoveRecords deletes all parts of some records, whose keys are top, the id and the part,
// in the order of parts, of which one that ends in a slash stands for all below it. It
// tells how many records.
func RemoveRecords(ctx context.Context, store interface {
	Heads
	Lister
}, deleter Deleter, top string, which Chosen, parts ...string) (records int, err error) {
	found := map[string][]string{} // names of parts by id
	newest := map[string]time.Time{}
	err = store.List(ctx, top, func(o Listed) error {
		id, name, _ := strings.Cut(strings.TrimPrefix(o.Key, top), "/")
		found[id] = append(found[id], name)
		if o.Modified.After(newest[id]) {
			newest[id] = o.Modified
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	for id, names := range found {
		if !which(id, names, newest[id]) {
			continue
		}
		for _, part := range parts {
			for _, name := range names {
				if name == part || strings.HasSuffix(part, "/") && strings.HasPrefix(name, part) {
					if err := Remove(ctx, store, deleter, top+id+"/"+name); err != nil {
						return records, err
					}
				}
			}
		}
		records++
	}
	return records, nil
}
