// Package safety holds the tests of the promise that coldbrick lives by: at
// every instant each file is either intact on the volume or recallable, byte for
// byte. They run all parts together, on real bricks, mounts and stores.
package safety

import (
	"bytes"
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/coldbrick/coldbrick/crawl"
	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore/s3"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/owner"
	"github.com/coldbrick/coldbrick/internal/record"
	"github.com/coldbrick/coldbrick/internal/testkit"
	"github.com/coldbrick/coldbrick/internal/volume"
	"github.com/coldbrick/coldbrick/internal/workers"
	"github.com/coldbrick/coldbrick/recall"
	"github.com/coldbrick/coldbrick/upload"
)

// longAgo is the mtime of cold files. Its nanoseconds must survive.
var longAgo = time.Unix(1672628645, 123456789)

// ground is a volume and a store with everything that archives and recalls.
type ground struct {
	*testkit.Volume
	S3       *testkit.S3Server
	Proxy    *testkit.Proxy
	Brick    *volume.Brick
	Stamping *volume.Private
	Files    *volume.Private
	Replicas *volume.Replicas // nil without replication
	Store    *s3.Store
	StateDir string

	t *testing.T
}

func newGround(t *testing.T, options ...testkit.Option) *ground {
	t.Helper()
	g := &ground{t: t, Volume: testkit.NewVolume(t, options...), S3: testkit.S3(t), StateDir: t.TempDir()}
	g.Proxy = testkit.FaultProxy(t, g.S3)
	brick, err := volume.OpenBrick(g.BrickDir())
	check(t, err)
	t.Cleanup(func() { check(t, brick.Close()) })
	g.Brick = brick
	mount, err := volume.Inspect(g.MountDir())
	check(t, err)
	mount.RunDir = filepath.Join(g.Dir(), "run", "coldbrick")
	private := func(kind volume.Kind) *volume.Private {
		p, err := mount.Private(t.Context(), kind)
		check(t, err)
		t.Cleanup(func() { check(t, p.Close()) })
		return p
	}
	g.Stamping, g.Files = private(volume.ForStamping), private(volume.ForRecall)
	if g.Replicas = mount.Replicas(true); g.Replicas != nil {
		t.Cleanup(func() { check(t, g.Replicas.Close()) })
	}
	g.Store = g.newStore(g.Proxy.Endpoint)
	return g
}

func (g *ground) newStore(endpoint string) *s3.Store {
	g.t.Helper()
	store := &s3.Store{}
	check(g.t, store.Init(g.t.Context(), map[string]string{
		"endpoint-url": endpoint, "bucket": g.S3.Bucket, "region": g.S3.Region,
		"access-key-id": g.S3.AccessKey, "secret-access-key": g.S3.SecretKey,
	}))
	_, err := store.Probe(g.t.Context())
	check(g.t, err)
	return store
}

// run is a run of coldbrick on the ground: what it leaves belongs to a process
// that is dead once the run has ended.
func (g *ground) run() owner.Owner {
	g.t.Helper()
	self, err := owner.Self(object.NewID())
	check(g.t, err)
	self.Start++ // no living process
	return self
}

func (g *ground) archiver() *upload.Archiver {
	g.t.Helper()
	self := g.run()
	log, err := record.Create(filepath.Join(g.StateDir, "runs"), self, g.BrickDir())
	check(g.t, err)
	g.t.Cleanup(func() { check(g.t, log.Close()) })
	a := &upload.Archiver{
		Mount: g.Stamping, Brick: g.Brick, Store: g.Store, Log: log, Owner: self,
		Volume: g.ID, ColdBefore: time.Now().Add(-5 * time.Second),
	}
	if g.Replicas != nil {
		a.Replicas = g.Replicas
	}
	return a
}

func (g *ground) recaller() *recall.Recaller {
	g.t.Helper()
	r := &recall.Recaller{
		Files: g.Files, Barrier: g.Stamping, Plugin: g.Store, Owner: g.run(),
		Volume: g.ID, BarrierLimit: time.Minute,
	}
	if g.Replicas != nil {
		r.Replicas = g.Replicas
	}
	return r
}

// archiveAll archives all cold files of the brick and returns the results by
// path, skipped files of the crawl not included.
func (g *ground) archiveAll() map[string]upload.Result {
	g.t.Helper()
	results := map[string]upload.Result{}
	done := make(chan upload.Result)
	go func() {
		defer close(done)
		policy := crawl.Policy{ColdAfter: time.Minute, MinSize: 1}
		err := g.archiver().Run(g.t.Context(), workers.NewCrew(8, 8), func(ctx context.Context, emit func(context.Context, gluster.File) error) error {
			root, err := g.Brick.Open(".", os.O_RDONLY)
			if err != nil {
				return err
			}
			defer root.Close()
			_, err = crawl.Walk(ctx, root, crawl.Options{Policy: policy}, emit)
			return err
		}, func(r upload.Result) { done <- r })
		if err != nil {
			g.t.Errorf("archive: %v", err)
		}
	}()
	for r := range done {
		results[r.File.Path] = r
	}
	return results
}

// file is what crawl would emit for the file at path.
func (g *ground) file(path string) gluster.File {
	g.t.Helper()
	st, err := os.Lstat(g.Path(path))
	check(g.t, err)
	return gluster.File{Path: path, GFID: g.GFID(path), Size: st.Size(), Mtime: st.ModTime()}
}

func (g *ground) archive(path string) upload.Result {
	g.t.Helper()
	return g.archiver().Archive(g.t.Context(), g.file(path))
}

func (g *ground) mustArchive(path string) upload.Result {
	g.t.Helper()
	res := g.archive(path)
	if res.Outcome != outcome.Archived || res.Err != nil {
		g.t.Fatalf("archive %q: %s %s: %v", path, res.Outcome, res.Reason, res.Err)
	}
	g.mustBeStub(path, res.Key)
	return res
}

// mustBeStub holds a stub against everything that makes one.
func (g *ground) mustBeStub(path, key string) {
	g.t.Helper()
	if size := g.BrickSize(path); size != 0 {
		g.t.Fatalf("%q has %d bytes on the brick", path, size)
	}
	marks := g.BrickMarks(path)
	if !marks.Remote || marks.RemoteKey != key || marks.Downloading {
		g.t.Fatalf("%q has %+v, want key %q", path, marks, key)
	}
}

func (g *ground) recall(path string) recall.Result {
	g.t.Helper()
	return g.recaller().Recall(g.t.Context(), path, gluster.GFID{})
}

func (g *ground) mustRecall(path string) {
	g.t.Helper()
	if res := g.recall(path); res.Outcome != outcome.Recalled {
		g.t.Fatalf("recall %q: %s %s: %v", path, res.Outcome, res.Reason, res.Err)
	}
}

// mustRead compares a file with what it must hold, as a fresh client sees it.
func (g *ground) mustRead(path string, want []byte) {
	g.t.Helper()
	f, err := g.Stamping.OpenRegular(path) // caches nothing
	check(g.t, err)
	defer f.Close()
	got := make([]byte, len(want)+1)
	n, err := f.ReadAt(got, 0)
	if !bytes.Equal(got[:n], want) {
		g.t.Fatalf("%q: %d bytes that differ from the %d written (%v)", path, n, len(want), err)
	}
}

// mustBeUnmarked says that nothing of coldbrick or cloudsync is left on a file but
// what a recall leaves.
func (g *ground) mustBeUnmarked(path string) {
	g.t.Helper()
	left, err := leftOn(g.BrickPath(path))
	check(g.t, err)
	if len(left) > 0 {
		g.t.Errorf("%q still has %q", path, left)
	}
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
