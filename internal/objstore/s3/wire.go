package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/coldbrick/coldbrick/internal/objstore"
)

// completePatience is how many idle deadlines a store may take to join the
// parts of an upload: some copy the object then, and say nothing in the meantime.
const completePatience = 10

// wire is the HTTP client beneath the SDK. It watches over every request: bytes
// must keep moving, however long the whole takes, and they count against the
// bandwidth limit. It follows no redirect and decodes no body.
type wire struct {
	transport  *http.Transport
	limiter    objstore.Limiter // may be nil
	onThrottle func()           // may be nil
	onAnswer   func(error)      // may be nil
	idle       time.Duration
}

// stallError ends a request on which no byte moved for too long.
type stallError struct{ idle time.Duration }

func (e stallError) Error() string { return fmt.Sprintf("no byte moved for %v", e.idle) }
func (stallError) Timeout() bool   { return true }
func (stallError) Unwrap() error   { return os.ErrDeadlineExceeded }

// RetryableError makes the SDK try again.
func (stallError) RetryableError() bool { return true }

// Do sends one request.
func (w *wire) Do(req *http.Request) (*http.Response, error) {
	idle := w.idle
	if req.Method == http.MethodPost && req.URL.Query().Has("uploadId") {
		idle *= completePatience
	}
	asker := req.Context()
	ctx, cancel := context.WithCancelCause(asker)
	dog := &watchdog{ctx: ctx, cancel: cancel, idle: idle, limiter: w.limiter}
	dog.timer = time.AfterFunc(idle, func() { cancel(stallError{idle}) })
	dog.slow.tell = w.answered
	dog.slow.begin()

	req = req.WithContext(ctx)
	if req.Body != nil && req.Body != http.NoBody {
		req.Body = &sentBody{ReadCloser: req.Body, dog: dog}
	}
	resp, err := w.transport.RoundTrip(req)
	if err != nil {
		if asker.Err() == nil { // else nobody waits for it
			dog.slow.handOver()
		}
		dog.stop()
		err = dog.cause(err)
		if asker.Err() == nil {
			w.answered(err)
		}
		return nil, err
	}
	dog.answer()
	switch status := resp.StatusCode; {
	case status == http.StatusTooManyRequests, status >= http.StatusInternalServerError:
		w.answered(errors.New(resp.Status))
	default:
		w.answered(nil)
	}
	if w.onThrottle != nil && (resp.StatusCode == http.StatusServiceUnavailable || resp.StatusCode == http.StatusTooManyRequests) {
		w.onThrottle()
	}
	resp.Body = &receivedBody{ReadCloser: resp.Body, dog: dog}
	return resp, nil
}

// answered tells how a request went, with the innermost cause: the rest is addresses.
func (w *wire) answered(err error) {
	if w.onAnswer != nil {
		if err != nil && !errors.As(err, new(stallError)) {
			err = innermost(err)
		}
		w.onAnswer(err)
	}
}

// watchdog ends a request on which nothing moves.
type watchdog struct {
	ctx     context.Context //nolint:containedctx // of the one request that it lives for
	cancel  context.CancelCauseFunc
	timer   *time.Timer
	idle    time.Duration
	limiter objstore.Limiter
	slow    complaint

	mu       sync.Mutex
	answered bool
}

// slowAfter is how long a request waits for the store until that is told, long before it
// is given up.
const slowAfter = 5 * time.Second

// complaint tells again and again that a request waits for the store, and once that it
// does so no longer.
type complaint struct {
	tell func(error)

	mu    sync.Mutex
	timer *time.Timer
	waits bool
	told  bool
}

func (c *complaint) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waits = true
	if c.timer == nil {
		c.timer = time.AfterFunc(slowAfter, c.complain)
	} else {
		c.timer.Reset(slowAfter)
	}
}

func (c *complaint) complain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waits {
		c.told = true
		c.tell(errors.New("it does not answer"))
		c.timer.Reset(slowAfter)
	}
}

// handOver leaves it to others to tell that the wait is over.
func (c *complaint) handOver() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told = false
}

func (c *complaint) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waits = false
	c.timer.Stop()
	if c.told {
		c.told = false
		c.tell(nil)
	}
}

// answer ends the watch over what is sent: the transport may read to its end after
// the answer has come, and must not start or stop the watch over that.
func (d *watchdog) answer() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answered = true
	d.rest()
}

// sending does what is of the request, unless the answer has come.
func (d *watchdog) sending(do func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.answered {
		do()
	}
}

// watch begins to wait for the store, anew.
func (d *watchdog) watch() {
	d.timer.Reset(d.idle)
	d.slow.begin()
}

// rest stops to wait: it is not the store that is waited for.
func (d *watchdog) rest() {
	d.timer.Stop()
	d.slow.end()
}

func (d *watchdog) stop() {
	d.rest()
	d.cancel(nil)
}

// cause tells a stall from the cancellation that it caused.
func (d *watchdog) cause(err error) error {
	if stall := (stallError{}); errors.As(context.Cause(d.ctx), &stall) {
		return stall
	}
	return err
}

// sentBody is read by the transport as it sends: between two reads it waits for
// the store.
type sentBody struct {
	io.ReadCloser
	dog *watchdog
}

func (b *sentBody) Read(p []byte) (int, error) {
	b.dog.sending(b.dog.rest)
	defer b.dog.sending(b.dog.watch)
	n, err := b.ReadCloser.Read(p)
	return b.dog.pay(n, err)
}

// receivedBody is read by us, who may take long for what we do with it: a slow
// brick is no fault of the store's.
type receivedBody struct {
	io.ReadCloser
	dog *watchdog
}

func (b *receivedBody) Read(p []byte) (int, error) {
	b.dog.watch()
	n, err := b.ReadCloser.Read(p)
	b.dog.rest()
	return b.dog.pay(n, err)
}

// Close ends the request.
func (b *receivedBody) Close() error {
	err := b.ReadCloser.Close()
	b.dog.stop()
	return err
}

// pay passes the result of a read on once its bytes fit the bandwidth limit.
func (d *watchdog) pay(n int, err error) (int, error) {
	if payErr := objstore.Pay(d.ctx, d.limiter, n); payErr != nil {
		return n, payErr
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = d.cause(err)
	}
	return n, err
}
