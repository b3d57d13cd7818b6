package run

import (
	"context"

	"github.com/coldbrick/coldbrick/internal/volume"
	"github.com/coldbrick/coldbrick/internal/workers"
)

// earlyMount is a private mount that stamps, made while others are still asked whether
// the volume may be stamped at all. Nothing is done through it before.
type earlyMount struct {
	cancel  context.CancelFunc
	done    chan struct{} // closed when there is a mount, or an error
	private *volume.Private
	err     error
}

// mountEarly begins to mount, and does not wait.
func mountEarly(ctx context.Context, mount *volume.Mount) *earlyMount {
	ctx, cancel := context.WithCancel(ctx)
	e := &earlyMount{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(e.done)
		e.err = workers.Guard(func() (err error) {
			e.private, err = mountPrivately(ctx, mount, volume.ForStamping)
			return err
		})
	}()
	return e
}

// wait returns the mount once all bricks are connected.
func (e *earlyMount) wait() (*volume.Private, error) {
	<-e.done
	return e.private, e.err
}

// close unmounts, also what is still being mounted.
func (e *earlyMount) close() error {
	e.cancel()
	<-e.done
	if e.private == nil {
		return nil
	}
	return e.private.Close()
}
