package s3

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"golang.org/x/sync/errgroup"

	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore"
	"github.com/coldbrick/coldbrick/internal/workers"
)

const (
	// copyBuffer is what one stream reads at a time. Gluster's client sends
	// writes of up to 128 KiB, and larger ones in pieces of that.
	copyBuffer = 256 << 10
	// streamTries bounds how often one range is asked for again after its
	// body was cut or stalled, each time from where it ended.
	streamTries = 5
)

// Download writes the whole object to dst after accept returned nil, and
// returns size and CRC-32 of the bytes written. A large object comes in ranges,
// in parallel; all are of the version that accept saw, or object.ErrChanged is
// returned. Where the store knows the object's CRC-32, bytes that differ are
// object.ErrCorrupt. An object in a cold storage class is object.ErrCold.
func (s *Store) Download(ctx context.Context, key string, dst io.WriterAt, accept func(object.Info) error) (object.Proof, error) {
	if err := objstore.CheckKey(key); err != nil {
		return object.Proof{}, err
	}
	n, err := s.session()
	if err != nil {
		return object.Proof{}, err
	}
	return n.download(ctx, key, dst, accept)
}

// download begins with one plain GET: it tells all that a HEAD does, and is all
// that a small object needs. Of a large object it serves as the first range.
func (n *session) download(ctx context.Context, key string, dst io.WriterAt, accept func(object.Info) error) (object.Proof, error) {
	out, err := n.get(ctx, &s3.GetObjectInput{Bucket: &n.bucket, Key: &key})
	if err != nil {
		if errors.Is(err, object.ErrCold) {
			err = n.nameClass(ctx, key, err)
		}
		return object.Proof{}, err
	}
	first := out.Body
	defer func() { first.Close() }()
	if out.ContentLength == nil || *out.ContentLength < 0 {
		return object.Proof{}, &objstore.Error{Op: "get object", Text: "the answer has no length"}
	}
	info := object.Info{
		Size:     *out.ContentLength,
		ETag:     aws.ToString(out.ETag),
		Class:    className(out.StorageClass),
		Modified: aws.ToTime(out.LastModified),
		Metadata: out.Metadata,
	}
	info.CRC32, info.HasCRC32 = wholeCRC(out.ChecksumCRC32, out.ChecksumType)
	if err := accept(info); err != nil {
		return object.Proof{}, err
	}

	parts := make([]part, max(1, (info.Size+n.partSize-1)/n.partSize))
	g, gctx := errgroup.WithContext(ctx)
	for i := range parts {
		if i > 0 && n.ranges.Acquire(gctx, 1) != nil {
			break // another range has failed
		}
		r := &byteRange{session: n, key: key, info: info, dst: dst, off: int64(i) * n.partSize}
		r.size = min(n.partSize, info.Size-r.off)
		if i == 0 {
			r.body = first
		}
		g.Go(func() error {
			if i > 0 {
				defer n.ranges.Release(1)
			}
			return workers.Guard(func() (err error) { // it runs in everybody's mounts as well
				parts[i].size = r.size
				parts[i].sum, err = r.fetch(gctx)
				return err
			})
		})
	}
	err = g.Wait()
	if ctx.Err() != nil { // some ranges may not even have begun
		return object.Proof{}, context.Cause(ctx)
	}
	if err != nil {
		return object.Proof{}, err
	}

	var got object.Proof
	for _, p := range parts {
		got.CRC32 = object.CombineCRC32(got.CRC32, p.sum, p.size)
		got.Size += p.size
	}
	got.Reads = got.Size
	if got.Size != info.Size {
		return got, &objstore.Error{Op: "get object", Kind: object.ErrCorrupt, Text: fmt.Sprintf("%d bytes received of %d", got.Size, info.Size)}
	}
	if info.HasCRC32 && got.CRC32 != info.CRC32 {
		return got, &objstore.Error{Op: "get object", Kind: object.ErrCorrupt,
			Text: fmt.Sprintf("CRC-32 %08x received, %08x noted by the store", got.CRC32, info.CRC32)}
	}
	return got, nil
}

// withChecksum asks for the stored checksum. The SDK's own switch for it would
// also compute it, in a pass of its own.
var withChecksum = s3.WithAPIOptions(smithyhttp.AddHeaderValue("x-amz-checksum-mode", "ENABLED"))

