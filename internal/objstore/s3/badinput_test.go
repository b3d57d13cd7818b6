package s3

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore"
	"github.com/coldbrick/coldbrick/internal/objstore/storetest"
	"github.com/coldbrick/coldbrick/internal/testkit"
)

// operations are all that a user can make a store do.
func operations(t *testing.T, s *Store) map[string]error {
	_, probe := s.Probe(t.Context())
	_, create := createBytes(t, s, "k", []byte("x"))
	_, head := s.Head(t.Context(), "k")
	_, download := downloadBytes(t, s, "k")
	return map[string]error{"probe": probe, "create": create, "head": head, "download": download}
}

// A store that cannot be used says why in one line, whatever is asked of it. A
// missing bucket, above all, must not look like a missing object.
func TestAStoreThatCannotBeUsedSaysWhy(t *testing.T) {
	server := testkit.S3(t)
	secure := testkit.S3(t, testkit.WithTLS())
	otherCA := filepath.Join(t.TempDir(), "other.pem")
	foreign := httptest.NewTLSServer(http.NotFoundHandler())
	defer foreign.Close()
	if err := os.WriteFile(otherCA, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: foreign.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		server *testkit.S3Server
		change map[string]string
		says   string
	}{
		"unknown bucket":        {server, map[string]string{"bucket": "nosuchbucket"}, `bucket "nosuchbucket" does not exist`},
		"wrong secret":          {server, map[string]string{"secret-access-key": "hush-hush-wrong"}, "the secret key is wrong"},
		"wrong access key":      {server, map[string]string{"access-key-id": "nobody"}, "the access key is unknown"},
		"nobody listens":        {server, map[string]string{"endpoint-url": "http://127.0.0.1:1"}, "cannot connect to 127.0.0.1:1: connection refused"},
		"unknown host":          {server, map[string]string{"endpoint-url": "http://no.such.host.invalid"}, `host "no.such.host.invalid" is not known`},
		"another CA":            {secure, map[string]string{"ca-bundle": otherCA}, "unknown authority"},
		"no CA":                 {secure, map[string]string{"ca-bundle": ""}, "unknown authority"},
		"https to an http port": {server, map[string]string{"endpoint-url": strings.Replace(server.Endpoint, "http:", "https:", 1)}, "does not speak TLS"},
	} {
		t.Run(name, func(t *testing.T) {
			options := optionsOf(tt.server, tt.server.Endpoint)
			maps.Copy(options, tt.change)
			start := time.Now()
			for op, err := range operations(t, newS3(t, options)) {
				if !errors.Is(err, object.ErrStore) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
					t.Errorf("%s: %v, want object.ErrStore", op, err)
					continue
				}
				line := err.Error()
				if !strings.Contains(line, tt.says) || strings.ContainsAny(line, "\n\r") || len(line) > 300 {
					t.Errorf("%s: %q does not say %q in one line", op, line, tt.says)
				}
				if strings.Contains(line, options["secret-access-key"]) {
					t.Errorf("%s: %q holds the secret", op, line)
				}
			}
			if took := time.Since(start); took > time.Minute {
				t.Errorf("took %v", took)
			}
		})
	}
}

func TestCredentialsThatAreNotThere(t *testing.T) {
	server := testkit.S3(t)
	withoutAWS(t)
	options := optionsOf(server, server.Endpoint)
	delete(options, "access-key-id")
	delete(options, "secret-access-key")
	for op, err := range operations(t, newS3(t, options)) {
		if !errors.Is(err, object.ErrStore) || !strings.Contains(err.Error(), "no credentials found") {
			t.Errorf("%s: %v", op, err)
		}
	}

	server.Setenv(t)
	if _, err := newS3(t, options).Probe(t.Context()); err != nil {
		t.Errorf("with credentials in the environment: %v", err)
	}
}

func TestOptionsThatMakeNoSense(t *testing.T) {
	good := map[string]string{"bucket": "b", "endpoint-url": "http://127.0.0.1:1", "access-key-id": "a", "secret-access-key": "hush-hush"}
	for name, value := range map[string]string{
		"bucket": "", "endpoint-url": "ftp://x", "part-size": "1MiB", "jobs": "0", "path-style": "perhaps", "idle-timeout": "-1s",
		"access-key-id": "", "ca-bundle": "/nonexistent", "no-such-option": "1", "profile": "no-such-profile-anywhere",
	} {
		options := maps.Clone(good)
		options[name] = value
		err := (&Store{}).Init(t.Context(), options)
		if err == nil || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s=%q: %v", name, value, err)
		}
	}
	for _, endpoint := range []string{"http://user:hush-hush@host", "http://host/?x=hush-hush", "http://h ost/hush-hush", "http://hush-hush:pass:word"} {
		options := maps.Clone(good)
		options["endpoint-url"] = endpoint
		if err := (&Store{}).Init(t.Context(), options); err == nil || strings.Contains(err.Error(), "hush-hush@") || strings.Contains(err.Error(), "pass:word") {
			t.Errorf("%s: %v", endpoint, err)
		}
	}
}

