package workers

import (
	"context"
	"sync"
	"sync/atomic"
)

// Crew says how many items are worked on at once. That may change while they are.
type Crew struct {
	places chan struct{} // free ones
	ended  atomic.Int64

	mu      sync.Mutex
	size    int
	surplus int // places that those at work have, and do not give back
}

// NewCrew is a crew of size that may grow up to most.
func NewCrew(size, most int) *Crew {
	c := &Crew{places: make(chan struct{}, most)}
	c.Resize(size)
	return c
}

// Resize changes the size. Items that are worked on are finished.
func (c *Crew) Resize(size int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	size = min(size, cap(c.places))
	for ; c.size < size; c.size++ {
		if c.surplus > 0 {
			c.surplus--
		} else {
			c.places <- struct{}{}
		}
	}
	for ; c.size > size; c.size-- {
		select {
		case <-c.places:
		default:
			c.surplus++
		}
	}
}

// Ended is the number of items that nobody works on any more.
func (c *Crew) Ended() int64 { return c.ended.Load() }

func (c *Crew) enter(ctx context.Context) error {
	select {
	case <-c.places:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (c *Crew) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.surplus > 0 {
		c.surplus--
	} else {
		c.places <- struct{}{}
	}
}
