package gc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/coldbrick/coldbrick/internal/catalog"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore"
	"github.com/coldbrick/coldbrick/internal/workers"
)

// Search says how to look for garbage.
type Search struct {
	Grace time.Duration
	Jobs  int // requests at once

	// Found is told of each candidate, in no order. Calls do not overlap.
	Found func(Candidate) error
}

// Found is what a search came to.
type Found struct {
	List List // what fits into one
	More bool // there are candidates that are not in it
}

// Search looks for the objects that neither of two generations of catalogs of any volume
// refers to, and asks the store about each. An object of a volume that is not registered
// ends it: who knows what else that one refers to.
func (p Place) Search(ctx context.Context, s Search) (f Found, err error) {
	if s.Grace < LeastGrace {
		return f, fmt.Errorf("the grace must be at least %v: runs of archive may use an object that is half as old", LeastGrace)
	}
	f.List.Grace = int64(s.Grace / time.Second)
	known, err := p.Volumes(ctx)
	if err != nil {
		return f, err
	}
	scans, before, err := p.generations(ctx, known, s.Grace, &f.List)
	if err != nil {
		return f, err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(max(s.Jobs, 1) + 1)
	listed := make(chan objstore.Listed)
	group.Go(func() error {
		defer close(listed)
		f.List.Objects, err = p.Unreferenced(ctx, scans, before, func(o objstore.Listed) error {
			select {
			case listed <- o:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		})
		return err
	})
	var mu sync.Mutex
	keys := 0
	for range max(s.Jobs, 1) {
		group.Go(func() error {
			return workers.Guard(func() error {
				for o := range listed {
					c, err := p.identify(ctx, objstore.Version{Listed: o}, known)
					if err != nil {
						return err
					}
					if c == nil {
						continue
					}
					mu.Lock()
					err = s.Found(*c)
					if keys += len(c.Key); len(f.List.Candidates) < mostListed && keys <= mostListedKeys {
						f.List.Candidates = append(f.List.Candidates, *c)
					} else {
						f.More = true
					}
					mu.Unlock()
					if err != nil {
						return err
					}
				}
				return nil
			})
		})
	}
	if err := group.Wait(); err != nil {
		return f, err
	}
	slices.SortFunc(f.List.Candidates, func(a, b Candidate) int { return strings.Compare(string(a.Key), string(b.Key)) })
	return f, nil
}

// generations picks those of all volumes, and notes them in the list. Objects count from
// before on: those that are older than each of them.
func (p Place) generations(ctx context.Context, known Known, grace time.Duration, l *List) (scans []Scan, before time.Time, err error) {
	if len(known.Living) == 0 {
		return nil, before, fmt.Errorf("%w: no volume is registered under the prefix %q", ErrNotProven, p.Prefix)
	}
	now, err := p.now(ctx, object.VolumeKey(p.Prefix, known.Living[0]))
	if err != nil {
		return nil, before, err
	}
	before = now.Add(-grace)
	l.Forgotten = known.Forgotten
	for _, id := range known.Living {
		all, err := p.Scans(ctx, id)
		if err != nil {
			return nil, before, err
		}
		older, newer, err := Generations(all, now, grace)
		if err != nil {
			return nil, before, fmt.Errorf("%w: volume %s: %w", ErrNotProven, id, err)
		}
		scans = append(append(scans, older.Scans...), newer.Scans...)
		if older.Begun.Before(before) {
			before = older.Begun
		}
		l.Volumes = append(l.Volumes, Shared{ID: id, Name: newer.volumeName, Bricks: newer.Bricks, Begun: newer.Begun})
	}
	return scans, before, nil
}

// identify asks the store what an object is. It is nil for one that coldbrick has not
// made, that is another one by now, or gone.
func (p Place) identify(ctx context.Context, o objstore.Version, known Known) (*Candidate, error) {
	info, err := p.head(ctx, o.Key, o.ID)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.Key, err)
	}
	made, err := object.DecodeMetadata(info.Metadata)
	if errors.Is(err, object.ErrForeign) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: object %q: %w", ErrNotProven, o.Key, err)
	}
	if !slices.Contains(known.Living, made.Volume) && !slices.Contains(known.Forgotten, made.Volume) {
		return nil, fmt.Errorf("%w: object %q is of volume %s, which is not registered under the prefix %q: "+
			"run archive and catalog in it, or if it is gone for good, coldbrick gc --forget-volume", ErrNotProven, o.Key, made.Volume, p.Prefix)
	}
	if info.Size != o.Size || info.Modified.Sub(o.Modified).Abs() >= time.Second {
		return nil, nil
	}
	return &Candidate{
		Key: catalog.Bytes(o.Key), Size: info.Size, Modified: info.Modified, ETag: info.ETag, Attempt: made.Attempt, Class: info.Class, Volume: made.Volume,
		Version: o.ID, lock: info.Lock, gfid: made.GFID,
	}, nil
}

// head asks about one version of an object, or about the object where version is "".
func (p Place) head(ctx context.Context, key, version string) (v objstore.VersionInfo, err error) {
	if version == "" {
		v.Info, err = p.Store.Head(ctx, key)
		return v, err
	}
	keeper, ok := p.Store.(objstore.Versioner)
	if !ok {
		return v, fmt.Errorf("%w: the store has no versions", ErrNotProven)
	}
	return keeper.HeadVersion(ctx, key, version)
}
