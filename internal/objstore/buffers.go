package objstore

import (
	"context"
	"math/bits"
	"sync"

	"golang.org/x/sync/semaphore"
)

const smallestBuffer = 16 << 10

// Buffers hands out memory for bodies and never holds more of it than its
// limit, used and spare together. Only a buffer that is larger than the limit
// by itself goes beyond it, and then no other is out.
//
// Spare buffers are kept by hand: a sync.Pool drops them at a garbage
// collection, and with parts of many MiB each the heap would double.
type Buffers struct {
	limit int
	out   *semaphore.Weighted

	mu    sync.Mutex
	spare map[int][][]byte // by capacity, a power of two
	total int              // bytes out and spare
}

// NewBuffers are buffers that hold so many bytes at most.
func NewBuffers(limit int) *Buffers {
	return &Buffers{limit: limit, out: semaphore.NewWeighted(int64(limit)), spare: map[int][][]byte{}}
}

// Limit is what the buffers may hold, in bytes.
func (b *Buffers) Limit() int { return b.limit }

// Held is what they hold now, used and spare.
func (b *Buffers) Held() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.total
}

// Get waits for a buffer of size bytes. A caller that holds one must not ask
// for a second: all might.
func (b *Buffers) Get(ctx context.Context, size int) ([]byte, error) {
	capacity := max(smallestBuffer, 1<<bits.Len(uint(max(size, 1)-1)))
	if capacity > b.limit {
		capacity = max(size, b.limit)
	}
	if err := b.out.Acquire(ctx, b.weight(capacity)); err != nil {
		return nil, context.Cause(ctx)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if stack := b.spare[capacity]; len(stack) > 0 {
		last := len(stack) - 1
		buf := stack[last]
		b.spare[capacity], stack[last] = stack[:last], nil
		return buf[:size], nil
	}
	for other, stack := range b.spare { // of other sizes, in the way now
		for len(stack) > 0 && b.total+capacity > b.limit {
			last := len(stack) - 1
			stack[last] = nil
			stack = stack[:last]
			b.total -= other
		}
		b.spare[other] = stack
	}
	b.total += capacity
	return make([]byte, size, capacity), nil
}

// Put takes back what Get gave.
func (b *Buffers) Put(buf []byte) {
	capacity := cap(buf)
	b.mu.Lock()
	if b.total <= b.limit {
		b.spare[capacity] = append(b.spare[capacity], buf[:0])
	} else {
		b.total -= capacity
	}
	b.mu.Unlock()
	b.out.Release(b.weight(capacity))
}

func (b *Buffers) weight(capacity int) int64 { return int64(min(capacity, b.limit)) }
