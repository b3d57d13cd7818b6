package run

import (
	"context"
	"errors"
	"log/slog"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/volume"
	"github.com/coldbrick/coldbrick/internal/workers"
	"github.com/coldbrick/coldbrick/recall"
)

// ground is a volume to recall from: private mounts of it, and its store.
type ground struct {
	recaller recall.Recaller
	files    *volume.Private
	barrier  *volume.Private  // nil if the volume has no cloudsync
	plugin   recall.Plugin    // nil if the store is not asked
	meter    *Meter           // of the store
	moves    *moves           // nil if nothing is changed
	replicas *volume.Replicas // nil on a volume without replication, and if nothing is changed
	here     []beside         // bricks of this host; none if nothing is changed
}

// openGround prepares to recall from a volume, or only to look at it: without
// the store and the barrier. The bricks are those of this host, where known.
func (s *Session) openGround(ctx context.Context, mount *volume.Mount, bricks []string, store, write bool) (g *ground, err error) {
	if store {
		if err := s.Store.check(mount, bricks); err != nil {
			return nil, err
		}
	}
	s.UI.Doing(mountingVolume)
	defer s.UI.HideBar()
	g = &ground{}
	defer func() {
		if err != nil {
			err = errors.Join(causeOf(ctx, err), g.Close())
		}
	}()
	g.recaller = recall.Recaller{
		BarrierLimit: barrierPatience,
		Distributed:  mount.Graph.Distributed(),
		WORMOff:      func(ctx context.Context) bool { return volume.WORMOff(ctx, mount.Volume) },
	}
	if g.recaller.Owner, err = newOwner(); err != nil {
		return g, err
	}
	all := []func(context.Context) error{func(ctx context.Context) (err error) {
		if g.files, err = mountPrivately(ctx, mount, volume.ForRecall); err == nil && store {
			g.recaller.Formerly, err = g.files.Formerly()
		}
		return err
	}}
	if store {
		all = append(all, func(ctx context.Context) (err error) { // whose objects are they?
			g.recaller.Volume, err = volumeIDOf(ctx, s.Log, mount)
			return err
		}, func(context.Context) (err error) {
			g.plugin, g.meter, err = s.Store.open(ctx, s.UI, mount.Graph, nil)
			return err
		})
	}
	if write {
		all = append(all, func(ctx context.Context) error {
			return recallable(ctx, s.Log, mount.Volume)
		}, func(context.Context) (err error) { // the watch goes on
			g.moves, err = watchMoves(ctx, s.Log, s.Stop, mount)
			return err
		})
	}
	if write && mount.Graph.Has(gluster.TypeCloudsync) {
		all = append(all, func(ctx context.Context) (err error) {
			g.barrier, err = mountPrivately(ctx, mount, volume.ForStamping)
			return err
		})
	}
	if err = workers.AtOnce(ctx, all...); err != nil {
		return g, err
	}
	g.recaller.Files, g.recaller.Barrier = g.files, g.files
	if g.barrier != nil {
		g.recaller.Barrier = g.barrier
	}
	if store {
		g.recaller.Plugin = g.plugin
	}
	if write {
		if g.replicas = mount.Replicas(false); g.replicas != nil {
			g.recaller.Replicas = g.replicas
		}
		g.here = s.bricksBeside(mount)
		for _, b := range g.here {
			g.recaller.Copies = append(g.recaller.Copies, recall.Copies{Brick: b.brick, Index: b.index})
		}
	}
	return g, nil
}

// volumeIDOf is the volume's id, "" if nobody here knows it: then a file's gfid alone
// tells whether an object is its own.
func volumeIDOf(ctx context.Context, log *slog.Logger, mount *volume.Mount) (string, error) {
	asking, cancel := context.WithTimeout(ctx, glusterdPatience)
	defer cancel()
	id, err := mount.AskVolumeID(asking)
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	if err != nil {
		log.Info("the volume's id is not known", "err", err)
	}
	return id, nil
}

// Close unmounts what was mounted.
func (g *ground) Close() error {
	var errs []error
	if g.moves != nil {
		g.moves.stop()
	}
	if g.plugin != nil {
		errs = append(errs, g.plugin.Fini())
	}
	if g.replicas != nil {
		errs = append(errs, g.replicas.Close())
	}
	for _, b := range g.here {
		b.close()
	}
	for _, p := range []*volume.Private{g.barrier, g.files} {
		if p != nil {
			errs = append(errs, p.Close())
		}
	}
	return errors.Join(errs...)
}

// onGround opens the volume of the first path and hands it over with a search
// for all.
func (s *Session) onGround(ctx context.Context, paths *Paths, store, write bool,
	do func(g *ground, find finder) error,
) (err error) {
	dir, err := paths.Mount()
	switch {
	case isMissing(err):
		return UsageError{err}
	case err != nil:
		return err
	case dir == "" && s.Listed:
		return nil // an empty list is nothing to do
	case dir == "":
		return Usagef("no PATH given: write paths, or --files-from FILE")
	}
	preparing, prepared := s.drains(ctx)
	defer prepared()
	mount, err := s.Target.inspect(dir)
	if err != nil {
		return err
	}
	g, err := s.openGround(preparing, mount, nil, store, write)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.Close()) }()
	return do(g, (&search{s, g.files, paths}).find)
}
