package run

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/crawl"
	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/outcome"
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
	return s.Finish("crawl", outcome.Candidate, s.eachBrick(ctx, bricks, policy, func(w walk) error {
		return w.list(ctx, noGoal)
	}))
}

// eachBrick gives a walk over each of the bricks named, or else of all active ones of
// the volume on this host.
func (s *Session) eachBrick(ctx context.Context, bricks []string, policy crawl.Policy, do func(walk) error) error {
	if len(bricks) == 0 {
		if s.Volume == "" {
			return Usagef("nothing named to look at: write BRICK, or --volume NAME")
		}
		preparing, prepared := s.drains(ctx)
		defer prepared()
		s.UI.Doing(askingGlusterd)
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
	g.Total.Store(s.filesOf(bricks))
	s.UI.ShowBar("crawling", ByFiles, &g)
	for _, dir := range bricks {
		brick, err := openBrick(dir)
		if err != nil {
			return err
		}
		err = do(walk{Session: s, brick: brick, policy: policy, gauge: &g, budget: noBudget})
		if err := errors.Join(err, brick.Close()); err != nil {
			return err
		}
	}
	return nil
}

// walk is a search for the cold files of one brick.
type walk struct {
	*Session
	brick  *volume.Brick
	policy crawl.Policy
	gauge  *Gauge
	budget *budget
	copied bool              // those that may have an object alone
	whole  func(crawl.Stats) // if given, is told what there is once all of the brick was looked at
}

// list prints the candidates within the budget and up to a goal.
func (w *walk) list(ctx context.Context, goal *freeGoal) error {
	ctx, stop := w.drains(ctx)
	defer stop()
	return w.find(ctx, func(ctx context.Context, f gluster.File) error {
		if err := goal.take(ctx, f.Size); err != nil {
			return err
		}
		w.tally.Add(outcome.Candidate, "", f.Size)
		return w.UI.Print(report.Cold{Path: f.Path, GFID: f.GFID, Size: f.Size, Mtime: gluster.TimeAt(f.Mtime)})
	})
}

// find emits the cold files, and counts the others. It returns the limit of the
// budget if that was reached; what was emitted is within it.
func (w *walk) find(ctx context.Context, emit func(context.Context, gluster.File) error) error {
	root, err := w.brick.Open(".", os.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer root.Close()
	options := crawl.Options{
		Policy: w.policy, Now: w.Started, Under: w.Under, Crawlers: w.Crawlers, Progress: &w.gauge.Seen,
		Order:      w.Order,
		Unreadable: func(path string, err error) { w.failed(path, outcome.Unreadable, err) },
	}
	stats, err := crawl.Walk(ctx, root, options, func(_ context.Context, f gluster.File) error {
		if w.copied && !f.Copied {
			w.tally.Add(outcome.Skipped, outcome.NotCopied, f.Size)
			return nil
		}
		switch err := w.budget.take(f.Size); {
		case errors.Is(err, errTooLargeForBudget):
			w.tally.Add(outcome.Skipped, outcome.OverBudget, f.Size)
			return nil
		case err != nil:
			return err
		}
		return emit(ctx, f) // not with the crawler's context: a file within the budget is not dropped because another is not
	})
	for reason, n := range stats.Skipped {
		if reason != outcome.Unreadable { // told and counted one by one
			w.tally.AddTotal(outcome.Result{Outcome: outcome.Skipped, Reason: reason}, outcome.Total(n))
		}
	}
	if isMissing(err) {
		return UsageError{fmt.Errorf("--under %w", err)}
	}
	if err == nil && w.Under == "" && w.whole != nil {
		w.whole(stats)
	}
	return causeOf(ctx, err)
}
