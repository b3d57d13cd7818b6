package run

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/crawl"
	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/report"
	"github.com/coldbrick/coldbrick/internal/volume"
)

// Crawl lists the cold files of the brick named, or else of all active bricks of
// the volume on this host.
func Crawl(ctx context.Context, s *Session, bricks []string) error {
	policy, err := s.Policy()
	if err != nil {
		return err
	}
	return s.Finish("crawl", report.Candidate, s.crawl(ctx, bricks, policy))
}

func (s *Session) crawl(ctx context.Context, bricks []string, policy crawl.Policy) error {
	if len(bricks) == 0 {
		if s.Volume == "" {
			return Usagef("nothing named to look at: write BRICK, or --volume NAME")
		}
		preparing, prepared := s.drains(ctx)
		defer prepared()
		scope, err := s.scopeOf(preparing, nil)
		if err != nil {
			return causeOf(preparing, err)
		}
		if scope.unfit != nil {
			return scope.unfit
		}
		bricks = scope.bricks
	}
	var g Gauge
	s.UI.ShowBar("crawling", ByFiles, &g)
	for _, dir := range bricks {
		brick, err := openBrick(dir)
		if err != nil {
			return err
		}
		err = s.list(ctx, brick, policy, &g, noBudget, noGoal)
		if err := errors.Join(err, brick.Close()); err != nil {
			return err
		}
	}
	return nil
}

// list prints the candidates of a brick within a budget and up to a goal.
func (s *Session) list(ctx context.Context, brick *volume.Brick, policy crawl.Policy, g *Gauge, b *budget, goal *freeGoal) error {
	ctx, stop := s.drains(ctx)
	defer stop()
	return s.walk(ctx, brick, policy, g, b, func(ctx context.Context, f gluster.File) error {
		if err := goal.take(ctx, f.Size); err != nil {
			return err
		}
		s.tally.Add(report.Candidate, "", f.Size)
		return s.UI.Print(report.Cold{Path: f.Path, GFID: f.GFID, Size: f.Size, Mtime: gluster.TimeAt(f.Mtime)})
	})
}

// walk emits the cold files of a brick, and counts the others. It returns the
// limit of the budget if that was reached; what was emitted is within it.
func (s *Session) walk(ctx context.Context, brick *volume.Brick, policy crawl.Policy, g *Gauge, b *budget, emit func(context.Context, gluster.File) error) error {
	root, err := brick.Open(".", os.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer root.Close()
	options := crawl.Options{
		Policy: policy, Now: s.Started, Under: s.Under, Crawlers: s.Crawlers, Progress: &g.Seen,
		Order:      s.Order,
		Unreadable: func(path string, err error) { s.failed(path, report.Unreadable, err) },
	}
	stats, err := crawl.Walk(ctx, root, options, func(_ context.Context, f gluster.File) error {
		switch err := b.take(f.Size); {
		case errors.Is(err, errTooLargeForBudget):
			s.tally.Add(report.Skipped, report.OverBudget, f.Size)
			return nil
		case err != nil:
			return err
		}
		return emit(ctx, f) // not with the crawler's context: a file within the budget is not dropped because another is not
	})
	for reason, n := range stats.Skipped {
		if reason != report.Unreadable { // told and counted one by one
			s.tally.AddTotal(report.Result{Outcome: report.Skipped, Reason: reason}, report.Total(n))
		}
	}
	if isMissing(err) {
		return UsageError{fmt.Errorf("--under %w", err)}
	}
	return causeOf(ctx, err)
}
