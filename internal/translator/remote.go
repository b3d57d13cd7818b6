package translator

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
)

// RangeReader reads parts of objects; objstore's S3 is one.
type RangeReader interface {
	Head(ctx context.Context, key string) (object.Info, error)
	// ReadRange fills b with the bytes from off on of the version that info is
	// of, and returns their CRC-32; object.ErrChanged if there is another one.
	ReadRange(ctx context.Context, key string, info object.Info, b []byte, off int64) (uint32, error)
}

// readPatience bounds a remote read, whatever the store and the brick do.
const readPatience = fetchPatience + 30*time.Second

// errEnding is what the reads of a translator get that is about to go.
var errEnding = errors.New("the volume is being unmounted")

// Begin runs work, a remote read, in a goroutine of its own. It reports false, and
// runs nothing, if the instance ends. work must return soon after its context ends.
func (i *Instance) Begin(work func(ctx context.Context)) bool {
	return i.begin(func(r *round) *sync.WaitGroup { return &r.reads }, func(ctx context.Context) {
		ctx, cancel := context.WithTimeoutCause(ctx, readPatience, errSlow)
		defer cancel()
		work(ctx)
	})
}

// Read fills b with the bytes of a stub from off on; the stub stays one. It takes
// the object by the same rules as a recall. What a range cannot show is whether
// its bytes are those that were archived: only an object whose blocks come one
// after the other, to the last, is held against its checksum.
//
// key is that of the object, and first is true if it had to be looked at.
func (i *Instance) Read(ctx context.Context, stub Stub, b []byte, off int64) (key string, first bool, err error) {
	defer func() { i.client.counts.read(len(b), err) }()
	if len(b) == 0 {
		return "", false, nil
	}
	if off < 0 || off > stub.Size-int64(len(b)) {
		return "", false, fmt.Errorf("%d bytes at %d of a file of %d: %w", len(b), off, stub.Size, unix.EINVAL)
	}
	from := &stubOrigin{transaction: transaction{Stub: stub}, instance: i}
	pointer, err := stub.File.Xattr(gluster.XattrPointer)
	if err := from.keyOf(pointer, err); err != nil {
		return "", false, err
	}
	from.File = nil // a fetch may outlive this read
	options, err := i.options()
	if err != nil {
		return from.result.Key, false, err
	}
	from.options = options
	i.mu.Lock()
	block := i.tuning.ReadBlock
	i.mu.Unlock()
	first, err = i.client.cache.read(ctx, version{
		endpoint: options["endpoint-url"], bucket: options["bucket"],
		gfid: stub.GFID, remote: stub.Remote, pointer: string(pointer), size: stub.Size, mtime: stub.Mtime,
		block: block,
	}, from, b, off)
	return from.result.Key, first, err
}

// ReadError is the errno of a failed read, for the reader.
func ReadError(err error) unix.Errno {
	switch {
	case errors.Is(err, object.ErrCorrupt):
		return unix.EIO
	case errors.Is(err, unix.ENOTCONN): // the brick is away
		return unix.ENOTCONN
	}
	return unix.EREMOTE
}

// stubOrigin finds the object of a stub, and reads it.
type stubOrigin struct {
	transaction
	instance *Instance
	options  map[string]string
}

func (o *stubOrigin) examine(ctx context.Context) (examined, error) {
	var found examined
	err := o.with(ctx, func(store Store) error {
		info, err := store.Head(ctx, o.result.Key)
		if err != nil {
			return err
		}
		if info.Access != object.Readable {
			return fmt.Errorf("%w (class %s)", object.ErrCold, info.Class)
		}
		t := transaction{Stub: o.Stub, pointer: o.pointer, result: o.result}
		if err := t.accept(info); err != nil {
			return err
		}
		for _, crc := range t.wantCRC { // what a range cannot show, its object may
			if crc != t.wantCRC[0] {
				return fmt.Errorf("%w: crc32 %08x at the store, %08x on the file", ErrObject, t.wantCRC[0], crc)
			}
		}
		found = examined{key: t.result.Key, info: info, wantCRC: t.wantCRC}
		return nil
	})
	return found, err
}

func (o *stubOrigin) fetch(ctx context.Context, e examined, b []byte, off int64) (crc uint32, err error) {
	err = o.with(ctx, func(store Store) error {
		crc, err = store.ReadRange(ctx, e.key, e.info, b, off)
		return err
	})
	if err == nil {
		o.instance.client.counts.fetched(len(b))
	}
	return crc, err
}

func (o *stubOrigin) with(ctx context.Context, do func(Store) error) error {
	store, release, err := o.instance.stores.get(ctx, o.options)
	if err != nil {
		return err
	}
	defer release()
	return do(store)
}
