package stub

import (
	"errors"
	"fmt"
	"slices"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
)

// ErrOtherFile means that an object was made from another file.
var ErrOtherFile = errors.New("the object is another file's")

// Origin is the file that an object should have been made from, as far as it is
// known to whoever asks.
type Origin struct {
	GFID    gluster.GFID
	Volumes []string      // ids, one of which is its volume's; nil: any
	Size    int64         // of its data, in bytes
	Mtime   *gluster.Time // nil: any
}

// Made decodes what an object tells of the file that it was made from, and returns
// an error unless that is this file: object.ErrForeign if coldbrick did not make
// it, ErrOtherFile if it was made from another file, object.ErrCorrupt if it was not
// made when the file was as large or as old. The metadata is returned as well if
// all that is wrong is whose it is.
func (o Origin) Made(info object.Info) (object.Metadata, error) {
	if info.Size != o.Size {
		return object.Metadata{}, fmt.Errorf("%w: the object has %d bytes, the file had %d", object.ErrCorrupt, info.Size, o.Size)
	}
	made, err := object.DecodeMetadata(info.Metadata)
	switch {
	case err != nil:
		return object.Metadata{}, err
	case made.GFID != o.GFID, o.Volumes != nil && !slices.Contains(o.Volumes, made.Volume):
		return made, fmt.Errorf("%w: it was made from %s of volume %s", ErrOtherFile, made.GFID, made.Volume)
	case made.Size != o.Size:
		return made, fmt.Errorf("%w: it was made from a file of %d bytes, not of %d", object.ErrCorrupt, made.Size, o.Size)
	case o.Mtime != nil && made.Mtime != *o.Mtime:
		return made, fmt.Errorf("%w: it was made when the file had the mtime %s, not %s", object.ErrCorrupt, made.Mtime, *o.Mtime)
	}
	return made, nil
}

// PointerOf decodes the value of a pointer, nil if there is none. ok says whether it
// is that of the file gfid: not one that came with a copy of another file, and not
// one of a previous life. Of a file that a client has brought back it counts only
// where the client died at that, and cs.object_size is gone: else the file has
// become a stub again since, by other means. err means that there is one that this
// version cannot read.
func PointerOf(value []byte, gfid gluster.GFID, objectSize bool) (p object.Pointer, ok bool, err error) {
	if value == nil {
		return object.Pointer{}, false, nil
	}
	p, err = object.DecodePointer(value)
	return p, err == nil && p.GFID == gfid && (!p.Recalled || !objectSize), err
}

// Keys are those under which the object of a file may be, the better one first; ""
// for none. pointed is the key of its own pointer and remote the value of cs.remote,
// which differ between stamp and rewrite, if a crash came there, and after a rename.
func Keys(pointed, remote string) (first, second string) {
	if pointed == "" || pointed == remote {
		return remote, ""
	}
	return pointed, remote
}
