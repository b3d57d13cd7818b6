package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/volume"
)

// checks judges the volume: what archive refuses, doctor shows.
func (s *scope) checks() []outcome.Check {
	checks := s.mount.Checks()
	for i, c := range checks {
		if c.Name == volume.CheckPlugin && s.wanted.RequirePlugin && !pluginLoaded(s.mount) {
			checks[i].Verdict, checks[i].Reason = outcome.Bad, "require-plugin is set, and the volume has no recall plugin"
		}
		if c.Name == volume.CheckVersion && s.wanted.AnyVersion && c.Verdict == outcome.Bad {
			checks[i].Verdict = outcome.Warning
		}
	}
	if s.cluster != nil {
		return append(checks, s.cluster.Checks()...)
	}
	return append(checks, s.mount.CheckBricksUp(), volume.NotAsked(s.notAsked))
}

// unguarded judges who is connected, for a run. It takes seconds while a client is not
// guarded, so a run that allows that does not ask.
func (s *scope) unguarded(ctx context.Context) []outcome.Check {
	if s.wanted.AnyClients {
		return []outcome.Check{{Name: volume.CheckUnguarded, Verdict: outcome.Warning, Reason: "allow-unguarded-clients is set: nobody looks who is connected"}}
	}
	checks, err := s.clientChecks(ctx)
	if err != nil {
		return []outcome.Check{volume.NoClientsKnown(err)}
	}
	return checks
}

// clientChecks judges who is connected.
func (s *scope) clientChecks(ctx context.Context) (checks []outcome.Check, err error) {
	dirs := s.bricks
	if s.cluster != nil {
		dirs = nil
		for _, p := range s.cluster.Places() {
			if p.Here {
				dirs = append(dirs, p.Dir)
			}
		}
	}
	var bricks []*volume.Brick
	for _, dir := range dirs {
		brick, err := volume.OpenBrick(dir)
		if err != nil {
			return nil, err
		}
		defer brick.Close()
		bricks = append(bricks, brick)
	}
	if s.cluster != nil {
		return s.connected(ctx, bricks)
	}
	for _, b := range bricks {
		check, err := b.CheckClients(s.notAsked)
		if err != nil {
			return nil, err
		}
		checks = append(checks, check)
	}
	return checks, nil
}

// connected asks who is connected to the bricks of a cluster. glusterd has no answer
// while there is a brick that nobody is connected to, so that a private mount is then.
func (s *scope) connected(ctx context.Context, bricks []*volume.Brick) (checks []outcome.Check, err error) {
	checks, err = s.cluster.CheckClients(ctx, bricks)
	var refused *gluster.CLIError
	if !errors.As(err, &refused) || s.mount == nil {
		return checks, err
	}
	private, err := mountPrivately(ctx, s.mount, volume.ForStamping)
	if err != nil {
		return nil, errors.Join(refused, err)
	}
	defer func() { err = errors.Join(err, private.Close()) }()
	return s.cluster.CheckClients(ctx, bricks)
}

// brickChecks judges one brick by itself.
func (s *scope) brickChecks(ctx context.Context, brick *volume.Brick) []outcome.Check {
	reserve := float64(volume.DefaultReserve)
	if s.cluster != nil {
		reserve = s.cluster.Reserve()
	}
	checks := []outcome.Check{brick.CheckFreeSpace(reserve), brick.CheckAttributes(), brick.CheckTimes(), s.checkBacklog(ctx, brick)}
	if s.cluster == nil {
		checks = append(checks, brick.CheckFeatures()...)
	}
	return checks
}

// Every write on a replicated volume leaves an entry in the heal index for about
// a second. What stays longer waits for a heal.
const (
	backlogPatience = 5 * time.Second
	backlogPause    = 250 * time.Millisecond
)

