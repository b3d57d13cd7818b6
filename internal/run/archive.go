package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/coldbrick/coldbrick/crawl"
	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/owner"
	"github.com/coldbrick/coldbrick/internal/record"
	"github.com/coldbrick/coldbrick/internal/report"
	"github.com/coldbrick/coldbrick/internal/volume"
	"github.com/coldbrick/coldbrick/upload"
)

// childPatience is how long a file waits for a brick that has gone away: long
// enough for a client to connect again, short enough for cron.
const childPatience = 15 * time.Second

// Archive takes the cold files of the brick named to the store, or else those of
// all active bricks of the volume on this host, one after the other.
func Archive(ctx context.Context, s *Session, named []string) error {
	aim := outcome.Archived
	switch {
	case s.DryRun:
		aim = outcome.Candidate
	case s.Keep:
		aim = outcome.Copied
	}
	return s.Finish("archive", aim, archive(ctx, s, named, false))
}

// Release makes stubs of the copied files of the brick named, or else of all active
// bricks of the volume on this host, without an upload.
func Release(ctx context.Context, s *Session, named []string) error {
	aim := outcome.Archived
	if s.DryRun {
		aim = outcome.Candidate
	}
	return s.Finish("release", aim, archive(ctx, s, named, true))
}

// archiving is one run of archive, or of release.
type archiving struct {
	*Session
	scope    *scope
	policy   crawl.Policy
	budget   *budget
	copied   bool            // release: no file is uploaded
	private  *volume.Private // stamps, on all bricks: their files are told apart by gfid
	formerly []string        // ids of the volumes that this one was rebuilt from
	store    objstore.Store  // of all bricks; nil before the first
	gauge    Gauge
	log      *record.Log // of the brick in work
}

func archive(ctx context.Context, s *Session, named []string, copied bool) (err error) {
	if s.Keep && !s.UntilFree.IsZero() {
		return Usagef("--keep frees nothing: leave out --until-free")
	}
	policy, err := s.Policy()
	if err != nil {
		return err
	}
	if err := s.coldClass(); err != nil {
		return err
	}
	s.about = s.aboutOf(named)
	if s.MaxDuration > 0 {
		defer time.AfterFunc(s.MaxDuration, func() { s.Stop.Drain(ErrMaxTime) }).Stop()
	}
	preparing, prepared := s.drains(ctx)
	defer prepared()
	s.UI.Doing(askingGlusterd)
	scope, err := s.scopeOf(preparing, named)
	if err != nil {
		return causeOf(preparing, err)
	}
	checks := scope.checks()
	if err := volume.Unsafe(checks); err != nil {
		return err
	}
	if len(scope.bricks) == 0 || scope.unfit != nil {
		return scope.unfit
	}
	warn(s.Log, checks)
	if err := s.Store.check(scope.mount, scope.bricks); err != nil {
		return err
	}
	_, err = spaceOf(scope.bricks...) // are they all there?
	if isMissing(err) {
		return UsageError{err}
	}
	if err != nil {
		return err
	}
	a := &archiving{Session: s, scope: scope, policy: policy, budget: &budget{maxFiles: s.MaxFiles, maxBytes: s.MaxBytes}, copied: copied}
	a.gauge.Total.Store(a.expected())
	// Before our own is connected: a brick knows by name how many private mounts it has,
	// and ours would excuse a user's on a server that has not vouched.
	s.UI.Doing("asking who is connected")
	if err := a.judgeClients(preparing); err != nil {
		return causeOf(preparing, err)
	}
	s.UI.Doing(mountingVolume)
	if a.private, err = mountPrivately(preparing, scope.mount, volume.ForStamping); err != nil {
		return causeOf(preparing, err)
	}
	defer func() { err = errors.Join(err, a.private.Close()) }()
	if a.formerly, err = a.private.Formerly(); err != nil {
		return err
	}
	defer func() {
		if a.store != nil {
			err = errors.Join(err, a.store.Fini())
		}
	}()
	if s.DryRun {
		s.UI.Say("a dry run does not ask the store: coldbrick doctor does")
	}
	s.errors = &breaker{limit: s.MaxErrors}
	defer scope.watch(ctx, s.Stop)()
	var locked error
	for _, dir := range scope.bricks {
		err := a.brick(ctx, dir)
		if err != nil && !s.DryRun {
			s.refused(a.command(), dir, err)
		}
		if errors.Is(err, ErrLocked) {
			locked = errors.Join(locked, err) // the others are free
			continue
		}
		if err != nil {
			return errors.Join(err, locked)
		}
	}
	return locked
}

