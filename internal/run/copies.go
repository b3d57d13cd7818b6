package run

import (
	"log/slog"
	"path/filepath"

	"github.com/coldbrick/coldbrick/internal/copied"
	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/volume"
)

// copies is the open index of a brick's copied files. It saves reading, and no run fails
// for want of it.
type copies struct {
	*copied.Index
	log *slog.Logger
}

const readAgain = "copied files are read again"

// openCopies returns nil if the index cannot be opened.
func (s *Session) openCopies(brick *volume.Brick) *copies {
	index, err := copied.Open(filepath.Join(s.StateDir, "copied"), brick)
	if err != nil {
		s.Log.Warn(readAgain, "err", err)
		return nil
	}
	return &copies{index, s.Log}
}

func (c *copies) close() {
	if err := c.Close(); err != nil {
		c.log.Warn(readAgain, "err", err)
	}
}

// beside is a brick of this host, and its index.
type beside struct {
	brick *volume.Brick
	index *copies
}

func (b beside) close() {
	b.index.close()
	b.brick.Close() // read only
}

// bricksBeside opens the bricks of a volume that are on this host. Where another host has
// one at the same place, what is here may be of another volume: a file is looked for by
// its gfid, and has to prove itself.
func (s *Session) bricksBeside(mount *volume.Mount) (here []beside) {
	tried := map[string]bool{}
	for _, x := range mount.Graph.Of(gluster.TypeClient) {
		dir := x.Option("remote-subvolume")
		if tried[dir] {
			continue
		}
		tried[dir] = true
		brick, err := volume.OpenBrick(dir)
		if err != nil {
			continue
		}
		if index := s.openCopies(brick); index != nil {
			here = append(here, beside{brick, index})
		} else {
			brick.Close() // read only
		}
	}
	return here
}
