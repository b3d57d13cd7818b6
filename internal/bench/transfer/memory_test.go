//go:build bench

package transfer

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/coldbrick/coldbrick/internal/testkit"
)

// TestMemory tells the peak of an archive's memory while 16 large files are in flight. They
// are sparse, so that they fit on a small disk; a sink takes them.
func TestMemory(t *testing.T) {
	g := newGround(t)
	url := startSink(t)
	const files = 16
	w := workload{fmt.Sprintf("%d files of 1 GiB", files), files, 1 << 30}
	tree := "sparse"
	must(t, os.MkdirAll(filepath.Dir(g.volume.Path(w.path(tree, 0))), 0o755))
	for i := range files {
		path := g.volume.Path(w.path(tree, i))
		must(t, os.WriteFile(path, []byte("not empty"), 0o644)) // a file without any block is a stub to the crawl
		must(t, os.Truncate(path, w.size))
		must(t, os.Chtimes(path, testkit.Old, testkit.Old))
	}
	c := g.archiveTo(tree, url)
	c.command = append(c.command, "--keep", "--jobs", fmt.Sprint(files))
	c.env = []string{"AWS_ACCESS_KEY_ID=a", "AWS_SECRET_ACCESS_KEY=b", "AWS_REGION=us-east-1"}
	u := c.run(t)
	t.Logf("%s: %v, %d MiB resident at the peak", w.name, u.Wall, u.RSS>>20)
}
