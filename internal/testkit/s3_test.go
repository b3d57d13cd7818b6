package testkit_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"github.com/coldbrick/coldbrick/internal/testkit"
)

// client is an S3 client that tries once.
func client(server *testkit.S3Server, endpoint, secret string) *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint: aws.String(endpoint),
		Region:       server.Region,
		Credentials:  credentials.NewStaticCredentialsProvider(server.AccessKey, secret, ""),
		HTTPClient:   &http.Client{Transport: &http.Transport{TLSClientConfig: server.TLSConfig()}},
		Retryer:      aws.NopRetryer{},
		UsePathStyle: true,
	})
}

func put(c *s3.Client, key, body string) error {
	_, err := c.PutObject(context.Background(), &s3.PutObjectInput{
		Bucket: aws.String("cold"), Key: aws.String(key), Body: strings.NewReader(body),
		IfNoneMatch: aws.String("*"), ChecksumAlgorithm: types.ChecksumAlgorithmCrc32,
	})
	return err
}

func get(c *s3.Client, key string) (string, error) {
	out, err := c.GetObject(context.Background(), &s3.GetObjectInput{Bucket: aws.String("cold"), Key: aws.String(key)})
	if err != nil {
		return "", err
	}
	defer out.Body.Close()
	body, err := io.ReadAll(out.Body)
	return string(body), err
}

func code(err error) string {
	if e, ok := errors.AsType[smithy.APIError](err); ok {
		return e.ErrorCode()
	}
	return "none"
}

func TestS3ServerIsReal(t *testing.T) {
	for name, options := range map[string][]testkit.S3Option{"http": nil, "https": {testkit.WithTLS()}} {
		t.Run(name, func(t *testing.T) {
			server := testkit.S3(t, options...)
			proxy := testkit.FaultProxy(t, server)
			const key = "a dir/odd+name %2F \"quotes\"\nx"
			for _, endpoint := range []string{server.Endpoint, proxy.Endpoint} {
				c := client(server, endpoint, server.SecretKey)
				if err := put(c, key+endpoint, "body"); err != nil {
					t.Fatal(err)
				}
				if body, err := get(c, key+endpoint); body != "body" || err != nil {
					t.Errorf("got %q, %v", body, err)
				}
				if err := put(c, key+endpoint, "another"); code(err) != "PreconditionFailed" {
					t.Errorf("overwriting: %v", err)
				}
				// Not a put: the server answers before it has read a body, and the
				// connection may be reset before that answer was read.
				if _, err := get(client(server, endpoint, "wrong"), key+endpoint); code(err) != "SignatureDoesNotMatch" {
					t.Errorf("wrong secret: %v", err)
				}
			}
			if data, err := os.ReadFile(server.ObjectFile(key + proxy.Endpoint)); string(data) != "body" {
				t.Errorf("object file: %q, %v", data, err)
			}
			for _, r := range proxy.Requests(testkit.Match{Key: key + proxy.Endpoint}) {
				if r.Status == 0 || r.Header.Get("Authorization") != "" {
					t.Errorf("noted: %+v", r)
				}
			}
			if n := len(proxy.Requests(testkit.Match{Method: "PUT", Header: []string{"If-None-Match"}})); n != 2 {
				t.Errorf("%d conditional requests noted, not 2", n)
			}
		})
	}
}

func TestS3ServerComesBackWithItsObjects(t *testing.T) {
	server := testkit.S3(t)
	c := client(server, server.Endpoint, server.SecretKey)
	if err := put(c, "k", "body"); err != nil {
		t.Fatal(err)
	}
	server.Stop()
	if _, err := get(c, "k"); err == nil {
		t.Error("a stopped server answers")
	}
	server.Start()
	if body, err := get(c, "k"); body != "body" || err != nil {
		t.Errorf("got %q, %v", body, err)
	}
}

func TestFaultProxy(t *testing.T) {
	server := testkit.S3(t)
	proxy := testkit.FaultProxy(t, server)
	direct := client(server, server.Endpoint, server.SecretKey)
	c := client(server, proxy.Endpoint, server.SecretKey)
	if err := put(direct, "k", "the body of k"); err != nil {
		t.Fatal(err)
	}
	reset := func() { proxy.Clear() }

	t.Run("refuses what it is told to and nothing else", func(t *testing.T) {
		defer reset()
		proxy.On(testkit.Match{Method: "GET", Key: "k", Skip: 1, Times: 1}, testkit.Refuse(503, "SlowDown"))
		var got []string
		for range 3 {
			_, err := get(c, "k")
			got = append(got, code(err))
		}
		if want := "none SlowDown none"; strings.Join(got, " ") != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
	t.Run("a lost reply leaves the object", func(t *testing.T) {
		defer reset()
		proxy.On(testkit.Match{Method: "PUT"}, testkit.LoseReply())
		if err := put(c, "lost", "arrived"); err == nil {
			t.Error("the client got an answer")
		}
		if body, err := get(direct, "lost"); body != "arrived" || err != nil {
			t.Errorf("got %q, %v", body, err)
		}
		if r := proxy.Requests(testkit.Match{Key: "lost"}); len(r) != 1 || r[0].Status != 0 {
			t.Errorf("noted: %+v", r)
		}
	})
	t.Run("a dropped request does not", func(t *testing.T) {
		defer reset()
		proxy.On(testkit.Match{Method: "PUT"}, testkit.Drop())
		if err := put(c, "dropped", "x"); err == nil {
			t.Error("the client got an answer")
		}
		if _, err := get(direct, "dropped"); code(err) != "NoSuchKey" {
			t.Errorf("stored: %v", err)
		}
	})
	t.Run("cuts bodies", func(t *testing.T) {
		defer reset()
		proxy.On(testkit.Match{Method: "GET"}, testkit.CutBody(5))
		if body, err := get(c, "k"); body != "the b" || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("got %q, %v", body, err)
		}
	})
	t.Run("answers wrong bytes of the right length", func(t *testing.T) {
		defer reset()
		proxy.On(testkit.Match{Method: "GET"}, testkit.WrongBody())
		if body, err := get(c, "k"); len(body) != len("the body of k") || bytes.ContainsRune([]byte(body), 'k') || err != nil {
			t.Errorf("got %q, %v", body, err)
		}
	})
	t.Run("answers wrong headers", func(t *testing.T) {
		defer reset()
		proxy.On(testkit.Match{Method: "GET"}, testkit.WrongHeader("ETag", `"wrong"`))
		out, err := c.GetObject(context.Background(), &s3.GetObjectInput{Bucket: aws.String("cold"), Key: aws.String("k")})
		if err != nil || *out.ETag != `"wrong"` {
			t.Errorf("got %v, %v", out, err)
		}
	})
	t.Run("hangs until the client gives up", func(t *testing.T) {
		defer reset()
		proxy.On(testkit.Match{Method: "GET"}, proxy.Hang())
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		_, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String("cold"), Key: aws.String("k")})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("makes the server overwrite", func(t *testing.T) {
		defer reset()
		const key = "odd + name/%2F"
		if err := put(direct, key, "old"); err != nil {
			t.Fatal(err)
		}
		proxy.On(testkit.Match{Method: "PUT"}, proxy.IgnoreHeader("If-None-Match"))
		if err := put(c, key, "new"); err != nil {
			t.Fatal(err)
		}
		if body, err := get(direct, key); body != "new" || err != nil {
			t.Errorf("got %q, %v", body, err)
		}
	})
}
