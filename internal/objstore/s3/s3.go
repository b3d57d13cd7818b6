// Package s3 keeps objects in a bucket of any server that speaks S3. It finds out what
// the server can be relied on for, and goes without what it lacks.
package s3

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/semaphore"

	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore"
)

const (
	// maxAttempts bounds how often one request is sent, and the pauses
	// between: a store that answers 503 has about 20 s to recover.
	maxAttempts = 9
	minBackoff  = 100 * time.Millisecond
	maxBackoff  = 10 * time.Second
	// stallAttempts is less: each has taken the whole idle deadline.
	stallAttempts = 2
	// bufferMemory is what bodies in flight may hold, whatever the number of
	// jobs; it also keeps 64 MiB on their way over a long link.
	bufferMemory = 64 << 20
	// wireBuffer is the size of a connection's buffers: 64 KiB saves a tenth
	// of the client's time over net/http's 4 KiB, more saves nothing.
	wireBuffer   = 64 << 10
	dialPatience = 10 * time.Second
)

// Store is a bucket of a server that speaks S3. Set its fields before Init, and do
// not copy it. Its methods may be called from many goroutines.
type Store struct {
	// Limiter bounds the bandwidth of all transfers; nil means unlimited.
	Limiter objstore.Limiter
	// OnUpload, if set, is told of each multipart upload before its first
	// part is sent, so that one left over by a crash can be found and
	// aborted. Its error ends the upload.
	OnUpload func(key, uploadID string) error

	// OnThrottle, if set, is told of each answer that asks for fewer requests (503, 429).
	OnThrottle func()
	// OnAnswer, if set, is told of each request: nil once it was answered, or why it was not,
	// or was put off.
	OnAnswer func(err error)

	attempts int // for tests that wait for the last one; 0 is maxAttempts
	current  atomic.Pointer[session]
}

// session is what Init made of one set of options. Operations keep the session
// they began with, so that Reconfigure never pulls it away under them.
type session struct {
	options
	client    *s3.Client
	transport interface{ CloseIdleConnections() }
	buffers   *objstore.Buffers
	ranges    *semaphore.Weighted // all downloads' ranges beyond their first: as many as jobs
	onUpload  func(key, uploadID string) error
	where     string // the endpoint, for messages

	probing sync.Mutex
	proven  atomic.Pointer[findings] // nil until probed

	deletes  sync.Once // finds out about:
	matched  bool      // a DELETE with If-Match leaves another object alone
	matchErr error     // why that is not known
}

// Init reads the options and makes the client; it sends nothing to the store.
// The options are bucket, endpoint-url, region, profile, ca-bundle,
// storage-class, path-style, part-size, jobs, idle-timeout, key-prefix, and the
// secrets access-key-id, secret-access-key and session-token, without which the
// AWS chain is asked for credentials.
func (s *Store) Init(ctx context.Context, opts map[string]string) error {
	return s.Reconfigure(ctx, opts)
}

// Reconfigure is Init once more. What is under way goes on with the old
// options; the new ones need a new Probe.
func (s *Store) Reconfigure(ctx context.Context, opts map[string]string) error {
	o, err := parseOptions(opts)
	if err != nil {
		return err
	}
	n, err := newSession(ctx, o, &wire{limiter: s.Limiter, onThrottle: s.OnThrottle, onAnswer: s.OnAnswer}, cmp.Or(s.attempts, maxAttempts))
	if err != nil {
		return err
	}
	n.onUpload = s.OnUpload
	if old := s.current.Swap(n); old != nil {
		old.transport.CloseIdleConnections()
	}
	return nil
}

// Fini closes the idle connections. Operations under way still end well.
func (s *Store) Fini() error {
	if old := s.current.Swap(nil); old != nil {
		old.transport.CloseIdleConnections()
	}
	return nil
}

func (s *Store) session() (*session, error) {
	if n := s.current.Load(); n != nil {
		return n, nil
	}
	return nil, objstore.ErrClosed
}

