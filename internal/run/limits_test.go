package run

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/coldbrick/coldbrick/internal/config"
)

func portion(t *testing.T, p config.Portion, text string) config.Portion {
	t.Helper()
	if err := p.Set(text); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestTooManyErrorsEndARun(t *testing.T) {
	for _, tt := range []struct {
		name          string
		limit         string
		failed, tried int
		want          bool
	}{
		{"a share of few files says nothing", "50%", 99, 99, false},
		{"the share is reached", "50%", 50, 100, true},
		{"just below the share", "50%", 49, 100, false},
		{"all", "100%", 100, 100, true},
		{"a number counts from the first file", "3", 3, 3, true},
		{"just below the number", "3", 2, 1000, false},
		{"no limit", "0", 1000, 1000, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := breaker{limit: portion(t, config.NewPortion(0), tt.limit)}
			var err error
			for i := range tt.tried {
				err = b.add(i >= tt.tried-tt.failed) // the failures last
			}
			if errors.Is(err, ErrMaxErrors) != tt.want || errors.Is(b.tripped(), ErrMaxErrors) != tt.want {
				t.Errorf("got %v", err)
			}
		})
	}
}

// disk is a file system of 1000 bytes.
type disk struct{ free int64 }

func (d *disk) goal(t *testing.T, want string) *freeGoal {
	return &freeGoal{
		space: func() (space, error) { return space{1000, d.free}, nil },
		want:  portion(t, config.NewBytePortion(), want), ended: make(chan struct{}),
	}
}

func TestARunTakesNoMoreThanItNeedsToFree(t *testing.T) {
	d := &disk{free: 100}
	g := d.goal(t, "20%")
	for range 2 {
		if err := g.take(t.Context(), 60); err != nil {
			t.Fatal(err)
		}
	}
	// 220 bytes would be free if both succeed: wait and see.
	soon, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := g.take(soon, 60); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a third file: %v", err)
	}
	third := make(chan error)
	go func() { third <- g.take(t.Context(), 60) }()
	g.done(60, 0) // failed: nothing is free
	if err := <-third; err != nil {
		t.Errorf("a file in place of the failed one: %v", err)
	}
	d.free = 220
	g.done(60, 0)
	g.done(60, 0)
	if err := g.take(t.Context(), 60); !errors.Is(err, errUntilFree) {
		t.Errorf("the goal is reached: %v", err)
	}
	if err := g.reached(); !errors.Is(err, errUntilFree) {
		t.Errorf("reached: %v", err)
	}
}

func TestADryRunCountsWhatItWouldFree(t *testing.T) {
	d := &disk{free: 100}
	g := d.goal(t, "200")
	g.dryRun = true
	var errs []error
	for range 3 {
		errs = append(errs, g.take(t.Context(), 50))
	}
	if errs[0] != nil || errs[1] != nil || !errors.Is(errs[2], errUntilFree) {
		t.Errorf("%v", errs)
	}
}

func TestWithoutAGoalEverythingIsTaken(t *testing.T) {
	for _, g := range []*freeGoal{noGoal, {}} {
		if err := errors.Join(g.take(t.Context(), 1), g.reached()); err != nil {
			t.Error(err)
		}
		g.done(1, 1)
	}
}

// Half of what is released may go to those who write in the meantime; if the brick gains less,
// something keeps the room, and releasing more helps nobody. Where it is known that nothing
// does, whoever writes as fast as room is made ends no run.
func TestARunEndsThatFreesNothing(t *testing.T) {
	const file = enough / 2
	for _, tt := range []struct {
		gain, doubted int64
		tells         bool
	}{{file, file, false}, {file/2 + 1, file, false}, {file / 4, file, true}, {0, file, true}, {-1, file, true}, {0, 0, false}, {-1, 0, false}} {
		d := &disk{}
		g := d.goal(t, "100TB")
		g.space = func() (space, error) { return space{1 << 60, d.free}, nil }
		g.had, g.doubts, g.patience = -1, true, time.Millisecond
		var err error
		for i := 0; i < 9 && err == nil; i++ {
			if err = g.take(t.Context(), file); err == nil {
				d.free += tt.gain
				g.done(file, tt.doubted)
			}
		}
		if errors.Is(err, errFreesNothing) != tt.tells || !tt.tells && err != nil {
			t.Errorf("gains %d of %d, %d doubted: %v", tt.gain, file, tt.doubted, err)
		}
	}
}
