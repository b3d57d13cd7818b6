package s3

import (
	"fmt"
	"maps"
	"testing"

	"github.com/coldbrick/coldbrick/internal/objstore/storetest"
	"github.com/coldbrick/coldbrick/internal/testkit"
)

// optionsOf lets a store use the server, through another endpoint if one is
// given.
func optionsOf(server *testkit.S3Server, endpoint string) map[string]string {
	return map[string]string{
		"bucket":            server.Bucket,
		"endpoint-url":      endpoint,
		"access-key-id":     server.AccessKey,
		"secret-access-key": server.SecretKey,
		"ca-bundle":         server.CAFile,
		"part-size":         fmt.Sprint(storetest.PartSize),
	}
}

func newS3(t testing.TB, options map[string]string, extra ...string) *Store {
	t.Helper()
	options = maps.Clone(options)
	for i := 0; i < len(extra); i += 2 {
		options[extra[i]] = extra[i+1]
	}
	s := &Store{attempts: 4}
	if err := s.Init(t.Context(), options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Fini(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestS3KeepsTheContract(t *testing.T) {
	for scheme, opts := range map[string][]testkit.S3Option{"http": nil, "https": {testkit.WithTLS()}} {
		t.Run(scheme, func(t *testing.T) {
			server := testkit.S3(t, opts...)
			storetest.Run(t, func(t *testing.T) storetest.Store {
				s := newS3(t, optionsOf(server, server.Endpoint))
				if _, err := s.Probe(t.Context()); err != nil {
					t.Fatal(err)
				}
				return s
			})
		})
	}
}
