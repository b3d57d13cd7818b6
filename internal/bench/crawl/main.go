// Bench crawl measures the crawl beside its peers on one tree, in one run:
// find, bfs, fastwalk with lgetxattr, and a shell loop. What they print goes to a file.
//
//	crawl -make ROOT     builds the tree
//	crawl ROOT           measures, and prints tables; -json DIR for the figures
//
// The tools take turns, so that a busy minute hits all of them, and medians are
// compared. Needs root, for trusted attributes and to drop caches.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/coldbrick/coldbrick/internal/bench/measured"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench crawl:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var (
		build   = flag.Bool("make", false, "build the tree and measure nothing")
		files   = flag.Int("files", 1_000_000, "files of the tree")
		dirs    = flag.Int("dirs", 20_000, "directories of the tree")
		stubs   = flag.Float64("stubs", 0.3, "share of stubs")
		light   = flag.Bool("light", false, "stubs of the tree carry one mark, not four: no attribute outgrows its inode")
		warm    = flag.Int("warm", 5, "rounds with warm caches")
		cold    = flag.Int("cold", 3, "rounds with cold caches")
		jsonDir = flag.String("json", "", "also write the figures into this `directory`")
		program = flag.String("coldbrick", "bin/coldbrick", "the `program` to measure")
		as      = flag.String("as", "", "be this `tool` once: fastwalk (used by the program itself)")
		workers = flag.Int("workers", 16, "with -as: directories at once")
	)
	flag.Parse()
	if flag.NArg() != 1 {
		return errors.New("want one argument, the root of the tree")
	}
	root, err := filepath.Abs(flag.Arg(0))
	if err != nil {
		return err
	}
	if *build {
		return makeTree(root, tree{Directories: *dirs, Files: *files, Stubs: *stubs, Light: *light, Now: time.Now()})
	}
	made, err := readTree(root)
	if err != nil {
		return err
	}
	if *as != "" {
		return playFastwalk(root, made, *workers)
	}

	for _, caches := range []struct {
		id, title string
		workers   map[string]int
		rounds    int
		prepare   func() error
	}{
		{"crawl-warm", "Crawl, warm caches", warmWorkers, *warm, nil},
		{"crawl-cold", "Crawl, cold caches", coldWorkers, *cold, dropCaches},
	} {
		tab := &measured.Table{ID: caches.id, Title: caches.title + ": " + made.String(), Files: made.Files, Machine: measured.Machine(root)}
		if err := measure(ctx, tab, peers(root, *program, made, caches.workers), caches.rounds, caches.prepare); err != nil {
			return err
		}
		fmt.Print(tab.Markdown())
		if *jsonDir != "" && caches.rounds > 0 {
			if err := tab.Save(*jsonDir); err != nil {
				return err
			}
		}
	}
	return nil
}

// The tree's own figures lie beside its root.
func treeFile(root string) string { return root + ".json" }

func makeTree(root string, t tree) error {
	if err := t.build(root); err != nil {
		return err
	}
	data, err := json.Marshal(t)
	if err != nil {
		return err
	}
	return os.WriteFile(treeFile(root), data, 0o644)
}

func readTree(root string) (t tree, err error) {
	data, err := os.ReadFile(treeFile(root))
	if err != nil {
		return t, fmt.Errorf("no tree of -make: %w", err)
	}
	return t, json.Unmarshal(data, &t)
}
