package gc

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/coldbrick/coldbrick/internal/catalog"
	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore"
	"github.com/coldbrick/coldbrick/internal/owner"
)

// A list holds no more candidates, and no more bytes of keys: it is read into memory.
const (
	mostListed     = 50_000
	mostListedKeys = 8 << 20
)

// Parts of a list of candidates, as their keys end.
const (
	listPart    = "list"
	claimPart   = "claim" // by the one run that may delete by it
	answersPart = "answers/"
	donePart    = "done" // nobody deletes by it any more
	format      = 1
)

// Candidate is an object that no catalog refers to, as a HEAD told of it.
type Candidate struct {
	Key      catalog.Bytes `json:"key"`
	Size     int64         `json:"size"`
	Modified time.Time     `json:"modified"`
	ETag     string        `json:"etag,omitempty"`
	Attempt  string        `json:"attempt,omitempty"`
	Class    string        `json:"class,omitempty"` // storage class, empty for the standard one
	Volume   string        `json:"volume"`          // id

	// Of an erasure.
	Of      []gluster.GFID `json:"of,omitempty"`      // made from this file; a marker: from these
	Version string         `json:"version,omitempty"` // "" where the store keeps none
	Marker  bool           `json:"marker,omitempty"`
	Covered bool           `json:"covered,omitempty"` // by the object of another file: references mean that one

	lock objstore.Lock
	gfid gluster.GFID // that the object was made from
}

// Shared is a volume that shares the prefix: all of its bricks have to answer.
type Shared struct {
	ID     string    `json:"id"`
	Name   string    `json:"name,omitempty"`
	Bricks []string  `json:"bricks"` // HOST:DIR
	Begun  time.Time `json:"begun"`  // of its newer generation, by the store's clock
}

// List is what may be garbage, published so that all hosts look for it on their bricks.
type List struct {
	Kind       string      `json:"coldbrick"`
	Format     int         `json:"format"`
	ID         string      `json:"id"`
	Owner      owner.Owner `json:"owner"`
	Volumes    []Shared    `json:"volumes"`
	Forgotten  []string    `json:"forgotten,omitempty"`
	Grace      int64       `json:"grace_seconds"`
	Objects    int64       `json:"objects"`            // that there were, referred to or not
	Candidates []Candidate `json:"candidates"`         // in order by key
	Volume     string      `json:"volume,omitempty"`   // id; of an erasure: the others answer, and this one erases
	Targets    []Target    `json:"targets,omitempty"`  // of an erasure
	Named      []Target    `json:"named,omitempty"`    // of an erasure: what cannot be erased yet, for ErrNamed
	Versions   bool        `json:"versions,omitempty"` // the store keeps them

	Published time.Time `json:"-"` // by the store's clock
	sum       string    // of the text
}

// What a list may be. A version that knows no erasure answers none.
const (
	listKind    = "gc-list"
	erasureKind = "gc-erasure"
)

// Erases reports whether the list is of an erasure on purpose.
func (l *List) Erases() bool { return l.Kind == erasureKind }

// KeepsFor returns an error if the grace by which the list was made is shorter than the
// backups of a host are old that may be put back.
func (l *List) KeepsFor(backups time.Duration) error {
	if grace := time.Duration(l.Grace) * time.Second; grace < backups && !l.Erases() {
		return fmt.Errorf("%w: list %s was made with a grace of %v, and backups of %v may be put back here: see backups-older-than",
			ErrNotProven, l.ID, grace, backups)
	}
	return nil
}

// Status is what the bucket has of a list.
type Status struct {
	ID            string
	Published     time.Time
	Claimed, Done bool
	ClaimedAt     time.Time
	answers       []objstore.Listed
}

// Lists tells of the lists of all runs, oldest first.
func (p Place) Lists(ctx context.Context) ([]Status, error) {
	found := map[string]*Status{}
	top := object.GarbageKey(p.Prefix, "", "")
	err := p.Store.List(ctx, top, func(o objstore.Listed) error {
		id, part, _ := strings.Cut(strings.TrimPrefix(o.Key, top), "/")
		s := found[id]
		if s == nil {
			s = &Status{ID: id}
			found[id] = s
		}
		switch {
		case part == listPart:
			s.Published = o.Modified
		case part == claimPart:
			s.Claimed, s.ClaimedAt = true, o.Modified
		case part == donePart:
			s.Done = true
		case strings.HasPrefix(part, answersPart):
			s.answers = append(s.answers, o)
		}
		return nil
	})
	var all []Status
	for _, s := range found {
		if !s.Published.IsZero() {
			all = append(all, *s)
		}
	}
	slices.SortFunc(all, func(a, b Status) int { return cmp.Or(a.Published.Compare(b.Published), cmp.Compare(a.ID, b.ID)) })
	return all, err
}

