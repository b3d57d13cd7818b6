package safety

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/testkit"
	"github.com/coldbrick/coldbrick/internal/volume"
	"github.com/coldbrick/coldbrick/recall"
)

// interrupted calls between after the first bytes of a download were written.
type interrupted struct {
	recall.Plugin
	between func()
}

func (p interrupted) Download(ctx context.Context, key string, dst io.WriterAt, accept func(recall.Info) error) (recall.Proof, error) {
	return p.Plugin.Download(ctx, key, &tripwire{WriterAt: dst, between: p.between}, accept)
}

type tripwire struct {
	io.WriterAt
	between func()
	once    sync.Once
}

func (w *tripwire) WriteAt(b []byte, off int64) (int, error) {
	n, err := w.WriterAt.WriteAt(b, off)
	w.once.Do(w.between)
	return n, err
}

// TestAWriteThatFailsLateIsNoRecall recalls through a volume's write-behind,
// which answers a write before the brick has it. What fails then must still end
// the recall, whatever the client has answered by then.
func TestAWriteThatFailsLateIsNoRecall(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	g.smallBrick(16 << 20)
	mount, err := volume.Inspect(g.NewMount(t, testkit.WithPerformance()))
	check(t, err)
	mount.RunDir = filepath.Join(g.Dir(), "run", "coldbrick")
	deferring, err := mount.Private(t.Context(), volume.ForRecall)
	check(t, err)
	t.Cleanup(func() { check(t, deferring.Close()) })
	live, err := volume.Inspect(deferring.Dir())
	check(t, err)
	if !live.Graph.Has(gluster.TypeWriteBehind) {
		t.Fatal("no write-behind in the graph: nothing would be tested")
	}
	g.Files = deferring

	const size = 3 << 20
	data := randomBytes(size)
	for _, c := range []struct {
		name      string
		fail, fix func()
	}{
		{"disk full", func() { check(t, g.fill(1<<20)) }, func() { check(t, g.empty()) }},
		{"brick down", func() { g.StopBrick() }, func() {
			g.StartBrick()
			g.connected()
		}},
	} {
		path := "dir/" + c.name
		g.Write(path, data, longAgo)
		g.mustArchive(path)
		r := g.recaller()
		r.Plugin = interrupted{g.Store, c.fail}
		res := r.Recall(t.Context(), path, gluster.GFID{})
		if res.Outcome == outcome.Recalled {
			t.Errorf("%s: recalled, though writes failed", c.name)
		}
		c.fix()
		if got, err := os.ReadFile(g.Path(path)); err == nil && !bytes.Equal(got, data) {
			t.Errorf("%s: a reader got %d wrong bytes", c.name, len(got))
		}
		g.mustRecall(path)
		g.mustRead(path, data)
		g.mustBeUnmarked(path)
	}
}

// smallBrick puts a file system of size bytes in place of the brick's directory.
func (g *ground) smallBrick(size int64) {
	g.t.Helper()
	g.StopBrick()
	check(g.t, unix.Mount("tmpfs", g.BrickDir(), "tmpfs", 0, "mode=755,size="+strconv.FormatInt(size, 10)))
	check(g.t, os.Mkdir(filepath.Join(g.BrickDir(), ".glusterfs"), 0o755))
	id := strings.ReplaceAll(g.ID, "-", "")
	raw, err := hex.DecodeString(id)
	check(g.t, err)
	testkit.SetXattr(g.t, g.BrickDir(), gluster.XattrVolumeID, string(raw))
	g.StartBrick()
	g.connected()
	brick, err := volume.OpenBrick(g.BrickDir())
	check(g.t, err)
	g.t.Cleanup(func() { check(g.t, brick.Close()) })
	g.Brick = brick
}

// connected waits until all mounts have the brick again.
func (g *ground) connected() {
	g.t.Helper()
	g.WaitConnected(g.MountDir())
	testkit.Eventually(g.t, time.Minute, "private mounts connect again", func() bool {
		return errors.Join(g.Files.Children(), g.Stamping.Children()) == nil
	})
}
