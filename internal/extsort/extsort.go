// Package extsort brings pairs of a key and a value in order by key. What does not fit
// into a little memory waits on disk.
package extsort

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
)

// memory is what a Sorter keeps in memory, in bytes; runBuffer is what each of its files
// takes besides when they are merged.
const (
	memory     = 32 << 20
	runBuffer  = 32 << 10
	pairMemory = 64 // of one pair, besides key and value
	longest    = 64 << 10
)

// Sorter sorts what is added to it. Close it.
type Sorter struct {
	Dir    string // for files without a name
	Memory int    // bytes; 0: 32 MiB

	held []pair
	size int
	runs []*os.File
}

type pair struct{ key, value string }

// Add takes a pair. Neither key nor value may be longer than 64 KiB.
func (s *Sorter) Add(key, value string) error {
	if len(key) > longest || len(value) > longest {
		return fmt.Errorf("sort: a key of %d bytes and a value of %d", len(key), len(value))
	}
	s.held = append(s.held, pair{key, value})
	s.size += len(key) + len(value) + pairMemory
	if s.size < cmp.Or(s.Memory, memory) {
		return nil
	}
	return s.spill()
}

func compare(a, b pair) int {
	return cmp.Or(strings.Compare(a.key, b.key), strings.Compare(a.value, b.value))
}

// spill writes what is held to a file of its own.
func (s *Sorter) spill() error {
	slices.SortFunc(s.held, compare)
	f, err := TempFile(s.Dir)
	if err != nil {
		return err
	}
	s.runs = append(s.runs, f)
	w := bufio.NewWriterSize(f, 1<<20)
	for _, p := range s.held {
		var head [8]byte
		binary.BigEndian.PutUint32(head[:4], uint32(len(p.key)))
		binary.BigEndian.PutUint32(head[4:], uint32(len(p.value)))
		_, _ = w.Write(head[:]) // an error stays until Flush
		_, _ = w.WriteString(p.key)
		_, _ = w.WriteString(p.value)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("sort: %w", err)
	}
	clear(s.held)
	s.held, s.size = s.held[:0], 0
	return nil
}

// Each visits what was added, in order by key and then by value. Equal pairs come as
// often as they were added. Nothing may be added afterwards.
func (s *Sorter) Each(visit func(key, value string) error) error {
	slices.SortFunc(s.held, compare)
	sources := mergeHeap{{next: func() (pair, error) {
		if len(s.held) == 0 {
			return pair{}, io.EOF
		}
		p := s.held[0]
		s.held = s.held[1:]
		return p, nil
	}}}
	for _, f := range s.runs {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return err
		}
		in := bufio.NewReaderSize(f, runBuffer)
		sources = append(sources, &source{next: func() (pair, error) { return read(in) }})
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
	for len(h) > 0 {
		if err := visit(h[0].head.key, h[0].head.value); err != nil {
			return err
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

func read(in io.Reader) (pair, error) {
	var head [8]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return pair{}, err // io.EOF at the end
	}
	key := binary.BigEndian.Uint32(head[:4])
	text := make([]byte, key+binary.BigEndian.Uint32(head[4:]))
	if _, err := io.ReadFull(in, text); err != nil {
		return pair{}, fmt.Errorf("sort: %w: %w", io.ErrUnexpectedEOF, err)
	}
	return pair{string(text[:key]), string(text[key:])}, nil
}

// Close gives back what is on disk.
func (s *Sorter) Close() {
	for _, f := range s.runs {
		f.Close()
	}
}

type source struct {
	next func() (pair, error)
	head pair
}

// advance reports whether there is a next one.
func (m *source) advance() (bool, error) {
	var err error
	m.head, err = m.next()
	if err == io.EOF { //nolint:errorlint // not what wraps it: a pair that was cut
		return false, nil
	}
	return err == nil, err
}

type mergeHeap []*source

func (h mergeHeap) Len() int           { return len(h) }
func (h mergeHeap) Less(i, j int) bool { return compare(h[i].head, h[j].head) < 0 }
func (h mergeHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push adds a *source.
func (h *mergeHeap) Push(x any) { *h = append(*h, x.(*source)) }

// Pop removes the last.
func (h *mergeHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// TempFile makes a file without a name: it is gone with its descriptor.
func TempFile(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, "coldbrick-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
