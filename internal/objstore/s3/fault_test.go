package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore/storetest"
	"github.com/coldbrick/coldbrick/internal/testkit"
)

const partSize = storetest.PartSize

// sizes are one object sent whole and one sent in parts.
var sizes = map[string]int{"whole": 1000, "in parts": 2*partSize + 1}

// faulty is a probed store whose requests pass a proxy.
func faulty(t *testing.T, extra ...string) (*Store, *testkit.Proxy, *testkit.S3Server) {
	t.Helper()
	server := testkit.S3(t)
	proxy := testkit.FaultProxy(t, server)
	s := newS3(t, optionsOf(server, proxy.Endpoint), extra...)
	if _, err := s.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s, proxy, server
}

func createBytes(t *testing.T, s *Store, key string, body []byte) (object.Proof, error) {
	t.Helper()
	return s.Create(t.Context(), key, bytes.NewReader(body), int64(len(body)), storetest.Meta())
}

func downloadBytes(t *testing.T, s *Store, key string) ([]byte, error) {
	t.Helper()
	var dst storetest.Buffer
	_, err := s.Download(t.Context(), key, &dst, func(object.Info) error { return nil })
	return dst.Bytes(), err
}

func noUploads(t *testing.T, s *Store) {
	t.Helper()
	uploads, err := s.ListUploads(t.Context(), "")
	if err != nil || len(uploads) != 0 {
		t.Errorf("uploads left behind: %v, %v", uploads, err)
	}
}

// reply passes an answer of the server on.
func reply(w http.ResponseWriter, answer testkit.Answer) {
	for name, values := range answer.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.Status)
	_, _ = w.Write(answer.Body) // the client may be gone
}

// commit is the request that makes an object of this kind visible.
func commit(kind string) testkit.Match {
	if kind == "whole" {
		return testkit.Match{Method: http.MethodPut, Key: "k"}
	}
	return testkit.Match{Method: http.MethodPost, Key: "k", Query: []string{"uploadId"}}
}

func times(m testkit.Match, n int) testkit.Match {
	m.Times = n
	return m
}

func TestALostReplyIsASuccess(t *testing.T) {
	for kind, size := range sizes {
		t.Run(kind, func(t *testing.T) {
			s, proxy, _ := faulty(t)
			proxy.On(times(commit(kind), 1), testkit.LoseReply())
			body := storetest.Bytes(1, size)
			if _, err := createBytes(t, s, "k", body); err != nil {
				t.Fatal(err)
			}
			if n := len(proxy.Requests(commit(kind))); n < 2 {
				t.Fatalf("%d requests: the reply was not lost", n)
			}
			if got, err := downloadBytes(t, s, "k"); err != nil || !bytes.Equal(got, body) {
				t.Fatalf("%d bytes, %v", len(got), err)
			}
			noUploads(t, s)
		})
	}
}

// The attempt id alone tells own from foreign: here the foreign object is equal
// in all else.
func TestALostReplyDoesNotClaimAForeignObject(t *testing.T) {
	for kind, size := range sizes {
		t.Run(kind, func(t *testing.T) {
			s, proxy, server := faulty(t)
			body := storetest.Bytes(1, size)
			other := newS3(t, optionsOf(server, server.Endpoint))
			proxy.On(times(commit(kind), 1), func(w http.ResponseWriter, r *http.Request, forward func() testkit.Answer) {
				if _, err := createBytes(t, other, "k", body); err != nil {
					t.Error(err)
				}
				testkit.LoseReply()(w, r, forward)
			})
			proof, err := createBytes(t, s, "k", body)
			if !errors.Is(err, fs.ErrExist) || proof.Reads != int64(size) {
				t.Fatalf("%+v, %v; want fs.ErrExist", proof, err)
			}
			noUploads(t, s)
		})
	}
}

