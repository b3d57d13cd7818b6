package object

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/owner"
)

// Versions of Pointer.
const (
	pointerVersion = 1
	notedVersion   = 2 // with Recall: who does not know it must leave the file alone
)

// Pointer is the value of trusted.coldbrick.object: the file's own knowledge of
// its object. It is written before the first byte is read, so that a stub whose
// cs.remote was recorded empty or wrong still finds its object; the proof is
// added after the stamp.
type Pointer struct {
	Version int          `json:"v"`
	GFID    gluster.GFID `json:"gfid"` // a copy made by rsync -X carries another file's
	Volume  string       `json:"volume"`
	Key     string       `json:"key"`
	Attempt string       `json:"attempt,omitempty"`
	// Owner and Time say who is at work. They are gone once the stamp is verified:
	// ext4 keeps all attributes of a file in 4 KiB.
	Owner owner.Owner `json:"owner,omitzero"`
	Time  time.Time   `json:"time,omitzero"`
	// Locks means that the owner holds the lock of the file while it is at work.
	// An owner of an earlier version holds none.
	Locks bool     `json:"locks,omitempty"`
	Proof *Stamped `json:"proof,omitempty"` // absent until the stamp is verified
	// Recalled means that a client has brought the data back. Only where the
	// client died at that, and cs.object_size is gone, does the pointer still
	// count: the file may have become a stub again since, by other means.
	Recalled bool `json:"recalled,omitempty"`
	// Recall stands for the notes of a recall that found no room for them on the
	// file: what is to become of the bytes on the brick.
	Recall string `json:"recall,omitempty"`
}

// Stamped is what was proven of the object when the file became a stub.
type Stamped struct {
	Size  int64        `json:"size"`
	Mtime gluster.Time `json:"mtime"`
	CRC32 uint32       `json:"crc32"`
}

// Unlocked reports whether the pointer is of a version that held no lock, and does
// not tell that its owner had done with the file.
func (p Pointer) Unlocked() bool {
	return !p.Locks && p.Proof == nil && !p.Recalled && p.Owner != owner.Owner{}
}

// Encode gives the value of the attribute.
func (p Pointer) Encode() []byte {
	p.Version = pointerVersion
	if p.Recall != "" {
		p.Version = notedVersion
	}
	b, err := json.Marshal(p)
	if err != nil {
		// Time alone could fail, and is a clock's and no user's: such a clock
		// tells nothing.
		p.Time = time.Time{}
		b, _ = json.Marshal(p)
	}
	return b
}

// DecodePointer is the inverse of Encode. A pointer that names another gfid
// came with a copy of another file: callers treat it as absent.
func DecodePointer(b []byte) (Pointer, error) {
	var p Pointer
	if err := json.Unmarshal(b, &p); err != nil {
		return Pointer{}, fmt.Errorf("%s: %w", gluster.XattrPointer, err)
	}
	if p.Version != pointerVersion && p.Version != notedVersion {
		return Pointer{}, fmt.Errorf("%s: version %d is unknown", gluster.XattrPointer, p.Version)
	}
	return p, nil
}
