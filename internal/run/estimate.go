package run

import (
	"context"
	"strconv"
	"strings"

	"github.com/coldbrick/coldbrick/crawl"
	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/price"
	"github.com/coldbrick/coldbrick/internal/report"
)

// Estimate says what it costs to archive what is cold on the brick named, or else on
// all active bricks of the volume on this host.
func Estimate(ctx context.Context, s *Session, bricks []string) error {
	policy, err := s.Policy()
	if err != nil {
		return err
	}
	return s.Finish("estimate", outcome.Candidate, estimate(ctx, s, bricks, policy))
}

func estimate(ctx context.Context, s *Session, bricks []string, policy crawl.Policy) error {
	prices, err := price.Load(s.Prices)
	if err != nil {
		return Usagef("--prices: %w", err)
	}
	partSize, err := strconv.ParseInt(s.Store.Options["part-size"], 10, 64)
	if err != nil {
		return Usagef("--part-size: %w", err)
	}
	of := "volume " + s.Volume
	if len(bricks) > 0 {
		of = strings.Join(bricks, ", ")
	}
	e := report.NewEstimate(of, prices, partSize)
	err = s.eachBrick(ctx, bricks, policy, func(w walk) error {
		ctx, stop := s.drains(ctx)
		defer stop()
		return w.find(ctx, func(_ context.Context, f gluster.File) error {
			s.tally.Add(outcome.Candidate, "", f.Size)
			e.Add(f.Size)
			return nil
		})
	})
	if err != nil {
		return err
	}
	s.UI.HideBar()
	return s.UI.Print(e)
}
