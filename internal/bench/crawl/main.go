// Bench crawl measures the crawl beside its peers on one tree, in one run:
// find, bfs, fastwalk with lgetxattr, and a shell loop.
//
//	crawl -make ROOT     builds the tree
//	crawl ROOT           measures, and prints a table; -json FILE for the figures
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
		build    = flag.Bool("make", false, "build the tree and measure nothing")
		files    = flag.Int("files", 1_000_000, "files of the tree")
		dirs     = flag.Int("dirs", 20_000, "directories of the tree")
		stubs    = flag.Float64("stubs", 0.3, "share of stubs")
		light    = flag.Bool("light", false, "stubs of the tree carry one mark, not four: no attribute outgrows its inode")
		warm     = flag.Int("warm", 5, "rounds with warm caches")
		cold     = flag.Int("cold", 3, "rounds with cold caches")
		jsonFile = flag.String("json", "", "also write the figures to this `file`")
		as       = flag.String("as", "", "be this `tool` once: coldbrick or fastwalk (used by the program itself)")
		workers  = flag.Int("workers", 16, "with -as: directories at once")
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
		return playPeer(ctx, *as, root, made, *workers)
	}

	result := result{Machine: machine(root), Tree: made, Time: time.Now()}
	if result.Warm, err = measure(ctx, peers(root, made, warmWorkers), *warm, nil); err != nil {
		return err
	}
	if result.Cold, err = measure(ctx, peers(root, made, coldWorkers), *cold, dropCaches); err != nil {
		return err
	}
	fmt.Print(result.markdown())
	if *jsonFile == "" {
		return nil
	}
	data, err := json.MarshalIndent(result, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(*jsonFile, append(data, '\n'), 0o644)
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
