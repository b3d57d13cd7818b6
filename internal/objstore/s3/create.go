package s3

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore"
)

// conflictTries bounds how often a conditional request is sent again after 409:
// another one for the same key was under way.
const conflictTries = 5

// Create stores size bytes of body under key only if nothing is there. It
// returns nil only after the store has confirmed size and CRC-32: by its answer
// where the probe showed that it verifies what it answers, by reading the
// object back where not. Each byte of body is read once. With fs.ErrExist the
// proof still holds the checksum of the bytes if all were read. Where the store
// is not Conditional, only an object.NonceKey or object.CatalogKey will do, or an
// object.VolumeKey, whose object has the same bytes whoever writes it; any other key is
// object.ErrKey.
//
// The first Create probes the store, unless Probe has been called.
func (s *Store) Create(ctx context.Context, key string, body io.ReaderAt, size int64, metadata map[string]string) (object.Proof, error) {
	if err := objstore.CheckKey(key); err != nil {
		return object.Proof{}, err
	}
	n, err := s.session()
	if err != nil {
		return object.Proof{}, err
	}
	able, err := n.capabilities(ctx)
	if err != nil {
		return object.Proof{}, err
	}
	if !n.conditional(able, size) && !isNonceKey(key) && !isVolumeKey(key) && !isCatalogKey(key) {
		// It could overwrite an object, and the caller may not know: the
		// store was reconfigured, or not yet probed when it asked.
		return object.Proof{}, &objstore.Error{Op: "create object", Kind: object.ErrKey, Text: "the store cannot leave a taken key alone: only a nonce key will do"}
	}
	c := &creation{session: n, able: able, key: key, body: body, size: size, metadata: metadata}
	if n.multipart(size) {
		err = c.inParts(ctx)
	} else {
		err = c.whole(ctx)
	}
	return c.proof, err
}

// Conditional reports whether a Create of size bytes is proven to refuse a key
// that is taken. It is false before the first Probe or Create.
func (s *Store) Conditional(size int64) bool {
	n, err := s.session()
	if err != nil {
		return false
	}
	able := n.proven.Load()
	return able != nil && n.conditional(able, size)
}

func (n *session) conditional(able *findings, size int64) bool {
	if n.multipart(size) {
		return able.CompleteConditional
	}
	return able.PutConditional
}

// isNonceKey reports whether a key has the form of object.NonceKey.
func isNonceKey(key string) bool {
	i := strings.LastIndex("/"+key, "/"+object.ReservedPrefix)
	if i < 0 {
		return false
	}
	owner, nonce, _ := strings.Cut(key[i+len(object.ReservedPrefix):], "/")
	_, gfidErr := gluster.ParseGFID(owner)
	b, nonceErr := hex.DecodeString(nonce)
	return gfidErr == nil && nonceErr == nil && len(b) == 16
}

// isVolumeKey reports whether a key has the form of object.VolumeKey, or of
// object.SignedVolumeKey.
func isVolumeKey(key string) bool {
	dir := object.VolumeKey("", "")
	i := strings.LastIndex("/"+key, "/"+dir)
	if i < 0 {
		return false
	}
	id := key[i+len(dir):]
	_, err := gluster.ParseGFID(strings.TrimSuffix(id, object.SignedVolumeKey("", "")[len(dir):]))
	return err == nil
}

// isCatalogKey reports whether a key has the form of object.CatalogKey.
func isCatalogKey(key string) bool {
	const dir = "/" + object.ReservedPrefix + "catalogs/"
	i := strings.LastIndex("/"+key, dir)
	if i < 0 {
		return false
	}
	part := strings.Split(("/" + key)[i+len(dir):], "/")
	if len(part) != 3 {
		return false
	}
	_, volumeErr := gluster.ParseGFID(part[0])
	b, scanErr := hex.DecodeString(part[1])
	return volumeErr == nil && scanErr == nil && len(b) == 16
}

// multipart reports whether an object of this size is sent in parts.
func (n *session) multipart(size int64) bool { return size > n.partSize }

// creation is one Create.
type creation struct {
	*session
	able     *findings
	key      string
	body     io.ReaderAt
	size     int64
	metadata map[string]string
	proof    object.Proof // grows as the body is read
}

// class is the storage class of the object. Records of coldbrick's own are small, and
// are read without a thaw.
func (c *creation) class() types.StorageClass {
	if object.IsRecord(c.keyPrefix, c.key) {
		return ""
	}
	return types.StorageClass(c.storageClass)
}

// whole creates the object with a single PUT.
func (c *creation) whole(ctx context.Context) error {
	return c.settle(ctx, "put object", c.able.ChecksumVerified, c.put(ctx))
}

