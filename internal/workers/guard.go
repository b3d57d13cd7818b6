package workers

import (
	"context"
	"fmt"
	"runtime/debug"

	"golang.org/x/sync/errgroup"
)

// PanicError is a panic that was caught: a mistake of ours, met on one item.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("internal error: %v", e.Value) }

// Guard calls do, and makes an error of a panic: whatever a user has set on one
// file, it is that file alone that fails. Goroutines that do starts need a Guard
// of their own.
func Guard(do func() error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = &PanicError{value, debug.Stack()}
		}
	}()
	return do()
}

// AtOnce calls all functions at once, each guarded, and returns when all have, with the
// error of the one that failed first. That ends the context of the others.
func AtOnce(ctx context.Context, all ...func(context.Context) error) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, do := range all {
		g.Go(func() error {
			return Guard(func() error { return do(ctx) })
		})
	}
	return g.Wait()
}