// Open is the list that somebody may be deleting by, nil if there is none.
func (p Place) Open(ctx context.Context) (*Status, error) {
	all, err := p.Lists(ctx)
	if err != nil {
		return nil, err
	}
	for _, s := range slices.Backward(all) {
		if s.Done {
			continue
		}
		now, err := p.now(ctx, object.GarbageKey(p.Prefix, s.ID, listPart))
		if err != nil {
			return nil, err
		}
		if now.Sub(s.Published) < closedAfter {
			return &s, nil
		}
	}
	return nil, nil
}

// Publish shows a list to all hosts. While it is open nobody may refer to objects anew:
// whoever is about to says so first and looks for lists then, as this looks for such
// intents after it has written the list. So at least one of two sees the other.
func (p Place) Publish(ctx context.Context, l *List) error {
	l.Kind, l.Format, l.ID = cmp.Or(l.Kind, listKind), format, object.NewID()
	text, err := json.Marshal(l)
	if err != nil {
		return err
	}
	if err := p.write(ctx, object.GarbageKey(p.Prefix, l.ID, listPart), append(text, '\n')); err != nil {
		return err
	}
	err = p.alone(ctx, l)
	for _, v := range l.Volumes {
		if err == nil && l.Published.Sub(v.Begun) > newestFor {
			err = fmt.Errorf("%w: the catalogs of volume %s are too old by now", ErrNotProven, v.ID)
		}
	}
	if err != nil {
		return errors.Join(err, p.Finish(ctx, l.ID))
	}
	return nil
}

// alone makes sure that a list that was just published is the only one, and that nobody
// refers to objects anew.
func (p Place) alone(ctx context.Context, l *List) error {
	all, err := p.Lists(ctx)
	if err != nil {
		return err
	}
	own := slices.IndexFunc(all, func(s Status) bool { return s.ID == l.ID })
	if own < 0 {
		return fmt.Errorf("%w: the store does not list what was just written", ErrNotProven)
	}
	l.Published = all[own].Published
	for _, s := range all {
		if s.ID != l.ID && !s.Done && l.Published.Sub(s.Published) < closedAfter {
			return fmt.Errorf("%w: another run of gc is at work, with list %s of %s", ErrNotProven, s.ID, s.Published.UTC().Format(time.DateTime))
		}
	}
	return p.noIntents(ctx)
}

// Read reads a list.
func (p Place) Read(ctx context.Context, s Status) (*List, error) {
	key := object.GarbageKey(p.Prefix, s.ID, listPart)
	text, err := p.read(ctx, key)
	if err != nil {
		return nil, err
	}
	var l List
	if err := json.Unmarshal(text, &l); err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	if l.Kind != listKind && !l.Erases() || l.Format != format || l.ID != s.ID {
		return nil, fmt.Errorf("%s: is %q of format %d", key, l.Kind, l.Format)
	}
	l.Published, l.sum = s.Published, sumOf(text)
	return &l, nil
}

// Stale ends a list that is more than a day old and was never claimed: nobody may begin
// to delete by it. One that was claimed ends with its run, or after two days, also if the
// run is known to have died: requests of it may still be on their way.
func (p Place) Stale(ctx context.Context, s Status) (bool, error) {
	if s.Claimed {
		return false, fmt.Errorf("%w: a run deletes by list %s, or died; if so the list ends two days after %s",
			ErrNotProven, s.ID, s.Published.UTC().Format(time.DateTime))
	}
	now, err := p.now(ctx, object.GarbageKey(p.Prefix, s.ID, listPart))
	if err != nil || now.Sub(s.Published) < listFor {
		return false, err
	}
	return true, p.Finish(ctx, s.ID)
}

// Finish says that nobody deletes by a list any more.
func (p Place) Finish(ctx context.Context, id string) error {
	err := p.write(ctx, object.GarbageKey(p.Prefix, id, donePart), []byte("{}\n"))
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

func sumOf(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// write writes a sealed object where none is.
func (p Place) write(ctx context.Context, key string, text []byte) error {
	sealed := objstore.Seal(p.Secret, key, text)
	if _, err := p.Store.Create(ctx, key, bytes.NewReader(sealed), int64(len(sealed)), nil); err != nil {
		return fmt.Errorf("store %s: %w", key, err)
	}
	return nil
}

// read reads a sealed object.
func (p Place) read(ctx context.Context, key string) ([]byte, error) {
	sealed, err := objstore.ReadSmall(ctx, p.Store, key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	text, err := objstore.Unseal(p.Secret, key, sealed)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return text, nil
}
