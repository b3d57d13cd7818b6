package main

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
)

// tree is a brick as GlusterFS would have filled it: each file with its handle
// in .glusterfs and with gfid, gfid2path and mdata; a share of stubs, and half of
// the rest cold. The same seed makes the same tree.
type tree struct {
	Directories int       `json:"directories"`
	Files       int       `json:"files"`
	Stubs       float64   `json:"stubs"` // share of all files
	Light       bool      `json:"light"` // stubs have cs.remote only, and all attributes fit the inode
	Now         time.Time `json:"now"`   // the moment that ages are counted to
}

func (t tree) String() string {
	marks := "all four marks, outside the inode"
	if t.Light {
		marks = "one mark, inside the inode"
	}
	return fmt.Sprintf("%d files in %d directories, %.0f %% stubs (%s), half of the rest cold", t.Files, t.Directories, 100*t.Stubs, marks)
}

const (
	coldAfter    = 30 * 24 * time.Hour
	oldest       = 2 * 365 * 24 * time.Hour
	perProject   = 100 // directories
	builders     = 4
	largestBytes = 1 << 20
)

// build makes the tree in root, which must be empty or not exist.
func (t tree) build(root string) error {
	for i := range 1 << 16 {
		if err := os.MkdirAll(filepath.Join(root, fmt.Sprintf(".glusterfs/%02x/%02x", i>>8, i&0xff)), 0o700); err != nil {
			return err
		}
	}
	if err := unix.Setxattr(root, gluster.XattrGFID, gluster.RootGFID[:], 0); err != nil {
		return fmt.Errorf("setxattr %s: %w", root, err)
	}
	var group errgroup.Group
	for b := range builders {
		group.Go(func() error {
			random := rand.New(rand.NewPCG(1, uint64(b)))
			for d := b; d < t.Directories; d += builders {
				if err := t.buildDirectory(root, d, random); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}

func directoryName(d int) string {
	return fmt.Sprintf("project%03d/run%03d", d/perProject, d%perProject)
}

func (t tree) buildDirectory(root string, d int, random *rand.Rand) error {
	name := directoryName(d)
	dir := filepath.Join(root, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	parent := newGFID(random)
	if err := unix.Setxattr(dir, gluster.XattrGFID, parent[:], 0); err != nil {
		return fmt.Errorf("setxattr %s: %w", dir, err)
	}
	for f := range t.Files / t.Directories {
		base := fmt.Sprintf("sample-%05d-%03d.dat", d, f)
		if err := t.buildFile(root, name+"/"+base, base, parent, random); err != nil {
			return err
		}
	}
	return nil
}

func (t tree) buildFile(root, name, base string, parent gluster.GFID, random *rand.Rand) error {
	size := 1 + random.Int64N(largestBytes)
	mtime := t.Now.Add(-coldAfter - between(random, oldest-coldAfter))
	stub := random.Float64() < t.Stubs
	if !stub && random.IntN(2) == 0 {
		mtime = t.Now.Add(-between(random, coldAfter))
	}
	gfid := newGFID(random)
	attrs := map[string][]byte{
		gluster.XattrGFID:  gfid[:],
		gluster.XattrMdata: mdata(mtime),
		fmt.Sprintf("%s%016x", gluster.XattrGFID2Path, random.Uint64()): []byte(parent.String() + "/" + base),
	}
	brickTime := mtime
	if stub {
		attrs[gluster.XattrRemote] = []byte(name)
		if !t.Light {
			attrs[gluster.XattrObjectSize] = fmt.Append(nil, size)
			attrs[gluster.XattrBlockSize] = []byte("4096")
			attrs[gluster.XattrNumBlocks] = []byte(gluster.NumBlocks(size, (size+511)/512))
		}
		brickTime = t.Now.Add(-between(random, oldest)) // of the stamp
		size = 0
	}

	file, err := os.OpenFile(filepath.Join(root, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer file.Close()
	for attr, value := range attrs {
		if err := unix.Fsetxattr(int(file.Fd()), attr, value, 0); err != nil {
			return fmt.Errorf("setxattr %s %s: %w", name, attr, err)
		}
	}
	if err := file.Truncate(size); err != nil {
		return err
	}
	if err := os.Link(file.Name(), filepath.Join(root, gfid.HandlePath())); err != nil {
		return err
	}
	return os.Chtimes(file.Name(), brickTime, brickTime)
}

func between(random *rand.Rand, limit time.Duration) time.Duration {
	return time.Duration(random.Int64N(int64(limit)))
}

func newGFID(random *rand.Rand) (g gluster.GFID) {
	binary.BigEndian.PutUint64(g[:8], random.Uint64())
	binary.BigEndian.PutUint64(g[8:], random.Uint64())
	g[6], g[8] = g[6]&0x0f|0x40, g[8]&0x3f|0x80 // a random UUID, as Gluster makes them
	return g
}

// mdata is trusted.glusterfs.mdata with all three times at t.
func mdata(t time.Time) []byte {
	value := append(make([]byte, 0, 57), 1, 0, 0, 0, 0, 0, 0, 0, 0)
	for range 3 {
		value = binary.BigEndian.AppendUint64(value, uint64(t.Unix()))
		value = binary.BigEndian.AppendUint64(value, uint64(t.Nanosecond()))
	}
	return value
}
