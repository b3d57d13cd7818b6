package gc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore"
	"github.com/coldbrick/coldbrick/internal/owner"
)

// Parts of an intent.
const (
	begunPart = "begun"
	endedPart = "ended"
)

// intention is the text of an intent. Purpose is for people, and the same whenever the
// same work goes on.
type intention struct {
	Kind    string      `json:"coldbrick"`
	Purpose string      `json:"purpose"`
	Owner   owner.Owner `json:"owner"`
}

// Intent is what Intend began.
type Intent struct {
	place Place
	id    string
	intention
}

// Intend says that files are about to refer to objects that nothing may refer to now, as
// those of a rebuild do. Until the work is done, and End has said so, nothing is deleted.
// It is refused while somebody may be deleting.
func (p Place) Intend(ctx context.Context, purpose string, self owner.Owner) (Intent, error) {
	i := Intent{p, object.NewID(), intention{"intent", purpose, self}}
	text, err := json.Marshal(i.intention)
	if err != nil {
		return i, err
	}
	if err := p.write(ctx, object.IntentKey(p.Prefix, i.id, begunPart), append(text, '\n')); err != nil {
		return i, err
	}
	list, err := p.Open(ctx)
	if err == nil && list != nil {
		err = fmt.Errorf("gc may be deleting, by its list %s of %s: wait until it is done, or two days", list.ID, list.Published.UTC().Format(time.DateTime))
	}
	if err != nil {
		return i, errors.Join(err, p.endIntent(ctx, i.id))
	}
	return i, nil
}

// End says that all is referred to that was to be: also for runs that died at the same
// work on this host.
func (i Intent) End(ctx context.Context) error {
	all, err := i.place.intents(ctx)
	if err != nil {
		return err
	}
	for id, state := range all {
		if state == ended || id == i.id {
			continue
		}
		other, err := i.place.readIntent(ctx, id)
		if err != nil {
			return err
		}
		if other.Purpose == i.Purpose && i.Owner.Dead(other.Owner) {
			if err := i.place.endIntent(ctx, id); err != nil {
				return err
			}
		}
	}
	return i.place.endIntent(ctx, i.id)
}

func (p Place) endIntent(ctx context.Context, id string) error {
	err := p.write(ctx, object.IntentKey(p.Prefix, id, endedPart), []byte("{}\n"))
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

func (p Place) readIntent(ctx context.Context, id string) (i intention, err error) {
	key := object.IntentKey(p.Prefix, id, begunPart)
	text, err := p.read(ctx, key)
	if err == nil {
		err = json.Unmarshal(text, &i)
	}
	return i, err
}

type intentState int

const (
	under intentState = 1 + iota // way
	ended
)

func (p Place) intents(ctx context.Context) (map[string]intentState, error) {
	found := map[string]intentState{}
	top := object.IntentKey(p.Prefix, "", "")
	err := p.Store.List(ctx, top, func(o objstore.Listed) error {
		id, part, _ := strings.Cut(strings.TrimPrefix(o.Key, top), "/")
		if part == endedPart {
			found[id] = ended
		} else {
			found[id] = max(found[id], under)
		}
		return nil
	})
	return found, err
}

// noIntents returns ErrNotProven while somebody may refer to objects anew.
func (p Place) noIntents(ctx context.Context) error {
	all, err := p.intents(ctx)
	if err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(all)) {
		if all[id] == ended {
			continue
		}
		i, err := p.readIntent(ctx, id)
		if err != nil {
			return err
		}
		return fmt.Errorf("%w: %s on %s has not been completed: run it again there, or if that shall never be, delete %s",
			ErrNotProven, i.Purpose, i.Owner.Host, object.IntentKey(p.Prefix, id, ""))
	}
	return nil
}
