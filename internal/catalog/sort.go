package catalog

import (
	"bufio"
	"cmp"
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/coldbrick/coldbrick/internal/gluster"
)

// sortMemory is what a sorter keeps in memory, in bytes; runBuffer is what each of its
// files takes besides when they are merged.
const (
	sortMemory = 32 << 20
	runBuffer  = 32 << 10
	refMemory  = 64 // of one Ref, besides its key
	longestKey = 64 << 10
)

// sorter brings references in order by key, on disk where they are many.
type sorter struct {
	dir    string // for files without a name
	memory int
	held   []Ref
	size   int
	runs   []*os.File
}

func (s *sorter) add(r Ref) error {
	if len(r.Key) > longestKey {
		return fmt.Errorf("a key of %d bytes", len(r.Key))
	}
	s.held = append(s.held, r)
	s.size += len(r.Key) + refMemory
	if s.size < cmp.Or(s.memory, sortMemory) {
		return nil
	}
	return s.spill()
}

func compareRefs(a, b Ref) int {
	return cmp.Or(strings.Compare(string(a.Key), string(b.Key)), slices.Compare(a.GFID[:], b.GFID[:]))
}

// spill writes what is held to a file of its own.
func (s *sorter) spill() error {
	slices.SortFunc(s.held, compareRefs)
	f, err := tempFile(s.dir)
	if err != nil {
		return err
	}
	s.runs = append(s.runs, f)
	w := bufio.NewWriterSize(f, 1<<20)
	for _, r := range s.held {
		var head [4]byte
		binary.BigEndian.PutUint32(head[:], uint32(len(r.Key)))
		for _, b := range [][]byte{head[:], r.GFID[:], []byte(r.Key)} {
			if _, err := w.Write(b); err != nil {
				return fmt.Errorf("sort: %w", err)
			}
		}
	}
	s.held, s.size = s.held[:0], 0
	return w.Flush()
}

// each visits what was added, in order, every key once.
func (s *sorter) each(visit func(Ref) error) error {
	slices.SortFunc(s.held, compareRefs)
	sources := mergeHeap{{next: func() (Ref, error) {
		if len(s.held) == 0 {
			return Ref{}, io.EOF
		}
		r := s.held[0]
		s.held = s.held[1:]
		return r, nil
	}}}
	for _, f := range s.runs {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return err
		}
		in := bufio.NewReaderSize(f, runBuffer)
		sources = append(sources, &mergeSource{next: func() (Ref, error) { return readRef(in) }})
	}
	var h mergeHeap
	for _, m := range sources {
		more, err := m.advance()
		if err != nil {
			return err
		}
		if more {
			h = append(h, m)
		}
	}
	heap.Init(&h)
	first, last := true, Bytes("")
	for len(h) > 0 {
		if r := h[0].head; first || r.Key != last {
			first, last = false, r.Key
			if err := visit(r); err != nil {
				return err
			}
		}
		more, err := h[0].advance()
		switch {
		case err != nil:
			return err
		case more:
			heap.Fix(&h, 0)
		default:
			heap.Pop(&h)
		}
	}
	return nil
}

func readRef(in io.Reader) (r Ref, err error) {
	var head [4 + len(gluster.GFID{})]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return r, err // io.EOF at the end
	}
	copy(r.GFID[:], head[4:])
	key := make([]byte, binary.BigEndian.Uint32(head[:]))
	if _, err := io.ReadFull(in, key); err != nil {
		return r, errors.Join(io.ErrUnexpectedEOF, err)
	}
	r.Key = Bytes(key)
	return r, nil
}

func (s *sorter) close() {
	for _, f := range s.runs {
		f.Close()
	}
}

type mergeSource struct {
	next func() (Ref, error)
	head Ref
}

// advance reports whether there is a next one.
func (m *mergeSource) advance() (bool, error) {
	var err error
	m.head, err = m.next()
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	return err == nil, err
}

type mergeHeap []*mergeSource

func (h mergeHeap) Len() int           { return len(h) }
func (h mergeHeap) Less(i, j int) bool { return compareRefs(h[i].head, h[j].head) < 0 }
func (h mergeHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push adds a *mergeSource.
func (h *mergeHeap) Push(x any) { *h = append(*h, x.(*mergeSource)) }

// Pop removes the last.
func (h *mergeHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// tempFile makes a file without a name: it is gone with its descriptor.
func tempFile(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, "catalog-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
