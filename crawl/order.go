package crawl

import (
	"cmp"
	"container/heap"
	"context"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/coldbrick/coldbrick/internal/gluster"
)

// Order is the order in which a walk emits files.
type Order string

// The orders. The zero value means Found.
const (
	Found   Order = "found"   // at once, while the walk goes on
	Coldest Order = "coldest" // by the time that the policy counts their age from, oldest first
	Largest Order = "largest" // by size, largest first
)

// DefaultSortMemory is what a walk in an order keeps of the files it has found,
// in bytes: some 120,000 files with paths of usual length.
const DefaultSortMemory = 32 << 20

// compare is negative if a comes first. No two files are equal, so that a walk
// can go on where another one has ended.
func (o Order) compare(a, b gluster.File) int {
	byRank := a.ColdSince.Compare(b.ColdSince)
	if o == Largest {
		byRank = cmp.Compare(b.Size, a.Size)
	}
	return cmp.Or(byRank, slices.Compare(a.GFID[:], b.GFID[:]), strings.Compare(a.Path, b.Path))
}

// walkSorted emits in an order. The files that come first are kept while the
// whole tree is walked, as many as memory allows, and then emitted. If others
// were found, it walks again for those that come behind, and so on: each walk
// goes on where the last one has ended, so it comes to an end whatever happens
// to the files in the meantime.
func walkSorted(ctx context.Context, root *os.File, opts Options, emit func(context.Context, gluster.File) error) (Stats, error) {
	first := &selection{order: opts.Order, limit: cmp.Or(opts.SortMemory, DefaultSortMemory)}
	stats, err := walkOnce(ctx, root, opts, first.add)
	opts.Unreadable, opts.Progress = nil, nil // told by the first walk
	for s := first; err == nil; {
		last, emitErr := s.emit(ctx, emit)
		if emitErr != nil || !s.dropped {
			return stats, emitErr
		}
		s = &selection{order: s.order, limit: s.limit, after: &last}
		_, err = walkOnce(ctx, root, opts, s.add)
	}
	return stats, err
}

// selection keeps the files that come first, within a limit of memory.
type selection struct {
	order Order
	limit int           // bytes
	after *gluster.File // only those behind it; nil: all

	mu      sync.Mutex
	files   lastFirst
	memory  int  // of files, in bytes
	dropped bool // some had to give way; all of them come behind all that are kept
}

// add is an emit function.
func (s *selection) add(_ context.Context, f gluster.File) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.after != nil && s.order.compare(f, *s.after) <= 0: // had its turn
		return nil
	case s.dropped && s.order.compare(f, s.files.list[0]) > 0:
		return nil
	}
	s.files.order = s.order
	heap.Push(&s.files, f)
	s.memory += memoryOf(f)
	for s.memory > s.limit && len(s.files.list) > 1 {
		s.memory -= memoryOf(heap.Pop(&s.files).(gluster.File))
		s.dropped = true
	}
	return nil
}

// memoryOf is what a file takes in a selection, with room for growth.
func memoryOf(f gluster.File) int {
	const fixed = 200
	return fixed + len(f.Path)
}

// emit emits what was kept, in order, and returns the last of it.
func (s *selection) emit(ctx context.Context, emit func(context.Context, gluster.File) error) (last gluster.File, err error) {
	slices.SortFunc(s.files.list, s.order.compare)
	for _, last = range s.files.list {
		if ctx.Err() != nil {
			return last, context.Cause(ctx)
		}
		if err := emit(ctx, last); err != nil {
			return last, err
		}
	}
	return last, nil
}

// lastFirst is a heap with the file on top that comes last.
type lastFirst struct {
	order Order
	list  []gluster.File
}

func (h *lastFirst) Len() int           { return len(h.list) }
func (h *lastFirst) Less(i, j int) bool { return h.order.compare(h.list[i], h.list[j]) > 0 }
func (h *lastFirst) Swap(i, j int)      { h.list[i], h.list[j] = h.list[j], h.list[i] }

// Push adds a gluster.File.
func (h *lastFirst) Push(f any) { h.list = append(h.list, f.(gluster.File)) }

// Pop removes the last element.
func (h *lastFirst) Pop() any {
	end := len(h.list) - 1
	f := h.list[end]
	h.list[end] = gluster.File{} // let go of its path
	h.list = h.list[:end]
	return f
}
