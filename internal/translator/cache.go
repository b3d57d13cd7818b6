package translator

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/workers"
)

const (
	// fetches is how many blocks are on their way at once. A cache has room for
	// as many, so what is on its way never takes more memory than the cache may.
	fetches = 16
	// mostAhead is how far the cache reads ahead of a sequential reader, in blocks.
	mostAhead = 8
	// mostSpare is how many blocks' memory is kept to be used again.
	mostSpare = 4
	// mostOpen bounds the objects that are known to be of their files.
	mostOpen = 1024
	// fetchPatience bounds how long readers wait for a block, however often the
	// store is asked again for it.
	fetchPatience = 2 * time.Minute
	// refusalTime is how long an object is refused that was seen to be another one,
	// or wrong. The kernel repeats a read that failed at once; it must not get the
	// bytes of a second object after those of the first.
	refusalTime = time.Minute
)

// version is a file and all that decides which object it is read from. If any
// of it changes, nothing that was cached before is given out.
type version struct {
	endpoint, bucket string
	gfid             gluster.GFID
	remote, pointer  string // the attributes, as they are
	size             int64
	mtime            gluster.Time
	block            int64 // size of a block
}

// origin is where the cache has the bytes of a version from.
type origin interface {
	// examine finds the object, and refuses one that is not the file's.
	examine(ctx context.Context) (examined, error)
	// fetch fills b with the bytes of the object at off and returns their CRC-32.
	fetch(ctx context.Context, o examined, b []byte, off int64) (uint32, error)
}

// examined is an object that was made from the file.
type examined struct {
	key     string
	info    object.Info
	wantCRC []uint32 // what others say of all its bytes
}

// cache keeps blocks of objects for the reads of one client. All its memory is
// given up when nobody has read for a while.
type cache struct {
	idle    time.Duration
	flights *semaphore.Weighted // blocks on their way

	mu      sync.Mutex
	limit   int64 // bytes
	used    int64 // by blocks that are here, or on their way
	objects map[version]*source
	recent  list.List // of *block that are here, the latest first
	spare   [][]byte  // of blocks that are gone; the garbage collector would let memory double
	lastUse time.Time
	waking  bool // a timer will look whether the cache is idle
}

// source is a version that is read. Its fields are the cache's, but for those
// that are set when ready is closed.
type source struct {
	version
	ready chan struct{}
	examined
	err error // of examine

	refusal error // what was seen later to be wrong with the object
	refused time.Time
	lastUse time.Time
	blocks  map[int64]*block
	// The checksum of the blocks from the first on, as they come in their order.
	summed int64 // blocks
	sum    uint32
}

// block is a part of an object, here or on its way.
type block struct {
	of    *source
	index int64
	ready chan struct{}
	data  []byte
	crc   uint32
	err   error
	room  int64         // bytes of the cache that it takes
	place *list.Element // in recent; nil while it is on its way

	readers int  // that wait for it, or copy from it
	gone    bool // it is not in the cache any more
}

func newCache() *cache {
	return &cache{idle: idleStore, flights: semaphore.NewWeighted(fetches), objects: map[version]*source{}}
}

// resize changes how much the cache may hold.
func (c *cache) resize(limit int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.limit = limit
	c.evict(0)
}

// read fills b with the bytes of the file from off on, which must be within it. It
// reports whether this is the first read of the object. After an error, what is in
// b counts for nothing.
func (c *cache) read(ctx context.Context, v version, from origin, b []byte, off int64) (first bool, err error) {
	s, first, err := c.open(ctx, v, from)
	if err != nil {
		return first, err
	}
	last := (off + int64(len(b)) - 1) / v.block
	for len(b) > 0 {
		index := off / v.block
		n, err := c.copy(ctx, c.get(s, index, last, from), b, off-index*v.block)
		if err != nil {
			return first, err
		}
		b, off = b[n:], off+int64(n)
	}
	return first, nil
}

