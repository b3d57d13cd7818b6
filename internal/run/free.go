package run

import (
	"context"
	"fmt"
	"sync"
	"time"

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
		s := spaceIn(&st)
		sum.size += s.size
		sum.free += s.free
	}
	return sum, nil
}

// spaceOn is the room of the file system of an open brick. Crawlers ask for it, whose
// threads may stand in a user's directory: no name would do.
func spaceOn(brick *volume.Brick) (space, error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(brick.Fd(), &st); err != nil {
		return space{}, fmt.Errorf("free space of %s: %w", brick.Dir(), err)
	}
	return spaceIn(&st), nil
}

func spaceIn(st *unix.Statfs_t) space {
	return space{int64(st.Blocks) * st.Bsize, int64(st.Bavail) * st.Bsize}
}

// freeGoal is how much room a run is to make on its brick. Files in work count
// as if their room were free already: when that would do, it waits for them and
// looks again, so it archives no more than it must, and no less when some of
// them fail.
type freeGoal struct {
	space  func() (space, error)
	want   config.Portion
	dryRun bool // nothing that is taken ever comes to an end

	// doubts ends a run whose brick does not gain by what is released, where its file
	// system does not tell of each file whether a snapshot keeps its bytes. Where it
	// does, no user who writes as fast as room is made can end a run.
	doubts   bool
	patience time.Duration // for what was released to be free

	mu     sync.Mutex
	inWork int64         // bytes
	ended  chan struct{} // closed, and another one made, when a file leaves the work
	had    int64         // bytes that were free at the last look at the gain; -1 before the first
	freed  int64         // bytes that should be free since, and may be kept
	due    time.Time     // when the gain must show; zero until enough was released
}

// enough is how many bytes are released before it is looked whether the brick has them.
const enough = 1 << 30

func newFreeGoal(brick *volume.Brick, want config.Portion, dryRun bool) *freeGoal {
	return &freeGoal{
		space: func() (space, error) { return spaceOn(brick) },
		want:  want, dryRun: dryRun, ended: make(chan struct{}), patience: time.Minute, had: -1,
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
		const pause = 200 * time.Millisecond
		select {
		case <-wait:
		case <-time.After(pause): // room may come late, or from others
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
	gained, err := g.gained(s.free)
	switch {
	case missing <= 0, g.dryRun && missing <= g.inWork:
		return nil, errUntilFree
	case err != nil:
		return nil, err
	case missing <= g.inWork, !gained:
		return g.ended, nil
	}
	g.inWork += size
	return nil, nil
}

// gained reports whether the brick has gained at least half of what was released, as soon
// as that is enough to see; errFreesNothing if it has not in time. Others may write
// in the meantime.
func (g *freeGoal) gained(free int64) (bool, error) {
	switch {
	case !g.doubts || g.had >= 0 && g.freed < enough:
		return true, nil
	case g.had < 0 || free-g.had >= g.freed/2:
		g.had, g.freed, g.due = free, 0, time.Time{}
		return true, nil
	case g.due.IsZero():
		g.due = time.Now().Add(g.patience)
	case time.Now().After(g.due):
		return false, fmt.Errorf("%w: %d bytes were released, and the brick has gained %d: look for snapshots",
			errFreesNothing, g.freed, free-g.had)
	}
	return false, nil
}

// done says that a file that was taken is archived, and has freed so many bytes unless
// something keeps them, or that it was left alone.
func (g *freeGoal) done(size, freed int64) {
	if g == nil || g.want.IsZero() {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inWork -= size
	g.freed += freed
	close(g.ended)
	g.ended = make(chan struct{})
}
