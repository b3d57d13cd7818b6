package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/coldbrick/coldbrick/crawl"
	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore"
	"github.com/coldbrick/coldbrick/internal/owner"
	"github.com/coldbrick/coldbrick/internal/record"
	"github.com/coldbrick/coldbrick/internal/report"
	"github.com/coldbrick/coldbrick/internal/volume"
	"github.com/coldbrick/coldbrick/recall"
	"github.com/coldbrick/coldbrick/upload"
)

// childPatience is how long a file waits for a brick that has gone away: long
// enough for a client to connect again, short enough for cron.
const childPatience = 15 * time.Second

func newArchive(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "archive {BRICK --mount DIR | [BRICK] --volume NAME}",
		Short: "Copy the cold files of a brick to the store and make them stubs",
		Long: `Copy the cold files of the brick in the directory BRICK of this host to the
store, prove each copy, and only then let Gluster free its data: the file becomes
a stub. coldbrick stamps through a private mount, made from the mount of the
volume that --mount names, or with --volume from what glusterd tells, and removes
it at the end.

With --volume and without BRICK, all bricks of this host are archived whose turn
it is: of each replica set one brick is active, and the others stand by. The same
command can run on every host at the same time. Store and credentials are those
of the volume's options, unless set otherwise.

A volume on which stamping would lose or strand data is refused, and the checks
that failed are named; coldbrick doctor shows all of them. The run ends early when
the volume ceases to be safe. So it is while a client is connected that coldbrick's
plugin does not guard, since stubs look empty there (unguarded-clients).

The first SIGINT, SIGTERM or SIGHUP lets the files in work be finished and starts
no new one; the second drops them at once. Neither loses anything.`,
		Args: a.brickOrVolume,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.configure(cmd, a.byMount); err != nil {
				return err
			}
			aim := report.Archived
			if a.dryRun {
				aim = report.Candidate
			}
			return a.finish("archive", aim, a.archive(cmd.Context(), args))
		},
	}
	a.uses(cmd, []string{"mount", "volume"}, policyFlags, []string{"order", "allow-unqualified-version", "allow-unguarded-clients"}, storeFlags, runFlags, outputFlags)
	return cmd
}

// archive takes the cold files of the brick named to the store, or else those of
// all active bricks of --volume on this host, one after the other.
func (a *app) archive(ctx context.Context, named []string) error {
	policy, err := a.policy()
	if err != nil {
		return err
	}
	a.on = &runOn{name: "volume:" + a.volume}
	if len(named) > 0 {
		a.on.name = named[0]
	}
	if a.maxDuration > 0 {
		defer time.AfterFunc(a.maxDuration.Duration(), func() { a.stop.drain(errMaxTime) }).Stop()
	}
	preparing, prepared := a.drains(ctx)
	defer prepared()
	s, err := a.scopeOf(preparing, named)
	if err != nil {
		return causeOf(preparing, err)
	}
	a.on.bricks, a.on.pluginLoaded = s.bricks, pluginLoaded(s.mount)
	checks := a.checks(s)
	if err := volume.Unsafe(checks); err != nil {
		return err
	}
	if len(s.bricks) == 0 || s.unfit != nil {
		return s.unfit
	}
	clients, err := a.clientChecks(preparing, s)
	if err != nil {
		clients = []volume.Check{volume.NoClientsKnown(err)}
	}
	if err := volume.Unsafe(clients); err != nil {
		return causeOf(preparing, err)
	}
	a.warn(append(checks, clients...))
	if err := a.checkStore(s.mount, s.bricks); err != nil {
		return err
	}
	a.on.before, err = spaceOf(s.bricks...)
	if isMissing(err) {
		return usageError{err}
	}
	if err != nil {
		return err
	}
	a.errors = &breaker{limit: a.maxErrors}
	defer a.watch(ctx, s)()
	b := &budget{maxFiles: int64(a.maxFiles.Int()), maxBytes: a.maxBytes.Bytes()}
	var locked error
	for _, dir := range s.bricks {
		err := a.archiveBrick(ctx, s, dir, policy, b)
		if errors.Is(err, errLocked) {
			locked = errors.Join(locked, err) // the others are free
			continue
		}
		if err != nil {
			return errors.Join(err, locked)
		}
	}
	return locked
}

