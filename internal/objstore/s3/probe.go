package s3

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore"
)

// findings are what a probe has seen, and how the store refuses what it lacks.
type findings struct {
	objstore.Capabilities

	conditionRefused         bool // a PUT with If-None-Match is refused even for a free key
	completeConditionRefused bool // so is a completion
	fullObjectRefused        bool // a multipart upload with ChecksumType FULL_OBJECT is
}

// confirms reports whether the checksum that HEAD shows of an object is the
// store's own finding.
func (a *findings) confirms(multipart bool) bool {
	if multipart {
		return a.FullObjectMultipart
	}
	return a.ChecksumVerified && a.ChecksumReturned
}

// Probe finds out what the store can be relied on for. It makes a few small
// objects under keys of its own, below KEY-PREFIX.coldbrick/probe/, and deletes
// them; it touches nothing else. An endpoint that cannot be reached, a bucket
// that does not exist and credentials that are refused are object.ErrStore.
func (s *Store) Probe(ctx context.Context) (objstore.Capabilities, error) {
	n, err := s.session()
	if err != nil {
		return objstore.Capabilities{}, err
	}
	n.probing.Lock()
	defer n.probing.Unlock()
	able, err := n.probe(ctx)
	return able.Capabilities, err
}

// Reuse goes by an earlier probe of the same Account that was Proven, if the store
// still leaves a taken key alone. Otherwise, and on any error, it reports false: a
// Probe tells more. It leaves one small object, once for each prefix.
func (s *Store) Reuse(ctx context.Context) bool {
	n, err := s.session()
	if err != nil {
		return false
	}
	p := &prober{session: n, prefix: n.keyPrefix + object.ReservedPrefix}
	for range 2 { // the first may find the key free
		err = untilNoConflict(ctx, func() error {
			return p.put(ctx, "taken", []byte("coldbrick looks whether a taken key is left alone\n"), true, fewRetries)
		})
		if err != nil {
			break
		}
	}
	if statusOf(err) != http.StatusPreconditionFailed {
		return false
	}
	n.proven.Store(&findings{Capabilities: objstore.Capabilities{
		PutConditional: true, CompleteConditional: true,
		ChecksumVerified: true, ChecksumReturned: true, FullObjectMultipart: true,
	}})
	return true
}

// Account names what the finding of a probe holds for: endpoint, region, bucket,
// prefix and the key id of the credentials. It is a hash, and sends nothing to the
// store.
func (s *Store) Account(ctx context.Context) (string, error) {
	n, err := s.session()
	if err != nil {
		return "", err
	}
	o := n.client.Options()
	creds, err := o.Credentials.Retrieve(ctx)
	if err != nil {
		return "", n.explain(ctx, "credentials", err)
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %q %q", n.where, o.Region, n.bucket, n.keyPrefix, creds.AccessKeyID))
	return hex.EncodeToString(sum[:]), nil
}

// capabilities probes once.
func (n *session) capabilities(ctx context.Context) (*findings, error) {
	if able := n.proven.Load(); able != nil {
		return able, nil
	}
	n.probing.Lock()
	defer n.probing.Unlock()
	if able := n.proven.Load(); able != nil {
		return able, nil
	}
	able, err := n.probe(ctx)
	return &able, err
}

func (n *session) probe(ctx context.Context) (findings, error) {
	p := &prober{session: n, prefix: n.keyPrefix + object.ReservedPrefix + "probe/" + object.NewID() + "/"}
	if err := p.reach(ctx); err != nil {
		return findings{}, err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.puts(gctx) })
	g.Go(func() error { return p.uploads(gctx) })
	g.Go(func() error { p.settings(gctx); return nil })
	err := g.Wait()
	p.clean(ctx)
	if err != nil {
		return findings{}, fmt.Errorf("probe: %w", err)
	}
	n.proven.Store(&p.able)
	return p.able, nil
}

// prober is one probe. Its parts run beside each other, on fields of their own.
type prober struct {
	*session
	prefix string
	able   findings
	mu     sync.Mutex // of able.LeftBehind
}

