package upload

import (
	"context"
	"errors"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/workers"
)

// errRecord means that the run record cannot be written. Without it nothing may
// be stamped.
var errRecord = errors.New("the run record cannot be written")

// Run archives the files that find emits, as many at a time as crew says, and calls done for
// each, from many goroutines. A file that fails is a result; Run itself fails
// only when no file can be archived any more, and then lets those in work
// finish. find must return when the context it gets ends.
func (a *Archiver) Run(ctx context.Context, crew *workers.Crew, find func(ctx context.Context, emit func(context.Context, gluster.File) error) error, done func(Result)) error {
	return workers.RunCrew(ctx, crew, find, func(ctx context.Context, f gluster.File) error {
		res := a.Archive(ctx, f)
		done(res)
		if fatal(res.Err) {
			return res.Err
		}
		return nil
	})
}
