package objstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/coldbrick/coldbrick/internal/object"
)

// Remove deletes one of coldbrick's own records, as it is now. That none is there is
// well: somebody else was faster.
func Remove(ctx context.Context, store interface {
	Head(ctx context.Context, key string) (object.Info, error)
}, deleter Deleter, key string) error {
	info, err := store.Head(ctx, key)
	if err == nil {
		err = deleter.Delete(ctx, key, info)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	return nil
}
