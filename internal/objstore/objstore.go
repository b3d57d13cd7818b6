// Package objstore keeps objects: the stores s3 (any server that speaks S3) and
// dir (files in a directory, for tape gateways and NFS). It is the only package
// that imports the AWS SDK.
//
// Both stores create an object only where none is, and report success only
// after the copy is proven; neither can overwrite or delete an object. They
// satisfy the interfaces that upload and recall declare. A key that a store or
// a proxy could take for another one is refused in every operation, with
// object.ErrKey: keys to read come from attributes of files, and those may be
// hostile.
//
// The errors of this package are one line each and never hold a secret.
package objstore

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/coldbrick/coldbrick/internal/object"
)

// Limiter bounds the bytes per second over all transfers of a store;
// *rate.Limiter of golang.org/x/time/rate is one.
type Limiter interface {
	WaitN(ctx context.Context, n int) error
	Burst() int
}

// errClosed is what every operation answers before Init and after Fini.
var errClosed = errors.New("store is not initialised")

// checkKey refuses keys that are ambiguous somewhere: versitygw, for one,
// stores "a//b" and "a/x/../b" as "a/b". No path below a volume's root looks
// like that, so nothing is lost.
func checkKey(key string) error {
	if _, ok := object.PathKey(key, ""); !ok {
		return fmt.Errorf("%w: %.200q", object.ErrKey, key)
	}
	return nil
}

// readFull fills b with the bytes of body at off. Too few of them mean that the
// file was cut meanwhile.
func readFull(body io.ReaderAt, b []byte, off int64) error {
	n, err := body.ReadAt(b, off)
	switch {
	case n == len(b):
		return nil
	case err == nil || errors.Is(err, io.EOF):
		return fmt.Errorf("body ends at byte %d: %w", off+int64(n), object.ErrChanged)
	default:
		return fmt.Errorf("read body at byte %d: %w", off+int64(n), err)
	}
}

// checkEnd reports a body that has grown past size.
func checkEnd(body io.ReaderAt, size int64) error {
	var one [1]byte
	n, err := body.ReadAt(one[:], size)
	switch {
	case n > 0:
		return fmt.Errorf("body goes on after byte %d: %w", size, object.ErrChanged)
	case errors.Is(err, io.EOF):
		return nil
	default:
		return fmt.Errorf("read body at byte %d: %w", size, err)
	}
}

// discard takes the bytes of a read-back.
type discard struct{}

func (discard) WriteAt(b []byte, _ int64) (int, error) { return len(b), nil }
