package gluster

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// GFID is the identity of a file or directory in a volume. It never changes
// while the file lives; a name that is replaced by another file has another
// GFID.
type GFID [16]byte

// RootGFID is the GFID of every volume's root directory.
var RootGFID = GFID{15: 1}

// NewGFID is a random one, as Gluster itself makes them: a UUID of version 4.
func NewGFID() (g GFID) {
	rand.Read(g[:]) // never fails
	g[6] = g[6]&0x0f | 0x40
	g[8] = g[8]&0x3f | 0x80
	return g
}

// ParseGFID reads the text form, 8-4-4-4-12 hexadecimal digits.
func ParseGFID(s string) (GFID, error) {
	var g GFID
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return GFID{}, fmt.Errorf("no gfid: %q", s)
	}
	if _, err := hex.Decode(g[:], []byte(s[:8]+s[9:13]+s[14:18]+s[19:23]+s[24:])); err != nil {
		return GFID{}, fmt.Errorf("no gfid: %q", s)
	}
	return g, nil
}

// GFIDFromBytes reads the value of trusted.gfid.
func GFIDFromBytes(b []byte) (GFID, error) {
	if len(b) != len(GFID{}) {
		return GFID{}, fmt.Errorf("%s has %d bytes, not %d", XattrGFID, len(b), len(GFID{}))
	}
	return GFID(b), nil
}

func (g GFID) String() string {
	var b [36]byte
	hex.Encode(b[:], g[:4])
	hex.Encode(b[9:], g[4:6])
	hex.Encode(b[14:], g[6:8])
	hex.Encode(b[19:], g[8:10])
	hex.Encode(b[24:], g[10:])
	b[8], b[13], b[18], b[23] = '-', '-', '-', '-'
	return string(b[:])
}

// MarshalText makes a GFID a string in JSON.
func (g GFID) MarshalText() ([]byte, error) { return []byte(g.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (g *GFID) UnmarshalText(b []byte) (err error) {
	*g, err = ParseGFID(string(b))
	return err
}

// IsZero reports whether g is unset.
func (g GFID) IsZero() bool { return g == GFID{} }

// Inode is the inode number that a 64-bit FUSE client shows for the file: the
// last eight bytes (gfid_to_ino in the source), and 1 for the root.
func (g GFID) Inode() uint64 { return binary.BigEndian.Uint64(g[8:]) }

// HandlePath is the path, relative to the brick root, of the hard link that a
// brick keeps for each regular file.
func (g GFID) HandlePath() string {
	s := g.String()
	return ".glusterfs/" + s[:2] + "/" + s[2:4] + "/" + s
}
