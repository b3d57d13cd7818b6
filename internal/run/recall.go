package run

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/report"
	"github.com/coldbrick/coldbrick/internal/workers"
	"github.com/coldbrick/coldbrick/recall"
)

// barrierPatience bounds the wait for a client's own recall of the same file.
const barrierPatience = time.Minute

// Recall brings back the data of the files that the user named.
func Recall(ctx context.Context, s *Session, paths *Paths) error {
	return s.Finish("recall", outcome.Recalled, recallAll(ctx, s, paths))
}

func recallAll(ctx context.Context, s *Session, paths *Paths) error {
	elsewhere := s.To != "" || s.ToStdout
	if !elsewhere && s.Target.Volume != "" {
		s.about = ofVolume + s.Target.Volume
	}
	return s.onGround(ctx, paths, true, !elsewhere, func(g *ground, find finder) error {
		crew, paced := s.crew(ctx, g.meter)
		defer paced()
		one := func(ctx context.Context, t recall.Target) recall.Result {
			return g.recaller.Recall(ctx, t.Path, t.GFID)
		}
		switch {
		case s.ToStdout:
			crew = workers.NewCrew(1, 1) // one after the other
			one = func(ctx context.Context, t recall.Target) recall.Result { return pour(ctx, s, g, t) }
		case s.To != "":
			root, err := os.OpenRoot(s.To)
			if err != nil {
				return UsageError{fmt.Errorf("--to: %w", err)}
			}
			defer root.Close()
			one = func(ctx context.Context, t recall.Target) recall.Result { return fetchTo(ctx, g, root, t) }
		}
		gauge := Gauge{Meter: g.meter}
		s.UI.ShowBar("recalling", ByBytes, &gauge)
		recallOne := one
		one = func(ctx context.Context, t recall.Target) recall.Result {
			gauge.Work.Begin(t.Path)
			defer gauge.Work.End(t.Path)
			return recallOne(ctx, t)
		}
		done := func(r recall.Result) {
			s.tally.Add(r.Outcome, r.Reason, r.Size)
			if r.Outcome == outcome.Recalled {
				gauge.Files.Add(1)
				gauge.Bytes.Add(r.Size)
			}
			s.print(report.File{Path: r.Path, GFID: r.GFID, Size: r.Size,
				Outcome: r.Outcome, Reason: r.Reason, Key: r.Key, Err: r.Err})
		}
		var err error
		if s.Thaw != nil {
			err = (&thaw{s, &g.recaller, *s.Thaw, one, done, crew}).run(ctx, find)
		} else {
			var cold atomic.Bool
			cold.Store(object.NeedsThaw(s.Store.class()))
			g.recaller.Cold = &cold
			err = recall.Run(ctx, crew, find, one, done)
		}
		err = cmp.Or(causeOf(ctx, err), s.Stop.trouble())
		if err == nil && s.Recursive && g.moves != nil && g.moves.moved(ctx) {
			err = errMoved
		}
		return err
	})
}

// pour writes the data of a file to stdout, after it was verified as a whole in
// an unnamed file.
func pour(ctx context.Context, s *Session, g *ground, t recall.Target) recall.Result {
	fail := func(err error) recall.Result {
		return recall.Result{Path: t.Path, GFID: t.GFID, Outcome: outcome.Failed, Reason: outcome.IOError, Err: err}
	}
	dst, err := os.OpenFile(os.TempDir(), os.O_RDWR|unix.O_TMPFILE, 0o600)
	if err != nil {
		return fail(err)
	}
	defer dst.Close()
	r := g.recaller.Fetch(ctx, t.Path, t.GFID, dst)
	if r.Outcome != outcome.Recalled {
		return r
	}
	if _, err := dst.Seek(0, io.SeekStart); err != nil {
		return fail(err)
	}
	if _, err := io.Copy(s.Stdout, dst); err != nil {
		s.Stop.Drain(err)
		return fail(err)
	}
	return r
}
