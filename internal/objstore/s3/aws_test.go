package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore/storetest"
	"github.com/coldbrick/coldbrick/internal/testkit"
)

// dialing lets a store reach one address under any name of a host.
func dialing(t *testing.T, s *Store, address string) {
	t.Helper()
	transport, ok := s.current.Load().transport.(*http.Transport)
	if !ok {
		t.Fatal("the store has another transport")
	}
	transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
}

// address is the host and port of an endpoint.
func address(endpoint string) string {
	_, address, _ := strings.Cut(endpoint, "://")
	return address
}

const awsDomain = "s3.eu-central-1.amazonaws.com"

// How a bucket is addressed is decided by the endpoint, unless path-style is set.
// The server checks the signatures, which cover host and path.
func TestBucketsAreAddressedAsTheEndpointWantsIt(t *testing.T) {
	const dotted = "cold.data" // no certificate for *.DOMAIN is good for it
	aws := []testkit.S3Option{testkit.WithTLS(), testkit.WithDomain(awsDomain), testkit.WithRegion("eu-central-1")}
	for name, tt := range map[string]struct {
		server  []testkit.S3Option
		bucket  string
		options map[string]string
		host    string // of each request; %s is the endpoint's own
	}{
		"AWS":               {aws, "cold", map[string]string{"region": "eu-central-1"}, "cold." + awsDomain},
		"AWS, dots in name": {aws, dotted, map[string]string{"region": "eu-central-1"}, awsDomain},
		"AWS, path style":   {aws, "cold", map[string]string{"region": "eu-central-1", "path-style": "true"}, awsDomain},
		"another":           {nil, "cold", map[string]string{"endpoint-url": "http://s3.test"}, "s3.test"},
		"another, hosts":    {[]testkit.S3Option{testkit.WithDomain("s3.test")}, "cold", map[string]string{"endpoint-url": "http://s3.test", "path-style": "false"}, "cold.s3.test"},
	} {
		t.Run(name, func(t *testing.T) {
			server := testkit.S3(t, tt.server...)
			server.MakeBucket(dotted)
			server.Bucket = tt.bucket
			proxy := testkit.FaultProxy(t, server)
			options := optionsOf(server, "")
			maps.Copy(options, tt.options)
			s := newS3(t, options)
			dialing(t, s, address(proxy.Endpoint))
			able, err := s.Probe(t.Context())
			if err != nil || !able.Proven() {
				t.Fatalf("%+v, %v", able, err)
			}
			for kind, size := range sizes {
				key, body := "odd + name/%2F ü/"+kind, storetest.Bytes(1, size)
				if _, err := createBytes(t, s, key, body); err != nil {
					t.Fatal(err)
				}
				if got, err := downloadBytes(t, s, key); err != nil || !bytes.Equal(got, body) {
					t.Errorf("%s: %d bytes came back, %v", kind, len(got), err)
				}
			}
			requests := proxy.Requests(testkit.Match{})
			for _, r := range requests {
				if r.Host != tt.host || r.Bucket != tt.bucket {
					t.Fatalf("%s %q of bucket %q at %s, want bucket %q at %s", r.Method, r.Key, r.Bucket, r.Host, tt.bucket, tt.host)
				}
			}
			if len(requests) == 0 {
				t.Error("no request came")
			}
		})
	}
}

// tokens notes the session token of each request, if the signature covers it. The
// server knows no tokens, so it does not get to see them.
type tokens struct {
	proxy *testkit.Proxy
	mu    sync.Mutex
	seen  []string
}

func newTokens(proxy *testkit.Proxy) *tokens {
	k := &tokens{proxy: proxy}
	proxy.On(testkit.Match{}, k.note)
	return k
}

