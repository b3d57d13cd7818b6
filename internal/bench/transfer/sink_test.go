//go:build bench

package transfer

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/xml"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coldbrick/coldbrick/internal/bench/measured"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore/s3"
	"github.com/coldbrick/coldbrick/internal/testkit"
)

// checkedBytes is how much of a body the sink looks at: enough for the probe of
// a store, which sends wrong checksums.
const checkedBytes = 8 << 10

// sink is an S3 server with just the manners that the probe asks for, that keeps
// no byte of a body: what is left to measure is the client.
type sink struct {
	mu      sync.Mutex
	objects map[string]sunk
	parts   map[string]map[int]part // by upload id
	uploads map[string]http.Header  // of what began it
	next    int
}

// sunk is all that is kept of an object. The body of one as small as the
// probe's is read back by it.
type sunk struct {
	size   int64
	sum    string
	header http.Header // x-amz-meta-*
	body   []byte
}

const keptBytes = 256

type part struct {
	size int64
	sum  uint32
}

func runSink() error {
	s := &sink{objects: map[string]sunk{}, parts: map[string]map[int]part{}, uploads: map[string]http.Header{}}
	l, err := net.Listen("tcp", os.Getenv("SINK_ADDRESS"))
	if err != nil {
		return err
	}
	return http.Serve(l, s)
}

var sinkBuffers = sync.Pool{New: func() any { b := make([]byte, 256<<10); return &b }}

func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	buf := sinkBuffers.Get().(*[]byte)
	defer sinkBuffers.Put(buf)
	n, _ := io.ReadFull(r.Body, (*buf)[:checkedBytes])
	head := crc32.ChecksumIEEE((*buf)[:n])
	var small []byte
	if n <= keptBytes {
		small = bytes.Clone((*buf)[:n])
	}
	rest, _ := io.CopyBuffer(struct{ io.Writer }{io.Discard}, r.Body, *buf)
	size := int64(n) + rest
	s.mu.Lock()
	defer s.mu.Unlock()
	query, key := r.URL.Query(), r.URL.Path
	sum := r.Header.Get("X-Amz-Checksum-Crc32")
	id := query.Get("uploadId")
	_, taken := s.objects[key]
	switch {
	case r.Method == http.MethodPost && query.Has("uploads"):
		s.next++
		id = "u" + strconv.Itoa(s.next)
		s.parts[id], s.uploads[id] = map[int]part{}, metaOf(r.Header)
		fmt.Fprintf(w, "<InitiateMultipartUploadResult><UploadId>%s</UploadId></InitiateMultipartUploadResult>", id)
	case r.Method == http.MethodPut && id != "":
		number, _ := strconv.Atoi(query.Get("partNumber"))
		s.parts[id][number] = part{size, decodeSum(sum)}
		w.Header().Set("ETag", `"p"`)
		w.Header().Set("X-Amz-Checksum-Crc32", sum)
	case r.Method == http.MethodPost:
		var whole part
		for number := 1; s.parts[id][number].size > 0; number++ {
			p := s.parts[id][number]
			whole = part{whole.size + p.size, object.CombineCRC32(whole.sum, p.sum, p.size)}
		}
		switch {
		case taken && r.Header.Get("If-None-Match") == "*":
			refuse(w, http.StatusPreconditionFailed, "PreconditionFailed")
		case sum != "" && decodeSum(sum) != whole.sum:
			refuse(w, http.StatusBadRequest, "BadDigest")
		default:
			s.objects[key] = sunk{whole.size, encodeSum(whole.sum), s.uploads[id], nil}
			delete(s.parts, id)
			fmt.Fprintf(w, `<CompleteMultipartUploadResult><ETag>"w"</ETag><ChecksumCRC32>%s</ChecksumCRC32><ChecksumType>FULL_OBJECT</ChecksumType></CompleteMultipartUploadResult>`, encodeSum(whole.sum))
		}
	case r.Method == http.MethodPut:
		switch {
		case taken && r.Header.Get("If-None-Match") == "*":
			refuse(w, http.StatusPreconditionFailed, "PreconditionFailed")
		case sum != "" && rest == 0 && decodeSum(sum) != head:
			refuse(w, http.StatusBadRequest, "BadDigest")
		default:
			s.objects[key] = sunk{size, sum, metaOf(r.Header), small}
			w.Header().Set("ETag", `"o"`)
			w.Header().Set("X-Amz-Checksum-Crc32", sum)
		}
	case r.Method == http.MethodHead && taken:
		for name, values := range s.objects[key].header {
			w.Header()[name] = values
		}
		w.Header().Set("Content-Length", strconv.FormatInt(s.objects[key].size, 10))
		w.Header().Set("X-Amz-Checksum-Crc32", s.objects[key].sum)
		w.Header().Set("X-Amz-Checksum-Type", "FULL_OBJECT")
	case r.Method == http.MethodGet && s.objects[key].body != nil:
		w.Header().Set("ETag", `"o"`)
		w.Header().Set("X-Amz-Checksum-Crc32", s.objects[key].sum)
		_, _ = w.Write(s.objects[key].body)
	case r.Method == http.MethodDelete && id != "":
		delete(s.parts, id)
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodDelete:
		delete(s.objects, key)
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodGet && query.Has("list-type"):
		fmt.Fprint(w, "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>")
	case r.Method == http.MethodGet && query.Has("uploads"):
		fmt.Fprint(w, "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>")
	default:
		refuse(w, http.StatusNotFound, "NoSuchKey")
	}
}