// Servers and proxies may send back what they got. Errors do not repeat it.
func TestErrorsHoldNoSecret(t *testing.T) {
	const secret, token = "very/secret+key", "very-secret-token"
	for _, status := range []int{400, 403, 404, 409, 412, 500, 501, 503} {
		echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", "application/xml")
			w.WriteHeader(status)
			fmt.Fprintf(w, "<Error><Code>Odd</Code><Message>%s\n%s %s %s</Message></Error>", secret, token, r.Header.Get("X-Amz-Security-Token"), strings.Repeat("long ", 1000))
		}))
		s := newS3(t, map[string]string{
			"bucket": "bucket", "endpoint-url": echo.URL, "access-key-id": "a", "secret-access-key": secret, "session-token": token,
		})
		_, list := s.ListUploads(t.Context(), "")
		errs := operations(t, s)
		errs["list"] = list
		errs["abort"] = s.AbortUpload(t.Context(), "k", "id")
		for op, err := range errs {
			if err == nil {
				t.Errorf("%d %s: no error", status, op)
				continue
			}
			for _, line := range []string{err.Error(), fmt.Sprintf("%+v %#v", err, err)} {
				if strings.Contains(line, secret) || strings.Contains(line, token) {
					t.Errorf("%d %s: %s", status, op, line)
				}
			}
			if strings.Contains(err.Error(), "\n") || len(err.Error()) > 600 {
				t.Errorf("%d %s: %q", status, op, err)
			}
		}
		echo.Close()
	}
}

// Reading must not need the right to write, nor leave traces.
func TestReadingWritesNothing(t *testing.T) {
	server := testkit.S3(t)
	if _, err := createBytes(t, newS3(t, optionsOf(server, server.Endpoint)), "k", storetest.Bytes(1, 2*partSize)); err != nil {
		t.Fatal(err)
	}
	proxy := testkit.FaultProxy(t, server)
	s := newS3(t, optionsOf(server, proxy.Endpoint))
	if _, err := s.Head(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	if _, err := downloadBytes(t, s, "k"); err != nil {
		t.Fatal(err)
	}
	if s.Conditional(1) {
		t.Error("proven without a probe")
	}
	for _, r := range proxy.Requests(testkit.Match{}) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			t.Errorf("%s %s", r.Method, r.Key)
		}
	}
}

// One request is all that a small object needs, either way.
func TestSmallObjectsCostOneRequest(t *testing.T) {
	s, proxy, _ := faulty(t)
	before := len(proxy.Requests(testkit.Match{}))
	if _, err := createBytes(t, s, "k", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := downloadBytes(t, s, "k"); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, time.Minute, "the proxy has noted the requests", func() bool {
		return len(proxy.Requests(testkit.Match{})) >= before+2
	})
	if n := len(proxy.Requests(testkit.Match{})) - before; n != 2 {
		t.Errorf("%d requests for one create and one download", n)
	}
}

func TestReconfigureLeavesDownloadsAlone(t *testing.T) {
	server, other := testkit.S3(t), testkit.S3(t)
	s := newS3(t, optionsOf(server, server.Endpoint))
	body := storetest.Bytes(1, 3*partSize)
	if _, err := createBytes(t, s, "k", body); err != nil {
		t.Fatal(err)
	}
	var dst storetest.Buffer
	if _, err := s.Download(t.Context(), "k", &dst, func(object.Info) error {
		return s.Reconfigure(t.Context(), optionsOf(other, other.Endpoint))
	}); err != nil || string(dst.Bytes()) != string(body) {
		t.Errorf("%d bytes, %v", len(dst.Bytes()), err)
	}
	if _, err := s.Head(t.Context(), "k"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after it: %v, want fs.ErrNotExist of the other store", err)
	}
	if err := s.Reconfigure(t.Context(), map[string]string{"bucket": ""}); err == nil {
		t.Error("reconfigured to nothing")
	}
	if _, err := s.Head(t.Context(), "k"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after options that were refused: %v, want the previous store", err)
	}
}

func TestAfterFiniNothingWorks(t *testing.T) {
	server := testkit.S3(t)
	s := newS3(t, optionsOf(server, server.Endpoint))
	if err := s.Fini(); err != nil {
		t.Fatal(err)
	}
	for op, err := range operations(t, s) {
		if !errors.Is(err, objstore.ErrClosed) {
			t.Errorf("%s: %v", op, err)
		}
	}
}

// The bucket goes into the host's name for AWS and where it is asked for, into
// the path for endpoints of one's own.
func TestAddressingStyle(t *testing.T) {
	var hosts []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hosts = append(hosts, r.Host+r.URL.Path)
		w.WriteHeader(http.StatusNotFound)
	}))
	defer server.Close()
	address := server.Listener.Addr().String()
	for style, want := range map[string]string{"": address + "/bucket/k", "true": address + "/bucket/k", "false": "bucket.localhost"} {
		hosts = nil
		options := map[string]string{"bucket": "bucket", "endpoint-url": server.URL, "access-key-id": "a", "secret-access-key": "b"}
		if style != "" {
			options["path-style"] = style
		}
		if style == "false" {
			_, port, err := net.SplitHostPort(address)
			if err != nil {
				t.Fatal(err)
			}
			options["endpoint-url"] = "http://localhost:" + port
			want += ":" + port + "/k"
		}
		s := newS3(t, options)
		s.current.Load().client.Options().HTTPClient.(*wire).transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, address)
		}
		if _, err := s.Head(t.Context(), "k"); err == nil {
			t.Fatal("no error")
		}
		if len(hosts) == 0 || hosts[0] != want {
			t.Errorf("path-style %q: asked %q, want %q", style, hosts, want)
		}
	}
}
