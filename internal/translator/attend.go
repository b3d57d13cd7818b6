package translator

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/workers"
)

// A recall does not run in the event thread that asked for it: that thread only
// waits. While it does, glusterfs cannot take note that the connection which
// brought the request has ended (socket_event_poll_err waits for the handler of
// the last message), so that an operation which the brick no longer answers
// stays without an answer, for half an hour (network.frame-timeout), and the
// client does not connect again. When a brick is lost the thread must go; the
// operation then ends with ENOTCONN, and the file is made a stub again as soon
// as the brick is back.
//
// On a replicated volume there is nothing to be gained: the other bricks have the
// data, replicate waits for the one that does not answer, and so would the
// translator's own truncate. The recall waits too, and ends well after
// network.frame-timeout.
const (
	tick       = time.Second
	doubt      = 2 * time.Second // for an answer, until the brick is probed
	probeEvery = 10 * time.Second
	probes     = 10 // at most without an answer; network.ping-timeout (42 s) ends them
	// patience bounds the wait for a brick to return. It is less than what
	// coldbrick recall waits before it takes a half written file for
	// abandoned.
	patience      = 10 * time.Minute
	retryPause    = 500 * time.Millisecond
	closePatience = 5 * time.Second
)

var errLost = errors.New("the brick was lost during the recall")

// attended is a transaction with somebody waiting for its end, or not any more.
type attended struct {
	transaction
	late    func(error)
	release func()
	watched *watched
	done    chan outcome
	gone    chan struct{} // closed when nobody waits
}

type outcome struct {
	res Result
	err error
}

// attend runs the transaction and waits for its end, or for the loss of the
// brick.
func (i *Instance) attend(ctx context.Context, a *attended) (Result, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	a.watched = &watched{file: a.File, pending: map[*operation]struct{}{}, lost: make(chan struct{}), closing: i.closing}
	a.File = a.watched
	a.done, a.gone = make(chan outcome), make(chan struct{})
	begun := i.begin(func(r *round) *sync.WaitGroup { return &r.recalls }, func(round context.Context) {
		a.watched.round = round
		err := workers.Guard(func() error {
			a.work(ctx)
			return nil
		})
		if err != nil {
			select {
			case a.done <- outcome{a.result, err}:
			case <-a.gone:
			case <-ctx.Done(): // the panic came after the end
			}
		}
	})
	if !begun {
		a.release()
		a.File.Close()
		return Result{}, errEnding
	}

	clock := time.NewTicker(tick)
	defer clock.Stop()
	for {
		select {
		case o := <-a.done:
			return o.res, o.err
		case <-clock.C:
			a.watched.check(time.Now())
		case <-a.watched.lost:
			select {
			case o := <-a.done: // it has just ended by itself
				return o.res, o.err
			default:
			}
			close(a.gone)
			return Result{}, errLost
		}
	}
}

// work runs to the very end, whoever waits for it. Success counts only if it is
// taken: else the translator has been told of a failure and truncates the file.
func (a *attended) work(ctx context.Context) {
	defer a.release()
	defer a.watched.Close()
	err := workers.Guard(func() error { return a.run(ctx) })
	if err == nil && a.give(nil) {
		return
	}
	undone := workers.Guard(a.restub)
	if a.result.Claimed {
		a.give(nil)
		return
	}
	if undone != nil {
		err = errors.Join(err, fmt.Errorf("roll back: %w", undone))
	}
	if a.give(err) && !errors.Is(undone, unix.ENOTCONN) {
		return
	}
	for end := time.Now().Add(patience); errors.Is(undone, unix.ENOTCONN) && time.Now().Before(end); undone = workers.Guard(a.restub) {
		select {
		case <-time.After(retryPause):
		case <-a.watched.closing:
		case <-a.watched.round.Done():
		}
	}
	if undone != nil {
		undone = fmt.Errorf("roll back: %w", undone)
	}
	a.late(undone)
}

// give tells whoever waits how it ended, and reports whether somebody did.
func (a *attended) give(err error) bool {
	select {
	case a.done <- outcome{a.result, err}:
		return true
	case <-a.gone:
		return false
	}
}

// watched is a File that notices when the brick is lost.
type watched struct {
	file    File
	closing chan struct{}   // the instance's
	round   context.Context //nolint:containedctx // that the recall is of
	running sync.WaitGroup

	mu      sync.Mutex
	pending map[*operation]struct{}
	probed  time.Time // last
	probing int
	isLost  bool
	lost    chan struct{} // closed when the brick is
}

// operation is one that waits for its answer.
type operation struct{ began time.Time }

func (w *watched) do(op func() error) error {
	select {
	case <-w.closing: // the translator's memory may be gone any moment
		return unix.EIO
	default:
	}
	o := &operation{time.Now()}
	w.mu.Lock()
	if w.isLost && w.round.Err() != nil { // and so the graph is gone, if the brick comes back or not
		w.mu.Unlock()
		return unix.EIO
	}
	w.pending[o] = struct{}{}
	w.mu.Unlock()
	err := workers.Guard(op)
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.pending, o)
	w.learn(err)
	return err
}

// learn is called with the lock held.
func (w *watched) learn(err error) {
	if errors.Is(err, unix.ENOTCONN) && !w.isLost {
		w.isLost = true
		close(w.lost)
	}
}

// check looks at the operations that wait. An answer that takes long may still
// come; a connection that has ended refuses another operation at once.
func (w *watched) check(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	waiting := false
	for o := range w.pending {
		waiting = waiting || now.Sub(o.began) > doubt
	}
	if !waiting || w.isLost || w.probing == probes || now.Sub(w.probed) < probeEvery {
		return
	}
	w.probed = now
	w.probing++
	w.running.Go(func() {
		err := workers.Guard(func() error {
			_, err := w.file.Xattr(gluster.XattrRemote)
			return err
		})
		w.mu.Lock()
		defer w.mu.Unlock()
		w.probing--
		w.learn(err)
	})
}

func (w *watched) WriteAt(b []byte, off int64) (n int, err error) {
	err = w.do(func() error { n, err = w.file.WriteAt(b, off); return err })
	return n, err
}

func (w *watched) Truncate(size int64) error {
	return w.do(func() error { return w.file.Truncate(size) })
}

func (w *watched) Sync() error { return w.do(w.file.Sync) }

func (w *watched) Xattr(name string) (value []byte, err error) {
	err = w.do(func() error { value, err = w.file.Xattr(name); return err })
	return value, err
}

func (w *watched) SetXattr(name string, value []byte, flags int) error {
	return w.do(func() error { return w.file.SetXattr(name, value, flags) })
}

func (w *watched) RemoveXattr(name string) error {
	return w.do(func() error { return w.file.RemoveXattr(name) })
}

func (w *watched) Close() {
	w.running.Wait()
	w.file.Close()
}