func TestAStoreThatRecoversIsWaitedFor(t *testing.T) {
	for kind, size := range sizes {
		for name, fault := range map[string]testkit.Fault{
			"503": testkit.Refuse(http.StatusServiceUnavailable, "SlowDown"),
			"500": testkit.Refuse(http.StatusInternalServerError, "InternalError"),
			"cut": testkit.Drop(),
		} {
			t.Run(kind+" "+name, func(t *testing.T) {
				s, proxy, server := faulty(t)
				var throttled atomic.Int64
				s.OnThrottle = func() { throttled.Add(1) }
				var again atomic.Int64
				var last atomic.Bool // whether the last request was answered
				s.OnAnswer = func(err error) {
					last.Store(err == nil)
					if err != nil {
						again.Add(1)
					}
				}
				if err := s.Reconfigure(t.Context(), optionsOf(server, proxy.Endpoint)); err != nil {
					t.Fatal(err)
				}
				proxy.On(testkit.Match{Key: "k", Times: 2}, fault)
				body := storetest.Bytes(1, size)
				if _, err := createBytes(t, s, "k", body); err != nil {
					t.Fatal(err)
				}
				proxy.On(testkit.Match{Method: http.MethodGet, Key: "k", Times: 2}, fault)
				if got, err := downloadBytes(t, s, "k"); err != nil || !bytes.Equal(got, body) {
					t.Fatalf("%d bytes, %v", len(got), err)
				}
				if n := throttled.Load(); (n == 4) != (name == "503") {
					t.Errorf("the store has asked for fewer requests %d times", n)
				}
				if n := again.Load(); n == 0 || !last.Load() {
					t.Errorf("%d requests were not answered, %v", n, last.Load())
				}
			})
		}
	}
}

