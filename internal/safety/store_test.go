package safety

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/coldbrick/coldbrick/internal/testkit"
	"github.com/coldbrick/coldbrick/recall"
	"github.com/coldbrick/coldbrick/upload"
)

// kind is what tells one request of a verb from another.
type kind struct {
	method string
	query  string // names, sorted
	ranged bool
}

func kindOf(method string, query map[string][]string, header http.Header) kind {
	var names []string
	for name := range query {
		if name != "x-id" { // the SDK's own note
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return kind{method, strings.Join(names, "&"), header.Get("Range") != ""}
}

func (k kind) String() string {
	text := k.method
	if k.query != "" {
		text += " ?" + k.query
	}
	if k.ranged {
		text += " of a range"
	}
	return text
}

// storeFault is one thing that a store or the way to it can do to a request.
type storeFault struct {
	name  string
	fault func(p *proving) testkit.Fault
	hangs bool // until the client loses its patience
}

func storeFaults() []storeFault {
	plain := func(f testkit.Fault) func(*proving) testkit.Fault {
		return func(*proving) testkit.Fault { return f }
	}
	return []storeFault{
		{"403", plain(testkit.Refuse(403, "AccessDenied")), false},
		{"404", plain(func(w http.ResponseWriter, r *http.Request, forward func() testkit.Answer) {
			code := "NoSuchKey"
			if r.URL.Query().Has("uploadId") {
				code = "NoSuchUpload"
			}
			testkit.Refuse(404, code)(w, r, forward)
		}), false},
		{"500", plain(testkit.Refuse(500, "InternalError")), false},
		{"503", plain(testkit.Refuse(503, "SlowDown")), false},
		{"request lost", plain(testkit.Drop()), false},
		{"reply lost", plain(testkit.LoseReply()), false},
		{"reply cut", plain(testkit.CutBody(1000)), false},
		{"hang", func(p *proving) testkit.Fault { return p.Proxy.Hang() }, true},
		{"hang in the reply", stall, true},
		{"wrong ETag", plain(testkit.WrongHeader("ETag", `"0123456789abcdef0123456789abcdef"`)), false},
		{"wrong checksum", plain(testkit.WrongHeader("X-Amz-Checksum-Crc32", "AAAAAA==")), false},
		{"no checksum", plain(testkit.WrongHeader("X-Amz-Checksum-Crc32", "")), false},
		{"wrong reply", plain(testkit.WrongBody()), false},
		{"wrong request", plain(wrongRequest), false},
		{"wrong bytes, right checksum", plain(wrongAndSure), false},
	}
}

// stall sends half of the reply's body and no more.
func stall(p *proving) testkit.Fault {
	hang := p.Proxy.Hang()
	return func(w http.ResponseWriter, r *http.Request, forward func() testkit.Answer) {
		if r.Method == http.MethodHead { // has no body to wait in
			hang(w, r, forward)
			return
		}
		answer := forward()
		for name, values := range answer.Header {
			w.Header()[name] = values
		}
		if len(answer.Body) == 0 {
			w.Header().Set("Content-Length", "1")
		}
		w.WriteHeader(answer.Status)
		_, _ = w.Write(answer.Body[:len(answer.Body)/2])
		_ = http.NewResponseController(w).Flush()
		hang(w, r, forward)
	}
}

// wrongRequest damages what the client sends on its way.
func wrongRequest(w http.ResponseWriter, r *http.Request, forward func() testkit.Answer) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if len(body) > 0 {
		body[len(body)/2] ^= 1
	}
	r.Body = io.NopCloser(strings.NewReader(string(body)))
	testkit.Delay(0)(w, r, forward)
}

// wrongAndSure is a store that has lost the bytes and is sure of those it has.
func wrongAndSure(w http.ResponseWriter, r *http.Request, forward func() testkit.Answer) {
	testkit.Edit(func(header http.Header, body []byte) []byte {
		wrong := make([]byte, len(body))
		if header.Get("X-Amz-Checksum-Crc32") != "" && len(wrong) > 0 {
			header.Set("X-Amz-Checksum-Crc32", base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(wrong))))
		}
		return wrong
	})(w, r, forward)
}

// trap fails the requests of one kind for one subject, once or until it is
// opened, and looks at the subject when it does so first.
type trap struct {
	kind  kind
	once  bool
	fault testkit.Fault
	look  func() error

	mu     sync.Mutex
	open   bool
	caught int
	seen   error
}

