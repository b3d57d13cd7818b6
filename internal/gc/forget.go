package gc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore"
)

const forgottenSuffix = ".forgotten" // behind the key of a registration

// forgotten are the volumes that somebody has said are gone, and that have not
// registered again since.
func (p Place) forgotten(ctx context.Context, living []string) (ids []string, err error) {
	top := object.VolumeKey(p.Prefix, "")
	err = p.Store.List(ctx, top, func(o objstore.Listed) error {
		id, ok := strings.CutSuffix(strings.TrimPrefix(o.Key, top), forgottenSuffix)
		if !ok || slices.Contains(living, id) {
			return nil
		}
		if _, err := p.read(ctx, o.Key); err != nil {
			return err
		}
		ids = append(ids, id)
		return nil
	})
	return ids, err
}

// Forget notes that a volume is gone for good: gc does not ask for its catalogs and
// bricks any more. It is refused while the newest catalog of the volume is younger than
// the grace: somebody may be about to rebuild it. A volume that archives or is written
// down again is known again.
func (p Place) Forget(ctx context.Context, volumeID string, grace time.Duration) error {
	deleter, ok := p.Store.(objstore.Deleter)
	if !ok {
		return fmt.Errorf("%w: the store cannot delete", ErrNotProven)
	}
	known, err := p.Volumes(ctx)
	if err != nil {
		return err
	}
	if !slices.Contains(known.Living, volumeID) {
		return fmt.Errorf("volume %s is not registered under the prefix %q", volumeID, p.Prefix)
	}
	now, err := p.now(ctx, object.VolumeKey(p.Prefix, volumeID))
	if err != nil {
		return err
	}
	all, err := p.Scans(ctx, volumeID)
	if err != nil {
		return err
	}
	for _, s := range all {
		if now.Sub(s.Stored) < grace {
			return fmt.Errorf("volume %s has a catalog of %s: it can be forgotten once that is older than --grace", volumeID, s.Stored.UTC().Format(time.DateTime))
		}
	}
	key := object.VolumeKey(p.Prefix, volumeID)
	if err := p.write(ctx, key+forgottenSuffix, []byte("{}\n")); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	// The registration itself goes last: until then the volume counts.
	for _, key := range []string{object.SignedVolumeKey(p.Prefix, volumeID), key} {
		if err := objstore.Remove(ctx, p.Store, deleter, key); err != nil {
			return err
		}
	}
	return nil
}