// copy waits for a block, which get gave, and copies from it.
func (c *cache) copy(ctx context.Context, from *block, b []byte, off int64) (int, error) {
	defer c.put(from)
	select {
	case <-from.ready:
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	if from.err != nil {
		return 0, from.err
	}
	return copy(b, from.data[off:]), nil
}

// open returns the source of a version, examined. Of many that ask, one asks the store.
func (c *cache) open(ctx context.Context, v version, from origin) (_ *source, first bool, _ error) {
	c.mu.Lock()
	now := time.Now()
	c.touch(now)
	s := c.objects[v]
	if s != nil && s.refusal != nil && now.Sub(s.refused) > refusalTime {
		c.forget(s)
		s = nil
	}
	if s == nil {
		first = true
		s = &source{version: v, ready: make(chan struct{}), blocks: map[int64]*block{}}
		c.forgetOldest()
		c.objects[v] = s
		go c.examine(s, from)
	}
	s.lastUse = now
	refusal := s.refusal
	c.mu.Unlock()
	if refusal != nil {
		return s, first, refusal
	}
	select {
	case <-s.ready:
		return s, first, s.err
	case <-ctx.Done():
		return s, first, context.Cause(ctx)
	}
}

func (c *cache) examine(s *source, from origin) {
	ctx, cancel := context.WithTimeoutCause(context.Background(), fetchPatience, errSlow)
	defer cancel()
	s.err = workers.Guard(func() (err error) {
		s.examined, err = from.examine(ctx)
		return err
	})
	if s.err != nil { // not kept: the next reader asks again
		c.mu.Lock()
		c.forget(s)
		c.mu.Unlock()
	}
	close(s.ready)
}

// get returns a block, which may be on its way, until put, and sends for those that will be
// wanted next: up to last, which the same read wants, and beyond it if the blocks
// before this one were wanted as well.
func (c *cache) get(s *source, index, last int64, from origin) *block {
	c.mu.Lock()
	defer c.mu.Unlock()
	ahead := int64(0)
	for ahead < mostAhead && s.blocks[index-ahead-1] != nil {
		ahead++
	}
	b := s.blocks[index]
	if b == nil {
		b = c.send(s, index, from, false)
	} else if b.place != nil {
		c.recent.MoveToFront(b.place)
	}
	b.readers++
	ahead = min(max(ahead, last-index), mostAhead, c.limit/s.block/4)
	end := (s.size - 1) / s.block
	for next := index + 1; next <= min(index+ahead, end); next++ {
		if s.blocks[next] == nil && c.send(s, next, from, true) == nil {
			break
		}
	}
	return b
}

func (c *cache) put(b *block) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b.readers--
	c.recycle(b)
}

// recycle keeps the memory of a block that nobody will look at any more.
func (c *cache) recycle(b *block) {
	if !b.gone || b.readers > 0 || b.data == nil {
		return
	}
	if int64(len(b.data)) == b.of.block { // not the end of an object, whose size few others have
		c.spare = append(c.spare, b.data)
		c.spare = slices.Delete(c.spare, 0, max(0, len(c.spare)-mostSpare))
	}
	b.data = nil
}

// memory is a spare block if there is one of that size.
func (c *cache) memory(size int64) []byte {
	for i, data := range c.spare {
		if int64(len(data)) == size {
			c.spare = slices.Delete(c.spare, i, i+1)
			return data
		}
	}
	return make([]byte, size)
}

// send starts to fetch a block. One that nobody waits for yet is not sent for
// while others are waited for. It is called with the lock held.
func (c *cache) send(s *source, index int64, from origin, ahead bool) *block {
	if ahead && !c.flights.TryAcquire(1) {
		return nil
	}
	b := &block{of: s, index: index, ready: make(chan struct{})}
	s.blocks[index] = b
	go func() {
		ctx, cancel := context.WithTimeoutCause(context.Background(), fetchPatience, errSlow)
		defer cancel()
		err := workers.Guard(func() error {
			if !ahead {
				if err := c.flights.Acquire(ctx, 1); err != nil {
					return context.Cause(ctx)
				}
			}
			defer c.flights.Release(1)
			return c.fetch(ctx, b, from)
		})
		c.arrive(b, err)
	}()
	return b
}

