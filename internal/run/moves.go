package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/volume"
)

// A recall of a file that a rebalance moves at that moment can leave it invisible
// until the next recall, and hang the rebalance (GlusterFS 10.3).
var (
	errMoving = errors.New("a rebalance or remove-brick moves files of the volume: nothing is recalled onto it in the meantime; " +
		"wait until it is completed, or get copies with recall --to or --stdout")
	errMoved = errors.New("a rebalance ran in the meantime: a directory may not have listed files that it moved; run this once more")
)

const (
	// glusterdPatience bounds the wait for what glusterd says. A recall is urgent.
	glusterdPatience = 10 * time.Second
	movesInterval    = 30 * time.Second
)

// moves knows what has moved files of a volume by the time that a run begins to
// change some.
type moves struct {
	log       *slog.Logger
	unchanged func(context.Context) error // whether the volume is what the private mounts were made of
	volume    string                      // "" if nobody can be asked
	before    map[string]bool
	stop      func() // ends the watch
}

// recallable returns an *volume.UnsafeError if no recall onto the volume would end.
// Where there is no glusterd to ask, nothing is known.
func recallable(ctx context.Context, log *slog.Logger, volumeName string) error {
	ctx, cancel := context.WithTimeout(ctx, glusterdPatience)
	defer cancel()
	err := volume.Recallable(ctx, volumeName)
	var unsafe *volume.UnsafeError
	if err != nil && !errors.As(err, &unsafe) {
		log.Info("whether locks.mandatory-locking is off is not known", "err", err)
		return nil
	}
	return err
}

// watchMoves returns errMoving if files are moved now, and makes the run drain if
// they are later on, or if the volume's bricks or options change. Where there is no
// glusterd to ask, nothing is known of moves.
func watchMoves(ctx context.Context, log *slog.Logger, stopper *Stopper, mount *volume.Mount) (*moves, error) {
	m := &moves{log: log, unchanged: mount.Unchanged, volume: mount.Volume, before: map[string]bool{}, stop: func() {}}
	tasks, err := m.ask(ctx)
	if err != nil {
		log.Info("whether a rebalance is under way is not known", "err", err)
		m.volume = ""
	}
	for _, t := range tasks {
		if t.Busy() {
			return m, errMoving
		}
		m.before[t.ID] = true
	}
	m.watch(ctx, stopper)
	return m, nil
}

// watch looks until m.stop is called.
func (m *moves) watch(ctx context.Context, stopper *Stopper) {
	ctx, cancel := stopper.until(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		asked := time.Now()
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(graphInterval):
			}
			if err := m.unchanged(ctx); errors.Is(err, volume.ErrGraphChanged) {
				stopper.Drain(fmt.Errorf("the run ends early: %w", err))
				return
			}
			if time.Since(asked) < movesInterval {
				continue
			}
			asked = time.Now()
			if m.moved(ctx) {
				stopper.Drain(errMoving)
				return
			}
		}
	}()
	m.stop = func() {
		cancel()
		<-done
	}
}

// moved reports whether something has begun to move files since the run began.
func (m *moves) moved(ctx context.Context) bool {
	if m.volume == "" {
		return false
	}
	tasks, err := m.ask(ctx)
	if err != nil && ctx.Err() == nil {
		m.log.Info("whether a rebalance is under way is not known", "err", err)
	}
	for _, t := range tasks {
		if t.Busy() || !m.before[t.ID] {
			return true
		}
	}
	return false
}

func (m *moves) ask(ctx context.Context) ([]gluster.Task, error) {
	ctx, cancel := context.WithTimeout(ctx, glusterdPatience)
	defer cancel()
	return volume.Moves(ctx, m.volume)
}
