package testkit

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Proxy stands between an S3 client and a real server, and fails the requests
// that a test names. Everything else passes unchanged, so that signatures stay
// valid.
type Proxy struct {
	Endpoint string // for the client, in place of the server's

	server  *httptest.Server
	backend *S3Server
	to      *url.URL
	client  *http.Transport
	closing chan struct{}

	mu       sync.Mutex
	rules    []*rule
	glacier  *Glacier // nil: every object can be read
	requests []Request
}

// Request is what the proxy notes of a request. Credentials are not in it.
type Request struct {
	Method string
	Host   string
	Bucket string
	Key    string
	Query  url.Values
	Header http.Header
	Status int // as the client saw it; 0: it got no answer
}

// Match says which requests a fault is for. Zero fields match anything.
type Match struct {
	Method string
	Key    string
	Query  []string // "uploads", "partNumber" or "partNumber=2": all must be there
	Header []string // names of headers that must be there
	Skip   int      // let the first ones pass
	Times  int      // then fail so many; 0 is all
}

type rule struct {
	Match
	fault Fault
	seen  int
}

// Fault answers a request in place of the server. forward asks the server.
type Fault func(w http.ResponseWriter, r *http.Request, forward func() Answer)

// Answer is a server's answer.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

func (a Answer) write(w http.ResponseWriter) {
	writeHeader(w, a.Status, a.Header)
	_, _ = w.Write(a.Body) // the client may be gone
}

// FaultProxy starts a proxy in front of an S3 server, over https if the server
// has it, with the same certificate.
func FaultProxy(t testing.TB, backend *S3Server) *Proxy {
	t.Helper()
	to, err := url.Parse(backend.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{
		backend: backend,
		to:      to,
		closing: make(chan struct{}),
		client: &http.Transport{
			TLSClientConfig:     backend.TLSConfig(),
			DisableCompression:  true, // would add a header
			MaxIdleConnsPerHost: 64,
		},
	}
	p.server = httptest.NewUnstartedServer(http.HandlerFunc(p.serve))
	if backend.CAFile == "" {
		p.server.Start()
	} else {
		p.server.TLS = backend.serverTLS()
		p.server.StartTLS()
	}
	p.Endpoint = p.server.URL
	t.Cleanup(func() {
		close(p.closing)
		p.server.CloseClientConnections()
		p.server.Close()
		p.client.CloseIdleConnections()
	})
	return p
}

// On makes the proxy fail the requests that m matches. The first rule that
// matches and is not used up decides.
func (p *Proxy) On(m Match, fault Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = append(p.rules, &rule{Match: m, fault: fault})
}

// Clear drops all rules.
func (p *Proxy) Clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = nil
}

// Requests are all requests so far that m matches, in the order of their
// answers. Skip and Times play no part.
func (p *Proxy) Requests(m Match) []Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	var found []Request
	for _, r := range p.requests {
		if m.matches(r) {
			found = append(found, r)
		}
	}
	return found
}

func (m Match) matches(r Request) bool {
	if m.Method != "" && m.Method != r.Method || m.Key != "" && m.Key != r.Key {
		return false
	}
	for _, q := range m.Query {
		name, value, exact := strings.Cut(q, "=")
		if !r.Query.Has(name) || exact && r.Query.Get(name) != value {
			return false
		}
	}
	for _, h := range m.Header {
		if r.Header.Get(h) == "" {
			return false
		}
	}
	return true
}

// fault finds what is to happen to a request; nil is nothing.
func (p *Proxy) fault(r Request) Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, rule := range p.rules {
		if !rule.matches(r) {
			continue
		}
		rule.seen++
		if rule.seen > rule.Skip && (rule.Times == 0 || rule.seen <= rule.Skip+rule.Times) {
			return rule.fault
		}
	}
	if p.glacier != nil {
		return p.glacier.fault(r)
	}
	return nil
}

