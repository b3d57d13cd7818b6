package recall

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/workers"
)

// Thawer is what the plugin of a store with cold storage classes offers besides.
type Thawer interface {
	Header
	Thaw(ctx context.Context, key string, info Info, how object.Thaw) error
}

// Thaw sees to it that the object of a stub can be read, and changes nothing on the
// volume. The outcome of a file that can be recalled now is outcome.Recalled, without
// a reason; of one that the store has still to thaw, outcome.Skipped and
// outcome.Thawing.
func (r *Recaller) Thaw(ctx context.Context, path string, gfid gluster.GFID, how object.Thaw) Result {
	t := &transaction{Recaller: r, path: path, gfid: gfid}
	res := Result{Path: path, Outcome: outcome.Recalled}
	if res.Err = workers.Guard(func() error { return t.thaw(ctx, how) }); res.Err != nil {
		res.Outcome, res.Reason = classify(res.Err)
	}
	res.GFID, res.Size, res.Key = t.gfid, t.notes.Size, t.notes.Key
	return res
}

func (t *transaction) thaw(ctx context.Context, how object.Thaw) (err error) {
	thawer, ok := t.Plugin.(Thawer)
	if !ok {
		return nil // its objects can be read at any time
	}
	if t.file, err = t.Files.OpenRegular(t.path); err != nil {
		return err
	}
	defer t.file.Close() // read only
	if err := t.look(); err != nil {
		return err
	}
	if t.state == gluster.Local || t.late() {
		return nil
	}
	info, err := t.ask(ctx, thawer)
	if err != nil || info.Access == object.Readable {
		return err
	}
	if info.Access == object.Frozen {
		if err := thawer.Thaw(ctx, t.notes.Key, info, how); err != nil {
			return fmt.Errorf("thaw: %w", err)
		}
	}
	return outcome.Skip(outcome.Thawing, "")
}

// ask looks at the object of a stub, which must be its own. That of an empty file may
// be missing: nothing of it is needed.
func (t *transaction) ask(ctx context.Context, store Header) (Info, error) {
	key, err := t.chooseKey(ctx)
	if err != nil {
		return Info{}, err
	}
	if err := t.newNotes(key); err != nil {
		return Info{}, err
	}
	info, err := store.Head(ctx, t.notes.Key)
	switch {
	case t.notes.Size == 0 && errors.Is(err, fs.ErrNotExist):
		return Info{}, nil
	case err != nil:
		return Info{}, err
	}
	return info, t.accept(info)
}
