package main_test

import (
	"strings"
	"testing"
	"time"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/testkit"
)

// vouches are what clients have left on the root of the volume, as its brick has it.
func (g *ground) vouches() (values []string) {
	g.t.Helper()
	for name, value := range testkit.Xattrs(g.t, g.BrickDir()) {
		if strings.HasPrefix(name, gluster.XattrVouch) {
			values = append(values, value)
		}
	}
	return values
}

// A client vouches if and only if it has the guard, and whether or not it can recall.
func TestAClientVouchesForItsGuard(t *testing.T) {
	none, on, only := newGround(t), newGround(t, testkit.Replica(3)), newGround(t)
	none.clientWith("&guard=off")
	none.NewMount(t) // no storetype
	on.client(testkit.WithPerformance())
	only.NewMount(t, testkit.WithPlugin("cloudsyncs3"))
	for _, g := range []*ground{on, only} {
		var values []string
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