// Names of the probe's objects.
const (
	probeFree, probeWrongSum   = "put", "put-wrong-checksum"
	probePart, probeWrongWhole = "multipart", "multipart-wrong-checksum"
)

// reach asks for the bucket, with few retries: a wrong endpoint should be told
// at once. A listing, unlike HEAD, is answered with a reason.
func (p *prober) reach(ctx context.Context) error {
	before := time.Now()
	var date atomic.Pointer[time.Time]
	_, err := p.client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{
		Bucket: &p.bucket, Prefix: &p.prefix, MaxKeys: aws.Int32(1),
	}, fewRetries, func(o *s3.Options) {
		o.HTTPClient = dateReader{o.HTTPClient, &date}
	})
	if err != nil && !mayNotList(err) { // which may be so where writing is allowed
		return ofTheStore(p.explain(ctx, "probe", err))
	}
	if d := date.Load(); d != nil {
		// Date has whole seconds: less than two of difference says nothing.
		if skew := d.Sub(before.Add(time.Since(before) / 2)); skew.Abs() >= 2*time.Second {
			p.able.ClockSkew = skew.Round(time.Second)
		}
	}
	return nil
}

// ofTheStore makes a refusal without a known cause one of the whole store: whatever
// it is, every file would meet it, such as a disabled key of a bucket that encrypts.
func ofTheStore(err error) error {
	var reason *objstore.Error
	if errors.As(err, &reason) && reason.Kind == nil {
		reason.Kind = object.ErrStore
	}
	return err
}

// fewRetries is for the first request to a store.
func fewRetries(o *s3.Options) { o.RetryMaxAttempts = 2 }

// dateReader notes the Date of the last answer.
type dateReader struct {
	s3.HTTPClient
	date *atomic.Pointer[time.Time]
}

func (d dateReader) Do(req *http.Request) (*http.Response, error) {
	resp, err := d.HTTPClient.Do(req)
	if err == nil {
		if t, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
			d.date.Store(&t)
		}
	}
	return resp, err
}

// refused tells a store's definite no from a probe that came to nothing, which
// it returns as an error.
func (p *prober) refused(ctx context.Context, err error) (bool, error) {
	switch status := statusOf(err); {
	case err == nil:
		return false, nil
	case ctx.Err() != nil:
		return false, context.Cause(ctx)
	case status == http.StatusNotImplemented, status >= 400 && status < 500:
		return true, nil
	default:
		return false, p.explain(ctx, "probe", err)
	}
}

func (p *prober) put(ctx context.Context, name string, body []byte, conditional bool, options ...func(*s3.Options)) error {
	in := &s3.PutObjectInput{
		Bucket: &p.bucket, Key: aws.String(p.prefix + name),
		Body: bytes.NewReader(body), ChecksumCRC32: encodeCRC(crc32.ChecksumIEEE(body)),
	}
	if conditional {
		in.IfNoneMatch = aws.String("*")
	}
	_, err := p.client.PutObject(ctx, in, options...)
	return err
}

