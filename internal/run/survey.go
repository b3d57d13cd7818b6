package run

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/coldbrick/coldbrick/crawl"
	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/report"
	"github.com/coldbrick/coldbrick/internal/volume"
)

// Survey says what is cold on the brick named, or else on all bricks of the volume on
// this host, what of them is in the store, and how the last runs went.
func Survey(ctx context.Context, s *Session, named []string) error {
	return s.Finish("report", "", survey(ctx, s, named))
}

func survey(ctx context.Context, s *Session, named []string) error {
	policy, err := s.Policy()
	if err != nil {
		return err
	}
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	bricks := named
	if len(named) == 0 {
		if bricks, err = s.bricksHere(ctx); err != nil {
			return err
		}
	}
	whole := &report.VolumeReport{Host: host, Now: s.Started}
	var missing error
	for _, dir := range bricks {
		found, err := s.surveyBrick(ctx, dir, policy)
		if err != nil && len(named) == 0 && ctx.Err() == nil { // others can still be looked at
			missing = errors.Join(missing, fmt.Errorf("brick %s: %w", dir, err))
			continue
		}
		if err != nil {
			return err
		}
		whole.Bricks = append(whole.Bricks, found)
		s.UI.HideBar()
		if err := s.UI.Print(found); err != nil {
			return err
		}
	}
	if len(named) == 0 {
		whole.Volume = s.Volume
		past, err := s.readHistory(ofVolume + s.Volume)
		if err != nil {
			return err
		}
		if whole.Nights, err = runsOf(past.Nights); err != nil {
			return err
		}
		if whole.Recalls, err = runsOf(past.Recalls); err != nil {
			return err
		}
		if err := s.UI.Print(whole); err != nil {
			return err
		}
	}
	for flag, draw := range map[string]func() ([]byte, error){"svg": whole.SVG, "html": whole.HTML} {
		path := map[string]string{"svg": s.SVG, "html": s.HTML}[flag]
		if path == "" {
			continue
		}
		drawn, err := draw()
		if err == nil {
			err = report.ReplaceFile(path, drawn, report.Readable)
		}
		if err != nil {
			return fmt.Errorf("--%s: %w", flag, err)
		}
	}
	return missing
}

// bricksHere are the bricks of the volume on this host that have data, whether it is
// their turn or not.
func (s *Session) bricksHere(ctx context.Context) ([]string, error) {
	if s.Volume == "" {
		return nil, Usagef("nothing named to report on: write BRICK, or --volume NAME")
	}
	preparing, prepared := s.drains(ctx)
	defer prepared()
	s.UI.Doing(askingGlusterd)
	cluster, err := volume.Discover(preparing, s.Volume)
	if err != nil {
		return nil, ofCluster(preparing, err)
	}
	var bricks []string
	for _, p := range cluster.Places() {
		if p.Here && p.Role != volume.Arbiter {
			bricks = append(bricks, p.Dir)
		}
	}
	if len(bricks) == 0 {
		s.UI.Say(fmt.Sprintf("volume %s has no brick with data on this host", s.Volume))
	}
	return bricks, nil
}

// surveyBrick surveys a brick by one crawl.
func (s *Session) surveyBrick(ctx context.Context, dir string, policy crawl.Policy) (*report.Survey, error) {
	brick, err := openBrick(dir)
	if err != nil {
		return nil, err
	}
	defer brick.Close()
	room, err := spaceOf(dir)
	if err != nil {
		return nil, err
	}
	past, err := s.readHistory(dir)
	if err != nil {
		return nil, err
	}
	found := &report.Survey{
		Brick: past.Brick, Now: s.Started, ColdAfter: policy.ColdAfter, Size: room.size, Free: room.free,
		Archived: report.Archived{Stubs: past.Stubs, Since: past.Since}, Grace: policy.RecallGrace,
		Budget: outcome.Total{Files: s.MaxFiles, Bytes: s.MaxBytes},
	}
	for _, command := range []string{"archive", "release"} {
		found.Archived.Done.Merge(past.command(command).Done[outcome.Archived])
	}
	if found.Runs, err = runsOf(past.Nights); err != nil {
		return nil, err
	}
	ctx, stop := s.drains(ctx)
	defer stop()
	var g Gauge
	g.Total.Store(past.Files)
	s.UI.ShowBar("crawling", ByFiles, &g)
	anyAge := policy // the survey tells the ages apart
	anyAge.ColdAfter = 0
	w := walk{Session: s, brick: brick, policy: anyAge, gauge: &g, budget: noBudget}
	w.whole = func(seen crawl.Stats) { s.rememberCold(dir, seen.Seen.Files, policy, found.Cold()) }
	err = w.find(ctx, func(_ context.Context, f gluster.File) error {
		found.Add(f)
		return nil
	})
	found.Skipped = s.tally.Take(outcome.Skipped)
	return found, err
}

// runsOf are runs that a history remembers. One that has not ended still runs, unless
// its process is dead.
func runsOf(past []pastRun) ([]report.Run, error) {
	self, err := newOwner()
	if err != nil {
		return nil, err
	}
	var runs []report.Run
	for _, r := range past {
		if r.Outcome == "" {
			r.Outcome = "running"
			if r.Owner == nil || self.Dead(*r.Owner) {
				r.Outcome = "died"
			}
		}
		runs = append(runs, report.Run{
			Command: r.Command, By: r.By, Started: r.Started, Ended: r.Ended, Outcome: r.Outcome, ExitCode: r.ExitCode, Error: r.Error,
			Archived: r.Archived, Recalled: r.Recalled, Failed: r.Failed, FreeAfter: r.FreeAfter,
		})
	}
	return runs, nil
}