// put reads the body and sends it.
func (c *creation) put(ctx context.Context) error {
	buf, err := c.buffers.Get(ctx, int(c.size))
	if err != nil {
		return err
	}
	defer c.buffers.Put(buf)
	if err := objstore.ReadFull(c.body, buf, 0); err != nil {
		return err
	}
	if err := objstore.CheckEnd(c.body, c.size); err != nil {
		return err
	}
	c.proof = object.Proof{Size: c.size, CRC32: crc32.ChecksumIEEE(buf), Reads: c.size}

	in := &s3.PutObjectInput{
		Bucket:        &c.bucket,
		Key:           &c.key,
		ContentLength: &c.size,
		ChecksumCRC32: encodeCRC(c.proof.CRC32),
		Metadata:      c.metadata,
		StorageClass:  c.class(),
	}
	if !c.able.conditionRefused {
		in.IfNoneMatch = aws.String("*")
	}
	return untilNoConflict(ctx, func() error {
		in.Body = bytes.NewReader(buf)
		out, err := c.client.PutObject(ctx, in)
		if err != nil {
			return err
		}
		return c.checkAnswer(out.ChecksumCRC32, out.ChecksumType)
	})
}

// checkAnswer compares the checksum of an answer, if it has one, with ours.
func (c *creation) checkAnswer(value *string, kind types.ChecksumType) error {
	if sum, ok := wholeCRC(value, kind); ok && sum != c.proof.CRC32 {
		return &objstore.Error{Op: "create object", Kind: object.ErrCorrupt, Text: "the store answers with another checksum"}
	}
	return nil
}

// untilNoConflict repeats a conditional request that met another one.
func untilNoConflict(ctx context.Context, send func() error) error {
	for try := 1; ; try++ {
		err := send()
		if !isConflict(err) || try == conflictTries {
			return err
		}
		if err := sleep(ctx, backoff(try)); err != nil {
			return err
		}
	}
}

// isConflict reports a 409 that says nothing about the key itself.
func isConflict(err error) bool {
	return statusOf(err) == http.StatusConflict && !keyCodes[codeOf(err)]
}

// settle says what a create came to that ended in err; proven says whether a
// nil one is a proof. The answer to a conditional request may be lost after the
// store did the work; the SDK then sends it again and hears that the key is
// taken, or the upload gone. Whose object it is, its metadata tells.
func (c *creation) settle(ctx context.Context, op string, proven bool, err error) error {
	var answered *smithy.OperationError
	switch {
	case err == nil && proven:
		return nil
	case err == nil:
		return c.readBack(ctx, "")
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", op, context.Cause(ctx))
	case !errors.As(err, &answered): // not of a request
		return err
	case c.proof.Reads != c.size, !isUnsettled(err):
		return c.explain(ctx, op, err)
	}
	info, headErr := c.head(ctx, c.key)
	switch {
	case errors.Is(headErr, fs.ErrNotExist):
		return c.explain(ctx, op, err)
	case headErr != nil:
		return fmt.Errorf("%s: %w (then %w)", op, c.explain(ctx, "reply lost", err), headErr)
	case !c.own(info):
		return &objstore.Error{Op: op, Kind: fs.ErrExist}
	case info.Size != c.size, info.HasCRC32 && info.CRC32 != c.proof.CRC32:
		return &objstore.Error{Op: op, Kind: object.ErrCorrupt, Text: "the store holds other bytes than were sent"}
	case info.HasCRC32 && c.able.confirms(c.multipart(c.size)):
		return nil
	default:
		return c.readBack(ctx, info.ETag)
	}
}

// isUnsettled reports an answer after which the object may be ours all the same.
func isUnsettled(err error) bool {
	switch status := statusOf(err); {
	case status == http.StatusPreconditionFailed, isConflict(err):
		return true
	case status == http.StatusNotFound:
		return codeOf(err) == "NoSuchUpload"
	default: // no answer at all, or one that does not say what was done
		return status == 0 || status >= http.StatusInternalServerError
	}
}

func (c *creation) own(info object.Info) bool {
	attempt := c.metadata[object.MetaAttempt]
	return attempt != "" && info.Metadata[object.MetaAttempt] == attempt
}

// readBack proves a copy where the store's word is not enough.
func (c *creation) readBack(ctx context.Context, etag string) error {
	got, err := c.download(ctx, c.key, objstore.Discard{}, func(info object.Info) error {
		if info.Size != c.size || etag != "" && info.ETag != etag {
			return fmt.Errorf("%d bytes stored of %d: %w", info.Size, c.size, object.ErrCorrupt)
		}
		return nil
	})
	if err == nil && (got.Size != c.size || got.CRC32 != c.proof.CRC32) {
		err = object.ErrCorrupt
	}
	if err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	return nil
}

// sleep waits, unless ctx ends first.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
