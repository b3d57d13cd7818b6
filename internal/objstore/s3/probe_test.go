package s3

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/testkit"
)

func TestProbeFindsWhatTheServerCanDo(t *testing.T) {
	server := testkit.S3(t)
	able, err := newS3(t, optionsOf(server, server.Endpoint)).Probe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !able.PutConditional || !able.CompleteConditional || !able.ChecksumVerified || !able.ChecksumReturned || !able.FullObjectMultipart {
		t.Errorf("versitygw can do all, the probe says %+v", able)
	}
	if len(able.LeftBehind) != 0 {
		t.Errorf("left behind: %q", able.LeftBehind)
	}
}

// Credentials that can only read fail nothing but the writes.
func TestCredentialsThatCanOnlyReadAreNamed(t *testing.T) {
	server := testkit.S3(t)
	proxy := testkit.FaultProxy(t, server)
	for _, method := range []string{http.MethodPut, http.MethodPost, http.MethodDelete} {
		proxy.On(testkit.Match{Method: method}, testkit.Refuse(403, "AccessDenied"))
	}
	_, err := newS3(t, optionsOf(server, proxy.Endpoint)).Probe(t.Context())
	if !errors.Is(err, object.ErrStore) || !strings.Contains(err.Error(), "PutObject") || !strings.Contains(err.Error(), server.Bucket) {
		t.Errorf("%v", err)
	}
}

// A kept probe is of this endpoint, bucket, prefix and key alone.
func TestAnAccountIsWhatAProbeHoldsFor(t *testing.T) {
	server := testkit.S3(t)
	account := func(extra ...string) string {
		t.Helper()
		name, err := newS3(t, optionsOf(server, server.Endpoint), extra...).Account(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return name
	}
	own := account()
	if account() != own || account("jobs", "3") != own || account("secret-access-key", "renewed") != own {
		t.Error("one account has two names")
	}
	for _, extra := range [][]string{
		{"endpoint-url", server.Endpoint + "/x"}, {"bucket", "other"}, {"key-prefix", "p/"}, {"access-key-id", "other"}, {"region", "eu-1"},
	} {
		if account(extra...) == own {
			t.Errorf("%q has the same name", extra)
		}
	}
	if strings.Contains(own, server.AccessKey) {
		t.Error("the name tells the key id")
	}
	withoutAWS(t)
	if _, err := newS3(t, optionsOf(server, server.Endpoint), "access-key-id", "", "secret-access-key", "").Account(t.Context()); !errors.Is(err, object.ErrStore) {
		t.Errorf("without credentials: %v", err)
	}
}
