package objstore

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/coldbrick/coldbrick/internal/workers"
)

// Splitter is a Lister that can be asked for parts of a listing at once.
type Splitter interface {
	Lister
	// Split tells, by one request, of the objects whose keys have no further slash
	// behind prefix, and the prefixes, which end in one, of all others. whole is false
	// if there are more of them than fit into an answer.
	Split(ctx context.Context, prefix string) (objects []Listed, below []string, whole bool, err error)
}

// mostLevels is how many levels of directories are looked into for parts.
const mostLevels = 4

// ListAll is List, in parts of which so many are listed at once, where the store can do that. It costs
// a request for each part, and a few to find them. Calls of visit do not overlap. Keys
// that come under a new prefix in the meantime may be missing, as later pages of a
// listing miss keys before them.
func ListAll(ctx context.Context, store Lister, prefix string, atOnce int, visit func(Listed) error) error {
	s, ok := store.(Splitter)
	if !ok {
		return store.List(ctx, prefix, visit)
	}
	parts, whole := []string{prefix}, []string(nil)
	for level := 0; level < mostLevels && len(parts) > 0 && len(parts)+len(whole) < atOnce; level++ {
		var next []string
		for _, part := range parts {
			objects, below, all, err := s.Split(ctx, part)
			if err != nil {
				return err
			}
			if !all {
				whole = append(whole, part)
				continue
			}
			for _, o := range objects {
				if err := visit(o); err != nil {
					return err
				}
			}
			next = append(next, below...)
		}
		parts = next
	}
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(max(atOnce, 1))
	for _, part := range append(whole, parts...) {
		group.Go(func() error {
			return workers.Guard(func() error {
				return s.List(ctx, part, func(o Listed) error {
					mu.Lock()
					defer mu.Unlock()
					return visit(o)
				})
			})
		})
	}
	return group.Wait()
}
