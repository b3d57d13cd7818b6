package crawl

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/coldbrick/coldbrick/internal/gluster"
)

// inOrder walks root in an order and returns the paths as they were emitted.
func inOrder(t *testing.T, root string, opts Options) ([]string, Stats) {
	t.Helper()
	dir, err := os.Open(root)
	must(t, err)
	defer dir.Close()
	opts.Now = now
	var paths []string
	stats, err := Walk(t.Context(), dir, opts, func(_ context.Context, f gluster.File) error {
		paths = append(paths, f.Path)
		return nil
	})
	must(t, err)
	return paths, stats
}

// However little memory there is, each file comes once and in its place.
func TestAWalkInAnOrderNeedsNoMoreMemoryThanItMay(t *testing.T) {
	const count = 60
	files := map[string]node{}
	var coldest, largest []string
	for rank := range count {
		// Age and size disagree, so that one order is not the other.
		name := fmt.Sprintf("d%d/f%03d", rand.IntN(5), rank)
		files[name] = node{age: time.Duration(100+count-rank) * day, size: int64(1 + (rank*37)%count)}
		coldest = append(coldest, name)
	}
	largest = slices.Clone(coldest)
	slices.SortFunc(largest, func(a, b string) int { return int(files[b].size - files[a].size) })
	root := brick(t, files)
	for order, want := range map[Order][]string{Coldest: coldest, Largest: largest} {
		for _, memory := range []int{0, 1, 7 * memoryOf(gluster.File{Path: "d0/f000"})} {
			t.Run(fmt.Sprintf("%s in %d bytes", order, memory), func(t *testing.T) {
				got, stats := inOrder(t, root, Options{Policy: monthly, Order: order, SortMemory: memory})
				if !slices.Equal(got, want) {
					t.Errorf("got  %q\nwant %q", got, want)
				}
				if stats.Candidates.Files != count || stats.Seen.Files != count {
					t.Errorf("counted %+v and %+v, want %d once", stats.Candidates, stats.Seen, count)
				}
			})
		}
	}
}

func TestASelectionKeepsWithinItsMemory(t *testing.T) {
	s := selection{order: Largest, limit: 50_000}
	for i := range 10_000 {
		must(t, s.add(t.Context(), gluster.File{Path: fmt.Sprintf("%0*d", rand.IntN(4000), i), Size: rand.Int64N(1000)}))
		if s.memory > s.limit {
			t.Fatalf("%d bytes, %d allowed", s.memory, s.limit)
		}
	}
	if !s.dropped || len(s.files.list) == 0 {
		t.Errorf("%d files kept, some dropped: %v", len(s.files.list), s.dropped)
	}
}

func TestAWalkInAnOrderEndsAtAnErrorOfEmit(t *testing.T) {
	root := brick(t, map[string]node{"a": {size: 1}, "b": {size: 2}, "c": {size: 3}})
	dir, err := os.Open(root)
	must(t, err)
	defer dir.Close()
	enough := errors.New("enough")
	var got []string
	_, err = Walk(t.Context(), dir, Options{Order: Largest, SortMemory: 1, Now: now}, func(_ context.Context, f gluster.File) error {
		if len(got) == 2 {
			return enough
		}
		got = append(got, f.Path)
		return nil
	})
	if !errors.Is(err, enough) || !slices.Equal(got, []string{"c", "b"}) {
		t.Errorf("%q, %v", got, err)
	}
}
