package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/report"
)

func newReport(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "report BRICK",
		Short: "Say what is cold on a brick, and how the last runs went",
		Long: `Say what is cold on the brick in the directory BRICK of this host, by age and by
top directory, what archiving it would free, and how the last runs on it went.
--svg draws the same as a picture. Nothing is changed.

Ages are those that clients see. The 15 directories with the most cold bytes are
told one by one. On a brick with more than 4,096 top directories small ones
count among the others, also with a part of their files if they come up again.`,
		Args: exactly("BRICK"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.configure(cmd, nil); err != nil {
				return err
			}
			return a.finish("report", "", a.report(cmd.Context(), args[0]))
		},
	}
	a.uses(cmd, policyFlags, []string{"svg", "state-dir"}, outputFlags)
	return cmd
}

// report surveys a brick by one crawl.
func (a *app) report(ctx context.Context, dir string) error {
	policy, err := a.policy()
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
	past, err := readHistory(a.stateDir, dir)
	if err != nil {
		return err
	}
	s := &report.Survey{
		Brick: past.Name, Now: a.started, ColdAfter: policy.ColdAfter, Size: room.size, Free: room.free,
	}
	if s.Runs, err = runsOf(past); err != nil {
		return err
	}
	ctx, stop := a.drains(ctx)
	defer stop()
	var g gauge
	a.startBar("crawling", byFiles, &g)
	policy.ColdAfter = 0 // the survey tells the ages apart
	err = a.walk(ctx, brick, policy, &g, noBudget, func(_ context.Context, f gluster.File) error {
		s.Add(f)
		return nil
	})
	if err != nil {
		return err
	}
	s.Skipped = a.tally.Take(report.Skipped)
	a.screen.stopBar()
	if err := a.out.Print(s); err != nil {
		return err
	}
	if a.svg == "" {
		return nil
	}
	if err := report.ReplaceFile(a.svg, s.SVG(), report.Readable); err != nil {
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
	for _, r := range h.Recent {
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
