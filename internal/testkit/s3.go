package testkit

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// S3Server is a real S3 server over a directory, on a loopback port, with one
// bucket. It checks signatures and checksums and honours conditional requests. It is
// gone when its test ends.
type S3Server struct {
	Endpoint  string // http://127.0.0.1:port, or https
	Bucket    string
	Region    string
	AccessKey string
	SecretKey string
	CAFile    string // PEM certificate to trust; "" without TLS
	Domain    string // below which buckets have host names of their own; "" without

	t       testing.TB
	product product
	address string
	dir     string
	keeps   bool      // versions
	running *exec.Cmd // nil: stopped
	exited  chan *os.ProcessState
}

// product is a program that is an S3 server.
type product struct {
	name   string // for tool.sh
	health string // path that answers 200 once the server is ready
	// command is how to run program for a server whose buckets are directories of
	// data.
	command func(s *S3Server, program, data string) *exec.Cmd
}

var versitygw = product{"versitygw", "/health", func(s *S3Server, program, data string) *exec.Cmd {
	args := []string{"--port", s.address, "--region", s.Region, "--keep-alive", "--quiet", "--health", "/health"}
	if s.CAFile != "" {
		args = append(args, "--cert", s.CAFile, "--key", s.keyFile())
	}
	if s.Domain != "" {
		args = append(args, "--virtual-domain", s.Domain)
	}
	args = append(args, "posix")
	if s.keeps {
		args = append(args, "--versioning-dir", filepath.Join(s.dir, "versions"))
	}
	cmd := exec.Command(program, append(args, data)...)
	cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+s.AccessKey, "ROOT_SECRET_KEY="+s.SecretKey)
	return cmd
}}

var minio = product{"minio", "/minio/health/cluster", func(s *S3Server, program, data string) *exec.Cmd {
	cmd := exec.Command(program, "server", "--quiet", "--address", s.address, "--certs-dir", filepath.Join(s.dir, "certs"), data)
	cmd.Env = append(os.Environ(), "MINIO_ROOT_USER="+s.AccessKey, "MINIO_ROOT_PASSWORD="+s.SecretKey,
		"MINIO_SITE_REGION="+s.Region, "MINIO_DOMAIN="+s.Domain, "MINIO_BROWSER=off", "MINIO_UPDATE=off",
		// A key for buckets that encrypt by default.
		"MINIO_KMS_SECRET_KEY=test-key:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")
	return cmd
}}

// S3Option shapes an S3Server.
type S3Option func(*S3Server)

// WithTLS makes the server speak https with a certificate of its own, in CAFile.
func WithTLS() S3Option { return func(s *S3Server) { s.CAFile = "to be made" } }

// WithRegion makes the server refuse signatures for any other region.
func WithRegion(name string) S3Option { return func(s *S3Server) { s.Region = name } }

// WithDomain makes the server take BUCKET.domain in a request's Host for a bucket,
// as AWS does, and names both in its certificate. No name server knows the names: the
// client under test has to dial the server's Endpoint for them.
func WithDomain(domain string) S3Option { return func(s *S3Server) { s.Domain = domain } }

// WithVersions lets S3 keep versions in buckets that are told to.
func WithVersions() S3Option { return func(s *S3Server) { s.keeps = true } }

// S3 starts a versitygw with an empty bucket named "cold".
func S3(t testing.TB, options ...S3Option) *S3Server {
	t.Helper()
	return startServer(t, versitygw, options)
}

// MinIO starts a MinIO instead, without TLS. It knows session tokens and encryption by
// default, and takes minutes to build: tests of make test use S3.
func MinIO(t testing.TB, options ...S3Option) *S3Server {
	t.Helper()
	return startServer(t, minio, options)
}

