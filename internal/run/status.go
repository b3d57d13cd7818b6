package run

import (
	"context"
	"errors"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/report"
	"github.com/coldbrick/coldbrick/internal/workers"
	"github.com/coldbrick/coldbrick/recall"
)

// Status prints where the data of the files is that the user named.
func Status(ctx context.Context, s *Session, paths *Paths) error {
	return s.Finish("status", "", status(ctx, s, paths))
}

func status(ctx context.Context, s *Session, paths *Paths) error {
	depth := recall.Marks
	if s.Check {
		depth = recall.Head
	}
	jobs := s.Jobs
	if !s.Recursive && !s.Listed {
		jobs = 1 // in the order of the arguments
	}
	err := s.onGround(ctx, paths, s.Check, false, func(g *ground, find finder) error {
		return causeOf(ctx, workers.Run(ctx, jobs, find, func(ctx context.Context, t recall.Target) error {
			e, err := g.recaller.Examine(ctx, t.Path, gluster.GFID{}, depth)
			if err != nil {
				if errors.Is(err, object.ErrStore) {
					return err
				}
				s.failed(t.Path, outcome.IOError, err)
				return nil
			}
			s.tally.Add(outcome.Outcome(e.State), "", e.Size)
			l := located(e)
			if s.Verbose {
				if l.Chain, err = chain(e, s.records()); err != nil {
					return err
				}
			}
			s.print(l)
			return nil
		}))
	})
	if err == nil && s.tally.Outcome(outcome.Outcome(outcome.StateBroken)).Files > 0 {
		err = ErrProblems
	}
	return err
}

// located is the record of an examined file; what is wrong with it becomes its
// reason.
func located(e recall.Examined) report.Located {
	l := report.Located{Path: e.Path, GFID: e.GFID, Size: e.Size, State: e.State, Key: e.Key}
	var found []error
	for _, f := range e.Findings {
		if f.Severity == outcome.Remark {
			continue
		}
		if l.Reason == "" {
			l.Reason = outcome.Reason(f.Class)
		}
		text := f.Class.Meaning()
		if f.Detail != "" {
			text += ": " + f.Detail
		}
		found = append(found, errors.New(text))
	}
	l.Err = errors.Join(found...)
	return l
}
