package main_test

import (
	"slices"
	"testing"
	"time"

	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/testkit"
	"github.com/coldbrick/coldbrick/internal/volume"
)

// What doctor --client says of mounts with all caches on: the guard makes them safe,
// with a store or without, and nobody asks the store.
func TestDoctorKnowsAGuardedClient(t *testing.T) {
	t.Parallel()
	g := newGround(t, testkit.Replica(3))
	long := testkit.WithTimeouts(time.Hour, time.Hour)
	for name, tt := range map[string]struct {
		mount string
		unfit []string
	}{
		"guarded":    {g.client(testkit.WithPerformance(), long), nil},
		"guard only": {g.NewMount(t, testkit.WithPlugin("cloudsyncs3"), testkit.WithPerformance(), long), nil},
		"guard off": {g.clientWith("&guard=off", testkit.WithPerformance(), long),
			[]string{volume.CheckClientCaches, volume.CheckClientProbe}},
	} {
		m, err := volume.Inspect(tt.mount)
		if err != nil {
			t.Fatal(err)
		}
		checks, err := m.CheckClient(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var unfit []string
		for _, c := range checks {
			if c.Verdict == outcome.Bad {
				unfit = append(unfit, c.Name)
			}
		}
		if !slices.Equal(unfit, tt.unfit) {
			t.Errorf("%s: %v fail, want %v: %+v", name, unfit, tt.unfit, checks)
		}
	}
	if asked := g.proxy.Requests(testkit.Match{}); len(asked) > 0 {
		t.Errorf("the store was asked: %v", asked)
	}
}