func newSession(ctx context.Context, o options, w *wire, attempts int) (*session, error) {
	if o.bucket == "" {
		return nil, errors.New("store option bucket: is missing")
	}
	var load []func(*config.LoadOptions) error
	if o.profile != "" {
		load = append(load, config.WithSharedConfigProfile(o.profile))
	}
	if o.region != "" {
		load = append(load, config.WithRegion(o.region))
	}
	if o.caBundle != "" {
		pem, err := os.ReadFile(o.caBundle)
		if err != nil {
			return nil, fmt.Errorf("store option ca-bundle: %w", err)
		}
		load = append(load, config.WithCustomCABundle(bytes.NewReader(pem)))
	}
	if o.accessKeyID != "" {
		load = append(load, config.WithCredentialsProvider(
			credentials.NewStaticCredentialsProvider(o.accessKeyID, o.secretAccessKey, o.sessionToken)))
	}
	cfg, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return nil, fmt.Errorf("AWS configuration: %s", objstore.OneLine(err.Error(), o.secrets()))
	}

	// The SDK has put the CA bundle of the option, the environment or the
	// profile into a client of its own making; only its transport is kept.
	sdkClient, ok := cfg.HTTPClient.(*awshttp.BuildableClient)
	if !ok {
		sdkClient = awshttp.NewBuildableClient()
	}
	transport := sdkClient.WithDialerOptions(func(d *net.Dialer) { d.Timeout = dialPatience }).GetTransport()
	transport.MaxIdleConns = 0
	transport.MaxIdleConnsPerHost = 2 * max(o.jobs, objstore.MostJobs) // jobs, and as many ranges beside them
	transport.ReadBufferSize, transport.WriteBufferSize = wireBuffer, wireBuffer
	transport.DisableCompression = true
	transport.ForceAttemptHTTP2 = false

	n := &session{
		options:   o,
		transport: transport,
		ranges:    semaphore.NewWeighted(int64(o.jobs)),
		buffers:   objstore.NewBuffers(int(min(int64(o.jobs)*o.partSize, max(bufferMemory, 2*o.partSize)))),
	}
	n.client = s3.NewFromConfig(cfg, func(c *s3.Options) {
		if o.endpoint != "" {
			c.BaseEndpoint = &o.endpoint
		}
		n.where = cmp.Or(aws.ToString(c.BaseEndpoint), "AWS")
		c.Region = cmp.Or(c.Region, "us-east-1") // a custom endpoint rarely cares, AWS names the right one
		c.UsePathStyle = c.BaseEndpoint != nil
		if o.pathStyle != nil {
			c.UsePathStyle = *o.pathStyle
		}
		w.transport, w.idle = transport, o.idle
		c.HTTPClient = w
		c.Retryer = retryer{retry.NewStandard(func(r *retry.StandardOptions) {
			r.MaxAttempts = attempts
			r.RateLimiter = ratelimit.None // each request has its own bound
			r.Retryables = append([]retry.IsErrorRetryable{retry.IsErrorRetryableFunc(retryTransport)}, r.Retryables...)
		})}
		// Checksums are computed here, once, in the pass that reads the body.
		c.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		c.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		c.Credentials = chain{c.Credentials}
	})
	return n, nil
}

// retryer waits less than the SDK before the first retries, and gives up on a
// store that hangs.
type retryer struct{ *retry.Standard }

func (retryer) RetryDelay(attempt int, err error) (time.Duration, error) {
	var stall stallError
	if errors.As(err, &stall) && attempt >= stallAttempts {
		return 0, err
	}
	return backoff(attempt), nil
}

// backoff is the pause after a failed attempt, counted from 1.
func backoff(attempt int) time.Duration {
	pause := min(minBackoff<<(attempt-1), maxBackoff)
	return pause/2 + rand.N(pause/2)
}

// errCredentials marks errors of finding credentials, as opposed to the store
// refusing them.
var errCredentials = errors.New("no usable credentials")

type chain struct{ aws.CredentialsProvider }

func (c chain) Retrieve(ctx context.Context) (aws.Credentials, error) {
	creds, err := c.CredentialsProvider.Retrieve(ctx)
	if err != nil {
		return creds, fmt.Errorf("%w: %w", errCredentials, err)
	}
	return creds, nil
}

// Head tells what the store knows of an object, fs.ErrNotExist if there is
// none.
func (s *Store) Head(ctx context.Context, key string) (object.Info, error) {
	if err := objstore.CheckKey(key); err != nil {
		return object.Info{}, err
	}
	n, err := s.session()
	if err != nil {
		return object.Info{}, err
	}
	return n.head(ctx, key)
}