func refuse(w http.ResponseWriter, status int, code string) {
	text, _ := xml.Marshal(struct {
		XMLName xml.Name `xml:"Error"`
		Code    string
	}{Code: code})
	w.WriteHeader(status)
	_, _ = w.Write(text)
}

func metaOf(h http.Header) http.Header {
	meta := http.Header{}
	for name, values := range h {
		if strings.HasPrefix(name, "X-Amz-Meta-") {
			meta[name] = values
		}
	}
	return meta
}

func decodeSum(text string) uint32 {
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(b) != 4 {
		return 0
	}
	return binary.BigEndian.Uint32(b)
}

func encodeSum(sum uint32) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, sum))
}

// startSink starts a sink of its own process and returns its URL.
func startSink(t *testing.T) string {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), roleVariable+"=sink", "SINK_ADDRESS="+address)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	testkit.Eventually(t, time.Minute, "the sink listens", func() bool {
		answer, err := http.Get("http://" + address + "/")
		if err == nil {
			answer.Body.Close()
		}
		return err == nil
	})
	return "http://" + address
}

// runUploader is a client without volume: it uploads one local file.
func runUploader() (err error) {
	ctx := context.Background()
	store := &s3.Store{}
	if err := store.Init(ctx, map[string]string{"bucket": "cold", "endpoint-url": os.Getenv("SINK_URL"),
		"access-key-id": "a", "secret-access-key": "b"}); err != nil {
		return err
	}
	file, err := os.Open(os.Getenv("UPLOAD"))
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	_, err = store.Create(ctx, object.NewID(), file, info.Size(), map[string]string{object.MetaAttempt: object.NewID()})
	return errors.Join(err, store.Fini())
}

// TestSink measures large files where the store takes no time.
func TestSink(t *testing.T) {
	g := newGround(t)
	w := workload{fmt.Sprintf("one file of %d MiB", largeMiB), 1, int64(largeMiB) << 20}
	url := startSink(t)
	credentials := []string{"AWS_ACCESS_KEY_ID=a", "AWS_SECRET_ACCESS_KEY=b", "AWS_REGION=us-east-1"}

	local := filepath.Join("/dev/shm", fmt.Sprintf("coldbrick-bench-%d", os.Getpid()))
	t.Cleanup(func() { os.Remove(local) })
	if err := writeFile(local, w.size, 1); err != nil {
		t.Fatal(err)
	}
	tab := &measured.Table{ID: "sink-local", Title: "To a discarding sink from a local file of " + fmt.Sprint(largeMiB) + " MiB", Files: 1, Bytes: w.size}
	for range rounds {
		tab.Add("coldbrick's store", tool{command: []string{"/proc/self/exe"}, env: []string{roleVariable + "=uploader", "SINK_URL=" + url, "UPLOAD=" + local}}.run(t))
		tab.Add("rclone copyto", g.rcloneTo(url, credentials, "copyto", local, "store:cold/"+fmt.Sprint(time.Now().UnixNano()), "16"))
	}
	save(t, tab)
	if err := os.Remove(local); err != nil {
		t.Fatal(err)
	}

	g.compete("sink-mount", fmt.Sprintf("To a discarding sink from the mount: one file of %d MiB", largeMiB), w, []contestant{
		{"coldbrick archive", func(_ workload, tree string) measured.Usage {
			c := g.archiveTo(tree, url)
			c.env = credentials
			return c.run(t)
		}},
		{"cat through a mount", func(w workload, tree string) measured.Usage {
			mount := g.volume.NewMount(t)
			return tool{command: []string{"cat", mount + "/" + w.path(tree, 0)}, toNull: true}.run(t)
		}},
	}, false)
}
