package extsort

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"testing"
)

func TestManyPairsAreSortedOnDisk(t *testing.T) {
	s := Sorter{Dir: t.TempDir(), Memory: 4 << 10}
	defer s.Close()
	var want []string
	for i := range 5000 {
		key, value := fmt.Sprintf("%x/\xff%d", i*7919%5000, i/2), fmt.Sprint(i%3)
		for range 1 + i%2 { // some twice
			want = append(want, key+"\x00"+value)
			if err := s.Add(key, value); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(s.runs) < 10 {
		t.Errorf("%d runs on disk", len(s.runs))
	}
	if entries, err := os.ReadDir(s.Dir); err != nil || len(entries) != 0 {
		t.Errorf("files that a crash would leave: %v, %v", entries, err)
	}
	var got []string
	if err := s.Each(func(key, value string) error { got = append(got, key+"\x00"+value); return nil }); err != nil {
		t.Fatal(err)
	}
	if !slices.IsSorted(got) {
		t.Error("out of order")
	}
	slices.Sort(want)
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("%d pairs, want %d", len(got), len(want))
	}
}

// Whoever merges must hear of what is missing.
func TestACutFileIsAnError(t *testing.T) {
	s := Sorter{Dir: t.TempDir(), Memory: 1}
	defer s.Close()
	if err := errors.Join(s.Add("key", "value"), s.runs[0].Truncate(10)); err != nil {
		t.Fatal(err)
	}
	if err := s.Each(func(string, string) error { return nil }); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
}
