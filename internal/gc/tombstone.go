package gc

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"strings"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore"
	"github.com/coldbrick/coldbrick/internal/owner"
)

// tombstone says that a file was erased on purpose. It has no name.
type tombstone struct {
	Kind  string       `json:"coldbrick"`
	GFID  gluster.GFID `json:"gfid"`
	List  string       `json:"list"`
	Owner owner.Owner  `json:"owner"`
}

// bury notes that a file is erased: no rebuild brings it back.
func (p Place) bury(ctx context.Context, gfid gluster.GFID, list string, self owner.Owner) error {
	text, err := json.Marshal(tombstone{"erased", gfid, list, self})
	if err != nil {
		return err
	}
	err = p.write(ctx, object.ErasedKey(p.Prefix, gfid), append(text, '\n'))
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// Erased reads which files were erased on purpose. Whether a note of it can be believed
// is looked at when it counts.
func (p Place) Erased(ctx context.Context) (func(context.Context, gluster.GFID) (bool, error), error) {
	top := object.ErasedKey(p.Prefix, gluster.GFID{})
	noted := map[gluster.GFID]bool{}
	err := p.Store.List(ctx, top, func(o objstore.Listed) error {
		if gfid, err := gluster.ParseGFID(strings.TrimPrefix(o.Key, top)); err == nil {
			noted[gfid] = true
		}
		return nil
	})
	return func(ctx context.Context, gfid gluster.GFID) (bool, error) {
		if !noted[gfid] {
			return false, nil
		}
		_, err := p.read(ctx, object.ErasedKey(p.Prefix, gfid))
		return err == nil, err
	}, err
}