// archiveBrick takes the cold files of one brick to the store.
func (a *app) archiveBrick(ctx context.Context, s *scope, dir string, policy crawl.Policy, b *budget) (err error) {
	preparing, prepared := a.drains(ctx)
	defer prepared()
	brick, err := openBrick(dir)
	if err != nil {
		return err
	}
	defer brick.Close()
	checks := s.brickChecks(preparing, brick)
	if err := volume.Unsafe(checks); err != nil {
		return causeOf(preparing, err)
	}
	a.warn(checks)
	goal := newFreeGoal(brick, a.untilFree, a.dryRun)
	if err := goal.reached(); err != nil {
		return a.unlessReached(err)
	}
	if a.dryRun {
		private, err := mountFor(preparing, s.mount, brick)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, private.Close()) }()
		var g gauge
		a.startBar("crawling", byFiles, &g)
		return a.unlessReached(a.list(ctx, brick, policy, &g, b, goal))
	}

	self, err := owner.Self(object.NewID())
	if err != nil {
		return err
	}
	lock, err := lockBrick(preparing, a.stateDir, brick, self, a.lockWait.Duration())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.release()) }()
	ended := a.noteRun(self, brick)
	defer func() { ended(err) }()
	private, err := mountFor(preparing, s.mount, brick)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, private.Close()) }()
	if err := private.SweepVouches(time.Now()); err != nil {
		a.log.Info("the vouches of clients that have gone were not removed", "err", err)
	}
	log, err := record.Create(a.records(), self, brick.Dir())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	plugin, err := a.openStore(preparing, s.mount.Graph, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, plugin.Fini()) }()
	store, ok := plugin.(interface {
		upload.Store
		recall.Plugin
	})
	if !ok {
		return usagef("--store: %s can only recall", a.store)
	}
	if err := a.prove(preparing, plugin); err != nil {
		return causeOf(preparing, err)
	}
	if err := a.register(preparing, store, brick); err != nil {
		return causeOf(preparing, err)
	}
	if err := a.settle(preparing, self, s.mount, brick, private, plugin); err != nil {
		return causeOf(preparing, err)
	}
	archiver := &upload.Archiver{
		Mount: private, Brick: brick, Store: store, Log: log, Owner: self,
		Volume: brick.VolumeID, Prefix: a.keyPrefix,
		ColdBefore: a.started.Add(-coldFor(policy)), Patience: childPatience,
	}
	if replicas := s.mount.Replicas(); replicas != nil {
		defer func() { err = errors.Join(err, replicas.Close()) }()
		archiver.Replicas = replicas
	}
	return a.upload(ctx, archiver, brick, policy, b, goal)
}

// register tells the store that the volume has objects under its prefix. A brick
// that glusterd has not made does not know of which volume it is.
func (a *app) register(ctx context.Context, store objstore.Registry, brick *volume.Brick) error {
	if brick.VolumeID == "" {
		return nil
	}
	err := objstore.Register(ctx, store, a.keyPrefix, brick.VolumeID)
	if errors.Is(err, object.ErrKey) {
		return usagef("--key-prefix: %w", err)
	}
	return err
}

// unlessReached makes a success of a goal that is reached.
func (a *app) unlessReached(err error) error {
	if errors.Is(err, errUntilFree) {
		a.endedBy = limitOf(err)
		return nil
	}
	return err
}

// records is the directory of the run records.
func (a *app) records() string { return filepath.Join(a.stateDir, "runs") }

// coldFor is how long ago the last write of a file must be. Where another time
// decides about cold and warm, it is no more than what the stamp needs.
func coldFor(p crawl.Policy) time.Duration {
	if p.AgeBy == crawl.ByMtime || p.AgeBy == crawl.ByNewest {
		return p.ColdAfter
	}
	return leastAge
}

// upload runs the archiver over what the walk finds, within the budget and up to
// the goal.
func (a *app) upload(ctx context.Context, archiver *upload.Archiver, brick *volume.Brick, policy crawl.Policy, b *budget, goal *freeGoal) error {
	g := gauge{total: b.maxBytes, meter: a.meter}
	a.startBar("archiving", byBytes, &g)
	find := func(ctx context.Context, emit func(context.Context, gluster.File) error) error {
		ctx, stop := a.drains(ctx)
		defer stop()
		err := a.walk(ctx, brick, policy, &g, b, func(ctx context.Context, f gluster.File) error {
			if err := goal.take(ctx, f.Size); err != nil {
				b.giveBack(f.Size)
				return err
			}
			return emit(ctx, f)
		})
		if limit := b.ended(); limit != nil && errors.Is(err, limit) {
			return nil // what is in the queue is within the budget
		}
		return a.unlessReached(err)
	}
	done := func(r upload.Result) {
		goal.done(r.File.Size)
		a.tried(r.Outcome == report.Failed)
		a.tally.Add(r.Outcome, r.Reason, r.File.Size)
		if r.Outcome == report.Archived {
			g.files.Add(1)
			g.bytes.Add(r.File.Size)
			if r.Err != nil {
				a.log.Warn("archived, but not all that goes with it was done", "path", r.File.Path, "err", r.Err)
			}
		} else {
			b.giveBack(r.File.Size)
		}
		a.print(report.File{Path: r.File.Path, GFID: r.File.GFID, Size: r.File.Size,
			Outcome: r.Outcome, Reason: r.Reason, Key: r.Key, Err: r.Err})
	}
	if err := archiver.Run(ctx, a.jobs.Int(), find, done); err != nil {
		return causeOf(ctx, err)
	}
	return cmp.Or(a.errors.tripped(), b.ended())
}

// mountFor makes the private mount that stamps, and makes sure that brick is one
// of its volume and that every brick is there.
func mountFor(ctx context.Context, mount *volume.Mount, brick *volume.Brick) (*volume.Private, error) {
	private, err := mountPrivately(ctx, mount, volume.ForStamping)
	if err != nil {
		return nil, err
	}
	err = volume.Unsafe([]volume.Check{mount.CheckBrick(brick, private.Root)})
	if err == nil {
		err = private.Children()
	}
	if err != nil {
		return nil, errors.Join(err, private.Close())
	}
	return private, nil
}

// mountPrivately makes a private mount, and tells an unreachable volume from a
// run that was stopped meanwhile.
func mountPrivately(ctx context.Context, mount *volume.Mount, kind volume.Kind) (*volume.Private, error) {
	private, err := mount.Private(ctx, kind)
	switch {
	case err == nil:
		return private, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	}
	return nil, fmt.Errorf("%w: %w", errNoVolume, err)
}
