package s3

import (
	"context"
	"fmt"
	"io"

	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore"
)

// ReadRange fills b with the bytes of the object from off on, and returns their
// CRC-32. They are of the version that info is of, or object.ErrChanged is
// returned; an object without an ETag has no versions to tell apart, and is not
// read in ranges. Nothing vouches for the bytes of a range but the connection:
// whoever reads all of an object can hold the sums of its ranges against info.
func (s *Store) ReadRange(ctx context.Context, key string, info object.Info, b []byte, off int64) (uint32, error) {
	if err := objstore.CheckKey(key); err != nil {
		return 0, err
	}
	if info.ETag == "" {
		return 0, &objstore.Error{Op: "get object", Text: "the store gives the object no ETag: it can only be read as a whole"}
	}
	if off < 0 || off+int64(len(b)) > info.Size {
		return 0, fmt.Errorf("%d bytes at %d of an object of %d: %w", len(b), off, info.Size, io.ErrUnexpectedEOF)
	}
	n, err := s.session()
	if err != nil {
		return 0, err
	}
	if err := n.ranges.Acquire(ctx, 1); err != nil {
		return 0, context.Cause(ctx)
	}
	defer n.ranges.Release(1)
	r := &byteRange{session: n, key: key, info: info, dst: at{b, off}, off: off, size: int64(len(b))}
	return r.fetch(ctx)
}

// at is the part of an object from off on.
type at struct {
	b   []byte
	off int64
}

func (a at) WriteAt(p []byte, off int64) (int, error) { return copy(a.b[off-a.off:], p), nil }
