package run

import (
	"fmt"
	"sync"

	"github.com/coldbrick/coldbrick/internal/config"
)

// breakerSample is how many files a share of failures is judged by, at least.
const breakerSample = 100

// breaker ends a run in which too many files fail.
type breaker struct {
	limit config.Portion

	mu            sync.Mutex
	tried, failed int64
}

// add counts one file, or one directory that could not be read. It returns what
// ends the run.
func (b *breaker) add(failed bool) error {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	b.tried++
	if failed {
		b.failed++
	}
	b.mu.Unlock()
	return b.tripped()
}

// tripped is what has ended the run, if something has.
func (b *breaker) tripped() error {
	if b == nil || b.limit.IsZero() {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.limit.IsShare() && b.tried < breakerSample || b.failed < b.limit.Of(b.tried) {
		return nil
	}
	return fmt.Errorf("%w: %d of %d files failed (limit %s)", ErrMaxErrors, b.failed, b.tried, b.limit)
}
