package catalog

import (
	"context"
	"fmt"

	"github.com/coldbrick/coldbrick/internal/volume"
)

// AskCluster asks glusterd of this host about a volume.
func AskCluster(ctx context.Context, name string) (Cluster, error) {
	v, err := volume.Discover(ctx, name)
	if err != nil {
		return Cluster{}, err
	}
	moves, err := volume.Moves(ctx, name)
	if err != nil {
		return Cluster{}, err
	}
	clones, err := volume.Clones(ctx)
	if err != nil {
		return Cluster{}, err
	}
	c := Cluster{Asked: true, Snapshots: v.SnapshotCount, Clones: clones}
	for _, set := range v.Sets() {
		var names []string
		for _, b := range set {
			names = append(names, b.Name())
			if b.Arbiter {
				c.Arbiters = append(c.Arbiters, b.Name())
			}
			if !v.Status.Online(b) {
				c.Down = append(c.Down, b.Name())
			}
		}
		c.Sets = append(c.Sets, names)
	}
	for _, h := range v.Heals {
		c.Healing += h.Pending + h.SplitBrain
		if !h.Connected {
			c.Down = append(c.Down, h.Brick)
		}
	}
	for _, t := range moves {
		c.Moves = append(c.Moves, fmt.Sprintf("%s %s %s", t.Type, t.ID, t.Text))
		c.Moving = c.Moving || t.Busy()
	}
	return c, nil
}
