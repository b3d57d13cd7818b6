package s3

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"golang.org/x/time/rate"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore/dir"
	"github.com/coldbrick/coldbrick/internal/objstore/storetest"
	"github.com/coldbrick/coldbrick/internal/testkit"
)

// flatServer is a second S3 server with other manners: its keys are flat, it
// verifies no checksum, and completes uploads over what is there.
func flatServer(t *testing.T, wrap func(http.Handler) http.Handler) (options map[string]string) {
	t.Helper()
	backend := s3mem.New()
	if err := backend.CreateBucket("flat"); err != nil {
		t.Fatal(err)
	}
	handler := gofakes3.New(backend, gofakes3.WithMetadataSizeLimit(8<<10)).Server()
	if wrap != nil {
		handler = wrap(handler)
	}
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // it writes headers twice
	server.Start()
	t.Cleanup(server.Close)
	return map[string]string{
		"bucket": "flat", "endpoint-url": server.URL, "access-key-id": "any", "secret-access-key": "thing",
		"part-size": fmt.Sprint(storetest.PartSize),
	}
}

func TestS3KeepsTheContractOnAFlatServer(t *testing.T) {
	options := flatServer(t, nil)
	storetest.Run(t, func(t *testing.T) storetest.Store {
		s := newS3(t, options)
		able, err := s.Probe(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if able.ChecksumVerified || able.CompleteConditional || able.FullObjectMultipart {
			t.Errorf("the server can none of this, the probe says %+v", able)
		}
		if !s.Conditional(1) || s.Conditional(storetest.PartSize+1) {
			t.Error("it honours the condition of a PUT, and not of a completion")
		}
		return s
	})
	left, err := newS3(t, options).ListUploads(t.Context(), "")
	if err != nil || len(left) != 0 {
		t.Errorf("uploads left behind: %v, %v", left, err)
	}
}

// Where the store does not verify what it takes, every object is read back.
func TestAnUncheckedCopyIsReadBack(t *testing.T) {
	for kind, size := range sizes {
		t.Run(kind, func(t *testing.T) {
			options := flatServer(t, func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/bad/") {
						body, err := io.ReadAll(r.Body)
						if err != nil {
							t.Error(err)
						}
						body[len(body)-1] ^= 1
						r.Body = io.NopCloser(bytes.NewReader(body))
					}
					next.ServeHTTP(w, r)
				})
			})
			s := newS3(t, options)
			if _, err := s.Probe(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := createBytes(t, s, storetest.Key(s, "bad/", size), storetest.Bytes(1, size)); !errors.Is(err, object.ErrCorrupt) {
				t.Errorf("%v, want object.ErrCorrupt", err)
			}
			if _, err := createBytes(t, s, storetest.Key(s, "good/", size), storetest.Bytes(1, size)); err != nil {
				t.Error(err)
			}
		})
	}
}

// A proxy that drops If-None-Match is found out by the probe.
func TestAnIgnoredConditionIsFoundOut(t *testing.T) {
	for name, method := range map[string]string{"put": http.MethodPut, "complete": http.MethodPost} {
		t.Run(name, func(t *testing.T) {
			server := testkit.S3(t)
			proxy := testkit.FaultProxy(t, server)
			proxy.On(testkit.Match{Method: method, Header: []string{"If-None-Match"}}, proxy.IgnoreHeader("If-None-Match"))
			s := newS3(t, optionsOf(server, proxy.Endpoint))
			able, err := s.Probe(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			put, complete := method != http.MethodPut, method != http.MethodPost
			if able.PutConditional != put || able.CompleteConditional != complete ||
				s.Conditional(1) != put || s.Conditional(partSize+1) != complete {
				t.Errorf("%+v", able)
			}
			if !able.ChecksumVerified || !able.FullObjectMultipart {
				t.Errorf("one thing has nothing to do with the other: %+v", able)
			}
		})
	}
}

// A store that knows no conditions at all is used without them, and then for
// nonce keys alone: another one could overwrite an object.
func TestARefusedConditionIsLeftOut(t *testing.T) {
	server := testkit.S3(t)
	proxy := testkit.FaultProxy(t, server)
	proxy.On(testkit.Match{Header: []string{"If-None-Match"}}, testkit.Refuse(http.StatusNotImplemented, "NotImplemented"))
	s := newS3(t, optionsOf(server, proxy.Endpoint))
	for _, size := range sizes {
		if _, err := createBytes(t, s, "a/path", storetest.Bytes(1, size)); !errors.Is(err, object.ErrKey) {
			t.Errorf("%d bytes: %v, want object.ErrKey", size, err)
		}
		if _, err := createBytes(t, s, object.NonceKey("", gluster.GFID{1}), storetest.Bytes(1, size)); err != nil {
			t.Errorf("%d bytes: %v", size, err)
		}
		if s.Conditional(int64(size)) {
			t.Errorf("%d bytes: conditional", size)
		}
	}
}

// A store that knows no checksum of a whole multipart object is read back.
func TestARefusedChecksumTypeIsLeftOut(t *testing.T) {
	server := testkit.S3(t)
	proxy := testkit.FaultProxy(t, server)
	proxy.On(testkit.Match{Header: []string{"X-Amz-Checksum-Type"}}, testkit.Refuse(http.StatusBadRequest, "InvalidRequest"))
	s := newS3(t, optionsOf(server, proxy.Endpoint))
	if _, err := createBytes(t, s, "k", storetest.Bytes(1, 2*partSize)); err != nil {
		t.Fatal(err)
	}
	if n := len(proxy.Requests(testkit.Match{Method: http.MethodGet, Key: "k"})); n == 0 {
		t.Error("not read back")
	}
	if !s.Conditional(2 * partSize) {
		t.Error("the condition has nothing to do with it")
	}
}

// Two probes at a time, and one that is cut off, harm nobody's objects.
func TestProbesLeaveOtherObjectsAlone(t *testing.T) {
	s, proxy, server := faulty(t)
	if _, err := createBytes(t, s, "k", []byte("x")); err != nil {
		t.Fatal(err)
	}
	for _, r := range proxy.Requests(testkit.Match{}) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead && r.Key != "k" && !strings.HasPrefix(r.Key, object.ReservedPrefix+"probe/") {
			t.Errorf("%s %s", r.Method, r.Key)
		}
	}
	prefixed := newS3(t, optionsOf(server, proxy.Endpoint), "key-prefix", "vol1/")
	if _, err := prefixed.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	found := false
	for _, r := range proxy.Requests(testkit.Match{Method: http.MethodPut}) {
		found = found || strings.HasPrefix(r.Key, "vol1/"+object.ReservedPrefix+"probe/")
	}
	if !found {
		t.Error("the probe does not use the key prefix")
	}
	noUploads(t, s)
	if _, err := s.Head(t.Context(), "k"); err != nil {
		t.Error(err)
	}
}

