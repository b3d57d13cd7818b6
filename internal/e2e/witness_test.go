//go:build e2e

package e2e

import (
	"testing"

	"github.com/coldbrick/coldbrick/internal/testkit/cluster"
)

// TestNothingIsTakenForChangedThatIsNot archives files right after they were
// written and aged: replicate ends its transactions a moment after it has answered,
// which changes the bricks' files once more.
func TestNothingIsTakenForChangedThatIsNot(t *testing.T) {
	for name, layout := range map[string]cluster.Layout{"unchanged-replica3": cluster.Replica3, "unchanged-arbiter": cluster.Arbiter} {
		t.Run(name, func(t *testing.T) {
			g := newGround(t)
			v := g.newVolume(t, name, layout, 3)
			want := v.fill(400)
			n := v.Bricks[0].Node
			r := run(t, n, 0, "archive", "--volume", v.Name)
			for _, rec := range r.records {
				if rec.Type != "summary" {
					continue
				}
				t.Logf("%d files: %v, skipped: %v", len(want), rec.Files, rec.Skipped)
				if rec.Skipped["changed"] > 0 || rec.Skipped["heal-pending"] > 0 {
					t.Error("nobody has changed a file")
				}
			}
			v.allArchived()
		})
	}
}