func (k *tokens) note(w http.ResponseWriter, r *http.Request, forward func() testkit.Answer) {
	token := r.Header.Get("X-Amz-Security-Token")
	if !strings.Contains(r.Header.Get("Authorization"), "x-amz-security-token") {
		token = "not signed: " + token
	}
	k.mu.Lock()
	k.seen = append(k.seen, token)
	k.mu.Unlock()
	k.proxy.IgnoreHeader("X-Amz-Security-Token")(w, r, forward)
}

// withoutAWS hides what this host knows of AWS.
func withoutAWS(t *testing.T) {
	t.Helper()
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_CONFIG_FILE", os.DevNull)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", os.DevNull)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
}

// Temporary credentials are good only together with their token, on each request.
func TestASessionTokenIsSentAndSigned(t *testing.T) {
	for name, tt := range map[string]struct {
		environ map[string]string
		options []string
	}{
		"from the options":     {nil, []string{"session-token", "hush-token"}},
		"from the environment": {map[string]string{"AWS_ACCESS_KEY_ID": "testkey", "AWS_SECRET_ACCESS_KEY": "testsecret", "AWS_SESSION_TOKEN": "hush-token"}, []string{"access-key-id", "", "secret-access-key", ""}},
	} {
		t.Run(name, func(t *testing.T) {
			withoutAWS(t)
			for name, value := range tt.environ {
				t.Setenv(name, value)
			}
			server := testkit.S3(t)
			proxy := testkit.FaultProxy(t, server)
			sent := newTokens(proxy)
			s := newS3(t, optionsOf(server, proxy.Endpoint), tt.options...)
			for kind, size := range sizes {
				if _, err := createBytes(t, s, kind, storetest.Bytes(1, size)); err != nil {
					t.Fatal(err)
				}
				if _, err := downloadBytes(t, s, kind); err != nil {
					t.Error(err)
				}
			}
			if len(sent.seen) == 0 {
				t.Error("no request came")
			}
			for _, token := range sent.seen {
				if token != "hush-token" {
					t.Fatalf("a request had the token %q", token)
				}
			}
		})
	}
}

// Credentials that run out during a run are asked for anew.
func TestARunOutlivesItsCredentials(t *testing.T) {
	withoutAWS(t)
	server := testkit.S3(t)
	dir := t.TempDir()
	// Each call gives another token, which is over as soon as it is there.
	script := fmt.Sprintf(`#!/bin/sh
n=$(mktemp -u XXXXXXXX)
printf '{"Version":1,"AccessKeyId":%q,"SecretAccessKey":%q,"SessionToken":"token-%%s","Expiration":"2020-01-01T00:00:00Z"}' "$n"
`, server.AccessKey, server.SecretKey)
	configuration := "[default]\ncredential_process = " + filepath.Join(dir, "credentials") + "\n"
	for name, text := range map[string]string{"credentials": script, "config": configuration} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(dir, "config"))
	proxy := testkit.FaultProxy(t, server)
	sent := newTokens(proxy)
	s := newS3(t, optionsOf(server, proxy.Endpoint), "access-key-id", "", "secret-access-key", "")
	if _, err := createBytes(t, s, "k", []byte("x")); err != nil {
		t.Fatal(err)
	}
	different := map[string]bool{}
	for _, token := range sent.seen {
		if !strings.HasPrefix(token, "token-") {
			t.Errorf("a request had the token %q", token)
		}
		different[token] = true
	}
	if len(different) < 2 {
		t.Errorf("%d requests with %d tokens: nothing was asked for anew", len(sent.seen), len(different))
	}
}

// A token that the store knows no more is of the run, not of a file.
func TestATokenThatIsOverEndsTheRun(t *testing.T) {
	server := testkit.S3(t)
	proxy := testkit.FaultProxy(t, server)
	s := newS3(t, optionsOf(server, proxy.Endpoint), "session-token", "hush-token")
	proxy.On(testkit.Match{}, testkit.Refuse(http.StatusBadRequest, "ExpiredToken"))
	for op, err := range operations(t, s) {
		if !errors.Is(err, object.ErrStore) || !strings.Contains(err.Error(), "session token has expired") || strings.Contains(err.Error(), "hush-token") {
			t.Errorf("%s: %v", op, err)
		}
	}
}

