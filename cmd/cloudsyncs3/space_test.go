package main_test

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/testkit"
)

// cloudsync itself leaves such a request without an answer when it cannot recall.
func TestSpaceAndHolesOfAStubAreAlwaysAnswered(t *testing.T) {
	t.Parallel()
	g := newGround(t, testkit.Replica(3))
	client, limited, remote := g.client(), g.clientWith("&recall-limit=1KiB"), g.remote("")
	data := random(1, 4096)
	zeroed := append(append(bytes.Clone(data[:100]), make([]byte, 100)...), data[200:]...)
	operations := map[string][]byte{ // what a file has then
		"fallocate": append(bytes.Clone(data), make([]byte, 4096)...),
		"discard":   zeroed,
		"zerofill":  zeroed,
		"data":      nil,
		"hole":      nil,
	}
	const claimed, remotely = "-claimed", "-remote"
	for operation := range operations {
		for _, path := range []string{operation, operation + claimed, operation + remotely} {
			g.archive(path, path, data)
		}
		g.claim(operation + claimed)
	}

	const no = ": Object is remote\n"
	g.proxy.On(testkit.Match{Method: http.MethodGet}, testkit.Refuse(403, "AccessDenied"))
	failing := map[string]string{"fallocate": no, "discard": no, "zerofill": no, "data": ": 10\n", "hole": ": 4096\n"}
	g.space(client, "", failing)
	g.space(client, claimed, failing)
	// Without the guard, as in a client whose library is not for its glusterfs.
	g.space(g.clientWith("&guard=off"), "", map[string]string{"fallocate": no, "discard": no, "zerofill": no, "data": no, "hole": no})
	g.proxy.Clear()
	g.space(limited, "", failing)
	for operation := range operations {
		g.mustBeStub(operation)
		if m := g.BrickMarks(operation + claimed); m.Remote || !m.Downloading || g.BrickSize(operation+claimed) != 0 {
			t.Errorf("%s has changed a file that coldbrick recall has claimed: %+v", operation, m)
		}
	}

	good := map[string]string{"fallocate": ": 0\n", "discard": ": 0\n", "zerofill": ": 0\n", "data": ": 10\n", "hole": ": 4096\n"}
	g.space(client, "", good)
	g.space(remote, remotely, good)
	for operation, want := range operations {
		for _, path := range []string{operation, operation + remotely} {
			if want == nil {
				g.mustBeStub(path)
				continue
			}
			// What changes a file recalls it, also where reads are remote.
			got, err := os.ReadFile(g.BrickPath(path))
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s: the brick has %d bytes, %d expected, or others: %v", path, len(got), len(want), err)
			}
		}
	}
}

// space asks an application of gfapi, which can be killed if nobody answers it. want is
// by operation; a path is the operation with a suffix.
func (g *ground) space(mount, suffix string, want map[string]string) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), 2*time.Minute)
	defer cancel()
	args, lines := []string{filepath.Join(g.Dir(), "run", filepath.Base(mount)+".vol")}, ""
	for operation, answer := range want {
		args = append(args, operation+suffix, operation)
		lines += operation + " " + operation + suffix + answer
	}
	out, err := exec.CommandContext(ctx, g.gfapi("space"), args...).CombinedOutput()
	if err != nil || string(out) != lines {
		g.t.Errorf("answered: %v\n%swant:\n%s%s", err, out, lines, g.clientLog(mount))
	}
}

// claim makes a file one that coldbrick recall has taken over.
func (g *ground) claim(path string) {
	g.t.Helper()
	testkit.SetXattr(g.t, g.Path(path), gluster.XattrDownload, "1")
	if err := unix.Lremovexattr(g.Path(path), gluster.XattrRemote); err != nil {
		g.t.Fatal(err)
	}
}
