package gluster

import (
	"strconv"
	"strings"
)

// State is where the data of a file is, as the brick decides it from two
// attributes and the size.
type State string

// The states of posix_cs_check_status. Downloading, without remote, means half
// written: the data is neither here nor to be asked from the store by clients.
const (
	Local       State = "local"
	Remote      State = "remote"
	Downloading State = "downloading"
	Repair      State = "repair"
)

// Marks are the cloudsync attributes of one file.
type Marks struct {
	Remote      bool
	RemoteKey   string // value of cs.remote: bytes, not necessarily UTF-8
	Downloading bool
	ObjectSize  bool // cs.object_size is present: it overrides the visible size
	BlockSize   bool
	NumBlocks   bool
}

// State must agree with posix_cs_check_status. brickSize is the size on the
// brick, in bytes: a mount shows cs.object_size in its place.
func (m Marks) State(brickSize int64) State {
	switch {
	case m.Remote && (m.Downloading || brickSize > 0):
		return Repair
	case m.Remote:
		return Remote
	case m.Downloading:
		return Downloading
	}
	return Local
}

// Clean reports whether the file carries no cloudsync attribute at all. Only
// such a file may be archived: a left-over object_size would hide later growth.
func (m Marks) Clean() bool {
	return m == Marks{}
}

// AnySize reports whether one of the three attributes that describe the object
// is present.
func (m Marks) AnySize() bool { return m.ObjectSize || m.BlockSize || m.NumBlocks }

// NumBlocks is the value that makes stat show the right number of 512-byte
// blocks on a stub. The brick reads num_blocks into the buffer that held
// object_size without ending it, so the value is padded to the same length
// (gluster bug, measured on 10.3).
func NumBlocks(size, blocks int64) string {
	return padTo(len(decimal(size)), decimal(blocks))
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }

func padTo(width int, s string) string {
	if len(s) >= width {
		return s
	}
	return strings.Repeat("0", width-len(s)) + s
}
