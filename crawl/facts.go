package crawl

import (
	"bytes"
	"time"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/stub"
)

// Facts are what a brick tells about one regular file. The walk fills them step
// by step and asks no further once a step has decided.
type Facts struct {
	Path        string // relative to the volume root, raw bytes
	PinnedAbove bool   // a directory above carries the pin

	// From statx.
	Size    int64         // bytes on the brick: 0 for a stub
	Links   uint32        // names and the handle in .glusterfs
	Mode    uint32        // st_mode
	InInode bool          // nothing of it lies outside its inode, so that asking for its marks reads no more of the disk
	Brick   gluster.Mdata // the brick's own times

	stub.Signs // from the names of its attributes

	// From their values.
	HealPending bool
	GFID        gluster.GFID
	Mdata       gluster.Mdata // times as clients see them, if HasMdata
	Recalled    time.Time     // when the last recall ended; zero if there was none
}

// clientTimes are the times that a mount shows.
func (f *Facts) clientTimes() gluster.Mdata {
	if f.HasMdata {
		return f.Mdata
	}
	return f.Brick
}

// readNames sets what the names of a file's attributes tell. list is as
// listxattr(2) fills it: each name ends in a NUL.
func (f *Facts) readNames(list []byte) {
	for len(list) > 0 {
		var name []byte
		name, list = nextName(list)
		f.ReadName(unsafeString(name))
	}
}

// nextName splits the first name off a list as listxattr(2) fills it.
func nextName(list []byte) (name, rest []byte) {
	name, rest, _ = bytes.Cut(list, []byte{0})
	return name, rest
}

func hasPrefix(b []byte, prefix string) bool {
	return len(b) >= len(prefix) && string(b[:len(prefix)]) == prefix
}
