package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/coldbrick/coldbrick/internal/catalog"
	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/objstore"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/rebuild"
	"github.com/coldbrick/coldbrick/internal/report"
	"github.com/coldbrick/coldbrick/internal/volume"
)

// Rebuild makes the tree of the volume From, which is lost, in the one that Volume or
// Mount names. If From is that volume itself, it brings back what was deleted below Under.
func Rebuild(ctx context.Context, s *Session) error {
	return s.Finish("rebuild", outcome.Rebuilt, makeAnew(ctx, s))
}

func makeAnew(ctx context.Context, s *Session) (err error) {
	ctx, stop := s.drains(ctx) // it can be cut anywhere
	defer stop()
	defer func() { err = causeOf(ctx, err) }()
	place, err := s.place("")
	if err != nil {
		return err
	}
	if s.From != "" {
		from, err := gluster.ParseGFID(s.From)
		if err != nil {
			return Usagef("--from: %q is not the id of a volume", s.From)
		}
		place.Volume = from.String()
	}
	s.UI.Doing(askingGlusterd)
	scope, own, err := s.scopeOfRebuild(ctx)
	if err != nil {
		return err
	}
	place.Volume = cmp.Or(place.Volume, own)
	if s.NoCatalog && own == place.Volume {
		return Usagef("--without-catalog: write --from ID, of a volume that is lost")
	}
	if own == place.Volume && s.Under == "" {
		return Usagef("--from: %s is this volume itself: write --under DIR to bring back what was deleted in it, or --from ID to rebuild another one", own)
	}
	checks := scope.checks()
	if err := volume.Unsafe(checks); err != nil {
		return err
	}
	clients := scope.unguarded(ctx) // they would take the new stubs for empty files
	if err := volume.Unsafe(clients); err != nil {
		return err
	}
	warn(s.Log, append(checks, clients...))
	if err := s.Store.check(scope.mount, scope.bricks); err != nil {
		return err
	}
	s.UI.Doing("reading catalogs from the store")
	store, err := s.openForCatalogs(ctx, scope.mount.Graph)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Fini()) }()
	place.Store = store
	var trees []*catalog.Tree
	var formerly, missing []string
	var sources []rebuild.Catalog
	switch {
	case own == place.Volume:
		trees, formerly, err = s.fetchHistory(ctx, place)
	case s.NoCatalog:
		sources, err = s.guess(ctx, place, store)
	default:
		trees, formerly, missing, err = s.fetchTrees(ctx, place)
	}
	defer func() {
		for _, t := range trees {
			err = errors.Join(err, t.Close())
		}
	}()
	if err != nil {
		return err
	}
	for _, t := range trees {
		sources = append(sources, t)
	}
	if !s.DryRun {
		if err := s.probes().prove(ctx, store); err != nil {
			return err
		}
		if err := objstore.Register(ctx, store, place.Prefix, own, place.Secret); err != nil {
			return err
		}
	}
	s.UI.Doing(mountingVolume)
	private, err := mountPrivately(ctx, scope.mount, volume.ForRebuild)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, private.Close()) }()
	build := func() error {
		err := s.build(ctx, private, place, own, sources, formerly)
		if err == nil && missing != nil {
			err = errors.Join(ErrSomeFailed, fmt.Errorf("no catalog of bricks %s: what was on them alone is missing", strings.Join(missing, ", ")))
		}
		return err
	}
	if s.DryRun {
		return build()
	}
	graph := &moves{log: s.Log, unchanged: scope.mount.Unchanged} // a new brick would be missing on the private mount
	graph.watch(ctx, s.Stop)
	defer graph.stop()
	purpose := fmt.Sprintf("the rebuild of volume %s in %s", place.Volume, own)
	if s.Under != "" {
		purpose += fmt.Sprintf(", --under %q", s.Under)
	}
	intent, err := s.intend(ctx, place, purpose) // no object goes until files refer to it
	if err != nil {
		return err
	}
	err = build()
	if err == nil || errors.Is(err, rebuild.ErrUnder) { // else this is not over
		err = errors.Join(err, intent.End(ctx))
	}
	return err
}

// build makes the tree of the volume that was written down on a mount of the volume own.
func (s *Session) build(ctx context.Context, private *volume.Private, place catalog.Place, own string, trees []rebuild.Catalog, formerly []string) error {
	var g Gauge
	s.UI.ShowBar("rebuilding", ByFiles, &g)
	trees, err := s.honour(ctx, place, trees)
	if err != nil {
		return err
	}
	b := rebuild.Builder{
		Volume: private, Store: place.Store.(listing), From: place.Volume, Formerly: formerly, Under: s.Under, Jobs: s.Jobs, DryRun: s.DryRun,
		Tell: func(r rebuild.Result) {
			g.Files.Add(1)
			g.Seen.Files.Add(1)
			s.tally.Add(r.Outcome, r.Reason, r.Entry.Size)
			s.print(report.File{Path: string(r.Entry.Path), GFID: r.Entry.GFID, Size: r.Entry.Size,
				Outcome: r.Outcome, Reason: r.Reason, Key: string(r.Entry.Key), Err: r.Err})
		},
	}
	work := b.Run
	if own == place.Volume {
		work = b.Undelete
	}
	err = work(ctx, trees)
	switch {
	case errors.Is(err, rebuild.ErrUnder):
		return Usagef("--under: %w", err)
	case errors.Is(err, rebuild.ErrLeft):
		return errors.Join(ErrSomeFailed, err)
	}
	return err
}

