package run

import (
	"log/slog"
	"os"
	"testing"

	"github.com/coldbrick/coldbrick/internal/testkit"
	"github.com/coldbrick/coldbrick/internal/volume"
)

// Mounts are made at once with all that can fail beside them.
func TestNoPrivateMountStaysWhereANeighbourFails(t *testing.T) {
	v := testkit.NewVolume(t)
	mount, err := volume.Inspect(v.MountDir())
	if err != nil {
		t.Fatal(err)
	}
	mount.RunDir = t.TempDir()
	gone := func() {
		t.Helper()
		left, err := os.ReadDir(mount.RunDir)
		if err != nil || len(left) > 0 {
			t.Fatalf("left behind: %v, %v", left, err)
		}
	}

	s := &Session{UI: &listener{}, Log: slog.New(slog.DiscardHandler), Stop: NewStopper(t.Context(), nil, nil)}
	s.Store = StoreSettings{Name: "s3", Options: map[string]string{"bucket": "b", "part-size": "none"}}
	if _, err := s.openGround(t.Context(), mount, nil, true, true); EndOf(err) != EndUsage {
		t.Errorf("a store that cannot be opened: %v", err)
	}
	gone()
}
