package upload

import (
	"context"
	"errors"

	"golang.org/x/sync/errgroup"

	"github.com/coldbrick/coldbrick/internal/gluster"
)

// errRecord means that the run record cannot be written. Without it nothing may
// be stamped.
var errRecord = errors.New("the run record cannot be written")

// Run archives the files that find emits, jobs at a time, and calls done for
// each, from many goroutines. The queue between them is short: find waits for
// the uploads. A file that fails is a result; Run itself fails only when no
// file can be archived any more, and then lets those in work finish.
//
// find must return when the context it gets ends.
func (a *Archiver) Run(ctx context.Context, jobs int, find func(context.Context, func(gluster.File) error) error, done func(Result)) error {
	queue := make(chan gluster.File, jobs)
	g, taking := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(queue)
		return find(taking, func(f gluster.File) error {
			select {
			case queue <- f:
				return nil
			case <-taking.Done():
				return context.Cause(taking)
			}
		})
	})
	for range jobs {
		g.Go(func() error {
			for f := range queue {
				if taking.Err() != nil {
					return taking.Err() // queued, but not begun
				}
				res := a.Archive(ctx, f)
				done(res)
				if fatal(res.Err) {
					return res.Err
				}
			}
			return nil
		})
	}
	return g.Wait()
}
