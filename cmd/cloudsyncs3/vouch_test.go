package main_test

import (
	"bytes"
	"maps"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/testkit"
)

// vouches are what clients have left on the root of the volume, as its brick has it.
func (g *ground) vouches() map[string]string {
	g.t.Helper()
	all := testkit.Xattrs(g.t, g.BrickDir())
	maps.DeleteFunc(all, func(name, _ string) bool { return !strings.HasPrefix(name, gluster.XattrVouch) })
	return all
}

// A client vouches if and only if it has the guard, and whether or not it can recall.
func TestAClientVouchesForItsGuard(t *testing.T) {
	t.Parallel()
	none, on, only := newGround(t), newGround(t, testkit.Replica(3)), newGround(t)
	none.clientWith("&guard=off")
	none.NewMount(t) // no storetype
	on.client(testkit.WithPerformance())
	only.NewMount(t, testkit.WithPlugin("cloudsyncs3"))
	for _, g := range []*ground{on, only} {
		var values map[string]string
		testkit.Eventually(t, time.Minute, "a vouch", func() bool {
			values = g.vouches()
			return len(values) > 0
		})
		for _, value := range values {
			v, err := gluster.ParseVouch([]byte(value))
			if err != nil || v.Guard != "1" || !v.Fresh(time.Now()) {
				t.Errorf("%q: %+v, %v", value, v, err)
			}
		}
	}
	// Those without a guard have been there for longer.
	if values := none.vouches(); len(values) > 0 {
		t.Errorf("without a guard: %q", values)
	}
}

// A program that uses gfapi is a client like others.
func TestAnApplicationOfGfapiVouches(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	client := g.client()
	g.archive("a", "a", []byte("data"))
	testkit.Eventually(t, time.Minute, "a vouch of the mount", func() bool { return len(g.vouches()) > 0 })
	for name := range g.vouches() { // the mount looks again in an hour
		if err := unix.Removexattr(client, name); err != nil {
			t.Fatal(err)
		}
	}
	gate := testkit.NewGate() // the program lives until it has its data
	t.Cleanup(gate.Open)
	g.proxy.On(testkit.Match{}, gate.Hold(nil))
	cmd := exec.Command(g.gfapi("gfapi"), filepath.Join(g.Dir(), "run", filepath.Base(client)+".vol"), "a")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 30*time.Second, "a vouch of the program", func() bool { return len(g.vouches()) > 0 })
	gate.Open()
	if err := cmd.Wait(); err != nil || out.String() != "data" {
		t.Errorf("%v: %q", err, out.String())
	}
}
