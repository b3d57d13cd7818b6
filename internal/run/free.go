package run

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/config"
	"github.com/coldbrick/coldbrick/internal/volume"
)

// space is the room of file systems, in bytes.
type space struct{ size, free int64 }

// spaceOf is the room of the file systems of bricks, together; free is what
// users other than root can have.
func spaceOf(bricks ...string) (space, error) {
	var sum space
	for _, dir := range bricks {
		var st unix.Statfs_t
		if err := unix.Statfs(dir, &st); err != nil {
			return space{}, fmt.Errorf("free space of %s: %w", dir, err)
		}
		sum.size += int64(st.Blocks) * st.Bsize
		sum.free += int64(st.Bavail) * st.Bsize
	}
	return sum, nil
}

// freeGoal is how much room a run is to make on its brick. Files in work count
// as if their room were free already: when that would do, it waits for them and
// looks again, so it archives no more than it must, and no less when some of
// them fail.
type freeGoal struct {
	space  func() (space, error)
	want   config.Portion
	dryRun bool // nothing that is taken ever comes to an end

	mu     sync.Mutex
	inWork int64         // bytes
	ended  chan struct{} // closed, and another one made, when a file leaves the work
}

func newFreeGoal(brick *volume.Brick, want config.Portion, dryRun bool) *freeGoal {
	return &freeGoal{
		space: func() (space, error) { return spaceOf(brick.Dir()) },
		want:  want, dryRun: dryRun, ended: make(chan struct{}),
	}
}

// noGoal is never reached.
var noGoal *freeGoal

// reached returns errUntilFree if the brick has the room.
func (g *freeGoal) reached() error {
	if g == nil || g.want.IsZero() {
		return nil
	}
	s, err := g.space()
	if err == nil && s.free >= g.want.Of(s.size) {
		err = errUntilFree
	}
	return err
}

// take says whether a file of size bytes is still needed; errUntilFree if not.
func (g *freeGoal) take(ctx context.Context, size int64) error {
	if g == nil || g.want.IsZero() {
		return nil
	}
	for {
		wait, err := g.tryTake(size)
		if wait == nil || err != nil {
			return err
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// tryTake takes a file, or tells what to wait for.
func (g *freeGoal) tryTake(size int64) (wait <-chan struct{}, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s, err := g.space()
	if err != nil {
		return nil, err
	}
	missing := g.want.Of(s.size) - s.free
	switch {
	case missing <= 0, g.dryRun && missing <= g.inWork:
		return nil, errUntilFree
	case missing <= g.inWork:
		return g.ended, nil
	}
	g.inWork += size
	return nil, nil
}

// done says that a file that was taken is archived, or left alone.
func (g *freeGoal) done(size int64) {
	if g == nil || g.want.IsZero() {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inWork -= size
	close(g.ended)
	g.ended = make(chan struct{})
}