func TestConflictsAreTriedAgain(t *testing.T) {
	for kind, size := range sizes {
		t.Run(kind, func(t *testing.T) {
			s, proxy, _ := faulty(t)
			proxy.On(times(commit(kind), 2), testkit.Refuse(http.StatusConflict, "ConditionalRequestConflict"))
			if _, err := createBytes(t, s, "k", storetest.Bytes(1, size)); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestAWrongChecksumAnswerIsNoProof(t *testing.T) {
	t.Run("whole", func(t *testing.T) {
		s, proxy, _ := faulty(t)
		proxy.On(commit("whole"), testkit.WrongHeader("x-amz-checksum-crc32", "AAAAAA=="))
		if _, err := createBytes(t, s, "k", storetest.Bytes(1, 100)); !errors.Is(err, object.ErrCorrupt) {
			t.Fatalf("%v, want object.ErrCorrupt", err)
		}
	})
	t.Run("in parts", func(t *testing.T) {
		s, proxy, _ := faulty(t)
		proxy.On(commit("in parts"), testkit.Edit(func(header http.Header, body []byte) []byte {
			i := bytes.Index(body, []byte("<ChecksumCRC32>"))
			if i < 0 {
				t.Errorf("no checksum in %s", body)
				return body
			}
			copy(body[i+len("<ChecksumCRC32>"):], "AAAAAA==")
			return body
		}))
		if _, err := createBytes(t, s, "k", storetest.Bytes(1, partSize+1)); !errors.Is(err, object.ErrCorrupt) {
			t.Fatalf("%v, want object.ErrCorrupt", err)
		}
	})
}

// Bytes that change between the checksum and the store are refused by it.
func TestTheStoreChecksWhatArrives(t *testing.T) {
	for kind, size := range sizes {
		t.Run(kind, func(t *testing.T) {
			s, proxy, _ := faulty(t)
			proxy.On(testkit.Match{Method: http.MethodPut, Key: "k"}, func(w http.ResponseWriter, r *http.Request, forward func() testkit.Answer) {
				body, err := io.ReadAll(r.Body)
				if err != nil {
					t.Error(err)
				}
				body[len(body)/2] ^= 1
				r.Body = io.NopCloser(bytes.NewReader(body))
				reply(w, forward())
			})
			if _, err := createBytes(t, s, "k", storetest.Bytes(1, size)); err == nil {
				t.Fatal("the store took other bytes than were read")
			}
			if _, err := s.Head(t.Context(), "k"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("head: %v", err)
			}
			noUploads(t, s)
		})
	}
}

func TestACutBodyIsCompleted(t *testing.T) {
	for kind, size := range sizes {
		t.Run(kind, func(t *testing.T) {
			s, proxy, _ := faulty(t)
			body := storetest.Bytes(1, size)
			if _, err := createBytes(t, s, "k", body); err != nil {
				t.Fatal(err)
			}
			proxy.On(testkit.Match{Method: http.MethodGet, Key: "k", Times: 3}, testkit.CutBody(size/5))
			if got, err := downloadBytes(t, s, "k"); err != nil || !bytes.Equal(got, body) {
				t.Fatalf("%d bytes, %v", len(got), err)
			}
			proxy.On(testkit.Match{Method: http.MethodGet, Key: "k"}, testkit.CutBody(0))
			if _, err := downloadBytes(t, s, "k"); err == nil {
				t.Error("a body that never comes was taken for the object")
			}
		})
	}
}

func TestAWrongBodyIsCorrupt(t *testing.T) {
	for kind, size := range sizes {
		t.Run(kind, func(t *testing.T) {
			s, proxy, _ := faulty(t)
			if _, err := createBytes(t, s, "k", storetest.Bytes(1, size)); err != nil {
				t.Fatal(err)
			}
			proxy.On(testkit.Match{Method: http.MethodGet, Key: "k", Times: 1}, testkit.WrongBody())
			if _, err := downloadBytes(t, s, "k"); !errors.Is(err, object.ErrCorrupt) {
				t.Errorf("%v, want object.ErrCorrupt", err)
			}
		})
	}
}

func TestAnObjectThatChangesUnderTheDownload(t *testing.T) {
	s, proxy, server := faulty(t)
	if _, err := createBytes(t, s, "k", storetest.Bytes(1, 4*partSize)); err != nil {
		t.Fatal(err)
	}
	if _, err := createBytes(t, s, "other", storetest.Bytes(2, 4*partSize)); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	proxy.On(testkit.Match{Method: http.MethodGet, Key: "k", Header: []string{"Range"}}, func(w http.ResponseWriter, r *http.Request, forward func() testkit.Answer) {
		once.Do(func() {
			if err := os.Rename(server.ObjectFile("other"), server.ObjectFile("k")); err != nil {
				t.Error(err)
			}
		})
		reply(w, forward())
	})
	if _, err := downloadBytes(t, s, "k"); !errors.Is(err, object.ErrChanged) {
		t.Errorf("%v, want object.ErrChanged", err)
	}
}

func TestRangesThatAreNotWhatWasAskedFor(t *testing.T) {
	for name, fault := range map[string]testkit.Fault{
		"no Content-Range":    testkit.WrongHeader("Content-Range", ""),
		"other Content-Range": testkit.WrongHeader("Content-Range", "bytes 0-5242879/10485761"),
		"other ETag":          testkit.WrongHeader("ETag", `"x"`),
	} {
		t.Run(name, func(t *testing.T) {
			s, proxy, _ := faulty(t)
			if _, err := createBytes(t, s, "k", storetest.Bytes(1, 2*partSize+1)); err != nil {
				t.Fatal(err)
			}
			proxy.On(testkit.Match{Method: http.MethodGet, Key: "k", Header: []string{"Range"}}, fault)
			if _, err := downloadBytes(t, s, "k"); err == nil {
				t.Error("taken for the range")
			}
		})
	}
}

func TestAColdObjectIsNamedSo(t *testing.T) {
	s, proxy, _ := faulty(t)
	if _, err := createBytes(t, s, "k", []byte("x")); err != nil {
		t.Fatal(err)
	}
	proxy.On(testkit.Match{Method: http.MethodGet, Key: "k"}, testkit.Refuse(http.StatusForbidden, "InvalidObjectState"))
	proxy.On(testkit.Match{Method: http.MethodHead, Key: "k"}, testkit.WrongHeader("x-amz-storage-class", "DEEP_ARCHIVE"))
	if _, err := downloadBytes(t, s, "k"); !errors.Is(err, object.ErrCold) || !strings.Contains(err.Error(), "DEEP_ARCHIVE") {
		t.Errorf("%v", err)
	}
	if info, err := s.Head(t.Context(), "k"); err != nil || info.Class != "DEEP_ARCHIVE" {
		t.Errorf("%+v, %v", info, err)
	}
}

func TestWhatOneObjectRefusesIsNotTheStore(t *testing.T) {
	s, proxy, _ := faulty(t)
	if _, err := createBytes(t, s, "k", []byte("x")); err != nil {
		t.Fatal(err)
	}
	proxy.On(testkit.Match{Key: "k"}, testkit.Refuse(http.StatusForbidden, "AccessDenied"))
	_, getErr := downloadBytes(t, s, "k")
	_, headErr := s.Head(t.Context(), "k")
	_, putErr := createBytes(t, s, "k", []byte("x"))
	for _, err := range []error{getErr, headErr, putErr} {
		if !errors.Is(err, fs.ErrPermission) || errors.Is(err, object.ErrStore) {
			t.Errorf("%v, want fs.ErrPermission", err)
		}
	}
}

func TestAKeyThatTheServerRefuses(t *testing.T) {
	s, proxy, _ := faulty(t)
	for _, code := range []string{"KeyTooLongError", "ObjectParentIsFile", "XMinioInvalidObjectName"} {
		proxy.Clear()
		status := http.StatusBadRequest
		if code == "ObjectParentIsFile" {
			status = http.StatusConflict
		}
		for kind, size := range sizes {
			proxy.On(testkit.Match{Key: "k"}, testkit.Refuse(status, code))
			if _, err := createBytes(t, s, "k", storetest.Bytes(1, size)); !errors.Is(err, object.ErrKey) {
				t.Errorf("%s %s: %v, want object.ErrKey", kind, code, err)
			}
		}
	}
}

func TestEveryUploadIsToldBeforeItsFirstPart(t *testing.T) {
	server := testkit.S3(t)
	proxy := testkit.FaultProxy(t, server)
	parts := testkit.Match{Method: http.MethodPut, Key: "k", Query: []string{"partNumber"}}
	var told atomic.Value
	var refuse error
	s := &Store{OnUpload: func(key, id string) error {
		if n := len(proxy.Requests(parts)); n != 0 {
			t.Errorf("%d parts were sent before", n)
		}
		told.Store(key + " " + id)
		return refuse
	}}
	if err := s.Init(t.Context(), optionsOf(server, proxy.Endpoint)); err != nil {
		t.Fatal(err)
	}
	refuse = errors.New("the record is full")
	if _, err := createBytes(t, s, "k", make([]byte, partSize+1)); !errors.Is(err, refuse) {
		t.Errorf("%v, want the hook's error", err)
	}
	if n := len(proxy.Requests(parts)); n != 0 {
		t.Errorf("%d parts were sent all the same", n)
	}
	noUploads(t, s)

	// A run that dies leaves its upload; the next one finds and aborts it.
	refuse = nil
	ctx, cancel := context.WithCancel(t.Context())
	proxy.On(testkit.Match{Method: http.MethodDelete}, testkit.Refuse(http.StatusForbidden, "AccessDenied"))
	proxy.On(parts, func(w http.ResponseWriter, r *http.Request, _ func() testkit.Answer) {
		cancel()
		testkit.Drop()(w, r, nil)
	})
	if _, err := s.Create(ctx, "k", bytes.NewReader(make([]byte, partSize+1)), partSize+1, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want context.Canceled", err)
	}
	proxy.Clear()
	uploads, err := s.ListUploads(t.Context(), "k")
	if err != nil || len(uploads) != 1 || uploads[0].Key+" "+uploads[0].ID != told.Load() {
		t.Fatalf("%v, %v; told was %v", uploads, err, told.Load())
	}
	for range 2 { // the second finds it gone
		if err := s.AbortUpload(t.Context(), uploads[0].Key, uploads[0].ID); err != nil {
			t.Error(err)
		}
	}
	noUploads(t, s)
}

func TestMemoryIsBounded(t *testing.T) {
	s, _, _ := faulty(t, "jobs", "4")
	n := s.current.Load()
	if limit := n.buffers.Limit(); limit > 4*partSize {
		t.Errorf("%d bytes of buffers for 4 jobs", limit)
	}
	const size = 8*partSize + 1
	body := storetest.Bytes(1, size)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			if _, err := createBytes(t, s, fmt.Sprint(i), body); err != nil {
				t.Error(err)
			}
			if _, err := s.Download(t.Context(), fmt.Sprint(i), nowhere{}, func(object.Info) error { return nil }); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	runtime.ReadMemStats(&after)
	if n.buffers.Held() > n.buffers.Limit() {
		t.Errorf("%d bytes of buffers, the limit is %d", n.buffers.Held(), n.buffers.Limit())
	}
	// All that 8 × 40 MiB have cost: the buffers, and the SDK's small change
	// beside 64 KiB for each connection.
	if grown := int64(after.TotalAlloc - before.TotalAlloc); grown > int64(n.buffers.Limit())+100<<20 {
		t.Errorf("%d MiB allocated", grown>>20)
	}
}

type nowhere struct{}

func (nowhere) WriteAt(b []byte, _ int64) (int, error) { return len(b), nil }

// An errno of the network must not look like one of the volume.
func TestErrorsHideTheNetworksErrno(t *testing.T) {
	s, proxy, server := faulty(t)
	if _, err := createBytes(t, s, "k", []byte("x")); err != nil {
		t.Fatal(err)
	}
	proxy.On(testkit.Match{}, testkit.Drop())
	_, cut := downloadBytes(t, s, "k")
	server.Stop()
	direct := newS3(t, optionsOf(server, server.Endpoint))
	_, refused := direct.Probe(t.Context())
	var errno syscall.Errno
	for _, err := range []error{cut, refused} {
		if err == nil || errors.As(err, &errno) {
			t.Errorf("%v", err)
		}
	}
	if errors.Is(cut, object.ErrStore) || !errors.Is(refused, object.ErrStore) {
		t.Errorf("cut: %v; refused: %v", cut, refused)
	}
}
