//go:build qualify

package s3

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"os"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/coldbrick/coldbrick/internal/objstore/storetest"
	"github.com/coldbrick/coldbrick/internal/testkit"
)

// The server under test is a MinIO, or the one of these variables; the others of the
// AWS chain give its credentials.
const (
	endpointEnv = "COLDBRICK_TEST_ENDPOINT"
	bucketEnv   = "COLDBRICK_TEST_BUCKET"
)

// What the probe sees is printed: it is a line of docs/stores.md.
func TestAnotherServerKeepsTheContract(t *testing.T) {
	options := map[string]string{
		"endpoint-url": os.Getenv(endpointEnv), "bucket": cmp.Or(os.Getenv(bucketEnv), "cold"),
		"part-size": fmt.Sprint(storetest.PartSize), "key-prefix": "coldbrick-test/",
	}
	if options["endpoint-url"] == "" {
		server := testkit.MinIO(t)
		options = optionsOf(server, server.Endpoint)
	}
	able, err := newS3(t, options).Probe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("conditional put %v, completion %v; checksum verified %v, returned %v, of parts %v; left behind: %d",
		able.PutConditional, able.CompleteConditional, able.ChecksumVerified, able.ChecksumReturned, able.FullObjectMultipart, len(able.LeftBehind))
	storetest.Run(t, func(t *testing.T) storetest.Store {
		s := newS3(t, options)
		if _, err := s.Probe(t.Context()); err != nil {
			t.Fatal(err)
		}
		return s
	})
	left, err := newS3(t, options).ListUploads(t.Context(), "")
	if err != nil || len(left) != 0 {
		t.Errorf("uploads left behind: %v, %v", left, err)
	}
}

// The same as in TestABucketMayEncryptByDefault, on a server that does encrypt.
func TestMinIOEncryptsByDefault(t *testing.T) {
	for name, rule := range map[string]types.ServerSideEncryptionByDefault{
		"SSE-S3":  {SSEAlgorithm: types.ServerSideEncryptionAes256},
		"SSE-KMS": {SSEAlgorithm: types.ServerSideEncryptionAwsKms, KMSMasterKeyID: new("test-key")},
	} {
		t.Run(name, func(t *testing.T) {
			server := testkit.MinIO(t)
			s := newS3(t, optionsOf(server, server.Endpoint))
			n := s.current.Load()
			if _, err := n.client.PutBucketEncryption(t.Context(), &s3.PutBucketEncryptionInput{
				Bucket: &n.bucket, ServerSideEncryptionConfiguration: &types.ServerSideEncryptionConfiguration{
					Rules: []types.ServerSideEncryptionRule{{ApplyServerSideEncryptionByDefault: &rule}},
				},
			}); err != nil {
				t.Fatal(err)
			}
			able, err := s.Probe(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%+v", able)
			mustKeep(t, s)
			for kind := range sizes {
				out, err := n.client.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &n.bucket, Key: &kind})
				if err != nil || out.ServerSideEncryption != rule.SSEAlgorithm {
					t.Errorf("%s is encrypted by %q, %v", kind, out.ServerSideEncryption, err)
				}
			}
		})
	}
}

// mustKeep archives an object of each kind, and looks at it.
func mustKeep(t *testing.T, s *Store) {
	t.Helper()
	for kind, size := range sizes {
		body := storetest.Bytes(1, size)
		if _, err := createBytes(t, s, kind, body); err != nil {
			t.Fatal(err)
		}
		if got, err := downloadBytes(t, s, kind); err != nil || !bytes.Equal(got, body) {
			t.Errorf("%s: %d bytes came back, %v", kind, len(got), err)
		}
	}
}

// Temporary credentials, given by a server that refuses them without their token.
func TestMinIOTakesSessionTokens(t *testing.T) {
	server := testkit.MinIO(t)
	client := sts.New(sts.Options{
		Region: server.Region, BaseEndpoint: &server.Endpoint,
		Credentials: credentials.NewStaticCredentialsProvider(server.AccessKey, server.SecretKey, ""),
	})
	var answer *sts.AssumeRoleOutput
	testkit.Eventually(t, time.Minute, "the server gives credentials", func() (ok bool) { // later than it serves objects
		var err error
		answer, err = client.AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: new("arn:x:ignored:by:minio:"), RoleSessionName: new("test")})
		return err == nil
	})
	given := answer.Credentials
	options := optionsOf(server, server.Endpoint)
	maps.Copy(options, map[string]string{"access-key-id": *given.AccessKeyId, "secret-access-key": *given.SecretAccessKey})
	if _, err := newS3(t, options).Probe(t.Context()); err == nil {
		t.Fatal("the server does not need the token")
	}
	mustKeep(t, newS3(t, options, "session-token", *given.SessionToken))
}

func TestMinIOIsAddressedByHost(t *testing.T) {
	server := testkit.MinIO(t, testkit.WithDomain("s3.test"))
	s := newS3(t, optionsOf(server, "http://s3.test"), "path-style", "false")
	dialing(t, s, address(server.Endpoint))
	mustKeep(t, s)
}
