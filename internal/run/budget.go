package run

import (
	"errors"
	"sync"
)

// errTooLargeForBudget is the error of a file that no run with this budget can
// archive. It is skipped: else every run would end at it.
var errTooLargeForBudget = errors.New("larger than --max-bytes")

// budget bounds how many files and bytes a run takes. It is never exceeded; a
// file that was taken and then left alone is given back.
type budget struct {
	maxFiles, maxBytes int64 // 0: no limit

	mu           sync.Mutex
	files, bytes int64
	spent        error // the limit that a file did not fit in
}

// noBudget has no limit and keeps no count.
var noBudget *budget

// take reserves room for a file of size bytes. It returns the limit that ends
// the run.
func (b *budget) take(size int64) error {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.maxBytes > 0 && size > b.maxBytes:
		return errTooLargeForBudget
	case b.maxFiles > 0 && b.files >= b.maxFiles:
		b.spent = ErrMaxFiles
	case b.maxBytes > 0 && b.bytes > b.maxBytes-size:
		b.spent = ErrMaxBytes
	}
	if b.spent == nil {
		b.files++
		b.bytes += size
	}
	return b.spent
}

// giveBack returns the room of a file that was not archived.
func (b *budget) giveBack(size int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.files--
	b.bytes -= size
}

// ended is the limit that ended the run, if one did.
func (b *budget) ended() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.spent
}
