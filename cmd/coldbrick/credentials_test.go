package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/testkit"
)

// What credentials that can only read may not do is named, by archive before any
// file is touched, and by doctor.
func TestReadOnlyCredentialsEndARunWithTheCause(t *testing.T) {
	v, s := testkit.NewVolume(t), testkit.S3(t)
	s.Setenv(t)
	v.Write("a", []byte("x"), testkit.Old)
	proxy := testkit.FaultProxy(t, s)
	for _, method := range []string{http.MethodPut, http.MethodPost, http.MethodDelete} {
		proxy.On(testkit.Match{Method: method}, testkit.Refuse(403, "AccessDenied"))
	}
	store := []string{"--endpoint-url", proxy.Endpoint, "--bucket", s.Bucket, "--state-dir", t.TempDir()}
	_, code, stderr := inBackground(t, append([]string{"archive", "--mount", v.MountDir(), v.BrickDir()}, store...)...)
	if got := <-code; got != 12 || !strings.Contains(stderr.String(), "PutObject") || !strings.Contains(stderr.String(), `bucket "`+s.Bucket+`"`) {
		t.Errorf("exit code %d, want 12, and says %q", got, stderr)
	}
	if state := v.BrickMarks("a").State(v.BrickSize("a")); state != gluster.Local {
		t.Errorf("the file is %s", state)
	}
	_, code, _ = inBackground(t, append([]string{"doctor", "--mount", v.MountDir(), "--brick", v.BrickDir()}, store...)...)
	if got := <-code; got != 13 {
		t.Errorf("doctor: exit code %d, want 13", got)
	}
}