func TestAProbeCutOffProvesNothing(t *testing.T) {
	server := testkit.S3(t)
	proxy := testkit.FaultProxy(t, server)
	proxy.On(testkit.Match{Method: http.MethodPut}, testkit.Drop())
	s := newS3(t, optionsOf(server, proxy.Endpoint))
	if able, err := s.Probe(t.Context()); err == nil {
		t.Fatalf("%+v", able)
	}
	if s.Conditional(1) || s.Conditional(partSize+1) {
		t.Error("proven by a probe that failed")
	}
	proxy.Clear()
	if _, err := createBytes(t, s, "k", []byte("x")); err != nil {
		t.Error(err)
	}
	if !s.Conditional(1) {
		t.Error("the create after it did not probe")
	}
}

func TestHostileKeysNeverReachTheServer(t *testing.T) {
	s, proxy, _ := faulty(t)
	before := len(proxy.Requests(testkit.Match{}))
	for _, key := range []string{"../x", "a//b", "/a", "a/../b", ".", strings.Repeat("k", 1025)} {
		if _, err := downloadBytes(t, s, key); !errors.Is(err, object.ErrKey) || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: %v", key, err)
		}
	}
	if n := len(proxy.Requests(testkit.Match{})); n != before {
		t.Errorf("%d requests were sent", n-before)
	}
}

func TestAProbeLeavesNoVersionBehind(t *testing.T) {
	s := newS3(t, flatServer(t, nil))
	n := s.current.Load()
	if _, err := n.client.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{
		Bucket: &n.bucket, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
	}); err != nil {
		t.Fatal(err)
	}
	able, err := s.Probe(t.Context())
	if err != nil || able.Versioning != "Enabled" || len(able.LeftBehind) != 0 {
		t.Fatalf("%+v, %v", able, err)
	}
	out, err := n.client.ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: &n.bucket})
	if err != nil || len(out.Versions)+len(out.DeleteMarkers) != 0 {
		t.Errorf("%d versions and %d delete markers are left, %v", len(out.Versions), len(out.DeleteMarkers), err)
	}
}

// The limit holds for what is sent and what is received.
func TestTheBandwidthLimitHolds(t *testing.T) {
	server := testkit.S3(t)
	const rateLimit = 1 << 20
	s := &Store{Limiter: rate.NewLimiter(rateLimit, 64<<10)}
	if err := s.Init(t.Context(), optionsOf(server, server.Endpoint)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	d := &dir.Store{Limiter: s.Limiter}
	if err := d.Init(t.Context(), map[string]string{"store-dir": t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	for name, store := range map[string]storetest.Store{"s3": s, "dir": d} {
		start := time.Now()
		if _, err := store.Create(t.Context(), "k", bytes.NewReader(make([]byte, rateLimit)), rateLimit, nil); err != nil {
			t.Fatal(err)
		}
		sent := time.Since(start)
		if _, err := store.Download(t.Context(), "k", nowhere{}, func(object.Info) error { return nil }); err != nil {
			t.Fatal(err)
		}
		if received := time.Since(start) - sent; sent < 800*time.Millisecond || received < 800*time.Millisecond {
			t.Errorf("%s: sent in %v, received in %v, the limit makes it 1 s", name, sent, received)
		}
	}
}
