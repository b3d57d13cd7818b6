package object

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"

	"github.com/coldbrick/coldbrick/internal/gluster"
)

// Names of the metadata of an object. docs/format.md describes them for those
// who read a bucket without coldbrick.
const (
	metaFormat  = "coldbrick-format"
	metaVolume  = "coldbrick-volume"
	metaGFID    = "coldbrick-gfid"
	metaPath    = "coldbrick-path"
	metaSize    = "coldbrick-size"
	metaMtime   = "coldbrick-mtime"
	metaMode    = "coldbrick-mode"
	metaUID     = "coldbrick-uid"
	metaGID     = "coldbrick-gid"
	MetaAttempt = "coldbrick-attempt" // tells an own object from a foreign one after a lost reply
)

const formatVersion = "1"

// maxMetaPath bounds the path in the metadata, in bytes: S3 allows 2 KB of
// metadata in all. A longer path is left out; pointer and run record have it.
const maxMetaPath = 1024

// ErrForeign means that an object was not made by coldbrick.
var ErrForeign = errors.New("object has no coldbrick metadata")

// Metadata makes an object describe the file it was made from.
type Metadata struct {
	Volume  string // id of the volume
	GFID    gluster.GFID
	Path    string // at archive time, relative to the volume root; empty if too long
	Size    int64
	Mtime   gluster.Time
	Mode    uint32 // st_mode & 07777
	UID     uint32
	GID     uint32
	Attempt string
}

// Encode gives the metadata as a store keeps it.
func (m Metadata) Encode() map[string]string {
	e := map[string]string{
		metaFormat:  formatVersion,
		metaVolume:  m.Volume,
		metaGFID:    m.GFID.String(),
		metaSize:    strconv.FormatInt(m.Size, 10),
		metaMtime:   m.Mtime.String(),
		metaMode:    strconv.FormatUint(uint64(m.Mode), 8),
		metaUID:     strconv.FormatUint(uint64(m.UID), 10),
		metaGID:     strconv.FormatUint(uint64(m.GID), 10),
		MetaAttempt: m.Attempt,
	}
	if len(m.Path) <= maxMetaPath {
		e[metaPath] = base64.StdEncoding.EncodeToString([]byte(m.Path))
	}
	return e
}

// DecodeMetadata is the inverse of Encode. It returns ErrForeign for an object
// that coldbrick did not make, and another error for one that it cannot read.
func DecodeMetadata(e map[string]string) (Metadata, error) {
	switch e[metaFormat] {
	case formatVersion:
	case "":
		return Metadata{}, ErrForeign
	default:
		return Metadata{}, fmt.Errorf("object format %q is unknown to this version", e[metaFormat])
	}
	m := Metadata{Volume: e[metaVolume], Attempt: e[MetaAttempt]}
	var errs [7]error
	m.GFID, errs[0] = gluster.ParseGFID(e[metaGFID])
	m.Size, errs[1] = strconv.ParseInt(e[metaSize], 10, 64)
	m.Mtime, errs[2] = gluster.ParseTime(e[metaMtime])
	m.Mode, errs[3] = parseUint32(e[metaMode], 8)
	m.UID, errs[4] = parseUint32(e[metaUID], 10)
	m.GID, errs[5] = parseUint32(e[metaGID], 10)
	path, err := base64.StdEncoding.DecodeString(e[metaPath])
	m.Path, errs[6] = string(path), err
	if err := errors.Join(errs[:]...); err != nil {
		return Metadata{}, fmt.Errorf("object metadata: %w", err)
	}
	return m, nil
}

func parseUint32(s string, base int) (uint32, error) {
	n, err := strconv.ParseUint(s, base, 32)
	return uint32(n), err
}