func startServer(t testing.TB, p product, options []S3Option) *S3Server {
	t.Helper()
	s := &S3Server{
		t:         t,
		product:   p,
		Bucket:    "cold",
		Region:    "us-east-1",
		AccessKey: "testkey",
		SecretKey: "testsecret",
	}
	for _, o := range options {
		o(s)
	}
	s.dir = Dir(t)
	s.Endpoint = "http://"
	if s.CAFile != "" {
		s.Endpoint = "https://"
		s.CAFile = filepath.Join(s.dir, "cert.pem")
		names := []string{"localhost"}
		if s.Domain != "" {
			names = append(names, s.Domain, "*."+s.Domain)
		}
		writeCertificate(t, s.CAFile, s.keyFile(), names)
	}
	if s.keeps {
		if err := os.Mkdir(filepath.Join(s.dir, "versions"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// CreateBucket would need a signed request; a directory is all it makes.
	s.MakeBucket(s.Bucket)
	s.address = freeAddress(t)
	s.Endpoint += s.address
	s.Start()
	t.Cleanup(func() {
		if s.running != nil {
			s.Stop()
		}
	})
	return s
}

// Dir is the directory that holds all of the server. It goes with the server.
func (s *S3Server) Dir() string { return s.dir }

// MakeBucket adds an empty bucket.
func (s *S3Server) MakeBucket(name string) {
	s.t.Helper()
	if err := os.MkdirAll(filepath.Join(s.dir, "data", name), 0o755); err != nil {
		s.t.Fatal(err)
	}
}

// ObjectFile is the file in which the server keeps an object of its bucket. Tests
// damage and remove objects there.
func (s *S3Server) ObjectFile(key string) string {
	return filepath.Join(s.dir, "data", s.Bucket) + "/" + key
}

// Env is the environment that gives the credentials to an S3 client.
func (s *S3Server) Env() []string {
	return []string{
		"AWS_ACCESS_KEY_ID=" + s.AccessKey,
		"AWS_SECRET_ACCESS_KEY=" + s.SecretKey,
		"AWS_REGION=" + s.Region,
		"AWS_EC2_METADATA_DISABLED=true",
		"AWS_CONFIG_FILE=/dev/null",
		"AWS_SHARED_CREDENTIALS_FILE=/dev/null",
	}
}

// Setenv puts Env into the environment of the test.
func (s *S3Server) Setenv(t testing.TB) {
	t.Helper()
	for _, e := range s.Env() {
		name, value, _ := strings.Cut(e, "=")
		t.Setenv(name, value)
	}
}

// Start starts a stopped server again, on the same port and with its objects.
func (s *S3Server) Start() {
	s.t.Helper()
	if s.running != nil {
		s.t.Fatal("the S3 server is running")
	}
	log, err := os.OpenFile(filepath.Join(s.dir, "s3.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	cmd := s.product.command(s, serverProgram(s.t, s.product.name), filepath.Join(s.dir, "data"))
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.running, s.exited = cmd, make(chan *os.ProcessState, 1)
	go func() {
		_ = cmd.Wait() // the state says it all
		s.exited <- cmd.ProcessState
	}()

	client := &http.Client{Transport: &http.Transport{TLSClientConfig: s.TLSConfig(), DisableKeepAlives: true}}
	Eventually(s.t, time.Minute, "the S3 server answers", func() bool {
		select {
		case state := <-s.exited:
			text, _ := os.ReadFile(log.Name())
			s.running = nil
			s.t.Fatalf("the S3 server ended: %v\n%s", state, text)
		default:
		}
		answer, err := client.Get(s.Endpoint + s.product.health)
		if err != nil {
			return false
		}
		answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
}

// Stop kills the server: clients are refused until Start. Its objects stay.
func (s *S3Server) Stop() {
	s.t.Helper()
	if s.running == nil {
		s.t.Fatal("the S3 server is not running")
	}
	if err := s.running.Process.Kill(); err != nil {
		s.t.Error(err)
	}
	<-s.exited
	s.running = nil
}

// TLSConfig trusts the server's certificate. It is nil without TLS.
func (s *S3Server) TLSConfig() *tls.Config {
	s.t.Helper()
	if s.CAFile == "" {
		return nil
	}
	text, err := os.ReadFile(s.CAFile)
	if err != nil {
		s.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		s.t.Fatalf("no certificate in %s", s.CAFile)
	}
	return &tls.Config{RootCAs: pool}
}

// serverTLS lets a proxy speak with the server's certificate.
func (s *S3Server) serverTLS() *tls.Config {
	s.t.Helper()
	pair, err := tls.LoadX509KeyPair(s.CAFile, s.keyFile())
	if err != nil {
		s.t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}}
}

func (s *S3Server) keyFile() string { return filepath.Join(s.dir, "key.pem") }

// Versitygw is the path of versitygw's program.
func Versitygw(t testing.TB) string {
	t.Helper()
	return serverProgram(t, versitygw.name)
}

// serverProgram is the path of a server's program: the variable of its name, such as
// $VERSITYGW, or else the one that tool.sh builds once for all tests.
func serverProgram(t testing.TB, name string) string {
	t.Helper()
	if program := os.Getenv(strings.ToUpper(name)); program != "" {
		return program
	}
	cmd := exec.Command(filepath.Join(ModuleRoot(t), "internal/testkit/tool.sh"), name)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("build %s: %v: %s", name, err, stderr.Bytes())
	}
	return strings.TrimSpace(string(out))
}

// ModuleRoot is the directory of go.mod above the test's package.
func ModuleRoot(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
	}
	t.Fatal("no go.mod above the working directory")
	return ""
}

// freeAddress is a loopback address that was free a moment ago.
func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// writeCertificate makes a certificate for 127.0.0.1 and names that signs itself.
func writeCertificate(t testing.TB, certFile, keyFile string, names []string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "coldbrick test"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		DNSNames:              names,
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: cert},
		keyFile:  {Type: "PRIVATE KEY", Bytes: secret},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
