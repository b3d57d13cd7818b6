// Package workers runs one function over what another one finds.
package workers

import (
	"context"

	"golang.org/x/sync/errgroup"
)

// Run calls one for each item that find emits, jobs at a time. The queue between
// them is short, so find waits for the work and memory does not grow with the
// number of items. An error of find or one ends the run: no further item is
// taken, those in work go on with ctx until they are done, and find's context
// ends.
func Run[T any](ctx context.Context, jobs int, find func(context.Context, func(T) error) error, one func(context.Context, T) error) error {
	queue := make(chan T, jobs)
	g, taking := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(queue)
		return find(taking, func(item T) error {
			select {
			case queue <- item:
				return nil
			case <-taking.Done():
				return context.Cause(taking)
			}
		})
	})
	for range jobs {
		g.Go(func() error {
			for item := range queue {
				if err := taking.Err(); err != nil {
					return err // queued, but not begun
				}
				if err := one(ctx, item); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}
