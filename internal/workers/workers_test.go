package workers

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
)

func emitAll(n int) func(context.Context, func(int) error) error {
	return func(_ context.Context, emit func(int) error) error {
		for i := range n {
			if err := emit(i); err != nil {
				return err
			}
		}
		return nil
	}
}

func TestEachItemIsWorkedOnOnce(t *testing.T) {
	var sum atomic.Int64
	err := Run(t.Context(), 4, emitAll(1001), func(_ context.Context, i int) error {
		sum.Add(int64(i))
		return nil
	})
	if err != nil || sum.Load() != 500500 {
		t.Fatalf("sum %d, %v", sum.Load(), err)
	}
}

func TestAnErrorEndsTheRunButNotTheWorkUnderWay(t *testing.T) {
	broken := errors.New("broken")
	var begun, ended atomic.Int64
	err := Run(t.Context(), 4, emitAll(1_000_000), func(ctx context.Context, i int) error {
		begun.Add(1)
		defer ended.Add(1)
		if i == 10 {
			return broken
		}
		return ctx.Err()
	})
	if !errors.Is(err, broken) {
		t.Fatalf("got %v", err)
	}
	if begun.Load() != ended.Load() || begun.Load() > 100 {
		t.Fatalf("begun %d, ended %d", begun.Load(), ended.Load())
	}
}
