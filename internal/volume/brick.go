package volume

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
)

// ErrNoBrick means that a directory is not the root of a brick.
var ErrNoBrick = errors.New("not a brick: " + gluster.XattrGFID + " is not that of a volume's root")

// Brick is a brick of this host. It is only ever read; all changes go through
// a mount, so that every replica has them.
type Brick struct {
	*Root
	VolumeID string // as text; "" if the brick was not made by glusterd
}

// OpenBrick opens the brick at dir. From here on its name is absolute, however it was
// written, since runs remember bricks by their names.
func OpenBrick(dir string) (*Brick, error) {
	root, err := OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	if root.dir, err = filepath.Abs(dir); err != nil {
		root.Close()
		return nil, fmt.Errorf("brick %s: %w", dir, err)
	}
	b, err := newBrick(root)
	if err != nil {
		root.Close()
		return nil, fmt.Errorf("brick %s: %w", dir, err)
	}
	return b, nil
}

func newBrick(root *Root) (*Brick, error) {
	gfid, err := Get(root.fd, gluster.XattrGFID)
	switch {
	case errors.Is(err, unix.ENODATA), errors.Is(err, unix.ENOTSUP): // or no file system that could hold a brick
		return nil, ErrNoBrick
	case err != nil:
		return nil, err
	case string(gfid) != string(gluster.RootGFID[:]):
		return nil, ErrNoBrick
	}
	id, err := Get(root.fd, gluster.XattrVolumeID)
	if errors.Is(err, unix.ENODATA) {
		return &Brick{Root: root}, nil
	}
	if err != nil {
		return nil, err
	}
	uuid, err := gluster.GFIDFromBytes(id) // the same kind of value
	if err != nil {
		return nil, fmt.Errorf("%s: %w", gluster.XattrVolumeID, ErrNoBrick)
	}
	return &Brick{Root: root, VolumeID: uuid.String()}, nil
}

// Directories of a replicated brick that hold one entry for each gfid that is,
// or may be, waiting for a heal.
var indexDirs = []string{"xattrop", "dirty", "entry-changes"}

// HealBacklog counts the entries of the brick's heal indices, up to limit. Not
// zero, it says that a brick of this replica set is behind; zero on one brick
// says nothing about the others: the one that was down has no mark on itself.
func (b *Brick) HealBacklog(limit int) (int, error) {
	count := 0
	for _, index := range indexDirs {
		n, err := b.countIndex(".glusterfs/indices/"+index, limit-count)
		if err != nil {
			return 0, fmt.Errorf("brick %s: heal index: %w", b.dir, err)
		}
		if count += n; count >= limit {
			break
		}
	}
	return count, nil
}

func (b *Brick) countIndex(dir string, limit int) (int, error) {
	d, err := b.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil // no index translator: not a brick of glusterd
	}
	if err != nil {
		return 0, err
	}
	defer d.Close()
	count := 0
	for count < limit {
		names, err := d.Readdirnames(256)
		for _, name := range names {
			if isGFID(name) { // else the base file that all entries are links of
				count++
			}
		}
		if len(names) == 0 {
			if err != io.EOF {
				return 0, err
			}
			break
		}
	}
	return min(count, limit), nil
}

func isGFID(name string) bool {
	_, err := gluster.ParseGFID(name)
	return err == nil
}
