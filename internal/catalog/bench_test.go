package catalog

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/crawl"
	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore/dir"
	"github.com/coldbrick/coldbrick/internal/testkit"
	"github.com/coldbrick/coldbrick/internal/volume"
	"github.com/coldbrick/coldbrick/internal/xattrs"
)

// fakeBrick makes what a brick of so many files has, one of so many a stub, without the
// time that Gluster takes for it.
func fakeBrick(b *testing.B, files, oneOf int) (dir, id string) {
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
	mdata := make([]byte, 57) // version and flags, then ctime, mtime and atime
	mdata[0] = 1
	for _, at := range []int{9, 25, 41} {
		binary.BigEndian.PutUint64(mdata[at:], uint64(testkit.Old.Unix()))
	}
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
		stub := i%oneOf == 0
		var data []byte
		if !stub {
			data = []byte("x")
		}
		must(os.WriteFile(name, data, 0o644))
		set(name, gluster.XattrGFID, g[:])
		set(name, gluster.XattrMdata, mdata)
		if stub {
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

// benchFiles is how many files the bricks of the benchmarks have.
func benchFiles(b *testing.B) int {
	text := cmp.Or(os.Getenv("BENCH_CATALOG_FILES"), "20000")
	n, err := strconv.Atoi(text)
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// A catalog is held against a crawl that looks at all attributes of every local file:
// it wants them all, and no user waits for it.
func BenchmarkTake(b *testing.B) {
	for _, oneOf := range []int{2, 100} {
		b.Run(fmt.Sprintf("1 stub in %d", oneOf), func(b *testing.B) { benchmarkTake(b, benchFiles(b), oneOf) })
	}
}

func benchmarkTake(b *testing.B, files, oneOf int) {
	stubs := int64(files / oneOf)
	at, id := fakeBrick(b, files, oneOf)
	brick, err := volume.OpenBrick(at)
	if err != nil {
		b.Fatal(err)
	}
	defer brick.Close()
	rate := func(b *testing.B) { b.ReportMetric(float64(files)*float64(b.N)/b.Elapsed().Seconds(), "files/s") }
	b.Run("crawl", func(b *testing.B) {
		root, err := os.Open(at)
		if err != nil {
			b.Fatal(err)
		}
		defer root.Close()
		for b.Loop() {
			var found atomic.Int64
			_, err := crawl.Walk(b.Context(), root, crawl.Options{}, func(context.Context, gluster.File) error { found.Add(1); return nil })
			if err != nil || found.Load() != int64(files)-stubs {
				b.Fatal(found.Load(), err)
			}
		}
		rate(b)
	})
	for way, attrs := range xattrs.Ways(unix.AT_FDCWD) {
		b.Run("catalog by "+way, func(b *testing.B) {
			store := &dir.Store{}
			if err := store.Init(b.Context(), map[string]string{"store-dir": b.TempDir()}); err != nil {
				b.Fatal(err)
			}
			temporary := b.TempDir()
			for b.Loop() {
				m, err := Place{Store: store, Volume: id, Secret: secret}.Take(b.Context(),
					Subject{Brick: at, Ask: func(context.Context) (Cluster, error) { return Cluster{}, nil }},
					Scan{
						Brick: brick, Dir: temporary, Workers: 16, Notes: notes, attrs: attrs,
						Unreadable: func(p string, err error) { b.Error(p, err) },
					})
				if err != nil || m.Counts.Stubs != stubs || m.Refs.Lines != stubs {
					b.Fatal(m.Counts, err)
				}
				b.ReportMetric(float64(m.Refs.Bytes+m.Tree.Bytes)/float64(files), "stored-B/file")
			}
			rate(b)
		})
	}
}
