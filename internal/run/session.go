// Package run holds the order of effects of each command: what is looked at before
// anything is touched, what is locked, mounted and recorded, in which order that is
// given up again, and what ends a run early. It knows neither flags nor terminals
// nor exit codes: settings come in as a value, what is told goes out through a UI,
// and how a run has ended is an End.
package run

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/report"
	"github.com/coldbrick/coldbrick/internal/workers"
)

// Session is one run of one command: what the user wants, of which volume, and
// whom the run tells what it does.
type Session struct {
	Settings
	Target   Target
	UI       UI
	Log      *slog.Logger
	Stop     *Stopper
	Started  time.Time
	Build    string              // version of this program, as a bug report quotes it
	ExitCode func(err error) int // what the summary and the metrics call the end of a run
	Stdout   io.Writer           // where recall --stdout writes

	tally   outcome.Tally
	freed   atomic.Int64 // bytes that bricks were seen to give back
	errors  *breaker     // nil: no limit
	endedBy string       // the flag whose goal ended the run
	about   string       // what history and metrics are of: a brick, or volume:NAME; "" for nothing
	parts   []string     // bricks with which this run is remembered

	metrics map[string]*report.Metrics // of this run's one file, by brick
}

// UI is whom a run tells what it does. All of it may be used by any number of
// goroutines, but for the bar, which the run's own goroutine shows and hides.
type UI interface {
	// Print prints a record. Its error means that nobody reads them any more.
	Print(report.Record) error
	// Say tells people something that is neither data nor wrong.
	Say(message string)
	// Doing shows what the run waits for, in place of what was shown, until HideBar.
	Doing(what string)
	// Retrying shows that the work waits for something and tries again because of err;
	// nil says that it goes on. Of each kind of wait there is one name.
	Retrying(of string, err error)
	// ShowBar shows a gauge, in place of what was shown, until HideBar.
	ShowBar(what string, unit Unit, g *Gauge)
	HideBar()
}

// Finish ends a run that returned err: it writes history and metrics, prints the
// summary, and returns the error that decides how the run ended.
func (s *Session) Finish(command string, aim outcome.Outcome, err error) error {
	err = verdict(err, s.tally.Outcome(outcome.Failed).Files)
	s.UI.HideBar()
	sum := report.Summary{
		Command: command, DryRun: s.DryRun, Aim: aim,
		ExitCode: s.ExitCode(err), Outcome: string(EndOf(err)), Err: err, Planned: IsBudget(err),
		EndedBy: cmp.Or(limitOf(err), s.endedBy),
		Totals:  s.tally.Totals(), Freed: s.freed.Load(), Started: s.Started, Duration: time.Since(s.Started),
	}
	if s.about != "" && !s.DryRun {
		s.conclude(command, err)
	}
	if (err != nil || aim == "") && len(sum.Totals) == 0 && !s.JSON {
		return err // nothing was begun: the error is all there is to say
	}
	if writeErr := s.UI.Print(sum); err == nil {
		err = writeErr
	}
	return err
}

// drains gives a context that ends at the first signal.
func (s *Session) drains(ctx context.Context) (context.Context, context.CancelFunc) {
	return s.Stop.until(ctx)
}

// failed tells and counts a file or directory that could not be dealt with.
func (s *Session) failed(path string, reason outcome.Reason, err error) {
	var mistake *workers.PanicError
	if errors.As(err, &mistake) {
		reason = outcome.InternalError
	}
	s.tally.Add(outcome.Failed, reason, 0)
	s.tried(true)
	s.print(report.File{Path: path, Outcome: outcome.Failed, Reason: reason, Err: err})
}

// tried counts a file for --max-errors. When that is reached the run drains.
func (s *Session) tried(failed bool) {
	if err := s.errors.add(failed); err != nil {
		s.Stop.Drain(err)
	}
}

// print writes a record from the midst of the work. When nobody reads them any
// more the run drains.
func (s *Session) print(r report.Record) {
	if err := s.UI.Print(r); err != nil {
		s.Stop.Drain(err)
	}
}
