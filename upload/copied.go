package upload

import (
	"context"

	"github.com/coldbrick/coldbrick/internal/volume"
)

// alreadyCopied reports whether the file has the identity with which it was copied, and
// still the pointer to that object.
func (t *transaction) alreadyCopied(attrs volume.Attrs, onBrick volume.Identity) bool {
	pointer, valid, err := attrs.PointerOf(t.want.GFID)
	if t.Index == nil || err != nil || !valid {
		return false
	}
	_, known := t.Index.CRC32(t.want.GFID, onBrick, pointer.Key)
	return known
}

// vouch asks the index about the bytes of a file that is copied already, right before
// the pointer is written anew. That moves the ctime, by which the index knows the file;
// so a lease is held from the look until there is a witness. Unbroken, it says that
// nobody has opened the file for writing in between, and that the witness is one of the
// same bytes.
func (t *transaction) vouch() error {
	if t.Index == nil || !t.inherited {
		return nil
	}
	for range 2 { // the second look, beneath the lease, is the one that counts
		now, err := t.statBrick()
		if err != nil {
			return err
		}
		crc, known := t.Index.CRC32(t.want.GFID, now.Identity, t.key)
		if !known {
			t.known = nil
			return nil
		}
		if t.known = &crc; t.lease == nil {
			if t.lease, err = volume.TakeBriefLease(t.brick); err != nil {
				return inUse(err)
			}
		}
	}
	return nil
}

// vouched gives the lease back now that there is a witness. If it was broken, the bytes
// must be read.
func (t *transaction) vouched() error {
	if t.lease == nil {
		return nil
	}
	unbroken, err := t.lease.End()
	if !unbroken {
		t.known = nil
	}
	return err
}

// enter notes in the index what has just been proven of a copied file. From before its
// first byte was read to recheck's last look nothing has changed it, nor has this run.
func (t *transaction) enter(context.Context) error {
	if t.Index != nil {
		t.Index.Note(t.want.GFID, t.witness, t.key, t.proof.CRC32)
	}
	return nil
}

// forget says that what the index knows of the file is of no use any more.
func (t *transaction) forget() {
	if t.Index != nil {
		t.Index.Forget(t.want.GFID)
	}
}
