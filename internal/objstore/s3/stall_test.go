package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"

	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore"
	"github.com/coldbrick/coldbrick/internal/objstore/storetest"
)

// hours calls a test in virtual time, with a client whose store is a function in
// this process: a real one lives in real time.
func hours(t *testing.T, store http.HandlerFunc, test func(t *testing.T, s *Store)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &Store{}
		if err := s.Init(t.Context(), map[string]string{
			"bucket": "b", "endpoint-url": "http://store", "access-key-id": "id", "secret-access-key": "secret",
			"part-size": strconv.Itoa(partSize),
		}); err != nil {
			t.Fatal(err)
		}
		link := make(pipes)
		s.current.Load().transport.(*http.Transport).DialContext = link.dial
		server := &http.Server{Handler: store}
		var serving sync.WaitGroup
		serving.Go(func() { _ = server.Serve(link) }) // until it is closed
		defer func() {
			if err := errors.Join(s.Fini(), server.Close()); err != nil {
				t.Error(err)
			}
			serving.Wait()
		}()
		test(t, s)
	})
}

// pipes is a listener whose connections are made of memory.
type pipes chan net.Conn

func (p pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p <- theirs:
		return ours, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p pipes) Accept() (net.Conn, error) {
	if c, ok := <-p; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (p pipes) Close() error   { close(p); return nil }
func (p pipes) Addr() net.Addr { return &net.UnixAddr{} }

// hang answers nothing until the client gives up.
func hang(r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // only then the end of the client is noticed
	<-r.Context().Done()
}

// Each attempt takes the whole idle deadline: there are few, and none of them
// leaves an upload behind.
func TestAHangingStoreEndsTheRequest(t *testing.T) {
	for kind, size := range sizes {
		t.Run(kind, func(t *testing.T) {
			begun, aborted := 0, 0
			hours(t, func(w http.ResponseWriter, r *http.Request) {
				switch {
				case r.Method == http.MethodPost:
					begun++
					_, _ = io.WriteString(w, "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>") // the client tells
				case r.Method == http.MethodDelete:
					aborted++
					w.WriteHeader(http.StatusNoContent)
				case r.Method == http.MethodHead:
					w.WriteHeader(http.StatusNotFound)
				case r.URL.Path == "/b/k":
					hang(r)
				default:
					_, _ = io.WriteString(w, "<ListBucketResult/>")
				}
			}, func(t *testing.T, s *Store) {
				s.current.Load().proven.Store(&findings{Capabilities: objstore.Capabilities{PutConditional: true, CompleteConditional: true}})
				for op, do := range map[string]func() error{
					"create":   func() error { _, err := createBytes(t, s, "k", storetest.Bytes(1, size)); return err },
					"download": func() error { _, err := downloadBytes(t, s, "k"); return err },
				} {
					began := time.Now()
					err := do()
					if took := time.Since(began); !errors.Is(err, os.ErrDeadlineExceeded) || took > (stallAttempts+1)*defaultIdle {
						t.Errorf("%s: %v after %v", op, err, took)
					}
				}
				if want := map[bool]int{true: 1}[kind == "in parts"]; begun != want || aborted != want {
					t.Errorf("%d uploads begun, %d aborted, want %d", begun, aborted, want)
				}
			})
		})
	}
}

// A body that stops half-way is not waited for either; what came is kept.
func TestAHangingBodyIsAskedForAgain(t *testing.T) {
	body := storetest.Bytes(1, partSize-1)
	var ranges []string
	hours(t, func(w http.ResponseWriter, r *http.Request) {
		ranges = append(ranges, r.Header.Get("Range"))
		w.Header().Set("ETag", `"e"`)
		if len(ranges) > 1 {
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
			return
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body[:len(body)/2]) // the client tells
		_ = http.NewResponseController(w).Flush()
		hang(r)
	}, func(t *testing.T, s *Store) {
		if got, err := downloadBytes(t, s, "k"); err != nil || !bytes.Equal(got, body) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
		if want := fmt.Sprintf("bytes=%d-%d", len(body)/2, len(body)-1); len(ranges) != 2 || ranges[1] != want {
			t.Errorf("asked for %q, want %s last", ranges, want)
		}
	})
}

// Progress counts, not the total: a slow store is not a hanging one.
func TestASlowBodyIsNoHang(t *testing.T) {
	body := storetest.Bytes(1, 100)
	requests := 0
	hours(t, func(w http.ResponseWriter, _ *http.Request) {
		requests++
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		for i := 0; i < len(body); i += 10 {
			time.Sleep(defaultIdle - time.Second)
			_, _ = w.Write(body[i : i+10]) // the client tells
			_ = http.NewResponseController(w).Flush()
		}
	}, func(t *testing.T, s *Store) {
		if got, err := downloadBytes(t, s, "k"); err != nil || !bytes.Equal(got, body) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
		if requests != 1 {
			t.Errorf("%d requests", requests)
		}
	})
}

// A brick that takes long for what it is given is no fault of the store's.
func TestASlowWriterIsNoHang(t *testing.T) {
	body := storetest.Bytes(1, partSize-1)
	requests := 0
	hours(t, func(w http.ResponseWriter, _ *http.Request) {
		requests++
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body) // the client tells
	}, func(t *testing.T, s *Store) {
		dst := &slowWriter{}
		if _, err := s.Download(t.Context(), "k", dst, func(object.Info) error { return nil }); err != nil {
			t.Fatal(err)
		}
		if requests != 1 || dst.writes < 2 {
			t.Errorf("%d requests, %d writes", requests, dst.writes)
		}
	})
}

