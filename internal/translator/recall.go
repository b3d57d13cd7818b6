// Package translator serves the recalls that Gluster's cloudsync translator
// asks for when somebody touches a stub. It decides which object holds the data
// of a file, whether the bytes are the right ones, and what the file is left
// like; the translator's side of it, in C, is cmd/cloudsyncs3.
//
// The translator holds its lock on the file all the while, and has set
// cs.downloading: other clients get EIO. When Recall returns nil it removes
// cs.remote and then cs.downloading, and the file is local. On an error it does no
// more than to truncate the file once more. A client that dies
// at any point leaves a file that fsck fixes: until the last of these steps the
// pointer on the file tells key, size and checksum.
package translator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/sparse"
	"github.com/coldbrick/coldbrick/internal/stub"
)

// File is the file to be filled, below cloudsync: nothing of what is done to it
// is intercepted. Errors wrap the unix.Errno of the brick. If the brick dies, an
// operation may return only when the event thread does that asked for the recall.
type File interface {
	io.WriterAt // returns once the brick has the bytes; many goroutines write
	Truncate(size int64) error
	Sync() error
	Xattr(name string) ([]byte, error) // unix.ENODATA if there is none
	SetXattr(name string, value []byte, flags int) error
	RemoveXattr(name string) error
	Close() // nothing more is done to the file
}

// Stub is a file whose data the translator wants.
type Stub struct {
	File   File
	GFID   gluster.GFID
	Remote string       // value of cs.remote: bytes, may be empty
	Size   int64        // of the data, from cs.object_size
	Mtime  gluster.Time // as clients see it
}

// Result tells of a recall that the translator may complete.
type Result struct {
	Key   string
	Proof object.Proof
	// Claimed means that coldbrick recall has taken the file over: nothing of
	// it was changed, and the translator, which finds cs.remote gone, gives
	// its reader an error.
	Claimed bool
	// Unproven says why nothing but the size vouches for the bytes; empty
	// where a checksum does.
	Unproven string
	// Unnoted is what went wrong with a note that nobody depends on.
	Unnoted error
}

// Downloader reads objects; objstore's stores are Downloaders.
type Downloader interface {
	// Download writes the object to dst after accept has agreed to it, and
	// returns size and CRC-32 of the bytes written.
	Download(ctx context.Context, key string, dst io.WriterAt, accept func(object.Info) error) (object.Proof, error)
}

// ErrObject means that the object is not, or not provably, that of the file.
var ErrObject = errors.New("refused the object")

// transaction is the recall of one file.
type transaction struct {
	Stub
	store Downloader
	now   func() time.Time

	pointer object.Pointer // zero if the file has none of its own
	made    object.Metadata
	wantCRC []uint32          // what others say of the bytes
	removed map[string][]byte // size attributes, as they were
	result  Result
}

// run is the whole way, in order. After an error, restub is due.
func (t *transaction) run(ctx context.Context) error {
	if err := t.chooseKey(); err != nil {
		return err
	}
	if err := t.download(ctx); err != nil {
		return err
	}
	if err := t.File.Sync(); err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	// The data is whole, proven and on disk. From here on it is made visible.
	if err := t.point(); err != nil || t.result.Claimed {
		return err
	}
	recalled := strconv.FormatInt(t.now().Unix(), 10)
	t.result.Unnoted = t.File.SetXattr(gluster.XattrRecalled, []byte(recalled), 0)
	return t.removeSizes()
}

// chooseKey prefers the pointer: between stamp and rewrite, and after a rename,
// cs.remote can be the key of another file's object. A pointer that came with a
// copy of another file does not count, nor one of a previous life of this one.
func (t *transaction) chooseKey() error {
	value, err := t.File.Xattr(gluster.XattrPointer)
	return t.keyOf(value, err)
}

// keyOf chooses by the answer to a look at the pointer.
func (t *transaction) keyOf(value []byte, err error) error {
	t.result.Key = t.Remote
	switch {
	case errors.Is(err, unix.ENODATA):
	case err != nil:
		return fmt.Errorf("read %s: %w", gluster.XattrPointer, err)
	default:
		p, own, err := stub.PointerOf(value, t.GFID, true)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrObject, err)
		}
		if own {
			t.pointer = p
		}
		t.result.Key, _ = stub.Keys(t.pointer.Key, t.Remote)
	}
	if t.result.Key == "" {
		return fmt.Errorf("%w: neither %s nor the pointer names one", ErrObject, gluster.XattrRemote)
	}
	return nil
}

func (t *transaction) download(ctx context.Context) error {
	filling, err := sparse.Empty(t.File)
	if err != nil {
		return err
	}
	proof, err := t.store.Download(ctx, t.result.Key, filling, t.accept)
	if err != nil {
		return err
	}
	t.result.Proof = proof
	if proof.Size != t.Size {
		return fmt.Errorf("%w: %d bytes instead of %d", object.ErrCorrupt, proof.Size, t.Size)
	}
	for _, want := range t.wantCRC {
		if proof.CRC32 != want {
			return fmt.Errorf("%w: crc32 %08x instead of %08x", object.ErrCorrupt, proof.CRC32, want)
		}
	}
	if len(t.wantCRC) == 0 {
		t.result.Unproven = "no checksum of the object is known"
	}
	return filling.Finish(proof.Size)
}