func (p *Proxy) serve(w http.ResponseWriter, r *http.Request) {
	note := Request{Method: r.Method, Host: r.Host, Query: r.URL.Query(), Header: r.Header.Clone()}
	note.Key = strings.TrimPrefix(r.URL.Path, "/")
	var byHost bool
	if note.Bucket, byHost = strings.CutSuffix(r.Host, "."+p.backend.Domain); !byHost {
		note.Bucket, note.Key, _ = strings.Cut(note.Key, "/")
	}
	note.Header.Del("Authorization")
	note.Header.Del("X-Amz-Security-Token")

	seen := &statusWriter{ResponseWriter: w}
	defer func() {
		note.Status = seen.status
		p.mu.Lock()
		defer p.mu.Unlock()
		p.requests = append(p.requests, note)
	}()
	if fault := p.fault(note); fault != nil {
		fault(seen, r, func() Answer { return p.forward(r) })
		return
	}
	answer, err := p.send(r)
	if err != nil {
		panic(http.ErrAbortHandler) // as the client would see a dead server
	}
	defer answer.Body.Close()
	writeHeader(seen, answer.StatusCode, answer.Header)
	if _, err := io.Copy(seen, answer.Body); err != nil {
		seen.status = 0
		panic(http.ErrAbortHandler)
	}
}

// send passes the request on as it is, the host that the client signed included.
func (p *Proxy) send(r *http.Request) (*http.Response, error) {
	out := r.Clone(r.Context())
	out.URL.Scheme, out.URL.Host = p.to.Scheme, p.to.Host
	out.Host = r.Host
	out.RequestURI = ""
	if r.ContentLength == 0 {
		out.Body = nil // else it would go out chunked
	}
	return p.client.RoundTrip(out)
}

func (p *Proxy) forward(r *http.Request) Answer {
	answer, err := p.send(r)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	return Answer{Status: answer.StatusCode, Header: answer.Header, Body: body}
}

func writeHeader(w http.ResponseWriter, status int, header http.Header) {
	maps.Copy(w.Header(), header)
	w.WriteHeader(status)
}

// statusWriter remembers the status it sends.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.NewResponseController reach what is below.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// drop ends the connection without another byte.
func drop(w http.ResponseWriter) {
	if s, ok := w.(*statusWriter); ok {
		s.status = 0
	}
	panic(http.ErrAbortHandler)
}