// encrypted makes answers those of a bucket that encrypts by default.
func encrypted(header map[string]string) testkit.Fault {
	return testkit.Edit(func(answer http.Header, body []byte) []byte {
		for name, value := range header {
			answer.Set(name, value)
		}
		return body
	})
}

// A bucket that encrypts by default does so without being asked. Its answers say so,
// and are believed as any other's.
func TestABucketMayEncryptByDefault(t *testing.T) {
	const key = "arn:aws:kms:eu-central-1:111122223333:key/0a1b2c3d"
	for name, header := range map[string]map[string]string{
		"SSE-S3":  {"X-Amz-Server-Side-Encryption": "AES256"},
		"SSE-KMS": {"X-Amz-Server-Side-Encryption": "aws:kms", "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id": key, "X-Amz-Server-Side-Encryption-Bucket-Key-Enabled": "true"},
	} {
		t.Run(name, func(t *testing.T) {
			server := testkit.S3(t)
			proxy := testkit.FaultProxy(t, server)
			for _, method := range []string{http.MethodPut, http.MethodPost, http.MethodHead, http.MethodGet} {
				proxy.On(testkit.Match{Method: method}, encrypted(header))
			}
			s := newS3(t, optionsOf(server, proxy.Endpoint))
			if able, err := s.Probe(t.Context()); err != nil || !able.Proven() {
				t.Fatalf("%+v, %v", able, err)
			}
			for kind, size := range sizes {
				body := storetest.Bytes(1, size)
				if _, err := createBytes(t, s, kind, body); err != nil {
					t.Fatal(err)
				}
				if n := len(proxy.Requests(testkit.Match{Method: http.MethodGet, Key: kind})); n != 0 {
					t.Errorf("%s: read back", kind)
				}
				if got, err := downloadBytes(t, s, kind); err != nil || !bytes.Equal(got, body) {
					t.Errorf("%s: %d bytes came back, %v", kind, len(got), err)
				}
			}
			for _, r := range proxy.Requests(testkit.Match{}) {
				for name := range r.Header {
					if strings.Contains(strings.ToLower(name), "encryption") {
						t.Errorf("%s %q asks for encryption: %s", r.Method, r.Key, name)
					}
				}
			}
		})
	}
}

// The key of a bucket may be out of reach: for all that is written, or for one
// object that is read.
func TestAKeyOfKMSThatIsOutOfReachIsNamed(t *testing.T) {
	for name, refusal := range map[string]struct {
		status int
		code   string
	}{
		"may not use it": {http.StatusForbidden, "AccessDenied"},
		"is disabled":    {http.StatusBadRequest, "KMS.DisabledException"},
		"is gone":        {http.StatusBadRequest, "KMS.NotFoundException"},
	} {
		t.Run(name, func(t *testing.T) {
			s, proxy, _ := faulty(t)
			if _, err := createBytes(t, s, "k", []byte("x")); err != nil {
				t.Fatal(err)
			}
			for _, method := range []string{http.MethodPut, http.MethodPost} {
				proxy.On(testkit.Match{Method: method}, testkit.Refuse(refusal.status, refusal.code))
			}
			proxy.On(testkit.Match{Method: http.MethodGet, Key: "k"}, testkit.Refuse(refusal.status, refusal.code))
			if _, err := s.Probe(t.Context()); !errors.Is(err, object.ErrStore) || strings.Contains(err.Error(), "\n") {
				t.Errorf("probe: %v, want object.ErrStore", err)
			}
			_, err := downloadBytes(t, s, "k")
			if err == nil || errors.Is(err, object.ErrStore) || !strings.Contains(err.Error(), refusal.code) {
				t.Errorf("download: %v, want an error of this object that names %s", err, refusal.code)
			}
		})
	}
}
