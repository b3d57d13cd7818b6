package run

import (
	"context"
	"errors"
	"os"
	"sync"
)

// Stopper turns signals into the two ways to stop: the first signal drains (no
// new file is taken, those in work are finished), the second cancels at once.
type Stopper struct {
	drained chan struct{}
	mu      sync.Mutex
	cause   error
}

// NewStopper listens to signals; the second one cancels ctx, through cancel.
func NewStopper(ctx context.Context, signals <-chan os.Signal, cancel context.CancelCauseFunc) *Stopper {
	s := &Stopper{drained: make(chan struct{})}
	go func() {
		for _, stop := range []func(error){s.Drain, cancel} {
			select {
			case got := <-signals:
				stop(SignalError{got})
			case <-ctx.Done():
				return
			}
		}
	}()
	return s
}

// Drain asks the run to end, because of cause; the first cause stays.
func (s *Stopper) Drain(cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause == nil {
		s.cause = cause
		close(s.drained)
	}
}

// trouble is what made the run drain, if it has to be known even where nothing was left
// to begin by then. A signal or a limit of the user's has changed nothing in that case.
func (s *Stopper) trouble() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var stopped SignalError
	if errors.As(s.cause, &stopped) || IsBudget(s.cause) {
		return nil
	}
	return s.cause
}

// until gives a context that also ends when the run is to drain, with the
// cause of that. Finding new work uses it; work that was begun does not.
func (s *Stopper) until(ctx context.Context) (context.Context, context.CancelFunc) {
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
