package upload

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/stub"
)

// errKeyTaken means that the key belongs to another object, that the store does
// not take it, or that it is too long for the file's attributes: the file goes
// under a nonce key.
var errKeyTaken = errors.New("key is taken, refused or too long")

// put makes sure that the store has the file's bytes under the key: it creates
// the object, or adopts the one that a run which died has left.
func (t *transaction) put(ctx context.Context) error {
	if t.Release {
		return t.reuse(ctx)
	}
	if t.inherited || t.before.Size >= headFirst {
		switch info, err := t.Store.Head(ctx, t.key); {
		case err == nil:
			return t.adopt(ctx, info)
		case errors.Is(err, object.ErrKey):
			return fmt.Errorf("%w: %w", errKeyTaken, err)
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
		if t.inherited && (!t.Store.Conditional(t.before.Size) || t.pointer.Volume != t.Volume) {
			// Absent now proves nothing for later: only a key of our own
			// cannot be overwritten. And a new object is this volume's, which its
			// pointer must say.
			return errKeyTaken
		}
	}
	var err error
	// Whether the file has grown past its size need not be asked here: recheck
	// compares the sizes.
	body := io.NewSectionReader(t.file, 0, t.before.Size)
	t.proof, err = t.Store.Create(ctx, t.key, body, t.before.Size, t.metadata().Encode())
	switch {
	case errors.Is(err, fs.ErrExist):
		info, err := t.Store.Head(ctx, t.key)
		if err != nil {
			return err
		}
		return t.adopt(ctx, info)
	case errors.Is(err, object.ErrKey):
		return fmt.Errorf("%w: %w", errKeyTaken, err)
	case err != nil:
		return err
	case t.proof.Size != t.before.Size:
		return fmt.Errorf("%w: %d bytes stored, %d expected", object.ErrChanged, t.proof.Size, t.before.Size)
	}
	return nil
}

// adopt uses the object that is there if it was made from this very file and
// holds the bytes that the file has now. Size and mtime are not enough: rsync
// --inplace -t changes the bytes and keeps both. So the file is read again and
// only the upload is saved; unless the index knows what it would read.
//
// It must be young: gc may be about to delete an object to which nothing has referred
// for long. Or be of the attempt in the pointer that was found, which has then referred
// to it for as long as it exists. That a pointer names it does not do: it may have been
// written after gc had its last look.
func (t *transaction) adopt(ctx context.Context, info object.Info) error {
	mtime := gluster.TimeOf(t.before.Mtime)
	own := stub.Origin{GFID: t.want.GFID, Volumes: []string{t.pointer.Volume}, Size: t.before.Size, Mtime: &mtime}
	made, err := own.Made(info)
	referred := made.Attempt == t.attempt
	if err != nil || !info.HasCRC32 || !referred && !info.Adoptable() {
		return errKeyTaken
	}
	crc, reads := t.proof.CRC32, t.proof.Reads
	switch {
	case reads == t.before.Size:
	case t.known != nil && *t.known == info.CRC32:
		crc = *t.known
	default:
		sum := crc32.NewIEEE()
		n, err := io.Copy(sum, readerFunc(func(b []byte) (int, error) {
			if err := ctx.Err(); err != nil {
				return 0, err
			}
			return t.file.Read(b)
		}))
		if err != nil {
			return err
		}
		if n != t.before.Size {
			return fmt.Errorf("%w: %d bytes read, %d expected", object.ErrChanged, n, t.before.Size)
		}
		crc, reads = sum.Sum32(), n
	}
	if crc != info.CRC32 {
		return errKeyTaken
	}
	t.proof = object.Proof{Size: t.before.Size, CRC32: crc, Reads: reads}
	t.adopted = true
	return nil
}

// reuse goes by the object of a copied file alone.
func (t *transaction) reuse(ctx context.Context) error {
	info, err := t.Store.Head(ctx, t.key)
	if errors.Is(err, fs.ErrNotExist) {
		t.forget() // or archive --keep would not make a copy anew
		return outcome.Skip(outcome.NotCopied, "its object is not in the store")
	}
	if err != nil {
		return err
	}
	if !info.HasCRC32 {
		return outcome.Fail(outcome.StoreRefused, "the store gives no checksum of its object: archive it")
	}
	if err := t.adopt(ctx, info); errors.Is(err, errKeyTaken) {
		t.forget()
		return outcome.Skip(outcome.Changed, "since it was copied")
	} else if err != nil {
		return err
	}
	return nil
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

func (t *transaction) metadata() object.Metadata {
	return object.Metadata{
		Volume: t.Volume, GFID: t.want.GFID, Path: t.want.Path, Size: t.before.Size,
		Mtime: gluster.TimeOf(t.before.Mtime), Mode: t.before.Mode & 0o7777,
		UID: t.before.UID, GID: t.before.GID, Attempt: t.attempt,
	}
}
