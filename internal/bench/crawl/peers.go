package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/charlievieth/fastwalk"
	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/crawl"
	"github.com/coldbrick/coldbrick/internal/gluster"
)

// What each tool does best with on two cores.
var (
	warmWorkers = map[string]int{"coldbrick": crawl.DefaultCrawlers, "fastwalk": 8}
	coldWorkers = map[string]int{"coldbrick": crawl.DefaultCrawlers, "fastwalk": 16}
)

// peer is one way to ask a brick for its cold files.
type peer struct {
	name    string
	command []string
	files   int  // that the command covers: the whole tree, or a sample
	cold    bool // worth waiting for with cold caches
}

func peers(root string, t tree, workers map[string]int) []peer {
	self, sample := "/proc/self/exe", filepath.Join(root, filepath.Dir(directoryName(0)))
	cutoff := t.Now.Add(-coldAfter).Local()
	play := func(name string) []string {
		return []string{self, "-as", name, "-workers", strconv.Itoa(workers[name]), root}
	}
	prune := []string{root, "-path", root + "/.glusterfs", "-prune", "-o", "-type", "f"}
	perSample := t.Files / t.Directories * min(perProject, t.Directories)
	return []peer{
		{"coldbrick crawl: what to archive, with gfid and mtime", play("coldbrick"), t.Files, true},
		{"fastwalk, stat and lgetxattr", play("fastwalk"), t.Files, true},
		{"find ! -newermt", with("find", prune, "!", "-newermt", cutoff.Format(time.DateTime), "-print"), t.Files, true},
		{"bfs -xattrname", with("bfs", prune, "-xattrname", gluster.XattrRemote, "-print"), t.Files, true},
		// As in Gluster's guide: a list, and a process for each file of it.
		{"shell loop (of a sample)", []string{"sh", "-c", `find "$0" -type f | while IFS= read -r f; do getfattr -h -n ` + gluster.XattrRemote + ` "$f" >/dev/null 2>&1; stat -c %Y "$f" >/dev/null; done`, sample}, perSample, false},
	}
}

func with(tool string, args []string, more ...string) []string {
	return append(append([]string{tool}, args...), more...)
}

// playPeer is the other end of play.
func playPeer(ctx context.Context, name, root string, t tree, workers int) error {
	var seen any
	var err error
	switch name {
	case "coldbrick":
		seen, err = playColdbrick(ctx, root, t, workers)
	case "fastwalk":
		seen, err = playFastwalk(root, t, workers)
	default:
		return fmt.Errorf("no tool %q", name)
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(seen)
}

func playColdbrick(ctx context.Context, root string, t tree, workers int) (crawl.Stats, error) {
	dir, err := os.Open(root)
	if err != nil {
		return crawl.Stats{}, err
	}
	defer dir.Close()
	opts := crawl.Options{Policy: crawl.Policy{ColdAfter: coldAfter}, Now: t.Now, Crawlers: workers}
	stats, err := crawl.Walk(ctx, dir, opts, func(context.Context, gluster.File) error { return nil })
	if err == nil && stats.Seen.Files != int64(t.Files) {
		err = fmt.Errorf("saw %d of %d files", stats.Seen.Files, t.Files)
	}
	return stats, err
}

// playFastwalk asks for less than coldbrick does: the brick's own time and
// whether the file is a stub.
func playFastwalk(root string, t tree, workers int) (map[string]int64, error) {
	var seen, cold, stubs atomic.Int64
	cutoff := t.Now.Add(-coldAfter).Local()
	err := fastwalk.Walk(&fastwalk.Config{NumWorkers: workers}, root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && d.Name() == ".glusterfs":
			return fastwalk.SkipDir
		case !d.Type().IsRegular():
			return nil
		}
		seen.Add(1)
		info, err := d.Info()
		if err != nil {
			return err
		}
		if !info.ModTime().After(cutoff) {
			cold.Add(1)
		}
		var value [256]byte
		switch _, err := unix.Lgetxattr(path, gluster.XattrRemote, value[:]); {
		case err == nil:
			stubs.Add(1)
		case !errors.Is(err, unix.ENODATA):
			return fmt.Errorf("lgetxattr %s: %w", path, err)
		}
		return nil
	})
	if err == nil && seen.Load() != int64(t.Files) {
		err = fmt.Errorf("saw %d of %d files", seen.Load(), t.Files)
	}
	return map[string]int64{"seen": seen.Load(), "cold": cold.Load(), "stubs": stubs.Load()}, err
}