// accept refuses an object that was not made from this file as it was when it
// became a stub. An object without coldbrick's metadata, put there by another
// tool, is taken by its size, unless the pointer says that it is ours.
func (t *transaction) accept(info object.Info) error {
	own := stub.Origin{GFID: t.GFID, Size: t.Size}
	if t.pointer.Volume != "" {
		own.Volumes = []string{t.pointer.Volume}
	}
	made, err := own.Made(info)
	switch {
	case errors.Is(err, object.ErrForeign) && t.pointer.Key == "":
	case err != nil:
		return fmt.Errorf("%w: %w", ErrObject, err)
	case t.Remote != "" && t.Remote != t.result.Key && made.Mtime != t.Mtime:
		// Two keys, and the object of the better one is of another time:
		// the pointer may be of a previous life of the file.
		return fmt.Errorf("%w: pointer and %s disagree, and it was made when the file had another mtime", ErrObject, gluster.XattrRemote)
	}
	t.made = made
	if info.HasCRC32 {
		t.wantCRC = append(t.wantCRC, info.CRC32)
	}
	if t.pointer.Proof != nil {
		t.wantCRC = append(t.wantCRC, t.pointer.Proof.CRC32)
	}
	return nil
}

// point makes the file carry all that fsck needs should this client die before
// the translator is done: the key that was used in cs.remote, and a pointer with
// the proof. It finds out as well whether the file is still this recall's.
//
// The pointer is not removed: after Recall has returned, only it tells fsck what
// a file with nothing but cs.downloading is. It says that it is spent, and the
// next archive replaces it.
func (t *transaction) point() error {
	if err := t.claimed(); err != nil || t.result.Claimed {
		return err
	}
	p := t.pointer
	p.GFID, p.Key, p.Recalled, p.Recall = t.GFID, t.result.Key, true, ""
	p.Volume = cmp.Or(p.Volume, t.made.Volume)
	p.Proof = &object.Stamped{Size: t.Size, Mtime: t.Mtime, CRC32: t.result.Proof.CRC32}
	if err := t.File.SetXattr(gluster.XattrPointer, p.Encode(), 0); err != nil {
		return fmt.Errorf("write %s: %w", gluster.XattrPointer, err)
	}
	if t.Remote != t.result.Key {
		// Replaced, never created: it may have been claimed this moment.
		err := t.File.SetXattr(gluster.XattrRemote, []byte(t.result.Key), unix.XATTR_REPLACE)
		if errors.Is(err, unix.ENODATA) {
			t.result.Claimed = true
			return nil
		}
		if err != nil {
			return fmt.Errorf("rewrite %s: %w", gluster.XattrRemote, err)
		}
	}
	return nil
}

// claimed looks whether cs.remote is gone. Then coldbrick recall has claimed the
// file, waits for the translator's lock, and relies on size and downloading
// attributes.
func (t *transaction) claimed() error {
	_, err := t.File.Xattr(gluster.XattrRemote)
	switch {
	case errors.Is(err, unix.ENODATA):
		t.result.Claimed = true
		return nil
	case err != nil:
		return fmt.Errorf("read %s: %w", gluster.XattrRemote, err)
	}
	return nil
}

// removeSizes removes what overrides the visible size: the translator leaves it,
// and later growth of the file could not be seen.
func (t *transaction) removeSizes() error {
	t.removed = map[string][]byte{}
	for _, name := range []string{gluster.XattrObjectSize, gluster.XattrBlockSize, gluster.XattrNumBlocks} {
		value, err := t.File.Xattr(name)
		if err == nil {
			t.removed[name] = value
			err = t.File.RemoveXattr(name)
		}
		if err != nil && !errors.Is(err, unix.ENODATA) {
			return fmt.Errorf("remove %s: %w", name, err)
		}
	}
	return nil
}

// errUncertain means that the file may be a stub again, and another client may
// have begun to recall it: it must not be touched any more.
var errUncertain = errors.New("the brick went away at the last step")

// restub makes the file a stub again, or leaves it to the recall that has
// claimed it (then it sets Claimed). It may be called again after unix.ENOTCONN
// and after no other error: as long as cs.downloading stands beside cs.remote,
// no client touches the file.
func (t *transaction) restub() error {
	if err := t.claimed(); err != nil || t.result.Claimed {
		return err
	}
	if err := t.File.Truncate(0); err != nil {
		return err
	}
	for name, value := range t.removed {
		if err := t.File.SetXattr(name, value, 0); err != nil {
			return err
		}
	}
	err := t.File.RemoveXattr(gluster.XattrDownload)
	switch {
	case errors.Is(err, unix.ENODATA):
		return nil
	case errors.Is(err, unix.ENOTCONN):
		return fmt.Errorf("%w: %v", errUncertain, err) //nolint:errorlint // with ENOTCONN in its chain it would be tried again
	}
	return err
}