func (tr *trap) serve(w http.ResponseWriter, r *http.Request, forward func() testkit.Answer) {
	if tr.catches(r) {
		tr.fault(w, r, forward)
		return
	}
	testkit.Delay(0)(w, r, forward)
}

func (tr *trap) catches(r *http.Request) bool {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if tr.open || kindOf(r.Method, r.URL.Query(), r.Header) != tr.kind || tr.once && tr.caught > 0 {
		return false
	}
	if tr.caught++; tr.caught == 1 {
		tr.seen = tr.look()
	}
	return true
}

// release lets everything pass, and tells what the trap saw.
func (tr *trap) release() error {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.open = true
	if tr.caught == 0 {
		return fmt.Errorf("no such request was made")
	}
	return tr.seen
}

// TestNothingThatAStoreDoesLosesData is the matrix of requests and faults. The
// requests are those that the verbs are seen to make.
func TestNothingThatAStoreDoesLosesData(t *testing.T) {
	t.Parallel()
	bricks := onXFSAndExt4(t)
	var cells []cell
	for _, j := range storeJobs() {
		kinds, err := kindsOf(bricks[0], j.job)
		check(t, err)
		for _, k := range kinds {
			if j.only != "" && k.method != j.only {
				continue
			}
			for _, f := range storeFaults() {
				for _, once := range []bool{true, false} {
					if !once && f.hangs && k.method == http.MethodPost && k.query == "uploadId" {
						continue // a completion may take long: all tries would take minutes
					}
					name := f.name
					if once {
						name += ", once"
					}
					p := bricks.of(len(cells))
					cells = append(cells, cell{name, j.name + ": " + k.String(), "store", func() error {
						return storeCell(p, j.job, k, f, once)
					}})
				}
			}
		}
	}
	// Most of their time these wait for another try.
	runCells(t, "fault × request", 32, cells)
}

type storeJob struct {
	job
	only string // method of the requests to fail: others are another job's
}

func storeJobs() []storeJob {
	archiving := func(s *subject) { s.archive(nil) }
	recalling := func(s *subject) { s.recall(nil) }
	nothing := func(*subject) error { return nil }
	left := func(s *subject) error { s.cutArchive(upload.StepRecord); return nil }
	starts := map[string]*start[recall.Step]{}
	for _, st := range recallStarts() {
		starts[st.name] = st
	}
	return []storeJob{
		{job{"archive", single, nothing, archiving, (*subject).archiveSettles}, ""},
		{job{"archive in parts", parted, nothing, archiving, (*subject).archiveSettles}, ""},
		{job{"archive, adopting", single, left, archiving, (*subject).archiveSettles}, ""},
		{job{"recall", single, (*subject).archived, recalling, (*subject).recallSettles}, ""},
		{job{"recall in ranges", parted, (*subject).archived, recalling, (*subject).recallSettles}, ""},
		{job{"recall, keys differ", single, starts["stub with another key"].prepare, recalling, (*subject).recallSettles}, http.MethodHead},
		{job{"recall, checking", single, starts["stub without proof, with bytes"].prepare, recalling, (*subject).recallSettles}, http.MethodHead},
	}
}

// kindsOf lists the requests of a job that goes well.
func kindsOf(p *proving, j job) ([]kind, error) {
	s, err := j.subject(p)
	if err != nil {
		return nil, err
	}
	mine := testkit.Match{Key: s.path}
	before := len(p.Proxy.Requests(mine))
	j.run(s)
	var kinds []kind
	for _, r := range p.Proxy.Requests(mine)[before:] {
		if k := kindOf(r.Method, r.Query, r.Header); !slices.Contains(kinds, k) {
			kinds = append(kinds, k)
		}
	}
	if len(kinds) == 0 {
		return nil, fmt.Errorf("%s makes no request", j.name)
	}
	return kinds, j.settles(s)
}

func storeCell(p *proving, j job, k kind, f storeFault, once bool) error {
	s, err := j.subject(p)
	if err != nil {
		return err
	}
	tr := &trap{kind: k, once: once, fault: f.fault(p), look: s.neverWrong}
	p.Proxy.On(testkit.Match{Key: s.path}, tr.serve)
	s.impatient = f.hangs
	j.run(s)
	after := s.neverWrong()
	s.impatient = false
	if err := tr.release(); err != nil {
		return fmt.Errorf("at the fault: %w", err)
	}
	if after != nil {
		return fmt.Errorf("after the fault: %w", after)
	}
	return j.settles(s)
}