// checkBacklog looks at the brick's own heal index. While users write, it may
// never be empty: then glusterd, which takes the locks of each entry, knows which
// of them are only in use, and has been asked by now.
func (s *scope) checkBacklog(ctx context.Context, brick *volume.Brick) outcome.Check {
	check := outcome.Check{Name: volume.CheckHeals, Verdict: outcome.OK, Reason: "nothing to heal in the index of " + brick.Dir()}
	for end := time.Now().Add(backlogPatience); ; {
		backlog, err := brick.HealBacklog(1)
		switch {
		case err != nil:
			check.Verdict, check.Reason = outcome.Bad, err.Error()
			return check
		case backlog == 0:
			return check
		case s.cluster != nil && s.cluster.Heals != nil && time.Now().After(end):
			check.Verdict, check.Reason = outcome.Warning, "files of brick "+brick.Dir()+" are in use; glusterd finds none that waits for a heal"
			return check
		case time.Now().After(end):
			check.Verdict, check.Reason = outcome.Bad, "brick "+brick.Dir()+" has heals pending"
			check.Fix = "wait for the self-heal daemon"
			return check
		}
		select {
		case <-ctx.Done():
			check.Verdict, check.Reason = outcome.Bad, context.Cause(ctx).Error()
			return check
		case <-time.After(backlogPause):
		}
	}
}

// warn tells of the checks that a run goes on in spite s. What a nightly run
// need not repeat shows with --verbose, and in doctor.
func warn(log *slog.Logger, checks []outcome.Check) {
	for _, c := range checks {
		switch {
		case c.Verdict != outcome.Warning:
		case c.Name == volume.CheckCluster:
			log.Warn(c.Reason, "check", c.Name)
		default:
			log.Info(c.Reason, "check", c.Name)
		}
	}
}

// pluginLoaded reports whether clients recall by themselves.
func pluginLoaded(m *volume.Mount) bool { return m.Graph.Storetype() != "" }

// How often a run looks at what can change under it, and how long it goes on
// when nobody answers. Each file is looked at besides, before its stamp.
const (
	graphInterval   = 5 * time.Second  // a tenth of a second of glusterd's time
	clusterInterval = 30 * time.Second // a heal summary takes a second of each host
	oldestAnswer    = 2 * time.Minute
)

// watch makes the run drain when the volume is no longer as it was judged to be:
// its graph changes, a rebalance begins, a brick falls behind. It returns a
// function that ends the watch.
func (s *scope) watch(ctx context.Context, stopper *Stopper) (end func()) {
	ctx, cancel := stopper.until(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.watchUntil(ctx, stopper)
	}()
	return func() {
		cancel()
		<-done
	}
}

func (s *scope) watchUntil(ctx context.Context, stopper *Stopper) {
	tick := time.NewTicker(graphInterval)
	defer tick.Stop()
	answered := time.Now()
	asked := answered
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := s.mount.Unchanged(ctx)
		if err == nil && s.cluster != nil && time.Since(asked) >= clusterInterval {
			asked = time.Now()
			err = s.unsafeNow(ctx)
		}
		var unsafe *volume.UnsafeError
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			answered = time.Now()
		case errors.As(err, &unsafe), errors.Is(err, volume.ErrGraphChanged):
			stopper.Drain(fmt.Errorf("the run ends early: %w", err))
			return
		case time.Since(answered) > oldestAnswer:
			stopper.Drain(fmt.Errorf("the run ends early: %w: %w", ErrNoVolume, err))
			return
		}
	}
}

// unsafeNow asks glusterd once more.
func (s *scope) unsafeNow(ctx context.Context) error {
	cluster, err := volume.Discover(ctx, s.cluster.Name)
	if err != nil {
		return err
	}
	if err := volume.Unsafe(cluster.Checks()); err != nil || s.wanted.AnyClients {
		return err
	}
	clients, err := (&scope{wanted: s.wanted, cluster: cluster}).clientChecks(ctx)
	return errors.Join(err, volume.Unsafe(clients))
}

// Refusal is the part of an error's text that says what is not safe, and the same as
// doctor has it; nil if the error is another.
func Refusal(err error) (text string, checks []outcome.Check) {
	var unsafe *volume.UnsafeError
	if errors.As(err, &unsafe) {
		return unsafe.Error(), unsafe.Checks
	}
	return "", nil
}
