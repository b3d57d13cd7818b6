package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coldbrick/coldbrick/internal/volume"
)

// A private mount keeps the bricks that it was made with: of one that is added while a
// recall, a repair or a rebuild is at work it knows nothing.
func TestAChangedGraphEndsAWatchedRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers := []error{nil, errors.New("glusterd is busy"), fmt.Errorf("volume vol: %w", volume.ErrGraphChanged)}
		m := &moves{log: slog.New(slog.DiscardHandler), unchanged: func(context.Context) error {
			err := answers[0]
			answers = answers[1:]
			return err
		}}
		stopper := NewStopper(t.Context(), nil, nil)
		m.watch(t.Context(), stopper)
		defer m.stop()
		draining, cancel := stopper.until(t.Context())
		defer cancel()
		select {
		case <-draining.Done():
		case <-time.After(time.Hour):
		}
		if err := context.Cause(draining); EndOf(err) != EndUnsafe || !errors.Is(err, volume.ErrGraphChanged) {
			t.Errorf("the run was ended by %v", err)
		}
	})
}