func (n *session) get(ctx context.Context, in *s3.GetObjectInput) (*s3.GetObjectOutput, error) {
	out, err := n.client.GetObject(ctx, in, withChecksum)
	if statusOf(err) == http.StatusPreconditionFailed {
		return nil, &objstore.Error{Op: "get object", Kind: object.ErrChanged, Text: "the object is another one now"}
	}
	return out, n.explain(ctx, "get object", err)
}

// nameClass adds the storage class to the refusal of a cold object.
func (n *session) nameClass(ctx context.Context, key string, refusal error) error {
	info, err := n.head(ctx, key)
	if err != nil || info.Class == "" {
		return refusal
	}
	return &objstore.Error{Op: "get object", Kind: object.ErrCold, Text: "storage class " + info.Class}
}

// byteRange is a part of an object on its way to dst.
type byteRange struct {
	*session
	key       string
	info      object.Info
	dst       io.WriterAt
	off, size int64
	body      io.ReadCloser // open already, at off; nil otherwise
}

// fetch writes the range and returns its checksum.
func (r *byteRange) fetch(ctx context.Context) (uint32, error) {
	buf, err := r.buffers.Get(ctx, copyBuffer)
	if err != nil {
		return 0, err
	}
	defer r.buffers.Put(buf)
	var got part
	for try := 1; ; try++ {
		err := r.stream(ctx, buf, &got)
		var broken *brokenError
		if !errors.As(err, &broken) || ctx.Err() != nil || try >= streamTries || broken.stalled && try >= stallAttempts {
			return got.sum, err
		}
		if err := sleep(ctx, backoff(try)); err != nil {
			return 0, err
		}
	}
}

// stream receives what is still missing of the range, and notes what came.
func (r *byteRange) stream(ctx context.Context, buf []byte, got *part) error {
	body := r.body
	r.body = nil
	if body == nil {
		var err error
		if body, err = r.open(ctx, r.off+got.size, r.size-got.size); err != nil {
			return err
		}
	}
	defer body.Close()
	for got.size < r.size {
		n, readErr := io.ReadFull(body, buf[:min(int64(len(buf)), r.size-got.size)])
		if _, err := r.dst.WriteAt(buf[:n], r.off+got.size); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		got.sum = crc32.Update(got.sum, crc32.IEEETable, buf[:n])
		got.size += int64(n)
		if readErr != nil {
			return &brokenError{
				at:      r.off + got.size,
				text:    objstore.OneLine(readErr.Error(), r.secrets()),
				stalled: errors.Is(readErr, os.ErrDeadlineExceeded),
			}
		}
	}
	return nil
}

// open asks for a range of the version that info is of, and for nothing else.
func (r *byteRange) open(ctx context.Context, off, size int64) (io.ReadCloser, error) {
	in := &s3.GetObjectInput{Bucket: &r.bucket, Key: &r.key, Range: rangeHeader(off, size)}
	if r.info.ETag != "" {
		in.IfMatch = &r.info.ETag
	}
	out, err := r.get(ctx, in)
	if err != nil {
		return nil, err
	}
	want := fmt.Sprintf("bytes %d-%d/%d", off, off+size-1, r.info.Size)
	switch {
	case aws.ToString(out.ETag) != r.info.ETag:
		err = &objstore.Error{Op: "get object", Kind: object.ErrChanged, Text: "the object is another one now"}
	case aws.ToString(out.ContentRange) != want:
		err = &objstore.Error{Op: "get object", Text: fmt.Sprintf("asked for %q, got %q", want, objstore.OneLine(aws.ToString(out.ContentRange), nil))}
	case aws.ToInt64(out.ContentLength) != size:
		err = &brokenError{at: off, text: "the answer is not as long as the range"}
	}
	if err != nil {
		out.Body.Close()
		return nil, err
	}
	return out.Body, nil
}

// brokenError is a body that did not arrive whole; the rest may be asked for. It
// wraps nothing: an errno of the network is not one of the volume.
type brokenError struct {
	at      int64
	text    string
	stalled bool
}

func (e *brokenError) Error() string {
	return fmt.Sprintf("get object: body broke off at byte %d: %s", e.at, e.text)
}