func (n *session) head(ctx context.Context, key string) (object.Info, error) {
	info, _, err := n.headVersion(ctx, key, nil)
	return info, err
}

// headVersion tells of a version, the latest if id is nil.
func (n *session) headVersion(ctx context.Context, key string, id *string) (info object.Info, lock objstore.Lock, err error) {
	out, err := n.client.HeadObject(ctx, &s3.HeadObjectInput{
		Bucket: &n.bucket, Key: &key, VersionId: id, ChecksumMode: types.ChecksumModeEnabled,
	})
	if err != nil {
		return info, lock, n.explainHead(ctx, "head object", key, err)
	}
	if out.ContentLength == nil {
		return info, lock, &objstore.Error{Op: "head object", Text: "the answer has no length"}
	}
	lock.Until, lock.Hold = aws.ToTime(out.ObjectLockRetainUntilDate), out.ObjectLockLegalHoldStatus == types.ObjectLockLegalHoldStatusOn
	info = object.Info{
		Size:     *out.ContentLength,
		ETag:     aws.ToString(out.ETag),
		Class:    className(out.StorageClass),
		Access:   accessOf(out),
		Modified: aws.ToTime(out.LastModified),
		Metadata: out.Metadata,
	}
	info.CRC32, info.HasCRC32 = wholeCRC(out.ChecksumCRC32, out.ChecksumType)
	info.Date, _ = middleware.GetServerTime(out.ResultMetadata)
	return info, lock, nil
}

// className is empty for the standard class, which stores name or do not.
func className(class types.StorageClass) string {
	if class == types.StorageClassStandard {
		return ""
	}
	return string(class)
}

// wholeCRC reads a checksum of an answer. That of a COMPOSITE object is of its
// parts' checksums, and says nothing of the bytes.
func wholeCRC(value *string, kind types.ChecksumType) (uint32, bool) {
	if value == nil || kind == types.ChecksumTypeComposite || strings.Contains(*value, "-") {
		return 0, false
	}
	b, err := base64.StdEncoding.DecodeString(*value)
	if err != nil || len(b) != 4 {
		return 0, false
	}
	return binary.BigEndian.Uint32(b), true
}

// encodeCRC is the inverse of wholeCRC.
func encodeCRC(sum uint32) *string {
	return aws.String(base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, sum)))
}

// Upload is a multipart upload that was begun and is neither complete nor
// aborted.
type Upload struct {
	Key, ID   string
	Initiated time.Time
}

// ListUploads lists the unfinished multipart uploads of keys with this prefix.
func (s *Store) ListUploads(ctx context.Context, prefix string) ([]Upload, error) {
	n, err := s.session()
	if err != nil {
		return nil, err
	}
	var uploads []Upload
	pages := s3.NewListMultipartUploadsPaginator(n.client, &s3.ListMultipartUploadsInput{Bucket: &n.bucket, Prefix: &prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, n.explain(ctx, "list uploads", err)
		}
		for _, u := range page.Uploads {
			// Not every server honours the prefix.
			if key := aws.ToString(u.Key); strings.HasPrefix(key, prefix) {
				uploads = append(uploads, Upload{Key: key, ID: aws.ToString(u.UploadId), Initiated: aws.ToTime(u.Initiated)})
			}
		}
	}
	return uploads, nil
}

// AbortUpload drops an unfinished multipart upload with its parts. One that is
// gone already is no error.
func (s *Store) AbortUpload(ctx context.Context, key, id string) error {
	n, err := s.session()
	if err != nil {
		return err
	}
	return n.abort(ctx, key, id)
}

func (n *session) abort(ctx context.Context, key, id string) error {
	_, err := n.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &n.bucket, Key: &key, UploadId: &id})
	if err != nil && codeOf(err) != "NoSuchUpload" {
		return n.explain(ctx, "abort upload", err)
	}
	return nil
}

// rangeHeader asks for length bytes at off.
func rangeHeader(off, length int64) *string {
	return aws.String("bytes=" + strconv.FormatInt(off, 10) + "-" + strconv.FormatInt(off+length-1, 10))
}

// hostOf is the host of a URL, for messages.
func hostOf(endpoint string) string {
	if u, err := url.Parse(endpoint); err == nil && u.Host != "" {
		return u.Host
	}
	return endpoint
}
