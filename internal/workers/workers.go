// Package workers runs one function over what another one finds.
package workers

import (
	"context"

	"golang.org/x/sync/errgroup"
)

// Run calls one for each item that find emits, jobs at a time. An item is handed over
// to whoever is free to work on it, so memory does not grow with the number of items,
// and none waits any more once find has ended. An error of find or one, or a panic,
// ends the run: no further item is taken, those in work go on with ctx until they are
// done, and find's context ends. When ctx has ended, Run returns its cause, whatever
// became of the items: the last of them may have been dropped.
//
// emit waits until its own context ends: so find can stop at once although all
// workers are busy.
func Run[T any](ctx context.Context, jobs int, find func(ctx context.Context, emit func(context.Context, T) error) error, one func(context.Context, T) error) error {
	return RunCrew(ctx, NewCrew(jobs, jobs), find, one)
}

// RunCrew is Run with as many at a time as crew says.
func RunCrew[T any](ctx context.Context, crew *Crew, find func(ctx context.Context, emit func(context.Context, T) error) error, one func(context.Context, T) error) error {
	most := cap(crew.places)
	queue := make(chan T) // without a buffer: nobody could stop what is in it once find has ended
	g, taking := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(queue)
		return Guard(func() error {
			return find(taking, func(ctx context.Context, item T) error {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
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
	for range most {
		g.Go(func() error {
			for {
				if more, err := takeOne(ctx, taking, crew, queue, one); err != nil || !more {
					return err
				}
			}
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return context.Cause(ctx)
}

// takeOne waits for a place and for an item, and works on it.
func takeOne[T any](ctx, taking context.Context, crew *Crew, queue <-chan T, one func(context.Context, T) error) (more bool, err error) {
	if err := crew.enter(taking); err != nil {
		return false, err
	}
	defer crew.leave()
	item, ok := <-queue
	switch {
	case !ok:
		return false, nil
	case taking.Err() != nil:
		return false, context.Cause(taking) // handed over, but not begun
	}
	defer crew.ended.Add(1)
	return true, Guard(func() error { return one(ctx, item) })
}