// puts probes PutObject.
func (p *prober) puts(ctx context.Context) error {
	a := &p.able
	body := []byte("0: coldbrick probes whether a taken key is left alone\n")

	// Several writers at once: a store that looks first and writes then may
	// have let more than one in.
	const racers = 4
	var errs [racers]error
	var g sync.WaitGroup
	bodies := make([][]byte, racers)
	for i := range racers {
		bodies[i] = bytes.Clone(body)
		bodies[i][0] += byte(i)
		g.Go(func() {
			errs[i] = untilNoConflict(ctx, func() error { return p.put(ctx, probeFree, bodies[i], true) })
		})
	}
	g.Wait()
	won, taken := 0, 0
	for i, err := range errs {
		no, unclear := p.refused(ctx, err)
		switch {
		case unclear != nil:
			return unclear
		case !no:
			won++
			body = bodies[i]
		case statusOf(err) == http.StatusPreconditionFailed:
			taken++
		}
	}
	if won+taken == 0 {
		a.conditionRefused = true
		if err := p.put(ctx, probeFree, body, false); err != nil {
			return ofTheStore(p.notWritten(ctx, "put object", err))
		}
	}
	sum := crc32.ChecksumIEEE(body)
	info, err := p.head(ctx, p.prefix+probeFree)
	if err != nil {
		return err
	}
	if won == 1 && taken == racers-1 {
		late := p.put(ctx, probeFree, []byte("late\n"), true)
		if _, err := p.refused(ctx, late); err != nil {
			return err
		}
		got, err := p.download(ctx, p.prefix+probeFree, objstore.Discard{}, func(object.Info) error { return nil })
		if err != nil {
			return err
		}
		a.PutConditional = statusOf(late) == http.StatusPreconditionFailed && got.CRC32 == sum && got.Size == int64(len(body))
	}
	a.ChecksumReturned = info.HasCRC32 && info.CRC32 == sum

	_, err = p.client.PutObject(ctx, &s3.PutObjectInput{
		Bucket: &p.bucket, Key: aws.String(p.prefix + probeWrongSum), Body: bytes.NewReader(body), ChecksumCRC32: encodeCRC(sum ^ 1),
	})
	a.ChecksumVerified, err = p.refused(ctx, err)
	return err
}

// notWritten is explain for what needs s3:PutObject and no more.
func (p *prober) notWritten(ctx context.Context, op string, err error) error {
	err = p.explain(ctx, op, err)
	if errors.Is(err, fs.ErrPermission) {
		return &objstore.Error{Op: op, Kind: object.ErrStore,
			Text: fmt.Sprintf("%s denies PutObject on bucket %q to these credentials", p.where, p.bucket)}
	}
	return err
}

// uploads probes multipart uploads: a good one, one for a key taken by then,
// and one with a wrong checksum of the whole.
func (p *prober) uploads(ctx context.Context) error {
	a := &p.able
	good := upload{name: probePart, conditional: true, fullObject: true, sum: crc32.ChecksumIEEE(probeBody)}
	done, err := p.upload(ctx, good)
	if !done && err == nil { // which of the two is it that the store does not know?
		good.fullObject, a.fullObjectRefused = false, true
		done, err = p.upload(ctx, good)
	}
	if !done && err == nil {
		good.conditional, a.completeConditionRefused = false, true
		done, err = p.upload(ctx, good)
	}
	switch {
	case err != nil:
		return err
	case !done:
		return &objstore.Error{Op: "multipart upload", Kind: object.ErrStore,
			Text: fmt.Sprintf("%s refuses it on bucket %q: these credentials may lack s3:PutObject", p.where, p.bucket)}
	}
	first, err := p.head(ctx, p.prefix+probePart)
	if err != nil {
		return err
	}
	if good.conditional {
		done, err := p.upload(ctx, good)
		if err != nil {
			return err
		}
		after, err := p.head(ctx, p.prefix+probePart)
		if err != nil {
			return err
		}
		a.CompleteConditional = !done && after.Metadata[object.MetaAttempt] == first.Metadata[object.MetaAttempt]
	}
	if good.fullObject && first.HasCRC32 && first.CRC32 == good.sum {
		done, err := p.upload(ctx, upload{name: probeWrongWhole, fullObject: true, sum: ^good.sum})
		if err != nil {
			return err
		}
		a.FullObjectMultipart = !done
	}
	return nil
}

// upload is a multipart upload of one part.
type upload struct {
	name        string
	conditional bool
	fullObject  bool   // with sum as the checksum of the whole
	sum         uint32 // CRC-32
}

// probeBody is the part.
var probeBody = []byte("coldbrick probes how parts are joined\n")

