package gluster

import (
	"encoding/binary"
	"fmt"
	"time"
)

// mdataSize is the length of trusted.glusterfs.mdata: one byte of version,
// eight of flags, then ctime, mtime and atime as seconds and nanoseconds, each
// eight bytes, big endian.
const mdataSize = 1 + 8 + 3*16

// Mdata is the value of trusted.glusterfs.mdata: the times that clients see
// while features.ctime is on. On a stub they differ from the brick's own.
type Mdata struct {
	Ctime, Mtime, Atime time.Time
}

// ParseMdata decodes trusted.glusterfs.mdata.
func ParseMdata(b []byte) (Mdata, error) {
	if len(b) != mdataSize || b[0] != 1 {
		return Mdata{}, fmt.Errorf("%s: unknown layout: %d bytes", XattrMdata, len(b))
	}
	at := func(off int) time.Time {
		return instant(int64(binary.BigEndian.Uint64(b[off:])), int64(binary.BigEndian.Uint64(b[off+8:])))
	}
	return Mdata{Ctime: at(9), Mtime: at(25), Atime: at(41)}, nil
}

// Stampable reports whether the brick's check protects a file of this mtime
// against a concurrent rewrite. It compares decimal strings, so only values of
// ten digits, 2001-09-09 to 2286-11-20, sort like the times they stand for.
func Stampable(mtime time.Time) bool {
	s := mtime.Unix()
	return s >= 1_000_000_000 && s <= 9_999_999_999
}
