package catalog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/coldbrick/coldbrick/internal/objstore"
)

// Catalog is a catalog with a valid manifest.
type Catalog struct {
	Manifest
	// Times of the objects that were written before the scan and after it, by the
	// store's clock.
	Time, Stored time.Time

	place Place
	dir   string
}

// Find lists the catalogs of a volume that have a valid manifest, oldest first. Parts
// without a manifest are left of scans that failed or go on, and are passed over;
// what has a manifest and is not valid is an error. dir is for what is fetched.
func (p Place) Find(ctx context.Context, dir string) ([]Catalog, error) {
	begun, stored := map[string]time.Time{}, map[string]time.Time{}
	top := p.key("", "")
	err := p.Store.List(ctx, top, func(o objstore.Listed) error {
		scan, part, _ := strings.Cut(strings.TrimPrefix(o.Key, top), "/")
		switch part {
		case beginPart:
			begun[scan] = o.Modified
		case manifestPart:
			stored[scan] = o.Modified
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var all []Catalog
	for scan, end := range stored {
		at, ok := begun[scan]
		if !ok {
			return nil, fmt.Errorf("%s: %w: the object is missing that was written before the scan", p.key(scan, manifestPart), ErrInvalid)
		}
		m, err := p.manifest(ctx, scan)
		if errors.Is(err, fs.ErrNotExist) { // deleted in the meantime
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, Catalog{Manifest: m, Time: at, Stored: end, place: p, dir: dir})
	}
	slices.SortFunc(all, func(a, b Catalog) int { return a.Time.Compare(b.Time) })
	return all, nil
}

// manifest reads the manifest of a scan.
func (p Place) manifest(ctx context.Context, scan string) (Manifest, error) {
	key := p.key(scan, manifestPart)
	sealed, err := objstore.ReadSmall(ctx, p.Store, key)
	if err != nil {
		return Manifest{}, fmt.Errorf("%s: %w", key, err)
	}
	text, err := objstore.Unseal(p.Secret, key, sealed)
	if err != nil {
		return Manifest{}, fmt.Errorf("%s: %w: %w", key, ErrInvalid, err)
	}
	var m Manifest
	d := json.NewDecoder(bytes.NewReader(text))
	if err := d.Decode(&m); err != nil {
		return Manifest{}, fmt.Errorf("%s: %w: %w", key, ErrInvalid, err)
	}
	if m.Kind != manifestKind || m.Format != Format || m.Volume != p.Volume || m.Scan != scan || m.Prefix != p.Prefix {
		return Manifest{}, fmt.Errorf("%s: %w: format %d, volume %q, scan %q", key, ErrInvalid, m.Format, m.Volume, m.Scan)
	}
	return m, nil
}

// Refs visits every key that a file of the brick refers to, in order. Nothing is
// visited unless the part has the checksum of the manifest; the visits count only if
// the error is nil.
func (c Catalog) Refs(ctx context.Context, visit func(Ref) error) error {
	part, err := fetch(ctx, c.place.Store, c.dir, c.place.key(c.Scan, refsPart), c.Manifest.Refs)
	if err != nil {
		return err
	}
	defer part.file.Close()
	first, last := true, Bytes("")
	return eachLine(ctx, part, func(r Ref) error {
		if !first && r.Key <= last {
			return part.invalid("its keys are out of order")
		}
		first, last = false, r.Key
		return visit(r)
	})
}

// Entries visits the entries of the tree once.
func (c Catalog) Entries(ctx context.Context, visit func(Entry) error) error {
	t, err := c.FetchTree(ctx)
	if err != nil {
		return err
	}
	return errors.Join(t.Tree(ctx, visit), t.Close())
}

// FetchTree brings the tree of the brick to this host, to be read several times.
func (c Catalog) FetchTree(ctx context.Context) (*Tree, error) {
	part, err := fetch(ctx, c.place.Store, c.dir, c.place.key(c.Scan, treePart), c.Tree)
	if err != nil {
		return nil, err
	}
	return &Tree{part}, nil
}

// Tree is the tree of a brick, on this host and proven to be what the manifest says.
type Tree struct{ part *fetched }

// Tree visits the entries, directories before what is in them.
func (t *Tree) Tree(ctx context.Context, visit func(Entry) error) error {
	return eachLine(ctx, t.part, visit)
}

// Close removes the tree from this host.
func (t *Tree) Close() error { return t.part.file.Close() }

// sameDays is how far apart catalogs of the bricks of a replica set may be to be of one
// state of it.
const sameDays = 48 * time.Hour

// Newest picks those catalogs that together have the newest tree: of each replica set of
// the volume, as the newest catalog that was written with glusterd knows them, the newest
// of any of its bricks. While a heal was pending a brick may have lacked names, as one does
// that was just replaced: then, of the set's last two days, the one with the most counts. A
// brick that is not part of the volume any more has given its files to others. missing are
// the sets without a catalog, brick by brick: what was on them will not be found.
func Newest(all []Catalog) (newest []Catalog, missing []string) {
	byBrick := map[string]Catalog{}
	var sets [][]string
	for _, c := range all { // oldest first
		byBrick[c.Brick] = c
		if c.End.Asked {
			sets = c.End.Sets
		}
	}
	if sets == nil {
		for brick := range byBrick {
			sets = append(sets, []string{brick})
		}
	}
	for _, set := range sets {
		var of []Catalog
		for _, brick := range set {
			if c, ok := byBrick[brick]; ok {
				of = append(of, c)
			}
		}
		if len(of) == 0 {
			missing = append(missing, set...)
			continue
		}
		slices.SortFunc(of, func(a, b Catalog) int { return b.Time.Compare(a.Time) })
		best := of[0]
		if best.Healing() {
			for _, c := range of {
				if of[0].Time.Sub(c.Time) <= sameDays && c.Counts.names() > best.Counts.names() {
					best = c
				}
			}
		}
		newest = append(newest, best)
	}
	slices.SortFunc(newest, func(a, b Catalog) int { return strings.Compare(a.Brick, b.Brick) })
	return newest, missing
}

// names is how many names a scan saw.
func (c Counts) names() int64 { return c.Directories + c.Files + c.Stubs + c.Others }

// Healing reports whether heals were pending, or the brick down, while a catalog was
// written: it may lack some files.
func (m Manifest) Healing() bool {
	for _, c := range []Cluster{m.Begin, m.End} {
		if c.Healing > 0 || slices.Contains(c.Down, m.Brick) {
			return true
		}
	}
	return false
}

// Moved reports whether a rebalance or a remove-brick moved files while a catalog was
// written: it may lack some.
func (m Manifest) Moved() bool {
	return m.Begin.Moving || m.End.Moving || !slices.Equal(m.Begin.Moves, m.End.Moves)
}
