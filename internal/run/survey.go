package run

import (
	"context"
	"fmt"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/report"
)

// Survey says what is cold on a brick, and how the last runs on it went.
func Survey(ctx context.Context, s *Session, dir string) error {
	return s.Finish("report", "", survey(ctx, s, dir))
}

// survey surveys a brick by one crawl.
func survey(ctx context.Context, s *Session, dir string) error {
	policy, err := s.Policy()
	if err != nil {
		return err
	}
	brick, err := openBrick(dir)
	if err != nil {
		return err
	}
	defer brick.Close()
	room, err := spaceOf(dir)
	if err != nil {
		return err
	}
	past, err := s.readHistory(dir)
	if err != nil {
		return err
	}
	found := &report.Survey{
		Brick: past.Brick, Now: s.Started, ColdAfter: policy.ColdAfter, Size: room.size, Free: room.free,
	}
	if found.Runs, err = runsOf(past); err != nil {
		return err
	}
	ctx, stop := s.drains(ctx)
	defer stop()
	var g Gauge
	s.UI.ShowBar("crawling", ByFiles, &g)
	policy.ColdAfter = 0 // the survey tells the ages apart
	w := walk{Session: s, brick: brick, policy: policy, gauge: &g, budget: noBudget}
	err = w.find(ctx, func(_ context.Context, f gluster.File) error {
		found.Add(f)
		return nil
	})
	if err != nil {
		return err
	}
	found.Skipped = s.tally.Take(outcome.Skipped)
	s.UI.HideBar()
	if err := s.UI.Print(found); err != nil {
		return err
	}
	if s.SVG == "" {
		return nil
	}
	if err := report.ReplaceFile(s.SVG, found.SVG(), report.Readable); err != nil {
		return fmt.Errorf("--svg: %w", err)
	}
	return nil
}

// runsOf are the runs that a history remembers. One that has not ended still
// runs, unless its process is dead.
func runsOf(h history) ([]report.Run, error) {
	self, err := newOwner()
	if err != nil {
		return nil, err
	}
	var runs []report.Run
	for _, r := range h.Nights {
		if r.Outcome == "" {
			r.Outcome = "running"
			if r.Owner == nil || self.Dead(*r.Owner) {
				r.Outcome = "died"
			}
		}
		runs = append(runs, report.Run{
			Started: r.Started, Ended: r.Ended, Outcome: r.Outcome,
			Archived: r.Archived, Failed: r.Failed, FreeAfter: r.FreeAfter,
		})
	}
	return runs, nil
}
