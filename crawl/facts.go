package crawl

import (
	"bytes"
	"time"

	"github.com/coldbrick/coldbrick/internal/gluster"
)

// Facts are what a brick tells about one regular file. The walk fills them step
// by step and asks no further once a step has decided.
type Facts struct {
	Path        string // relative to the volume root, raw bytes
	PinnedAbove bool   // a directory above carries the pin

	// From statx.
	Size  int64         // bytes on the brick: 0 for a stub
	Links uint32        // names and the handle in .glusterfs
	Mode  uint32        // st_mode
	Brick gluster.Mdata // the brick's own times

	// From the names of its attributes.
	Marks     gluster.Marks // without RemoteKey
	Linkto    bool
	Sharded   bool
	Dispersed bool
	WORM      bool // under file-level WORM or retention
	BadFile   bool // marked by the scrubber of bit-rot detection
	Pinned    bool // the file itself carries the pin
	Noted     bool // carries a pointer, or notes of a recall
	HasGFID   bool
	HasMdata  bool

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

// further says which values have to be read to complete the facts.
type further struct {
	afr      bool
	recalled bool
}

// readNames sets what the names of a file's attributes tell. list is as
// listxattr(2) fills it: each name ends in a NUL.
func (f *Facts) readNames(list []byte) (also further) {
	for len(list) > 0 {
		var name []byte
		name, list = nextName(list)
		rest, trusted := bytes.CutPrefix(name, []byte("trusted."))
		if !trusted {
			continue // users' own, and the kernel's
		}
		switch string(name) {
		case gluster.XattrGFID:
			f.HasGFID = true
		case gluster.XattrMdata:
			f.HasMdata = true
		case gluster.XattrRemote:
			f.Marks.Remote = true
		case gluster.XattrDownload:
			f.Marks.Downloading = true
		case gluster.XattrObjectSize:
			f.Marks.ObjectSize = true
		case gluster.XattrBlockSize:
			f.Marks.BlockSize = true
		case gluster.XattrNumBlocks:
			f.Marks.NumBlocks = true
		case gluster.XattrWORM, gluster.XattrRetention:
			f.WORM = true
		case gluster.XattrBadFile:
			f.BadFile = true
		case gluster.XattrPin:
			f.Pinned = true
		case gluster.XattrRecalled:
			also.recalled = true
		case gluster.XattrPointer, gluster.XattrRecall:
			f.Noted = true
		default:
			switch {
			case hasPrefix(name, gluster.XattrAFR):
				also.afr = true
			case hasPrefix(name, gluster.XattrShard):
				f.Sharded = true
			case hasPrefix(name, gluster.XattrEC):
				f.Dispersed = true
			case hasSuffix(rest, ".linkto"):
				// A volume option can rename trusted.glusterfs.dht.linkto; dht
				// itself goes by the suffix (dht_is_linkfile).
				f.Linkto = true
			}
		}
	}
	return also
}

// nextName splits the first name off a list as listxattr(2) fills it.
func nextName(list []byte) (name, rest []byte) {
	name, rest, _ = bytes.Cut(list, []byte{0})
	return name, rest
}

func hasPrefix(b []byte, prefix string) bool {
	return len(b) >= len(prefix) && string(b[:len(prefix)]) == prefix
}

func hasSuffix(b []byte, suffix string) bool {
	return len(b) >= len(suffix) && string(b[len(b)-len(suffix):]) == suffix
}
