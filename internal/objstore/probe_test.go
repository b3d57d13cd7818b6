package objstore

import (
	"testing"

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