// guess makes up the tree of the lost volume from its objects.
func (s *Session) guess(ctx context.Context, place catalog.Place, store listing) ([]rebuild.Catalog, error) {
	dir, err := s.forCatalogs()
	if err != nil {
		return nil, err
	}
	switch all, err := place.Find(ctx, dir); {
	case err == nil && len(all) > 0:
		return nil, Usagef("--without-catalog: there is a catalog of volume %s, of %s: a rebuild without it would know less", place.Volume, moment(all[len(all)-1].Time))
	case err != nil:
		s.Log.Warn("the catalogs cannot be read", "err", err)
	}
	g, err := rebuild.GuessTree(ctx, store, place.Prefix, place.Volume, s.Jobs)
	if err != nil {
		return nil, err
	}
	if g.Files() == 0 {
		return nil, Usagef("--from: the store has no object of volume %s under the key prefix %q", place.Volume, place.Prefix)
	}
	s.Log.Warn("nobody can tell the objects of files that were deleted from those of files that were not: all come back, with the names that they had when they were archived; directories belong to root")
	for _, l := range g.Left {
		s.Log.Warn("an object is left out", "key", l.Key, "path", l.Path, "why", l.Why)
	}
	return []rebuild.Catalog{g}, nil
}

// scopeOfRebuild finds out about the volume in which the tree is made, and its id.
func (s *Session) scopeOfRebuild(ctx context.Context) (found *scope, id string, err error) {
	if s.Volume == "" && (s.Mount == "" || s.Brick == "") {
		return nil, "", Usagef("no volume given to rebuild in: write --volume NAME, or --brick DIR and --mount DIR")
	}
	if found, err = s.look(ctx); err != nil {
		return nil, "", err
	}
	known := found.volumeID(nil)
	if s.Brick == "" {
		if known == "" {
			err = fmt.Errorf("%w: its id is not known", ErrNoVolume)
		}
		return found, known, err
	}
	brick, err := openBrick(s.Brick)
	if err != nil {
		return nil, "", err
	}
	defer brick.Close()
	if brick.VolumeID == "" || known != "" && known != brick.VolumeID {
		return nil, "", fmt.Errorf("%w: brick %s is not one of the volume", ErrUnsafe, s.Brick)
	}
	found.bricks = []string{s.Brick}
	return found, brick.VolumeID, nil
}

// fetchHistory brings the trees of all catalogs of a volume to this host, the newest
// first.
func (s *Session) fetchHistory(ctx context.Context, place catalog.Place) (trees []*catalog.Tree, formerly []string, err error) {
	all, err := s.findCatalogs(ctx, place)
	if err != nil {
		return nil, nil, err
	}
	for _, c := range slices.Backward(all) {
		formerly = append(formerly, strings.Fields(c.Formerly)...)
		tree, err := c.FetchTree(ctx)
		if err != nil {
			return trees, formerly, err
		}
		trees = append(trees, tree)
	}
	s.UI.Say(fmt.Sprintf("volume %s as it was from %s to %s: %s", place.Volume,
		moment(all[0].Time), moment(all[len(all)-1].Time), report.Count(int64(len(all)), "catalog")))
	return trees, formerly, nil
}

// findCatalogs finds the catalogs of a volume, oldest first. There is at least one.
func (s *Session) findCatalogs(ctx context.Context, place catalog.Place) ([]catalog.Catalog, error) {
	temporary, err := s.forCatalogs()
	if err != nil {
		return nil, err
	}
	all, err := place.Find(ctx, temporary)
	if err == nil && len(all) == 0 {
		err = Usagef("--from: the store has no catalog of volume %s under the key prefix %q (--without-catalog rebuilds from objects alone)", place.Volume, place.Prefix)
	}
	return all, err
}

// fetchTrees brings the newest tree of the lost volume to this host, and tells from
// when it is. formerly are the volumes that the lost one was rebuilt from itself, missing
// the bricks that no catalog tells of.
func (s *Session) fetchTrees(ctx context.Context, place catalog.Place) (trees []*catalog.Tree, formerly, missing []string, err error) {
	all, err := s.findCatalogs(ctx, place)
	if err != nil {
		return nil, nil, nil, err
	}
	newest, missing := catalog.Newest(all)
	for _, c := range newest {
		s.UI.Say(fmt.Sprintf("brick %s as it was on %s: %s, %s",
			c.Brick, moment(c.Time), report.Count(c.Counts.Stubs, "stub"), report.Count(c.Counts.Files, "file")))
		if c.Moved() {
			s.Log.Warn("a rebalance or remove-brick moved files while the catalog was written: it may lack some", "brick", c.Brick)
		}
		if c.Healing() {
			s.Log.Warn("heals were pending while the catalog was written: it may lack some files", "brick", c.Brick)
		}
		formerly = append(formerly, strings.Fields(c.Formerly)...)
		tree, err := c.FetchTree(ctx)
		if err != nil {
			return trees, formerly, missing, err
		}
		trees = append(trees, tree)
	}
	return trees, formerly, missing, nil
}
