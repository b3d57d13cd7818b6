package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore"
)

const (
	maxParts      = 10_000 // of S3
	abortPatience = 30 * time.Second
)

// multipartAPI is the client that cutting a body into parts needs.
type multipartAPI interface {
	PutObject(context.Context, *s3.PutObjectInput, ...func(*s3.Options)) (*s3.PutObjectOutput, error)
	CreateMultipartUpload(context.Context, *s3.CreateMultipartUploadInput, ...func(*s3.Options)) (*s3.CreateMultipartUploadOutput, error)
	UploadPart(context.Context, *s3.UploadPartInput, ...func(*s3.Options)) (*s3.UploadPartOutput, error)
	CompleteMultipartUpload(context.Context, *s3.CompleteMultipartUploadInput, ...func(*s3.Options)) (*s3.CompleteMultipartUploadOutput, error)
	AbortMultipartUpload(context.Context, *s3.AbortMultipartUploadInput, ...func(*s3.Options)) (*s3.AbortMultipartUploadOutput, error)
}

// inParts creates the object by a multipart upload.
func (c *creation) inParts(ctx context.Context) error {
	up := &partUpload{creation: c, parts: make([]part, (c.size+c.sizeOfParts()-1)/c.sizeOfParts())}
	err := sendParts(ctx, up, &s3.PutObjectInput{
		Bucket:       &c.bucket,
		Key:          &c.key,
		Body:         io.NewSectionReader(c.body, 0, c.size),
		Metadata:     c.metadata,
		StorageClass: c.class(),
	}, c.sizeOfParts(), c.jobs)
	if up.failed != nil { // the cause, where the manager wraps it or hears of it late
		err = up.failed
	}
	err = c.settle(ctx, "upload in parts", c.able.FullObjectMultipart, err)
	if err != nil && up.id != "" && !up.completed {
		abortCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortPatience)
		defer cancel()
		if abortErr := c.abort(abortCtx, c.key, up.id); abortErr != nil {
			err = fmt.Errorf("%w (its parts are left behind: %w)", err, abortErr)
		}
	}
	return err
}

// sizeOfParts is the part size, or more for an object that would have more
// parts than S3 allows.
func (c *creation) sizeOfParts() int64 {
	const step = 1 << 20
	least := (c.size + maxParts - 1) / maxParts
	return max(c.partSize, (least+step-1)/step*step)
}

// part is what is known of one part after it was sent.
type part struct {
	size int64
	sum  uint32
}

// partUpload is the client that a creation lends to the part sender. It reads
// each part once, checksums it, and turns the upload into a conditional one
// with a checksum over the whole object.
type partUpload struct {
	*creation
	id        string
	completed bool // the store said so

	mu     sync.Mutex
	parts  []part
	failed error // what ended it, if that was not an answer of the store
}

func (u *partUpload) CreateMultipartUpload(ctx context.Context, in *s3.CreateMultipartUploadInput, opts ...func(*s3.Options)) (*s3.CreateMultipartUploadOutput, error) {
	in.ChecksumAlgorithm = types.ChecksumAlgorithmCrc32
	if !u.able.fullObjectRefused {
		in.ChecksumType = types.ChecksumTypeFullObject
	}
	out, err := u.client.CreateMultipartUpload(ctx, in, opts...)
	if err != nil {
		return nil, err
	}
	u.id = aws.ToString(out.UploadId)
	if u.onUpload != nil {
		if err := u.onUpload(u.key, u.id); err != nil {
			return nil, u.fail(fmt.Errorf("record upload: %w", err))
		}
	}
	return out, nil
}

func (u *partUpload) UploadPart(ctx context.Context, in *s3.UploadPartInput, opts ...func(*s3.Options)) (*s3.UploadPartOutput, error) {
	number := int64(aws.ToInt32(in.PartNumber))
	off := (number - 1) * u.sizeOfParts()
	size := min(u.sizeOfParts(), u.size-off)

	buf, err := u.buffers.Get(ctx, int(size))
	if err != nil {
		return nil, err
	}
	defer u.buffers.Put(buf)
	if err := objstore.ReadFull(u.body, buf, off); err != nil {
		return nil, u.fail(err)
	}
	if off+size == u.size {
		if err := objstore.CheckEnd(u.body, u.size); err != nil {
			return nil, u.fail(err)
		}
	}
	sum := crc32.ChecksumIEEE(buf)
	u.mu.Lock()
	u.parts[number-1] = part{size, sum}
	u.mu.Unlock()

	in.Body = bytes.NewReader(buf)
	in.ContentLength = &size
	in.ChecksumCRC32 = encodeCRC(sum)
	return u.client.UploadPart(ctx, in, opts...)
}

func (u *partUpload) CompleteMultipartUpload(ctx context.Context, in *s3.CompleteMultipartUploadInput, opts ...func(*s3.Options)) (*s3.CompleteMultipartUploadOutput, error) {
	proof := object.Proof{}
	for i, p := range u.parts {
		proof.CRC32 = object.CombineCRC32(proof.CRC32, p.sum, p.size)
		proof.Reads += p.size
		in.MultipartUpload.Parts[i].ChecksumCRC32 = encodeCRC(p.sum)
	}
	proof.Size = proof.Reads
	u.proof = proof

	if !u.able.fullObjectRefused {
		in.ChecksumCRC32 = encodeCRC(proof.CRC32)
		in.ChecksumType = types.ChecksumTypeFullObject
	}
	in.MpuObjectSize = &u.size
	if !u.able.completeConditionRefused {
		in.IfNoneMatch = aws.String("*")
	}
	var out *s3.CompleteMultipartUploadOutput
	err := untilNoConflict(ctx, func() (err error) {
		out, err = u.client.CompleteMultipartUpload(ctx, in, opts...)
		return err
	})
	if err != nil {
		return nil, err
	}
	u.completed = true
	if err := u.checkAnswer(out.ChecksumCRC32, out.ChecksumType); err != nil {
		return nil, u.fail(err)
	}
	return out, nil
}

// PutObject is for bodies of a single part, which never come here.
func (u *partUpload) PutObject(context.Context, *s3.PutObjectInput, ...func(*s3.Options)) (*s3.PutObjectOutput, error) {
	return nil, u.fail(errors.ErrUnsupported)
}

// AbortMultipartUpload is for inParts alone: only it knows whether a lost reply
// was a success.
func (u *partUpload) AbortMultipartUpload(context.Context, *s3.AbortMultipartUploadInput, ...func(*s3.Options)) (*s3.AbortMultipartUploadOutput, error) {
	return nil, u.fail(errors.ErrUnsupported)
}

// fail keeps the first error that is not the store's.
func (u *partUpload) fail(err error) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.failed == nil {
		u.failed = err
	}
	return err
}
