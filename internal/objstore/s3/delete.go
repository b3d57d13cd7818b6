package s3

import (
	"context"
	"fmt"
	"io/fs"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore"
)

// Delete deletes an object that is still what a Head told of. It looks first, and sends
// one request, with If-Match where the server was seen to honour that. In a bucket with
// versions it leaves a delete marker.
func (s *Store) Delete(ctx context.Context, key string, is object.Info) error {
	if err := objstore.CheckKey(key); err != nil {
		return err
	}
	n, err := s.session()
	if err != nil {
		return err
	}
	n.deletes.Do(func() { n.matched, n.matchErr = n.probeDelete(ctx) })
	if n.matchErr != nil { // also for the deletes after it: none goes without If-Match for that
		return n.matchErr
	}
	now, err := n.head(ctx, key)
	if err != nil {
		return err
	}
	if now.ETag != is.ETag || !now.Modified.Equal(is.Modified) || now.Size != is.Size ||
		now.Metadata[object.MetaAttempt] != is.Metadata[object.MetaAttempt] {
		return &objstore.Error{Op: "delete object", Kind: object.ErrChanged}
	}
	in := &s3.DeleteObjectInput{Bucket: &n.bucket, Key: &key}
	if n.matched {
		in.IfMatch = &is.ETag
	}
	_, err = n.client.DeleteObject(ctx, in, once)
	switch statusOf(err) {
	case http.StatusPreconditionFailed:
		return &objstore.Error{Op: "delete object", Kind: object.ErrChanged}
	case http.StatusNotFound:
		return &objstore.Error{Op: "delete object", Kind: fs.ErrNotExist}
	}
	return n.explain(ctx, "delete object", err)
}

// once sends a request a single time. A second DELETE could meet an object that was
// created since the first.
func once(o *s3.Options) { o.RetryMaxAttempts = 1 }

// probeDelete reports whether a DELETE with the If-Match of another object is refused.
func (n *session) probeDelete(ctx context.Context) (bool, error) {
	p := &prober{session: n, prefix: n.keyPrefix + object.ReservedPrefix + "probe/" + object.NewID() + "/"}
	p.settings(ctx) // clean goes by them
	defer p.clean(ctx)
	if err := p.put(ctx, probeFree, []byte("coldbrick probes whether a delete honours If-Match\n"), false); err != nil {
		return false, n.explain(ctx, "probe", err)
	}
	key := p.prefix + probeFree
	_, err := n.client.DeleteObject(ctx, &s3.DeleteObjectInput{
		Bucket: &n.bucket, Key: &key, IfMatch: aws.String(`"` + fmt.Sprintf("%032x", 1) + `"`),
	}, once)
	if statusOf(err) != http.StatusPreconditionFailed {
		_, err := p.refused(ctx, err)
		return false, err
	}
	_, err = n.head(ctx, key)
	return err == nil, err
}
