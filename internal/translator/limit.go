package translator

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/dustin/go-humanize"
)

// ErrLimit means that this client has recalled as much as it may.
var ErrLimit = errors.New("recall-limit is reached")

// Limit is what a client may recall within an hour; 0 is no limit.
type Limit struct {
	Recalls int64
	Bytes   int64
}

// parseLimit reads "100", "50GiB", or both with a comma: a number without a unit
// counts recalls.
func parseLimit(text string) (Limit, error) {
	var l Limit
	for part := range strings.SplitSeq(text, ",") {
		n, err := strconv.ParseInt(part, 10, 64)
		switch {
		case err == nil && n > 0 && l.Recalls == 0:
			l.Recalls = n
			continue
		case err == nil:
			return Limit{}, fmt.Errorf("%q is not a number of recalls", text)
		}
		size, err := humanize.ParseBytes(part)
		if err != nil || size == 0 || size > 1<<62 || l.Bytes != 0 {
			return Limit{}, fmt.Errorf("%q is not a number of recalls, a size, or both with a comma", text)
		}
		l.Bytes = int64(size)
	}
	return l, nil
}

// window is how many minutes a recall counts: the hour, and the minute that has
// only begun.
const window = 61

// meter counts what was recalled lately, by minutes of a clock that nobody sets.
type meter struct {
	began time.Time

	mu      sync.Mutex
	latest  int64 // minute since began
	minutes [window]Limit
}

func newMeter() *meter { return &meter{began: time.Now()} }

// take counts a recall of size bytes, or refuses it. undo takes it back: a recall
// that failed does not count.
func (m *meter) take(limit Limit, size int64, now time.Time) (undo func(), err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.advance(int64(now.Sub(m.began) / time.Minute))
	used := m.used()
	switch {
	case limit.Recalls > 0 && used.Recalls >= limit.Recalls:
		return nil, fmt.Errorf("%w: %d recalls within the hour", ErrLimit, used.Recalls)
	case limit.Bytes > 0 && (size > limit.Bytes || used.Bytes > limit.Bytes-size):
		return nil, fmt.Errorf("%w: %d of %d bytes within the hour, %d more are wanted",
			ErrLimit, used.Bytes, limit.Bytes, size)
	}
	minute := m.latest
	m.minutes[minute%window].Recalls++
	m.minutes[minute%window].Bytes += size
	return func() { m.undo(minute, size) }, nil
}

func (m *meter) advance(minute int64) {
	for ; m.latest < minute; m.latest++ {
		if minute-m.latest > window {
			m.latest = minute - window
		}
		m.minutes[(m.latest+1)%window] = Limit{}
	}
}

func (m *meter) used() (sum Limit) {
	for _, l := range m.minutes {
		sum.Recalls += l.Recalls
		sum.Bytes += l.Bytes
	}
	return sum
}

func (m *meter) undo(minute, size int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.latest-minute >= window {
		return // does not count any more
	}
	m.minutes[minute%window].Recalls--
	m.minutes[minute%window].Bytes -= size
}