func (c *cache) fetch(ctx context.Context, b *block, from origin) (err error) {
	off := b.index * b.of.block
	size := min(b.of.block, b.of.size-off)
	c.mu.Lock()
	c.evict(size)
	c.used += size
	b.room = size
	b.data = c.memory(size)
	c.mu.Unlock()
	b.crc, err = from.fetch(ctx, b.of.examined, b.data, off)
	return err
}

// arrive ends the wait for a block. All readers of a block that did not come get
// the error, and the next reader asks the store again.
func (c *cache) arrive(b *block, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer close(b.ready)
	s := b.of
	kept := c.objects[s.version] == s && s.blocks[b.index] == b // else it was forgotten in the meantime
	if err == nil && kept {
		b.place = c.recent.PushFront(b)
		err = c.sumUp(s, b.index)
	}
	if err == nil {
		err = s.refusal
	}
	b.err = err
	if errors.Is(err, object.ErrChanged) || errors.Is(err, object.ErrCorrupt) {
		c.refuse(s, err)
	}
	if err != nil || !kept {
		c.drop(b)
	}
}

// sumUp adds what has come to the checksum of the object's beginning. When all
// blocks are in it, it must be the object's: so is a file of one block proven each
// time, and a larger one that is read from its beginning to its end.
func (c *cache) sumUp(s *source, index int64) error {
	if index == 0 {
		s.summed, s.sum = 0, 0
	}
	for b := s.blocks[s.summed]; b != nil && b.place != nil; b = s.blocks[s.summed] {
		s.sum = object.CombineCRC32(s.sum, b.crc, int64(len(b.data)))
		s.summed++
	}
	if s.summed*s.block < s.size {
		return nil
	}
	for _, want := range s.wantCRC {
		if s.sum != want {
			return fmt.Errorf("%w: crc32 %08x instead of %08x", object.ErrCorrupt, s.sum, want)
		}
	}
	return nil
}

// refuse keeps readers off an object for a while, and off what was cached of it.
func (c *cache) refuse(s *source, why error) {
	if s.refusal == nil {
		s.refusal, s.refused = why, time.Now()
	}
	c.dropAll(s)
}

func (c *cache) forget(s *source) {
	if c.objects[s.version] == s {
		delete(c.objects, s.version)
	}
	c.dropAll(s)
}

func (c *cache) forgetOldest() {
	if len(c.objects) < mostOpen {
		return
	}
	var oldest *source
	for _, s := range c.objects {
		if oldest == nil || s.lastUse.Before(oldest.lastUse) {
			oldest = s
		}
	}
	c.forget(oldest)
}

func (c *cache) dropAll(s *source) {
	for _, b := range s.blocks {
		if b.place != nil {
			c.drop(b)
		}
	}
	clear(s.blocks) // arrive looks for those that are on their way
}

// drop takes a block out of the cache that is not on its way. Readers that have it
// may go on.
func (c *cache) drop(b *block) {
	b.gone = true
	if b.place != nil {
		c.recent.Remove(b.place)
		b.place = nil
	}
	c.used -= b.room
	b.room = 0
	if b.of.blocks[b.index] == b {
		delete(b.of.blocks, b.index)
	}
	c.recycle(b)
}

// evict makes room for size bytes.
func (c *cache) evict(size int64) {
	for c.used+size > c.limit && c.recent.Len() > 0 {
		c.drop(c.recent.Back().Value.(*block))
	}
}

// touch notes a use, and sees to it that idleness will be noticed.
func (c *cache) touch(now time.Time) {
	c.lastUse = now
	if !c.waking {
		c.waking = true
		time.AfterFunc(c.idle, c.wake)
	}
}

func (c *cache) wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if left := c.idle - time.Since(c.lastUse); left > 0 {
		time.AfterFunc(left, c.wake)
		return
	}
	c.waking = false
	for _, s := range c.objects {
		c.forget(s)
	}
	c.spare = nil
}

var errSlow = fmt.Errorf("the store has not answered within %v", fetchPatience)
