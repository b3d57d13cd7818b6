// Package workers runs one function over what another one finds.
package workers

import (
	"context"

	"golang.org/x/sync/errgroup"
)

// Run calls one for each item that find emits, jobs at a time. The queue between
// them is short, so find waits for the work and memory does not grow with the
// number of items. An error of find or one, or a panic, ends the run: no further
// item is taken, those in work go on with ctx until they are done, and find's context
// ends. When ctx has ended, Run returns its cause, whatever became of the items:
// the last of them may have been dropped.
//
// emit waits for room in the queue until its own context ends: so find can stop
// at once although all workers are busy.
func Run[T any](ctx context.Context, jobs int, find func(ctx context.Context, emit func(context.Context, T) error) error, one func(context.Context, T) error) error {
	queue := make(chan T, jobs)
	g, taking := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(queue)
		return Guard(func() error {
			return find(taking, func(ctx context.Context, item T) error {
				select {
				case queue <- item:
					return nil
				case <-ctx.Done():
					return context.Cause(ctx)
				case <-taking.Done():
					return context.Cause(taking)
				}
			})
		})
	})
	for range jobs {
		g.Go(func() error {
			for item := range queue {
				if taking.Err() != nil {
					return context.Cause(taking) // queued, but not begun
				}
				if err := Guard(func() error { return one(ctx, item) }); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return context.Cause(ctx)
}
