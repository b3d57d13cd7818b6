package record

import (
	"bytes"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/coldbrick/coldbrick/internal/owner"
)

func TestEveryAppendedLineIsReadBackInAnyCutOfTheFile(t *testing.T) {
	dir := t.TempDir()
	log, err := Create(filepath.Join(dir, "runs"), owner.Owner{Run: "r1"}, "/bricks/b")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if err := log.Append(Entry{Phase: Proven, Path: []byte("a\xff\n"), Key: "k"}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob(filepath.Join(dir, "runs", "*-r1.jsonl"))
	if err != nil || len(names) != 1 {
		t.Fatalf("records: %v, %v", names, err)
	}
	whole, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	for cut := range len(whole) + 1 {
		counts := map[Phase]int{}
		err := Read(bytes.NewReader(whole[:cut]), func(e Entry) error {
			counts[e.Phase]++
			if e.Phase == Proven && string(e.Path) != "a\xff\n" {
				t.Fatalf("path became %q", e.Path)
			}
			return nil
		})
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		if cut == len(whole) && (counts[Begun] != 1 || counts[Proven] != 50 || counts[Ended] != 1) {
			t.Fatalf("read back %v", counts)
		}
		if want := bytes.Count(whole[:cut], []byte("\n")); counts[Begun]+counts[Proven]+counts[Ended] != want {
			t.Fatalf("cut at %d: %v, want %d lines", cut, counts, want)
		}
	}
}