func (a *archiving) judgeClients(ctx context.Context) error {
	clients := a.scope.unguarded(ctx)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := volume.Unsafe(clients); err != nil {
		return err
	}
	warn(a.Log, clients)
	return nil
}

// openStore opens the store for the first brick and those after it, and makes sure that
// it can be relied on, which may write to it.
func (a *archiving) openStore(ctx context.Context) (err error) {
	if a.store != nil {
		return nil
	}
	a.UI.Doing(askingStore)
	a.store, a.gauge.Meter, err = a.Store.open(ctx, a.UI, a.scope.mount.Graph, func(key, id string) error {
		return a.log.Append(record.Entry{Phase: record.Uploading, Key: key, Upload: id})
	})
	if err != nil {
		return err
	}
	return a.probes().prove(ctx, a.store)
}

// command is the one that this is a run of.
func (a *archiving) command() string {
	if a.copied {
		return "release"
	}
	return "archive"
}

// brick takes the cold files of one brick to the store.
func (a *archiving) brick(ctx context.Context, dir string) (err error) {
	preparing, prepared := a.drains(ctx)
	defer prepared()
	brick, err := openBrick(dir)
	if err != nil {
		return err
	}
	defer brick.Close()
	checks := a.scope.brickChecks(preparing, brick)
	if err := volume.Unsafe(checks); err != nil {
		return causeOf(preparing, err)
	}
	warn(a.Log, checks)
	goal := newFreeGoal(brick, a.UntilFree, a.DryRun)
	goal.doubts = a.copied
	if err := goal.reached(); err != nil {
		err = a.unlessReached(err)
		if !a.DryRun { // no night: a timer looks every quarter of an hour
			part := a.begin(a.command(), dir, nil)
			part.room = a.roomOf(dir, pluginLoaded(a.scope.mount))
			part.end(err)
		}
		return err
	}
	if err := a.reaches(brick); err != nil {
		return err
	}
	if a.DryRun {
		a.UI.ShowBar("crawling", ByFiles, &a.gauge)
		return a.unlessReached(a.walk(brick).list(ctx, goal))
	}

	self, err := newOwner()
	if err != nil {
		return err
	}
	if a.LockWait > 0 {
		a.UI.Doing("waiting for another run on the brick")
	}
	lock, err := lockBrick(preparing, a.StateDir, brick, self, a.LockWait)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.release()) }()
	part := a.begin(a.command(), dir, &lockedBy{self, pluginLoaded(a.scope.mount)})
	defer func() { part.end(err) }()
	if err := a.private.SweepVouches(time.Now()); err != nil {
		a.Log.Info("what clients that have gone said of their guard was not removed", "err", err)
	}
	a.log, err = record.Create(a.records(), self, brick.Dir())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.log.Close()) }()
	if err := a.openStore(preparing); err != nil {
		return causeOf(preparing, err)
	}
	if err := a.register(preparing, a.store, brick); err != nil {
		return causeOf(preparing, err)
	}
	mount := a.scope.mount
	replicas := mount.Replicas(true)
	if replicas != nil {
		defer func() { err = errors.Join(err, replicas.Close()) }()
	}
	a.UI.Doing("looking at what a previous run has left")
	l := leftovers{Session: a.Session, mount: mount, brick: brick, stamping: a.private, formerly: a.formerly, replicas: replicas, plugin: a.store, self: self}
	if err := l.settle(preparing); err != nil {
		return causeOf(preparing, err)
	}
	archiver := &upload.Archiver{
		Mount: watched{a.private, a.UI}, Brick: brick, Store: a.store, Log: a.log, Owner: self,
		Volume: brick.VolumeID, Formerly: a.formerly, Prefix: a.Store.keyPrefix(),
		ColdBefore: a.Started.Add(-coldFor(a.policy)), Patience: childPatience,
		Keep: a.Keep, Release: a.copied,
	}
	if replicas != nil {
		archiver.Replicas = replicas
	}
	if index := a.openCopies(brick); index != nil {
		archiver.Index = index
		defer index.close()
	}
	return a.upload(ctx, archiver, brick, goal)
}

