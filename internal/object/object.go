// Package object says what an archived object is: its key, the metadata that
// makes it describe itself, its checksum, and the pointer that a file keeps to
// it. Upload writes these, recall and fsck read them, and the stores carry them
// without looking inside.
package object

import (
	"errors"
	"time"
)

// Errors that a store reports by kind. A taken key is fs.ErrExist, a missing
// object fs.ErrNotExist, an object that may not be read fs.ErrPermission.
var (
	// ErrKey means that the store does not accept this key (too long, not
	// UTF-8, or in conflict with another key).
	ErrKey = errors.New("key not accepted by the store")
	// ErrStore means that no object can be stored or read at all: the store
	// is out of reach, has no such bucket, or refuses the credentials.
	ErrStore = errors.New("store not usable")
	// ErrCold means that the object is in a storage class that must be thawed
	// before it can be read.
	ErrCold = errors.New("object is in a cold storage class: coldbrick recall --thaw has the store make it readable first")
	// ErrChanged means that the bytes or the object are not what they were
	// when the operation began.
	ErrChanged = errors.New("changed in the meantime")
	// ErrCorrupt means that the bytes differ from the checksum or size they
	// should have.
	ErrCorrupt = errors.New("data differs from its checksum")
)

// Info is what a store tells about one object.
type Info struct {
	Size     int64
	CRC32    uint32 // of the whole object, IEEE
	HasCRC32 bool   // the store itself confirms CRC32; false where it keeps none
	ETag     string // for If-Match; empty where the store has none
	Class    string // storage class, empty for the standard one
	Access   Access // as HEAD shows it
	Modified time.Time
	Date     time.Time         // when the store said so, by its own clock; zero where it does not tell
	Metadata map[string]string // keys in lower case, without x-amz-meta-
}

// AdoptableFor is how old an object may be, by the store's clock, for a file to begin to
// refer to it. No object is deleted before it is at least twice as old: whoever may
// delete and who may refer anew never meet.
const AdoptableFor = 7 * 24 * time.Hour

// Adoptable reports whether a file that does not refer to the object yet may begin to.
// Otherwise gc may be about to delete it.
func (i Info) Adoptable() bool {
	age := i.Date.Sub(i.Modified)
	return !i.Date.IsZero() && age > -time.Minute && age < AdoptableFor
}

// Proof is what the store confirmed of an object that it has just taken.
type Proof struct {
	Size  int64
	CRC32 uint32 // of the bytes that were read and sent, IEEE, confirmed by the store
	Reads int64  // bytes read from the source
}
