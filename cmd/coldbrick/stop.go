package main

import (
	"context"
	"errors"
	"os"
	"sync"
)

// stopper turns signals into the two ways to stop: the first signal drains (no
// new file is taken, those in work are finished), the second cancels at once.
type stopper struct {
	drained chan struct{}
	mu      sync.Mutex
	cause   error
}

func newStopper(ctx context.Context, signals <-chan os.Signal, cancel context.CancelCauseFunc) *stopper {
	s := &stopper{drained: make(chan struct{})}
	go func() {
		for _, stop := range []func(error){s.drain, cancel} {
			select {
			case got := <-signals:
				stop(signalError{got})
			case <-ctx.Done():
				return
			}
		}
	}()
	return s
}

// drain asks the run to end, because of cause; the first cause stays.
func (s *stopper) drain(cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause == nil {
		s.cause = cause
		close(s.drained)
	}
}

// until gives a context that also ends when the run is to drain, with the
// cause of that. Finding new work uses it; work that was begun does not.
func (s *stopper) until(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-s.drained:
			s.mu.Lock()
			defer s.mu.Unlock()
			cancel(s.cause)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}

// causeOf is why ctx ended, if that is what err is about: "context canceled"
// says nothing to a user.
func causeOf(ctx context.Context, err error) error {
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
