package recall

import (
	"context"
	"errors"
	"fmt"

	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/outcome"
)

// What copies extended attributes (rsync -X, cp -a, tar --xattrs) gives the copy
// of a stub all that makes the stub one: the marks of cloudsync, and the pointer.
// The gfid inside the pointer is then another file's, which nothing else brings
// about: a rebalance, a heal and a rename keep a file's gfid.

// original is the pointer that came with a copy: that of the file it was copied
// from. ok is false unless it tells of the object under key, which the file's own
// marks name, and carries a proof.
//
// It may be believed. Users cannot set attributes of trusted.*, nor read those of
// others. A tool that root runs on what a user gave him (an archive, say) brings no
// more than the user knew: the checksum in the pointer must be the object's, and
// nobody knows that of data that he has never read.
func (t *transaction) original(key string) (p object.Pointer, ok bool) {
	if t.attrs.Pointer == nil {
		return object.Pointer{}, false
	}
	p, err := object.DecodePointer(t.attrs.Pointer)
	return p, err == nil && p.GFID != t.gfid && p.Key == key && p.Proof != nil
}

// proof is what was proven of the object of this file when the file, or that which
// it is a copy of, became a stub. It is nil if nothing is known.
func (t *transaction) proof(key string) *object.Stamped {
	if t.pointer.Key != "" {
		if t.pointer.Key != key {
			return nil
		}
		return t.pointer.Proof
	}
	if p, ok := t.original(key); ok {
		return p.Proof
	}
	return nil
}

// copiedFrom reports whether an object is that of the file from which this one was
// copied, as the pointer that came along tells of it.
func (t *transaction) copiedFrom(made object.Metadata, info Info) bool {
	p, ok := t.original(t.notes.Key)
	return ok && made.GFID == p.GFID && p.Volume != "" && made.Volume == p.Volume &&
		info.Size == p.Proof.Size && (!info.HasCRC32 || info.CRC32 == p.Proof.CRC32) // fetch compares the bytes
}

// findCopied tells of a file whose marks came with a copy.
func (t *transaction) findCopied(e *Examined, p object.Pointer) {
	e.Key = p.Key
	detail := fmt.Sprintf("they are those of %s", p.GFID)
	if t.stat.Size == 0 {
		detail += ", and it has no bytes: coldbrick recall brings them"
	}
	e.find(outcome.ClassCopiedMarks, detail)
}

// unmark takes the marks from a copy that is whole. The plan for a stub with bytes
// compares them with the checksum, and never writes or truncates.
func (r *Recaller) unmark(ctx context.Context, e Examined) error {
	if e.onBrick == 0 {
		return errors.New("its data is in the store alone: coldbrick recall brings it")
	}
	return r.finish(ctx, e)
}
