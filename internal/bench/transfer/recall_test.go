//go:build bench

package transfer

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/coldbrick/coldbrick/internal/bench/measured"
	"github.com/coldbrick/coldbrick/internal/testkit"
)

// TestRecallLarge writes one large file back to the volume.
func TestRecallLarge(t *testing.T) {
	g := newGround(t)
	w := workload{fmt.Sprintf("one file of %d MiB", largeMiB), 1, int64(largeMiB) << 20}
	tab := &measured.Table{ID: "recall-large", Title: "Recall of " + w.name, Files: 1, Bytes: w.bytes()}
	tree := g.makeTree(w)
	object := tree + "/project00/run00/sample-0000.dat"
	copied := g.mount + "/copy"
	for range rounds {
		g.archive(w, tree)
		settle()
		u := g.counted(func() measured.Usage { return g.recallCommand(tree).run(t) })
		if size := g.volume.BrickSize(object); size != w.size {
			t.Fatalf("%d bytes were recalled", size)
		}
		tab.Add("coldbrick recall", u)
		settle()
		tab.Add("dd conv=fsync onto the mount", g.counted(func() measured.Usage {
			return tool{command: []string{"dd", "if=" + g.store.ObjectFile(object), "of=" + copied, "bs=1M", "conv=fsync"}}.run(t)
		}))
		g.remove(copied)
		tab.Add("aws s3 cp onto the mount", g.counted(func() measured.Usage {
			return tool{command: []string{needs(g.T, "aws"), "--endpoint-url", g.store.Endpoint, "s3", "cp", "--quiet",
				"s3://" + g.store.Bucket + "/" + object, copied}, env: g.store.Env(), ownChildren: true}.run(t)
		}))
		g.remove(copied)
	}
	save(t, tab)
}

// TestRecallSmall recalls many small files, beside reading each of them, one
// after the other, through the translator with the plugin.
func TestRecallSmall(t *testing.T) {
	g := newGround(t)
	w := workload{fmt.Sprintf("%d files of 4 KiB", smallFiles), smallFiles, 4 << 10}
	tab := &measured.Table{ID: "recall-small", Title: "Recall of " + w.name, Files: w.files, Bytes: w.bytes()}
	for range rounds {
		for _, c := range []contestant{
			{"coldbrick recall", func(_ workload, tree string) measured.Usage { return g.recallCommand(tree).run(t) }},
			{"one by one through the translator, with the plugin", g.translator},
		} {
			tree := g.makeTree(w)
			g.archive(w, tree)
			g.mustAllBeStubs(w, tree)
			settle()
			tab.Add(c.name, g.counted(func() measured.Usage { return c.run(w, tree) }))
			for i := range w.files {
				if size := g.volume.BrickSize(w.path(tree, i)); size != w.size {
					t.Fatalf("%s: %d bytes on the brick", w.path(tree, i), size)
				}
			}
			g.removeTree(tree)
		}
	}
	save(t, tab)
}

// translator reads each file through a mount that recalls by itself.
func (g *ground) translator(w workload, tree string) measured.Usage {
	mount := g.volume.NewMount(g.T, testkit.WithPerformance(), testkit.WithPlugin("cloudsyncs3",
		"s3plugin-hostname "+g.store.Endpoint, "s3plugin-bucketid "+g.store.Bucket,
		"s3plugin-keyid "+g.store.AccessKey, "s3plugin-seckey "+g.store.SecretKey))
	return tool{command: []string{"xargs", "-0", "-a", g.list(w, mount, tree), "cat"}, ownChildren: true, toNull: true}.run(g.T)
}

func (g *ground) recallCommand(tree string) tool {
	return tool{
		command: []string{g.coldbrick(), "recall", "-r", filepath.Join(g.mount, tree),
			"--bucket", g.store.Bucket, "--endpoint-url", g.store.Endpoint, "--state-dir", g.state, "--quiet"},
		env: g.store.Env(),
	}
}

// counted adds what the servers took in the meantime.
func (g *ground) counted(run func() measured.Usage) measured.Usage {
	before := serversCPU(g, g.volume.Dir(), g.store.Dir())
	u := run()
	u.Servers += serversCPU(g, g.volume.Dir(), g.store.Dir()) - before
	return u
}

func (g *ground) remove(path string) {
	g.Helper()
	if err := os.Remove(path); err != nil {
		g.Fatal(err)
	}
	if out, err := exec.Command("sync").CombinedOutput(); err != nil {
		g.Fatalf("sync: %v: %s", err, out)
	}
}
