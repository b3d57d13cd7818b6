package catalog

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore/dir"
	"github.com/coldbrick/coldbrick/internal/volume"
)

// fakeBrick makes what a brick of so many files has, every second one a stub, without
// the time that Gluster takes for it.
func fakeBrick(b *testing.B, files int) (dir, id string) {
	b.Helper()
	dir = b.TempDir()
	must := func(err error) {
		if err != nil {
			b.Helper()
			b.Fatal(err)
		}
	}
	set := func(path, name string, value []byte) { must(unix.Lsetxattr(path, name, value, 0)) }
	newGFID := func() (g gluster.GFID) {
		rand.Read(g[:])
		return g
	}
	volumeID := newGFID()
	set(dir, gluster.XattrGFID, gluster.RootGFID[:])
	set(dir, gluster.XattrVolumeID, volumeID[:])
	for i := range files {
		in := fmt.Sprintf("%s/directory %d", dir, i/100)
		if i%100 == 0 {
			must(os.MkdirAll(in, 0o755))
			g := newGFID()
			set(in, gluster.XattrGFID, g[:])
		}
		name := fmt.Sprintf("%s/file number %d.mov", in, i)
		g := newGFID()
		must(os.WriteFile(name, nil, 0o644))
		set(name, gluster.XattrGFID, g[:])
		if i%2 == 0 {
			key := name[len(dir)+1:]
			p := object.Pointer{GFID: g, Volume: volumeID.String(), Key: key, Attempt: object.NewID(), Proof: &object.Stamped{Size: 1 << 20, CRC32: 1}}
			set(name, gluster.XattrPointer, p.Encode())
			set(name, gluster.XattrRemote, []byte(key))
			set(name, gluster.XattrObjectSize, []byte("1048576"))
			set(name, gluster.XattrNumBlocks, []byte("0002048"))
		}
		handle := filepath.Join(dir, g.HandlePath())
		must(os.MkdirAll(filepath.Dir(handle), 0o700))
		must(os.Link(name, handle))
	}
	return dir, volumeID.String()
}

// The crawl's own benchmark is beside it: crawl/bench_test.go.
func BenchmarkTake(b *testing.B) {
	const files = 20_000
	at, id := fakeBrick(b, files)
	store := &dir.Store{}
	if err := store.Init(b.Context(), map[string]string{"store-dir": b.TempDir()}); err != nil {
		b.Fatal(err)
	}
	brick, err := volume.OpenBrick(at)
	if err != nil {
		b.Fatal(err)
	}
	defer brick.Close()
	temporary := b.TempDir()
	for b.Loop() {
		m, err := Place{Store: store, Volume: id, Secret: secret}.Take(b.Context(),
			Subject{Brick: at, Ask: func(context.Context) (Cluster, error) { return Cluster{}, nil }},
			Scan{Brick: brick, Dir: temporary, Workers: 16, Notes: notes, Unreadable: func(p string, err error) { b.Error(p, err) }})
		if err != nil || m.Counts.Stubs != files/2 || m.Refs.Lines != files/2 {
			b.Fatal(m.Counts, err)
		}
		b.ReportMetric(float64(m.Refs.Bytes+m.Tree.Bytes)/files, "stored-B/file")
	}
	b.ReportMetric(float64(files)*float64(b.N)/b.Elapsed().Seconds(), "files/s")
}
