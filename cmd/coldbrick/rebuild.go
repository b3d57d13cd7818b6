package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/coldbrick/coldbrick/internal/catalog"
	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/objstore"
	"github.com/coldbrick/coldbrick/internal/rebuild"
	"github.com/coldbrick/coldbrick/internal/report"
	"github.com/coldbrick/coldbrick/internal/volume"
)

func newRebuild(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rebuild {--volume NAME | --brick DIR --mount DIR} --from VOLUME-ID",
		Short: "Make the tree of a lost volume anew, with stubs, from its catalogs",
		Long: `Make the tree of a lost volume anew in another one, which should be empty, from the
newest catalogs of the lost one: directories, links, empty files, and a stub for each
file whose data is in the store. Owners, modes, times, ACLs and users' attributes
come back, and each file has its former gfid. --from is the id of the lost volume:
what gluster volume info shows, and the name of its entry in
KEY-PREFIX.coldbrick/volumes/ in the store.

Files whose data was on the volume alone are named as lost. Nothing that exists is
replaced: a name that is taken in the new volume stays as it is, with all below it.
Everything is made in a directory that only root can enter, and then moved into
place; a rebuild that was interrupted goes on where it was. With --dry-run nothing
is made, and what would be is counted.

The new volume notes the id of the lost one, so that its objects count as its own.
Run coldbrick fsck afterwards.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.configure(cmd, a.byMount); err != nil {
				return err
			}
			return a.finish("rebuild", report.Rebuilt, a.rebuild(cmd.Context()))
		},
	}
	a.uses(cmd, []string{"volume", "brick", "mount", "from", "under", "dry-run", "allow-unqualified-version", "state-dir"}, storeFlags, outputFlags)
	return cmd
}

// rebuild makes the tree of the volume --from in the one that --volume or --mount
// names.
func (a *app) rebuild(ctx context.Context) (err error) {
	ctx, stop := a.drains(ctx) // it can be cut anywhere
	defer stop()
	defer func() { err = causeOf(ctx, err) }()
	from, err := gluster.ParseGFID(a.from)
	if err != nil {
		return usagef("--from: %q is not the id of a volume", a.from)
	}
	place := catalog.Place{Prefix: a.keyPrefix, Secret: a.catalogSecret.Reveal(), Volume: from.String()}
	if err := place.CheckSecret(); err != nil {
		return secretMissing(err)
	}
	s, own, err := a.rebuildScope(ctx)
	if err != nil {
		return err
	}
	if own == place.Volume {
		return usagef("--from: %s is this volume itself", own)
	}
	checks := a.checks(s)
	if err := volume.Unsafe(checks); err != nil {
		return err
	}
	a.warn(checks)
	if err := a.checkStore(s.mount, s.bricks); err != nil {
		return err
	}
	plugin, err := a.openStore(ctx, s.mount.Graph, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, plugin.Fini()) }()
	store, ok := plugin.(catalog.Store)
	if !ok {
		return usagef("--store: %s keeps no catalogs", a.store)
	}
	place.Store = store
	trees, formerly, err := a.fetchTrees(ctx, place)
	defer func() {
		for _, t := range trees {
			err = errors.Join(err, t.Close())
		}
	}()
	if err != nil {
		return err
	}
	if !a.dryRun {
		if err := a.prove(ctx, plugin); err != nil {
			return err
		}
		if err := objstore.Register(ctx, store, a.keyPrefix, own, place.Secret); err != nil {
			return err
		}
	}
	private, err := mountPrivately(ctx, s.mount, volume.ForRebuild)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, private.Close()) }()
	return a.build(ctx, private, trees, formerly)
}

// build makes the tree on a mount.
func (a *app) build(ctx context.Context, private *volume.Private, trees []*catalog.Tree, formerly []string) error {
	var g gauge
	a.startBar("rebuilding", byFiles, &g)
	b := rebuild.Builder{
		Volume: private, From: a.from, Formerly: formerly, Under: a.under, Jobs: a.jobs.Int(), DryRun: a.dryRun,
		Tell: func(r rebuild.Result) {
			g.files.Add(1)
			g.seen.Files.Add(1)
			a.tally.Add(r.Outcome, r.Reason, r.Entry.Size)
			a.print(report.File{Path: string(r.Entry.Path), GFID: r.Entry.GFID, Size: r.Entry.Size,
				Outcome: r.Outcome, Reason: r.Reason, Key: string(r.Entry.Key), Err: r.Err})
		},
	}
	var catalogs []rebuild.Catalog
	for _, t := range trees {
		catalogs = append(catalogs, t)
	}
	err := b.Run(ctx, catalogs)
	switch {
	case errors.Is(err, rebuild.ErrUnder):
		return usagef("--under: %w", err)
	case errors.Is(err, rebuild.ErrLeft):
		return errors.Join(errSomeFailed, err)
	}
	return err
}

// rebuildScope finds out about the volume in which the tree is made, and its id.
func (a *app) rebuildScope(ctx context.Context) (s *scope, id string, err error) {
	if a.volume == "" && (a.mount == "" || a.brick == "") {
		return nil, "", usagef("no volume given to rebuild in: write --volume NAME, or --brick DIR and --mount DIR")
	}
	if s, err = a.look(ctx); err != nil {
		return nil, "", err
	}
	if a.brick == "" {
		if id = s.volumeID(nil); id == "" {
			err = fmt.Errorf("%w: its id is not known", errNoVolume)
		}
		return s, id, err
	}
	brick, err := openBrick(a.brick)
	if err != nil {
		return nil, "", err
	}
	defer brick.Close()
	if known := s.volumeID(nil); brick.VolumeID == "" || known != "" && known != brick.VolumeID {
		return nil, "", fmt.Errorf("%w: brick %s is not one of the volume", errUnsafe, a.brick)
	}
	s.bricks = []string{a.brick}
	return s, brick.VolumeID, nil
}

// fetchTrees brings the newest tree of the lost volume to this host, and tells from
// when it is. formerly are the volumes that the lost one was rebuilt from itself.
func (a *app) fetchTrees(ctx context.Context, place catalog.Place) (trees []*catalog.Tree, formerly []string, err error) {
	temporary, err := a.forCatalogs()
	if err != nil {
		return nil, nil, err
	}
	all, err := place.Find(ctx, temporary)
	if err != nil {
		return nil, nil, err
	}
	if len(all) == 0 {
		return nil, nil, usagef("--from: the store has no catalog of volume %s under the key prefix %q", place.Volume, place.Prefix)
	}
	newest, missing := catalog.Newest(all)
	for _, c := range newest {
		a.say("brick %s as it was on %s: %s, %s", c.Brick, moment(c.Time), report.Count(c.Counts.Stubs, "stub"), report.Count(c.Counts.Files, "file"))
		if c.Moved() {
			a.log.Warn("a rebalance or remove-brick moved files while the catalog was written: it may lack some", "brick", c.Brick)
		}
		formerly = append(formerly, strings.Fields(c.Formerly)...)
		tree, err := c.FetchTree(ctx)
		if err != nil {
			return trees, formerly, err
		}
		trees = append(trees, tree)
	}
	if missing != nil {
		a.log.Warn("no catalog of these bricks: what was on them alone will be missing", "bricks", strings.Join(missing, ", "))
	}
	return trees, formerly, nil
}