// Refuse answers with an S3 error, such as 503 and "SlowDown", and does not ask
// the server.
func Refuse(status int, code string) Fault {
	return func(w http.ResponseWriter, r *http.Request, _ func() Answer) {
		_, _ = io.Copy(io.Discard, r.Body) // some clients read no answer before they sent all
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		if r.Method != http.MethodHead {
			fmt.Fprintf(w, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>%s</Code><Message>injected by the test</Message></Error>", code)
		}
	}
}

// Drop ends the connection without asking the server.
func Drop() Fault {
	return func(w http.ResponseWriter, r *http.Request, _ func() Answer) {
		_, _ = io.Copy(io.Discard, r.Body)
		drop(w)
	}
}

// LoseReply lets the server do its work and ends the connection instead of
// telling the client.
func LoseReply() Fault {
	return func(w http.ResponseWriter, _ *http.Request, forward func() Answer) {
		forward()
		drop(w)
	}
}

// Hang asks nobody and answers nothing until the client gives up, or the test
// ends.
func (p *Proxy) Hang() Fault {
	return func(w http.ResponseWriter, r *http.Request, _ func() Answer) {
		_, _ = io.Copy(io.Discard, r.Body) // only then the end of the client is noticed
		select {
		case <-r.Context().Done():
		case <-p.closing:
		}
		drop(w)
	}
}

// Gate is where requests wait until a test has seen that they are there. It must be
// opened before the proxy is closed.
type Gate struct {
	came, opened chan struct{}
	first, open  sync.Once
}

// NewGate is a gate that is closed.
func NewGate() *Gate {
	return &Gate{came: make(chan struct{}), opened: make(chan struct{})}
}

// Hold lets the request wait at the gate, however long, and then has next do with
// it what it does; if next is nil, the request passes.
func (g *Gate) Hold(next Fault) Fault {
	return func(w http.ResponseWriter, r *http.Request, forward func() Answer) {
		g.first.Do(func() { close(g.came) })
		<-g.opened
		if next != nil {
			next(w, r, forward)
			return
		}
		forward().write(w)
	}
}

// Wait returns when a request waits at the gate, or did.
func (g *Gate) Wait(t testing.TB) {
	t.Helper()
	select {
	case <-g.came:
	case <-time.After(time.Minute):
		t.Fatal("no request came to the gate")
	}
}

// Open lets all pass.
func (g *Gate) Open() { g.open.Do(func() { close(g.opened) }) }

// Delay lets the request pass after d.
func Delay(d time.Duration) Fault {
	return func(w http.ResponseWriter, r *http.Request, forward func() Answer) {
		select {
		case <-time.After(d):
		case <-r.Context().Done():
			drop(w)
		}
		forward().write(w)
	}
}

// CutBody ends the connection after n bytes of the answer's body.
func CutBody(n int) Fault {
	return func(w http.ResponseWriter, _ *http.Request, forward func() Answer) {
		answer := forward()
		answer.Body = answer.Body[:min(n, len(answer.Body))]
		answer.write(w)
		_ = http.NewResponseController(w).Flush()
		drop(w)
	}
}

// Edit lets the server do its work and changes its answer: header and body are
// the server's, edit may change the first and returns the second.
func Edit(edit func(header http.Header, body []byte) []byte) Fault {
	return func(w http.ResponseWriter, _ *http.Request, forward func() Answer) {
		answer := forward()
		answer.Body = edit(answer.Header, answer.Body)
		answer.write(w)
	}
}

// WrongBody answers with as many bytes as the object has, all of them wrong.
func WrongBody() Fault {
	return Edit(func(_ http.Header, body []byte) []byte {
		wrong := make([]byte, len(body))
		for i, b := range body {
			wrong[i] = ^b
		}
		return wrong
	})
}

// WrongHeader puts a value of the test's into the answer; "" removes the header.
func WrongHeader(name, value string) Fault {
	return Edit(func(header http.Header, body []byte) []byte {
		if header.Del(name); value != "" {
			header.Set(name, value)
		}
		return body
	})
}

// Replace changes a text in the answer's body, such as a checksum in the XML
// that ends a multipart upload.
func Replace(old, text string) Fault {
	return Edit(func(header http.Header, body []byte) []byte {
		body = bytes.ReplaceAll(body, []byte(old), []byte(text))
		header.Set("Content-Length", fmt.Sprint(len(body)))
		return body
	})
}

// IgnoreHeader makes the server behave like one that does not know a request
// header, such as If-None-Match. The proxy signs the request anew.
func (p *Proxy) IgnoreHeader(name string) Fault {
	return func(w http.ResponseWriter, r *http.Request, forward func() Answer) {
		r.Header.Del(name)
		p.sign(r, strings.ToLower(name))
		forward().write(w)
	}
}

// sign replaces the signature of a request (AWS Signature Version 4) by one that
// does not cover the header without.
func (p *Proxy) sign(r *http.Request, without string) {
	field := func(name string) string {
		_, rest, _ := strings.Cut(r.Header.Get("Authorization"), name+"=")
		value, _, _ := strings.Cut(rest, ",")
		return strings.TrimSpace(value)
	}
	credential, signed := field("Credential"), strings.Split(field("SignedHeaders"), ";")
	signed = slices.DeleteFunc(signed, func(name string) bool { return name == without })

	var canonical strings.Builder
	fmt.Fprintf(&canonical, "%s\n%s\n%s\n", r.Method, r.URL.EscapedPath(),
		strings.ReplaceAll(r.URL.Query().Encode(), "+", "%20"))
	for _, name := range signed {
		value := strings.Join(r.Header.Values(name), ",")
		switch name {
		case "host":
			value = r.Host
		case "content-length":
			value = fmt.Sprint(r.ContentLength)
		}
		fmt.Fprintf(&canonical, "%s:%s\n", name, strings.TrimSpace(value))
	}
	fmt.Fprintf(&canonical, "\n%s\n%s", strings.Join(signed, ";"), r.Header.Get("X-Amz-Content-Sha256"))

	_, scope, _ := strings.Cut(credential, "/") // date/region/s3/aws4_request
	hash := sha256.Sum256([]byte(canonical.String()))
	toSign := "AWS4-HMAC-SHA256\n" + r.Header.Get("X-Amz-Date") + "\n" + scope + "\n" + hex.EncodeToString(hash[:])
	mac := func(key []byte, text string) []byte {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(text))
		return h.Sum(nil)
	}
	key := []byte("AWS4" + p.backend.SecretKey)
	for part := range strings.SplitSeq(scope, "/") {
		key = mac(key, part)
	}
	r.Header.Set("Authorization", fmt.Sprintf("AWS4-HMAC-SHA256 Credential=%s, SignedHeaders=%s, Signature=%x",
		credential, strings.Join(signed, ";"), mac(key, toSign)))
}
