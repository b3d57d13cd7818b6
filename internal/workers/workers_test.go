package workers

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func emitAll(n int) func(context.Context, func(context.Context, int) error) error {
	return func(ctx context.Context, emit func(context.Context, int) error) error {
		for i := range n {
			if err := emit(ctx, i); err != nil {
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

// A find that was asked to stop need not wait for busy workers. Until then it has not
// come to its end as long as an item has no worker: else nobody could stop that one.
func TestFindStopsWhileAllWorkersAreBusy(t *testing.T) {
	for _, items := range []int{3, 4, 1000} {
		t.Run(strconv.Itoa(items), func(t *testing.T) { findStops(t, items) })
	}
}

func findStops(t *testing.T, items int) {
	synctest.Test(t, func(t *testing.T) {
		stop, errStopped := make(chan struct{}), errors.New("stopped")
		var begun atomic.Int64
		find := func(ctx context.Context, emit func(context.Context, int) error) error {
			ctx, cancel := context.WithCancelCause(ctx)
			go func() {
				<-stop
				cancel(errStopped)
			}()
			return emitAll(items)(ctx, emit)
		}
		err := Run(t.Context(), 2, find, func(ctx context.Context, _ int) error {
			if begun.Add(1) == 2 {
				close(stop)
			}
			<-stop
			time.Sleep(50 * time.Millisecond) // emit returns in the meantime
			return ctx.Err()
		})
		if !errors.Is(err, errStopped) || begun.Load() != 2 {
			t.Fatalf("%d items were begun, %v", begun.Load(), err)
		}
	})
}

func TestAPanicIsAnErrorOfTheRun(t *testing.T) {
	find := func(ctx context.Context, emit func(context.Context, int) error) error { return emit(ctx, 1) }
	for name, err := range map[string]error{
		"one":  Run(t.Context(), 2, find, func(context.Context, int) error { panic("a mistake") }),
		"find": Run(t.Context(), 2, func(context.Context, func(context.Context, int) error) error { panic("a mistake") }, func(context.Context, int) error { return nil }),
	} {
		var mistake *PanicError
		if !errors.As(err, &mistake) || len(mistake.Stack) == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Nothing is left to be found when the last item is dropped.
func TestARunThatWasCancelledIsNotDone(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped")
	err := Run(ctx, 1, emitAll(1), func(context.Context, int) error {
		cancel(stopped)
		return nil
	})
	if !errors.Is(err, stopped) {
		t.Fatalf("%v, want the cause", err)
	}
}

func TestOfWhatIsDoneAtOnceTheFirstErrorCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := errors.New("first")
		ended := 0
		err := AtOnce(t.Context(),
			func(ctx context.Context) error {
				<-ctx.Done()
				ended++
				return context.Cause(ctx)
			},
			func(context.Context) error {
				time.Sleep(time.Second)
				return first
			},
			func(context.Context) error { return nil },
		)
		if !errors.Is(err, first) || ended != 1 {
			t.Errorf("%v, and %d others have ended", err, ended)
		}
		var mistake *PanicError
		if err := AtOnce(t.Context(), func(context.Context) error { panic("a mistake") }); !errors.As(err, &mistake) {
			t.Errorf("a panic gave %v", err)
		}
	})
}

func TestACrewGrowsAndShrinksWhileItWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		crew := NewCrew(2, 8)
		var atWork, most atomic.Int64
		done := make(chan error, 1)
		const files = 400
		go func() {
			done <- RunCrew(t.Context(), crew, emitAll(files), func(context.Context, int) error {
				defer atWork.Add(-1)
				if n := atWork.Add(1); n > most.Load() {
					most.Store(n)
				}
				time.Sleep(time.Second)
				return nil
			})
		}()
		for _, size := range []int{2, 8, 3, 1, 100, 5} {
			crew.Resize(size)
			time.Sleep(5300 * time.Millisecond) // never when an item ends
			if n := atWork.Load(); n != int64(min(size, 8)) {
				t.Errorf("%d at work in a crew of %d", n, size)
			}
		}
		if err := <-done; err != nil || crew.Ended() != files || most.Load() > 8 {
			t.Errorf("%d ended, at most %d at once, %v", crew.Ended(), most.Load(), err)
		}
	})
}
