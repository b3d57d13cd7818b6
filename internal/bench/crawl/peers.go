package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
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

// peers are asked for the same, and write what they find into a file, as cron would
// have them: coldbrick lists each cold file, and so do find and bfs.
func peers(root, coldbrick string, t tree, workers map[string]int) []peer {
	self, sample := "/proc/self/exe", filepath.Join(root, filepath.Dir(directoryName(0)))
	cutoff := t.Now.Add(-coldAfter).Local()
	crawl := []string{coldbrick, "crawl", root, "--older-than", strconv.Itoa(int(coldAfter.Hours())) + "h", "--crawlers", strconv.Itoa(workers["coldbrick"])}
	prune := []string{root, "-path", root + "/.glusterfs", "-prune", "-o", "-type", "f"}
	perSample := t.Files / t.Directories * min(perProject, t.Directories)
	return []peer{
		{"coldbrick crawl", crawl, t.Files, true},
		{"coldbrick crawl --json: gfid, size and mtime as well", with(crawl[0], crawl[1:], "--json"), t.Files, false},
		{"fastwalk, stat and lgetxattr: prints nothing", []string{self, "-as", "fastwalk", "-workers", strconv.Itoa(workers["fastwalk"]), root}, t.Files, true},
		{"find ! -newermt -print", with("find", prune, "!", "-newermt", cutoff.Format(time.DateTime), "-print"), t.Files, true},
		{"bfs -xattrname -print", with("bfs", prune, "-xattrname", gluster.XattrRemote, "-print"), t.Files, true},
		// As in Gluster's guide: a list, and a process for each file of it.
		{"shell loop (of a sample)", []string{"sh", "-c", `find "$0" -type f | while IFS= read -r f; do getfattr -h -n ` + gluster.XattrRemote + ` "$f" >/dev/null 2>&1; stat -c %Y "$f" >/dev/null; done`, sample}, perSample, false},
	}
}

func with(tool string, args []string, more ...string) []string {
	return slices.Concat([]string{tool}, args, more)
}

// playFastwalk asks for less than coldbrick does: the brick's own time and
// whether the file is a stub.
func playFastwalk(root string, t tree, workers int) error {
	var seen, cold, stubs atomic.Int64 // as if somebody asked
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
	return err
}
