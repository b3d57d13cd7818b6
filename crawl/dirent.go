package crawl

import (
	"bytes"
	"encoding/binary"
)

// A directory entry as getdents64(2) lays it out: inode (8 bytes), offset (8),
// length of the record (2), type (1), and the name, which ends in a NUL.
const (
	direntLenAt  = 16
	direntTypeAt = 18
	direntNameAt = 19
)

// typeDone marks, in our copy of a batch, an entry with which nothing is to be
// done any more. The kernel never returns it.
const typeDone = 0xff

// dirent is one entry within a batch; it lives as long as the batch does.
type dirent struct {
	raw  []byte // the whole record
	name []byte // ends where its NUL begins: &name[0] is a C string
}

func (d dirent) kind() uint8 { return d.raw[direntTypeAt] }

func (d dirent) setDone() { d.raw[direntTypeAt] = typeDone }

// nextDirent splits the first entry off a batch. It reports false at the end,
// and for a record that contradicts itself, which no kernel makes.
func nextDirent(batch []byte) (entry dirent, rest []byte, ok bool) {
	if len(batch) <= direntNameAt {
		return dirent{}, nil, false
	}
	size := int(binary.NativeEndian.Uint16(batch[direntLenAt:]))
	if size <= direntNameAt || size > len(batch) {
		return dirent{}, nil, false
	}
	raw := batch[:size:size]
	length := bytes.IndexByte(raw[direntNameAt:], 0)
	if length < 1 {
		return dirent{}, nil, false
	}
	return dirent{raw, raw[direntNameAt : direntNameAt+length]}, batch[size:], true
}

// isDotOrDotDot reports whether the entry is the directory itself or the one
// above it.
func (d dirent) isDotOrDotDot() bool {
	return d.name[0] == '.' && (len(d.name) == 1 || len(d.name) == 2 && d.name[1] == '.')
}
