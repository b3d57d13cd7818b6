package gc

import (
	"context"
	"encoding/json"
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

// unheard is how long a volume that has never registered still counts after somebody has
// said that it is gone: no catalog tells when it was last heard of. One that lives
// archives within that time, and is known then.
const unheard = 30 * 24 * time.Hour

// forgotten is a note that a volume is gone.
type forgotten struct {
	Unregistered bool `json:"unregistered,omitempty"` // it never was
}

// forgotten are the volumes that somebody has said are gone, and that have not
// registered again since.
func (p Place) forgotten(ctx context.Context, living []string) (ids []string, err error) {
	top := object.VolumeKey(p.Prefix, "")
	err = p.Store.List(ctx, top, func(o objstore.Listed) error {
		id, ok := strings.CutSuffix(strings.TrimPrefix(o.Key, top), forgottenSuffix)
		if !ok || slices.Contains(living, id) {
			return nil
		}
		text, err := p.read(ctx, o.Key)
		if err != nil {
			return err
		}
		var note forgotten
		if err := json.Unmarshal(text, &note); err != nil {
			return fmt.Errorf("%s: %w", o.Key, err)
		}
		if note.Unregistered {
			now, err := p.now(ctx, o.Key)
			if err != nil || now.Sub(o.Modified) < unheard {
				return err
			}
		}
		ids = append(ids, id)
		return nil
	})
	return ids, err
}

// Forget notes that a volume is gone for good: gc does not ask for its catalogs and
// bricks any more, at once, or after a wait, which it tells, if the volume has never
// registered. It is refused while the newest catalog of the volume is younger than
// the grace: somebody may be about to rebuild it. A volume that archives or is written
// down again is known again.
func (p Place) Forget(ctx context.Context, volumeID string, grace time.Duration) (wait time.Duration, err error) {
	deleter, ok := p.Store.(objstore.Deleter)
	if !ok {
		return 0, fmt.Errorf("%w: the store cannot delete", ErrNotProven)
	}
	known, err := p.Volumes(ctx)
	if err != nil {
		return 0, err
	}
	key := object.VolumeKey(p.Prefix, volumeID)
	if !slices.Contains(known.Living, volumeID) {
		return unheard, p.noteForgotten(ctx, key, forgotten{Unregistered: true})
	}
	now, err := p.now(ctx, key)
	if err != nil {
		return 0, err
	}
	all, err := p.Scans(ctx, volumeID)
	if err != nil {
		return 0, err
	}
	for _, s := range all {
		if now.Sub(s.Stored) < grace {
			return 0, fmt.Errorf("volume %s has a catalog of %s: it can be forgotten once that is older than --grace", volumeID, s.Stored.UTC().Format(time.DateTime))
		}
	}
	if err := p.noteForgotten(ctx, key, forgotten{}); err != nil {
		return 0, err
	}
	// The registration itself goes last: until then the volume counts.
	for _, key := range []string{object.SignedVolumeKey(p.Prefix, volumeID), key} {
		if err := objstore.Remove(ctx, p.Store, deleter, key); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

func (p Place) noteForgotten(ctx context.Context, key string, note forgotten) error {
	text, err := json.Marshal(note)
	if err != nil {
		return err
	}
	err = p.write(ctx, key+forgottenSuffix, append(text, '\n'))
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}
