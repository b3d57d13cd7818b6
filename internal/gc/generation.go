package gc

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/coldbrick/coldbrick/internal/catalog"
)

// Scan is a catalog, as far as garbage is concerned.
type Scan struct {
	catalog.Manifest
	Begun, Stored time.Time // by the store's clock: before the scan, and after it
	Refs          func(ctx context.Context, visit func(catalog.Ref) error) error
	Tree          func(ctx context.Context, visit func(catalog.Entry) error) error
}

func (p Place) readScans(ctx context.Context, volumeID string) ([]Scan, error) {
	all, err := p.catalogs(volumeID).Find(ctx, p.Dir)
	return scansOf(all), err
}

// catalogs are where those of a volume are.
func (p Place) catalogs(volumeID string) catalog.Place {
	return catalog.Place{Store: p.Store, Prefix: p.Prefix, Volume: volumeID, Secret: p.Secret}
}

func scansOf(all []catalog.Catalog) (scans []Scan) {
	for _, c := range all {
		scans = append(scans, Scan{Manifest: c.Manifest, Begun: c.Time, Stored: c.Stored, Refs: c.Refs, Tree: c.Entries})
	}
	return scans
}

// Generation is one catalog of every brick of a volume, while no file moved from brick
// to brick: a reference that existed all that time is in one of them.
type Generation struct {
	Scans      []Scan
	Begun      time.Time // the earliest marker
	Stored     time.Time // the latest manifest
	Bricks     []string  // HOST:DIR, of those with data
	volumeName string
}

// Generations picks two generations of the catalogs of a volume, oldest first: the
// newest there is, and the newest that was complete a grace before that one began.
func Generations(scans []Scan, now time.Time, grace time.Duration) (older, newer Generation, err error) {
	if newer, err = latest(scans, now); err != nil {
		return older, newer, err
	}
	before := newer.Begun.Add(-grace)
	past := slices.DeleteFunc(slices.Clone(scans), func(s Scan) bool { return s.Stored.After(before) })
	if older, err = newest(past); err != nil {
		return older, newer, fmt.Errorf("of before %s, a grace earlier than the newest: %w", before.UTC().Format(time.DateTime), err)
	}
	return older, newer, nil
}

// latest is the newest generation, which must not be old.
func latest(scans []Scan, now time.Time) (Generation, error) {
	g, err := newest(scans)
	if err != nil {
		return g, err
	}
	if age := now.Sub(g.Begun); age > newestFor || age < -time.Hour {
		return g, fmt.Errorf("its newest complete catalogs are of %s: run coldbrick catalog on every host",
			g.Begun.UTC().Format(time.DateTime))
	}
	return g, nil
}

// newest is the newest generation among the catalogs, or says why the newest ones are
// none.
func newest(scans []Scan) (Generation, error) {
	if len(scans) == 0 {
		return Generation{}, fmt.Errorf("there is no catalog")
	}
	scans = slices.Clone(scans)
	slices.SortStableFunc(scans, func(a, b Scan) int { return a.Begun.Compare(b.Begun) })
	var first error
	for end := len(scans); end > 0; end-- {
		g, err := generationOf(scans[:end])
		if err == nil {
			return g, nil
		}
		if first == nil {
			first = err
		}
	}
	return Generation{}, first
}

// generationOf makes one of the newest catalog of each brick that the last one names.
func generationOf(scans []Scan) (g Generation, err error) {
	last := scans[len(scans)-1]
	byBrick := map[string]Scan{}
	for _, s := range scans {
		byBrick[s.Brick] = s
	}
	g.Bricks, g.volumeName = withData(last.End), last.Name
	for _, brick := range g.Bricks {
		s, ok := byBrick[brick]
		if !ok {
			return g, fmt.Errorf("brick %s has no catalog", brick)
		}
		for _, c := range []catalog.Cluster{s.Begin, s.End} {
			if err := still(last.End, c); err != nil {
				return g, fmt.Errorf("catalog of brick %s: %w", brick, err)
			}
		}
		if g.Begun.IsZero() || s.Begun.Before(g.Begun) {
			g.Begun = s.Begun
		}
		if s.Stored.After(g.Stored) {
			g.Stored = s.Stored
		}
		g.Scans = append(g.Scans, s)
	}
	switch {
	case len(g.Scans) == 0:
		return g, fmt.Errorf("the catalog of brick %s was written without glusterd: which bricks there are is not known", last.Brick)
	case g.Stored.Sub(g.Begun) > generationSpan:
		return g, fmt.Errorf("catalogs of %v apart: write those of all hosts within two days", g.Stored.Sub(g.Begun).Round(time.Hour))
	}
	return g, nil
}

// withData are the bricks that hold references.
func withData(c catalog.Cluster) (bricks []string) {
	for _, brick := range slices.Concat(c.Sets...) {
		if !slices.Contains(c.Arbiters, brick) {
			bricks = append(bricks, brick)
		}
	}
	return bricks
}

// still returns an error unless the volume had the same bricks at two moments, and no
// file moved from one to another at them or between them.
func still(a, b catalog.Cluster) error {
	switch {
	case !a.Asked || !b.Asked:
		return fmt.Errorf("glusterd was not asked")
	case a.Moving || b.Moving:
		return fmt.Errorf("a rebalance or remove-brick moved files")
	case !slices.Equal(a.Moves, b.Moves):
		return fmt.Errorf("a rebalance or remove-brick came between: %s", strings.Join(append(a.Moves, b.Moves...), ", "))
	case !slices.EqualFunc(a.Sets, b.Sets, slices.Equal[[]string]), !slices.Equal(a.Arbiters, b.Arbiters):
		return fmt.Errorf("the volume had other bricks")
	}
	return nil
}
