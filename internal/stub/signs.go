// Package stub holds the rules about stubs and the files that may become one, each
// in one place: what the attributes of a file say, whether it may be archived, and
// whose a pointer or an object is. It is pure: it opens no file and asks no store.
package stub

import (
	"strings"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/outcome"
)

// Signs are what the names of a file's extended attributes tell, without their
// values.
type Signs struct {
	gluster.Marks // without RemoteKey
	Linkto        bool
	Sharded       bool
	Dispersed     bool
	WORM          bool // under file-level WORM or retention, while the volume keeps it
	BadFile       bool // marked by the scrubber of bit-rot detection
	Pinned        bool // the file itself carries the pin
	HasGFID       bool
	HasMdata      bool
	HasAFR        bool // counters of replicate
	HasPointer    bool
	HasNotes      bool // of a recall under way, or cut short
	WasRecalled   bool // and says when
}

// ReadName learns what one more name tells. It does not keep the name and does not
// allocate.
func (s *Signs) ReadName(name string) {
	rest, trusted := strings.CutPrefix(name, "trusted.")
	if !trusted {
		return // users' own, and the kernel's
	}
	switch name {
	case gluster.XattrGFID:
		s.HasGFID = true
	case gluster.XattrMdata:
		s.HasMdata = true
	case gluster.XattrRemote:
		s.Remote = true
	case gluster.XattrDownload:
		s.Downloading = true
	case gluster.XattrObjectSize:
		s.ObjectSize = true
	case gluster.XattrBlockSize:
		s.BlockSize = true
	case gluster.XattrNumBlocks:
		s.NumBlocks = true
	case gluster.XattrWORM, gluster.XattrRetention:
		s.WORM = true
	case gluster.XattrBadFile:
		s.BadFile = true
	case gluster.XattrPin:
		s.Pinned = true
	case gluster.XattrRecalled:
		s.WasRecalled = true
	case gluster.XattrPointer:
		s.HasPointer = true
	case gluster.XattrRecall:
		s.HasNotes = true
	default:
		switch {
		case strings.HasPrefix(name, gluster.XattrAFR):
			s.HasAFR = true
		case strings.HasPrefix(name, gluster.XattrShard):
			s.Sharded = true
		case strings.HasPrefix(name, gluster.XattrEC):
			s.Dispersed = true
		case strings.HasSuffix(rest, ".linkto"):
			// A volume option can rename trusted.glusterfs.dht.linkto; dht
			// itself goes by the suffix (dht_is_linkfile).
			s.Linkto = true
		}
	}
}

// migrating is what rebalance sets on the source of a move until it is over:
// sticky and setgid together, whatever the other bits are (dht's
// IS_DHT_MIGRATION_PHASE1). Mounts do not show them.
const migrating = uint32(unix.S_ISVTX | unix.S_ISGID)

// Archivable says why a file with these signs is left alone, "" if they allow to
// archive it. Size and mode are those of the brick's own file.
func (s *Signs) Archivable(size int64, mode uint32) outcome.Reason {
	switch {
	case s.Linkto:
		return outcome.Linkto
	case s.Sharded:
		return outcome.Sharded
	case s.Dispersed:
		return outcome.Dispersed
	}
	switch state := s.State(size); {
	case state == gluster.Remote:
		return outcome.AlreadyRemote
	case s.Downloading, s.HasNotes: // also of a stub with bytes: they are on their way
		return outcome.Recalling
	case state == gluster.Repair:
		return outcome.Broken
	case !s.Clean():
		return outcome.StaleSize // it would hide later growth
	case mode&migrating == migrating:
		return outcome.Migrating
	case s.WORM:
		return outcome.Retained
	case s.BadFile:
		return outcome.BadFile
	}
	return ""
}