// walk is the search for what to archive on a brick.
func (a *archiving) walk(brick *volume.Brick) *walk {
	w := &walk{Session: a.Session, brick: brick, policy: a.policy, gauge: &a.gauge, budget: a.budget, copied: a.copied}
	if !a.DryRun {
		w.whole = func(seen crawl.Stats) {
			a.rememberCold(brick.Dir(), seen.Seen.Files, a.policy, outcome.Total(seen.Candidates))
		}
	}
	return w
}

// register tells the store that the volume has objects under its prefix. A brick
// that glusterd has not made does not know of which volume it is.
func (s *Session) register(ctx context.Context, store objstore.Registry, brick *volume.Brick) error {
	if brick.VolumeID == "" {
		return nil
	}
	err := objstore.Register(ctx, store, s.Store.keyPrefix(), brick.VolumeID, s.CatalogSecret)
	if errors.Is(err, object.ErrKey) || errors.Is(err, objstore.ErrNested) {
		return Usagef("--key-prefix: %w", err)
	}
	return err
}

// unlessReached makes a success of a goal that is reached.
func (s *Session) unlessReached(err error) error {
	if errors.Is(err, errUntilFree) {
		s.endedBy = limitOf(err)
		return nil
	}
	return err
}

func newOwner() (owner.Owner, error) { return owner.Self(object.NewID()) }

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
func (a *archiving) upload(ctx context.Context, archiver *upload.Archiver, brick *volume.Brick, goal *freeGoal) error {
	a.UI.ShowBar("archiving", ByBytes, &a.gauge)
	find := func(ctx context.Context, emit func(context.Context, gluster.File) error) error {
		ctx, stop := a.drains(ctx)
		defer stop()
		err := a.walk(brick).find(ctx, func(ctx context.Context, f gluster.File) error {
			if err := goal.take(ctx, f.Size); err != nil {
				a.budget.giveBack(f.Size)
				return err
			}
			return emit(ctx, f)
		})
		if limit := a.budget.ended(); limit != nil && errors.Is(err, limit) {
			return nil // what was emitted is within the budget
		}
		return a.unlessReached(err)
	}
	archiver.At = func(_ upload.Step, f gluster.File) error {
		a.gauge.Work.Begin(f.Path)
		return nil
	}
	done := func(r upload.Result) {
		a.gauge.Work.End(r.File.Path)
		doubted := int64(0)
		if r.MayBeKept {
			doubted = r.Freed
		}
		goal.done(r.File.Size, doubted)
		a.tried(r.Outcome == outcome.Failed)
		a.tally.Add(r.Outcome, r.Reason, r.File.Size)
		if r.Outcome == outcome.Archived || r.Outcome == outcome.Copied {
			a.freed.Add(r.Freed)
			a.gauge.Files.Add(1)
			a.gauge.Bytes.Add(r.File.Size)
			if r.Err != nil {
				a.Log.Warn("archived, but not all that goes with it was done", "path", r.File.Path, "err", r.Err)
			}
		} else {
			a.budget.giveBack(r.File.Size)
		}
		if r.Reason == outcome.AlreadyCopied {
			return // counted, like what the crawl passes over: these may be all files, each night
		}
		a.print(report.File{Path: r.File.Path, GFID: r.File.GFID, Size: r.File.Size,
			Outcome: r.Outcome, Reason: r.Reason, Key: r.Key, Err: r.Err})
	}
	crew, paced := a.crew(ctx, a.gauge.Meter)
	defer paced()
	if err := archiver.Run(ctx, crew, find, done); err != nil {
		return causeOf(ctx, err)
	}
	return cmp.Or(a.Stop.trouble(), a.budget.ended())
}

// watched is a mount that tells when files wait for a brick.
type watched struct {
	*volume.Private
	ui UI
}

// Children is asked again and again until a brick is back.
func (w watched) Children() error {
	err := w.Private.Children()
	w.ui.Retrying("a brick of the volume", err)
	return err
}

// reaches makes sure that brick is one of the volume that the private mount is of, and
// that every brick is there.
func (a *archiving) reaches(brick *volume.Brick) error {
	if err := volume.Unsafe([]outcome.Check{a.scope.mount.CheckBrick(brick, a.private.Root)}); err != nil {
		return err
	}
	return a.private.Children()
}

// mountPrivately makes a private mount, and tells an unreachable volume from a
// run that was stopped in the meantime.
func mountPrivately(ctx context.Context, mount *volume.Mount, kind volume.Kind) (*volume.Private, error) {
	private, err := mount.Private(ctx, kind)
	switch {
	case err == nil:
		return private, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	}
	return nil, fmt.Errorf("%w: %w", ErrNoVolume, err)
}