// slowWriter takes hours.
type slowWriter struct{ writes int }

func (w *slowWriter) WriteAt(b []byte, _ int64) (int, error) {
	w.writes++
	time.Sleep(time.Hour)
	return len(b), nil
}

// Nor is a brick that takes long to give what is sent.
func TestASlowReaderIsNoHang(t *testing.T) {
	body := storetest.Bytes(1, 1000)
	hours(t, func(w http.ResponseWriter, r *http.Request) {
		if got, err := io.ReadAll(r.Body); err != nil || !bytes.Equal(got, body) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	}, func(t *testing.T, s *Store) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://store/k", &slowReader{bytes.NewReader(body)})
		if err != nil {
			t.Fatal(err)
		}
		resp, err := (&wire{transport: s.current.Load().transport.(*http.Transport), idle: defaultIdle}).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	})
}

// slowReader takes an hour for every hundred bytes.
type slowReader struct{ r io.Reader }

func (r *slowReader) Read(p []byte) (int, error) {
	time.Sleep(time.Hour)
	return r.r.Read(p[:min(100, len(p))])
}

// Nor is it one to wait for the bandwidth limit.
func TestWaitingForTheLimitIsNoHang(t *testing.T) {
	body := storetest.Bytes(1, 1000)
	hours(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body) // the client tells
	}, func(t *testing.T, s *Store) {
		const burst = 2 * defaultIdle / time.Second
		w := &wire{transport: s.current.Load().transport.(*http.Transport), idle: defaultIdle, limiter: rate.NewLimiter(1, int(burst))}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://store/k", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		resp, err := w.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		got, err := io.ReadAll(resp.Body)
		if err != nil || !bytes.Equal(got, body) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		if took := time.Since(began); took < time.Duration(2*len(body)-int(burst)-1)*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// A request on which nothing moves ends when the idle deadline says; one that joins
// parts has more.
func TestAStoreThatSaysNothingIsGivenUp(t *testing.T) {
	hours(t, func(_ http.ResponseWriter, r *http.Request) { hang(r) }, func(t *testing.T, s *Store) {
		w := &wire{transport: s.current.Load().transport.(*http.Transport), idle: defaultIdle}
		for _, tt := range []struct {
			method, url string
			after       time.Duration
		}{
			{http.MethodGet, "http://store/k", defaultIdle},
			{http.MethodPut, "http://store/k", defaultIdle},
			{http.MethodPost, "http://store/k?uploads", defaultIdle},
			{http.MethodPost, "http://store/k?uploadId=u", completePatience * defaultIdle},
		} {
			req, err := http.NewRequestWithContext(t.Context(), tt.method, tt.url, bytes.NewReader([]byte("body")))
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			resp, err := w.Do(req)
			if err == nil {
				resp.Body.Close()
			}
			if took := time.Since(began); !errors.Is(err, os.ErrDeadlineExceeded) || took != tt.after {
				t.Errorf("%s %s: %v after %v", tt.method, tt.url, err, took)
			}
		}
	})
}

// A store that hangs is told of long before the request is given up, and once that it
// answers again; also where it is a body that does not go on.
func TestAStoreThatHangsIsToldOf(t *testing.T) {
	for name, tt := range map[string]struct {
		store http.HandlerFunc
		want  []string
	}{
		"at once": {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "body") }, []string{"0s: <nil>"}},
		"answers late": {func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(12 * time.Second)
			fmt.Fprint(w, "body")
		}, []string{"5s: it does not answer", "10s: it does not answer", "12s: <nil>", "12s: <nil>"}},
		"stops in the middle": {func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, "bo")
			_ = http.NewResponseController(w).Flush()
			time.Sleep(7 * time.Second)
			fmt.Fprint(w, "dy")
		}, []string{"0s: <nil>", "5s: it does not answer", "7s: <nil>"}},
		"refuses late": {func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(7 * time.Second)
			w.WriteHeader(http.StatusServiceUnavailable)
		}, []string{"5s: it does not answer", "7s: <nil>", "7s: 503 Service Unavailable"}},
		"never answers": {func(_ http.ResponseWriter, r *http.Request) { hang(r) },
			[]string{"5s: it does not answer", "10s: it does not answer", "15s: it does not answer", "18s: no byte moved for 18s"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				link := make(pipes)
				server := &http.Server{Handler: tt.store}
				var serving sync.WaitGroup
				serving.Go(func() { _ = server.Serve(link) }) // until it is closed
				began := time.Now()
				var mu sync.Mutex
				var told []string
				w := &wire{transport: &http.Transport{DialContext: link.dial}, idle: 18 * time.Second, onAnswer: func(err error) {
					mu.Lock()
					defer mu.Unlock()
					told = append(told, fmt.Sprintf("%v: %v", time.Since(began), err))
				}}
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://store/b/k", nil)
				if err != nil {
					t.Fatal(err)
				}
				if resp, err := w.Do(req); err == nil {
					if _, err := io.ReadAll(resp.Body); err != nil {
						t.Error(err)
					}
					resp.Body.Close()
				}
				time.Sleep(time.Minute) // nothing is told after the end
				w.transport.CloseIdleConnections()
				if err := server.Close(); err != nil {
					t.Error(err)
				}
				serving.Wait()
				if !slices.Equal(told, tt.want) {
					t.Errorf("told %q, want %q", told, tt.want)
				}
			})
		})
	}
}
