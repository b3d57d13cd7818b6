package s3

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore"
)

// sinkVariable makes the test program a sink: a server in a process of its own,
// so that the benchmark's CPU time is the client's alone.
const sinkVariable = "COLDBRICK_TEST_SINK"

func TestMain(m *testing.M) {
	if os.Getenv(sinkVariable) != "" {
		runSink()
		return
	}
	os.Exit(m.Run())
}

// runSink is shaped like S3, and throws away what it gets. It answers the probe
// as a store does that can do all: what was sent under a key is remembered by
// its attempt id and checksum only.
func runSink() {
	var uploads atomic.Int64
	server := http.Server{Addr: os.Getenv(sinkVariable), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		buf := make([]byte, 64<<10)
		_, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, r.Body, buf)
		query := r.URL.Query()
		switch {
		case r.Method == http.MethodPost && query.Has("uploads"):
			fmt.Fprintf(w, `<InitiateMultipartUploadResult><UploadId>u%d</UploadId></InitiateMultipartUploadResult>`, uploads.Add(1))
		case r.Method == http.MethodPost:
			fmt.Fprint(w, `<CompleteMultipartUploadResult><ETag>"x-1"</ETag></CompleteMultipartUploadResult>`)
		case r.Method == http.MethodPut:
			w.Header().Set("ETag", `"d41d8cd98f00b204e9800998ecf8427e"`)
		case r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, "/bucket/get-"):
			size, err := strconv.ParseInt(strings.TrimPrefix(r.URL.Path, "/bucket/get-"), 10, 64)
			if err != nil {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			w.Header().Set("ETag", `"x"`)
			http.ServeContent(w, r, "", time.Time{}, io.NewSectionReader(zeros{}, 0, size))
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	})}
	_ = server.ListenAndServe() // until the benchmark kills it
}

type zeros struct{}

func (zeros) ReadAt(b []byte, _ int64) (int, error) {
	clear(b)
	return len(b), nil
}

// sunk is a store over a sink, as if probed.
func sunk(b *testing.B) *Store {
	b.Helper()
	address := fmt.Sprintf("127.0.0.1:%d", 20000+os.Getpid()%20000)
	sink := exec.Command(os.Args[0])
	sink.Env = append(os.Environ(), sinkVariable+"="+address)
	if err := sink.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = sink.Process.Kill()
		_ = sink.Wait()
	})
	for range 100 {
		if answer, err := http.Get("http://" + address + "/"); err == nil {
			answer.Body.Close()
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	s := &Store{}
	if err := s.Init(b.Context(), map[string]string{
		"bucket": "bucket", "endpoint-url": "http://" + address, "access-key-id": "a", "secret-access-key": "b",
	}); err != nil {
		b.Fatal(err)
	}
	s.current.Load().proven.Store(&findings{Capabilities: objstore.Capabilities{PutConditional: true, CompleteConditional: true,
		ChecksumVerified: true, ChecksumReturned: true, FullObjectMultipart: true}})
	return s
}

// cpu is what this process has used.
func cpu() time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		panic(err) // it cannot fail
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

func bench(b *testing.B, workers, size int, one func(s *Store, i int64) error) {
	s := sunk(b)
	b.SetBytes(int64(size))
	b.ReportAllocs()
	b.SetParallelism(max(1, workers/runtime.GOMAXPROCS(0)))
	var i atomic.Int64
	before := cpu()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := one(s, i.Add(1)); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64((cpu()-before).Microseconds())/float64(b.N), "cpu-µs/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "files/s")
}

func benchCreate(b *testing.B, workers, size int) {
	path := b.TempDir() + "/body"
	if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
		b.Fatal(err)
	}
	meta := object.Metadata{Volume: "8d6ba2fc-1f5c-4d21-8a68-f9a1d0cbb4f4", Path: "dir/file", Attempt: object.NewID()}.Encode()
	bench(b, workers, size, func(s *Store, i int64) error {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = s.Create(b.Context(), "dir/file"+strconv.FormatInt(i, 10), f, int64(size), meta)
		return err
	})
}

func BenchmarkCreate4KiB(b *testing.B)      { benchCreate(b, 16, 4<<10) }
func BenchmarkCreate1MiB(b *testing.B)      { benchCreate(b, 8, 1<<20) }
func BenchmarkCreateInParts(b *testing.B)   { benchCreate(b, 1, 256<<20) }
func BenchmarkDownload4KiB(b *testing.B)    { benchDownload(b, 16, 4<<10) }
func BenchmarkDownload1MiB(b *testing.B)    { benchDownload(b, 8, 1<<20) }
func BenchmarkDownloadInParts(b *testing.B) { benchDownload(b, 1, 256<<20) }

func benchDownload(b *testing.B, workers, size int) {
	bench(b, workers, size, func(s *Store, _ int64) error {
		_, err := s.Download(b.Context(), "get-"+strconv.Itoa(size), nowhere{}, func(object.Info) error { return nil })
		return err
	})
}
