package translator

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
)

// A recall does not run in the event thread that asked for it: that thread only
// waits. While it does, glusterfs cannot take note that the connection which
// brought the request has ended (socket_event_poll_err waits for the handler of
// the last message), so that an operation which the brick no longer answers
// stays without an answer, for half an hour (network.frame-timeout), and the
// client does not connect again. When a brick is lost the thread must go; the
// operation then ends with ENOTCONN, and the file is made a stub again as soon
// as the brick is back.
const (
	tick  = time.Second
	doubt = 2 * time.Second // for an answer, until the brick is probed
	// answerLimit and syncLimit bound the wait for one answer where a probe
	// tells nothing: one of several replicas may be lost.
	answerLimit = time.Minute
	syncLimit   = 10 * time.Minute
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
	i.running.Go(func() { a.work(ctx) })

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
	err := a.run(ctx)
	if err == nil && a.give(nil) {
		return
	}
	undone := a.restub()
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
	for end := time.Now().Add(patience); errors.Is(undone, unix.ENOTCONN) && time.Now().Before(end); undone = a.restub() {
		select {
		case <-time.After(retryPause):
		case <-a.watched.closing:
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
	closing chan struct{} // the instance's
	probes  sync.WaitGroup

	mu      sync.Mutex
	pending map[*operation]struct{}
	probing bool
	isLost  bool
	lost    chan struct{} // closed when the brick is
}

// operation is one that waits for its answer.
type operation struct {
	began time.Time
	limit time.Duration
}

func (w *watched) do(limit time.Duration, op func() error) error {
	select {
	case <-w.closing: // the translator's memory may be gone any moment
		return unix.EIO
	default:
	}
	o := &operation{time.Now(), limit}
	w.mu.Lock()
	w.pending[o] = struct{}{}
	w.mu.Unlock()
	err := op()
	w.mu.Lock()
	delete(w.pending, o)
	w.mu.Unlock()
	if errors.Is(err, unix.ENOTCONN) {
		w.lose()
	}
	return err
}

func (w *watched) lose() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.isLost {
		w.isLost = true
		close(w.lost)
	}
}

// check looks at the operations that wait. An answer that takes long may still
// come; a connection that has ended refuses the next operation at once.
func (w *watched) check(now time.Time) {
	w.mu.Lock()
	var waiting, overdue bool
	for o := range w.pending {
		waited := now.Sub(o.began)
		waiting = waiting || waited > doubt
		overdue = overdue || waited > o.limit
	}
	probe := waiting && !overdue && !w.probing && !w.isLost
	w.probing = w.probing || probe
	w.mu.Unlock()
	if overdue {
		w.lose()
	}
	if probe {
		w.probes.Go(func() {
			if _, err := w.file.Xattr(gluster.XattrRemote); errors.Is(err, unix.ENOTCONN) {
				w.lose()
			}
			w.mu.Lock()
			w.probing = false
			w.mu.Unlock()
		})
	}
}

func (w *watched) WriteAt(b []byte, off int64) (n int, err error) {
	err = w.do(answerLimit, func() error { n, err = w.file.WriteAt(b, off); return err })
	return n, err
}

func (w *watched) Truncate(size int64) error {
	return w.do(answerLimit, func() error { return w.file.Truncate(size) })
}

func (w *watched) Sync() error { return w.do(syncLimit, w.file.Sync) }

func (w *watched) Xattr(name string) (value []byte, err error) {
	err = w.do(answerLimit, func() error { value, err = w.file.Xattr(name); return err })
	return value, err
}

func (w *watched) SetXattr(name string, value []byte, flags int) error {
	return w.do(answerLimit, func() error { return w.file.SetXattr(name, value, flags) })
}

func (w *watched) RemoveXattr(name string) error {
	return w.do(answerLimit, func() error { return w.file.RemoveXattr(name) })
}

func (w *watched) Close() {
	w.probes.Wait()
	w.file.Close()
}
