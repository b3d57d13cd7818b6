package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/coldbrick/coldbrick/crawl"
	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/owner"
	"github.com/coldbrick/coldbrick/internal/record"
	"github.com/coldbrick/coldbrick/internal/report"
	"github.com/coldbrick/coldbrick/internal/volume"
	"github.com/coldbrick/coldbrick/upload"
)

// childPatience is how long a file waits for a brick that has gone away: long
// enough for a client to connect again, short enough for cron.
const childPatience = 15 * time.Second

func newArchive(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "archive BRICK --mount DIR",
		Short: "Copy the cold files of a brick to the store and make them stubs",
		Long: `Copy the cold files of the brick in the directory BRICK of this host to the
store, prove each copy, and only then let Gluster free its data: the file becomes
a stub. --mount names a mount of the brick's volume; coldbrick makes a private
one from it and removes that at the end.

The first SIGINT or SIGTERM lets the files in work be finished and takes no new
one; the second drops them at once. Neither loses anything.`,
		Args: exactly("BRICK"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.configure(cmd); err != nil {
				return err
			}
			aim := report.Archived
			if a.dryRun {
				aim = report.Candidate
			}
			return a.finish("archive", aim, a.archive(cmd.Context(), args[0]))
		},
	}
	a.uses(cmd, []string{"mount"}, policyFlags, storeFlags, runFlags, outputFlags)
	return cmd
}

// archive takes the cold files of one brick to the store.
func (a *app) archive(ctx context.Context, brickDir string) (err error) {
	if a.mount == "" {
		return usagef("no mount given: write --mount DIR, a directory where the brick's volume is mounted")
	}
	a.on = &runOn{brick: brickDir}
	brick, err := openBrick(brickDir)
	if err != nil {
		return err
	}
	defer brick.Close()
	if a.on.free, err = freeBytes(brick); err != nil {
		return err
	}
	mount, err := a.inspect(a.mount)
	if err != nil {
		return err
	}
	policy, err := a.policy()
	if err != nil {
		return err
	}
	if err := a.checkStore(mount.Graph); err != nil {
		return err
	}
	checks := a.graphChecks(mount.Graph)
	if err := unsafe(checks); err != nil {
		return err
	}
	a.on.pluginLoaded = pluginLoaded(mount.Graph)
	for _, c := range checks {
		if c.Status == report.Warning {
			a.log.Warn(c.Detail, "check", c.Name)
		}
	}
	if a.maxDuration > 0 {
		defer time.AfterFunc(a.maxDuration.Duration(), func() { a.stop.drain(errMaxTime) }).Stop()
	}
	b := &budget{maxFiles: int64(a.maxFiles.Int()), maxBytes: a.maxBytes.Bytes()}
	preparing, prepared := a.drains(ctx)
	defer prepared()
	if a.dryRun {
		private, err := a.mountFor(preparing, mount, brick)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, private.Close()) }()
		var g gauge
		a.startBar("crawling", byFiles, &g)
		return a.list(ctx, brick, policy, &g, b)
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
	private, err := a.mountFor(preparing, mount, brick)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, private.Close()) }()
	log, err := record.Create(a.records(), self, brick.Dir())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	plugin, err := a.openStore(preparing, mount.Graph, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, plugin.Fini()) }()
	store, ok := plugin.(upload.Store)
	if !ok {
		return usagef("--store: %s can only recall", a.store)
	}
	if p, ok := plugin.(prober); ok {
		if _, err := p.Probe(preparing); err != nil {
			return causeOf(preparing, err)
		}
	}
	if err := a.settle(preparing, self, mount, brick, private, plugin); err != nil {
		return causeOf(preparing, err)
	}
	return a.upload(ctx, &upload.Archiver{
		Mount: private, Brick: brick, Store: store, Log: log, Owner: self,
		Volume: brick.VolumeID, Prefix: a.keyPrefix,
		ColdBefore: a.started.Add(-coldFor(policy)), Patience: childPatience,
	}, brick, policy, b)
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

// upload runs the archiver over what the walk finds, within the budget.
func (a *app) upload(ctx context.Context, archiver *upload.Archiver, brick *volume.Brick, policy crawl.Policy, b *budget) error {
	g := gauge{total: b.maxBytes}
	a.startBar("archiving", byBytes, &g)
	find := func(ctx context.Context, emit func(context.Context, gluster.File) error) error {
		ctx, stop := a.drains(ctx)
		defer stop()
		err := a.walk(ctx, brick, policy, &g, b, emit)
		if limit := b.ended(); limit != nil && errors.Is(err, limit) {
			return nil // what is in the queue is within the budget
		}
		return err
	}
	done := func(r upload.Result) {
		a.tally.Add(r.Outcome, r.Reason, r.File.Size)
		if r.Outcome == report.Archived {
			g.files.Add(1)
			g.bytes.Add(r.File.Size)
			if r.Err != nil {
				a.log.Warn("archived, but a note on the stub is missing", "path", r.File.Path, "err", r.Err)
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
	return b.ended()
}

// inspect reads what a mount says of itself, and the settings that the file has
// for its volume.
func (a *app) inspect(dir string) (*volume.Mount, error) {
	mount, err := volume.Inspect(dir)
	if err != nil {
		switch {
		case isMissing(err):
			return nil, usageError{err}
		case errors.Is(err, volume.ErrNoMount):
			return nil, err
		}
		return nil, fmt.Errorf("%w: %w", errNoVolume, err)
	}
	if a.volume == "" && mount.Volume != "" {
		if err := a.apply(mount.Volume); err != nil {
			return nil, err
		}
	}
	return mount, nil
}

// mountFor makes the private mount that stamps, and makes sure that every brick
// is there and that brick is one of them.
func (a *app) mountFor(ctx context.Context, mount *volume.Mount, brick *volume.Brick) (*volume.Private, error) {
	private, err := mountPrivately(ctx, mount, volume.ForStamping)
	if err != nil {
		return nil, err
	}
	err = belongTogether(brick, private.Root)
	if err == nil {
		if down := private.Children(); down != nil {
			err = fmt.Errorf("%w: %w", errUnsafe, down)
		}
	}
	if err == nil {
		var backlog int
		if backlog, err = brick.HealBacklog(1); err == nil && backlog > 0 {
			err = fmt.Errorf("%w: brick %s has heals pending", errUnsafe, brick.Dir())
		}
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
