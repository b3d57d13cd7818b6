package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/crawl"
	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/report"
	"github.com/coldbrick/coldbrick/internal/volume"
	"github.com/coldbrick/coldbrick/internal/workers"
)

func newCrawl(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "crawl {BRICK | --volume NAME}",
		Short: "List the cold files of a brick, and count why the others are not",
		Long: `List the cold files of the brick in the directory BRICK of this host, one path a
line, and count why the others are left alone. With --volume, those of the bricks
of this host that archive --volume would take. Nothing is changed.`,
		Args: a.brickOrVolume,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.configure(cmd, nil); err != nil {
				return err
			}
			policy, err := a.policy()
			if err != nil {
				return err
			}
			return a.finish("crawl", report.Candidate, a.crawl(cmd.Context(), args, policy))
		},
	}
	a.uses(cmd, []string{"volume"}, policyFlags, []string{"order", "state-dir"}, outputFlags)
	return cmd
}

// crawl lists the cold files of the brick named, or else of all active bricks of
// --volume on this host.
func (a *app) crawl(ctx context.Context, bricks []string, policy crawl.Policy) error {
	if len(bricks) == 0 {
		if a.volume == "" {
			return usagef("nothing named to look at: write BRICK, or --volume NAME")
		}
		preparing, prepared := a.drains(ctx)
		defer prepared()
		s, err := a.scopeOf(preparing, nil)
		if err != nil {
			return causeOf(preparing, err)
		}
		if s.unfit != nil {
			return s.unfit
		}
		bricks = s.bricks
	}
	var g gauge
	a.startBar("crawling", byFiles, &g)
	for _, dir := range bricks {
		brick, err := openBrick(dir)
		if err != nil {
			return err
		}
		err = a.list(ctx, brick, policy, &g, noBudget, noGoal)
		if err := errors.Join(err, brick.Close()); err != nil {
			return err
		}
	}
	return nil
}

// leastAge is how old a file must be in any case: the check that protects a
// concurrent write from the stamp counts in whole seconds.
const leastAge = 5 * time.Second

// policy is what the user wants archived.
func (a *app) policy() (crawl.Policy, error) {
	p := crawl.Policy{
		ColdAfter:   max(a.olderThan.Duration(), leastAge),
		AgeBy:       crawl.AgeBy(a.ageBy.String()),
		RecallGrace: a.recallGrace.Duration(),
		MinSize:     a.minSize.Bytes(),
		MaxSize:     a.maxSize.Bytes(),
		Include:     a.include,
		Exclude:     a.exclude,
	}
	if err := p.Validate(); err != nil {
		return p, usageError{err}
	}
	return p, nil
}

// openBrick tells a directory that is not there from one that is no brick.
func openBrick(dir string) (*volume.Brick, error) {
	brick, err := volume.OpenBrick(dir)
	if isMissing(err) {
		return nil, usageError{err}
	}
	return brick, err
}

// isMissing reports whether a directory that the user named is not there.
func isMissing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR)
}

// list prints the candidates of a brick within a budget and up to a goal.
func (a *app) list(ctx context.Context, brick *volume.Brick, policy crawl.Policy, g *gauge, b *budget, goal *freeGoal) error {
	ctx, stop := a.drains(ctx)
	defer stop()
	return a.walk(ctx, brick, policy, g, b, func(ctx context.Context, f gluster.File) error {
		if err := goal.take(ctx, f.Size); err != nil {
			return err
		}
		a.tally.Add(report.Candidate, "", f.Size)
		return a.out.Print(report.Cold{Path: f.Path, GFID: f.GFID, Size: f.Size, Mtime: gluster.TimeAt(f.Mtime)})
	})
}

// walk emits the cold files of a brick, and counts the others. It returns the
// limit of the budget if that was reached; what was emitted is within it.
func (a *app) walk(ctx context.Context, brick *volume.Brick, policy crawl.Policy, g *gauge, b *budget, emit func(context.Context, gluster.File) error) error {
	root, err := brick.Open(".", os.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer root.Close()
	options := crawl.Options{
		Policy: policy, Now: a.started, Under: a.under, Crawlers: a.crawlers.Int(), Progress: &g.seen,
		Order:      crawl.Order(a.order.String()),
		Unreadable: func(path string, err error) { a.failed(path, report.Unreadable, err) },
	}
	stats, err := crawl.Walk(ctx, root, options, func(_ context.Context, f gluster.File) error {
		switch err := b.take(f.Size); {
		case errors.Is(err, errTooLargeForBudget):
			a.tally.Add(report.Skipped, report.OverBudget, f.Size)
			return nil
		case err != nil:
			return err
		}
		return emit(ctx, f) // not with the crawler's context: a file within the budget is not dropped because another is not
	})
	for reason, n := range stats.Skipped {
		if reason != report.Unreadable { // told and counted one by one
			a.tally.AddTotal(report.Result{Outcome: report.Skipped, Reason: reason}, report.Total(n))
		}
	}
	if isMissing(err) {
		return usageError{fmt.Errorf("--under %w", err)}
	}
	return causeOf(ctx, err)
}

// failed tells and counts a file or directory that could not be dealt with.
func (a *app) failed(path string, reason report.Reason, err error) {
	var mistake *workers.PanicError
	if errors.As(err, &mistake) {
		reason = report.InternalError
	}
	a.tally.Add(report.Failed, reason, 0)
	a.tried(true)
	a.print(report.File{Path: path, Outcome: report.Failed, Reason: reason, Err: err})
}

// tried counts a file for --max-errors. When that is reached the run drains.
func (a *app) tried(failed bool) {
	if err := a.errors.add(failed); err != nil {
		a.stop.drain(err)
	}
}

// print writes a record from the midst of the work. When nobody reads them any
// more the run drains.
func (a *app) print(r report.Record) {
	if f, ok := r.(report.File); ok {
		a.explain(f.Err)
	}
	if err := a.out.Print(r); err != nil {
		a.stop.drain(err)
	}
}

// explain tells of a mistake of ours what a report of it needs, once.
func (a *app) explain(err error) {
	var mistake *workers.PanicError
	if errors.As(err, &mistake) {
		a.explained.Do(func() { fmt.Fprintf(a.screen, "coldbrick: please report this stack:\n%s", mistake.Stack) })
	}
}