// upload reports whether the store took an upload or definitely refused it.
func (p *prober) upload(ctx context.Context, u upload) (done bool, err error) {
	key, attempt := aws.String(p.prefix+u.name), object.NewID()
	create := &s3.CreateMultipartUploadInput{
		Bucket: &p.bucket, Key: key, ChecksumAlgorithm: types.ChecksumAlgorithmCrc32,
		Metadata: map[string]string{object.MetaAttempt: attempt},
	}
	if u.fullObject {
		create.ChecksumType = types.ChecksumTypeFullObject
	}
	begun, err := p.client.CreateMultipartUpload(ctx, create)
	if err != nil {
		_, err = p.refused(ctx, err)
		return false, err
	}
	defer func() {
		if !done {
			abortCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortPatience)
			defer cancel()
			if p.abort(abortCtx, *key, *begun.UploadId) != nil {
				p.left(*key)
			}
		}
	}()
	sum := encodeCRC(crc32.ChecksumIEEE(probeBody))
	sent, err := p.client.UploadPart(ctx, &s3.UploadPartInput{
		Bucket: &p.bucket, Key: key, UploadId: begun.UploadId, PartNumber: aws.Int32(1),
		Body: bytes.NewReader(probeBody), ChecksumCRC32: sum,
	})
	if err != nil {
		return false, p.notWritten(ctx, "upload part", err)
	}
	complete := &s3.CompleteMultipartUploadInput{
		Bucket: &p.bucket, Key: key, UploadId: begun.UploadId, MpuObjectSize: aws.Int64(int64(len(probeBody))),
		MultipartUpload: &types.CompletedMultipartUpload{Parts: []types.CompletedPart{{
			PartNumber: aws.Int32(1), ETag: sent.ETag, ChecksumCRC32: sum,
		}}},
	}
	if u.fullObject {
		complete.ChecksumType, complete.ChecksumCRC32 = types.ChecksumTypeFullObject, encodeCRC(u.sum)
	}
	if u.conditional {
		complete.IfNoneMatch = aws.String("*")
	}
	err = untilNoConflict(ctx, func() error {
		_, err := p.client.CompleteMultipartUpload(ctx, complete)
		return err
	})
	no, err := p.refused(ctx, err)
	if err != nil || !no {
		return err == nil, err
	}
	// A refusal may follow upon a success whose answer was lost.
	info, err := p.head(ctx, *key)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	return info.Metadata[object.MetaAttempt] == attempt, nil
}

// settings asks for what doctor wants to know of the bucket. Many credentials
// may not ask, and that is no fault.
func (p *prober) settings(ctx context.Context) {
	if v, err := p.client.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: &p.bucket}); err == nil {
		p.able.Versioning = cmp.Or(string(v.Status), objstore.VersioningOff)
	}
	l, err := p.client.GetBucketLifecycleConfiguration(ctx, &s3.GetBucketLifecycleConfigurationInput{Bucket: &p.bucket})
	p.able.LifecycleTold = err == nil || statusOf(err) == http.StatusNotFound // it has none
	if err == nil {
		for _, rule := range l.Rules {
			if rule.Status == types.ExpirationStatusEnabled && rule.AbortIncompleteMultipartUpload != nil {
				p.able.LifecycleAborts = true
			}
		}
	}
}

// clean deletes the objects of this probe: what lies under its own nonce. In a
// bucket with versions that is each version, or the bucket would keep them.
func (p *prober) clean(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortPatience)
	defer cancel()
	if p.able.Versioned() {
		out, err := p.client.ListObjectVersions(ctx, &s3.ListObjectVersionsInput{Bucket: &p.bucket, Prefix: &p.prefix})
		if err == nil {
			for _, v := range out.Versions {
				p.delete(ctx, aws.ToString(v.Key), v.VersionId)
			}
			for _, v := range out.DeleteMarkers {
				p.delete(ctx, aws.ToString(v.Key), v.VersionId)
			}
			return
		}
	}
	for _, name := range []string{probeFree, probeWrongSum, probePart, probeWrongWhole} {
		p.delete(ctx, p.prefix+name, nil)
	}
}

// delete deletes an object of this probe, and refuses any other: a server may
// list more than it was asked for.
func (p *prober) delete(ctx context.Context, key string, version *string) {
	if !strings.HasPrefix(key, p.prefix) {
		return
	}
	_, err := p.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &p.bucket, Key: &key, VersionId: version})
	if err != nil && statusOf(err) != http.StatusNotFound {
		p.left(key)
	}
}

func (p *prober) left(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.able.LeftBehind = append(p.able.LeftBehind, key)
}
