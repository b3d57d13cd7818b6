package main

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/coldbrick/coldbrick/internal/config"
	"github.com/coldbrick/coldbrick/internal/report"
)

// defaultConfig is read where --config does not name another file.
const defaultConfig = "/etc/coldbrick/coldbrick.toml"

// app is what the commands of one command line share.
type app struct {
	env
	stop    *stopper
	screen  *screen
	started time.Time

	settings
	all     *pflag.FlagSet // every setting, bound to settings
	used    *pflag.FlagSet // those of the command in use, and of the file alone
	file    *config.File   // nil if there is none
	origins config.Origins

	out   *report.Printer
	log   *slog.Logger
	tally report.Tally
	meter *meter // of the store in use

	errors    *breaker  // nil: no limit
	explained sync.Once // a mistake of ours
	endedBy   string    // the flag whose goal ended the run
	on        *runOn    // what history and metrics are about; nil: nothing
}

func newApp(e env, stop *stopper) *app {
	a := &app{env: e, stop: stop, started: time.Now(), screen: &screen{to: e.stderr}}
	a.all = a.flags()
	return a
}

// schema is a second set of all settings, for values that are only checked.
func schema() *pflag.FlagSet { return new(settings).flags() }

// uses adds settings, by their names, to the flags of a command. None are
// inherited: each command has those that mean something to it.
func (a *app) uses(cmd *cobra.Command, groups ...[]string) {
	cmd.Flags().SortFlags = false
	for _, group := range groups {
		for _, name := range group {
			cmd.Flags().AddFlag(a.all.Lookup(name))
		}
	}
	cmd.Flags().AddFlag(a.all.Lookup("config"))
}

// configure reads environment and file, and prepares output and log.
func (a *app) configure(cmd *cobra.Command) error {
	a.used = pflag.NewFlagSet("", pflag.ContinueOnError)
	a.used.AddFlagSet(cmd.Flags())
	a.used.Lookup("help").Annotations = map[string][]string{config.FileOnly: {}}
	a.all.VisitAll(func(f *pflag.Flag) {
		if f.Annotations[config.FileOnly] != nil {
			a.used.AddFlag(f)
		}
	})
	// The file's own name first, from flag or environment.
	only := pflag.NewFlagSet("", pflag.ContinueOnError)
	only.AddFlag(a.all.Lookup("config"))
	if _, err := config.Apply(only, a.environ, nil, ""); err != nil {
		return usageError{err}
	}
	path := a.config
	if path == "" {
		path = defaultConfig
	}
	file, err := config.Open(path, schema())
	switch {
	case err == nil:
		a.file = file
	case a.config == "" && errors.Is(err, fs.ErrNotExist): // there need not be one
	default:
		return usageError{err}
	}
	if err := a.apply(""); err != nil {
		return err
	}
	if err := a.apply(a.volume); err != nil {
		return err
	}
	a.out = &report.Printer{Data: a.stdout, News: a.screen, JSON: a.json, Verbose: a.verbose, Quiet: a.quiet}
	a.log = newLog(a.screen, a.logFormat.String(), a.verbose, a.quiet)
	for _, name := range config.Unknown(a.all, a.environ) {
		a.log.Warn("unknown variable in the environment ignored", "name", name)
	}
	return nil
}

// apply sets what flags left open, from the environment and from the file, in
// it first from the table of volume.
func (a *app) apply(volume string) (err error) {
	if a.origins, err = config.Apply(a.used, a.environ, a.file, volume); err != nil {
		return usageError{err}
	}
	return nil
}

// finish prints the summary of a run that ended with err, and returns the error
// that decides the exit code.
func (a *app) finish(command string, aim report.Outcome, err error) error {
	err = verdict(err, a.tally.Outcome(report.Failed).Files)
	a.screen.stopBar()
	s := report.Summary{
		Command: command, DryRun: a.dryRun, Aim: aim,
		ExitCode: exitCode(err), Outcome: outcome(exitCode(err)), Err: err,
		EndedBy: cmp.Or(limitOf(err), a.endedBy),
		Totals:  a.tally.Totals(), Started: a.started, Duration: time.Since(a.started),
	}
	if a.on != nil && !a.dryRun && !errors.Is(err, errLocked) {
		if err := a.remember(s, *a.on); err != nil {
			a.log.Warn("no history or metrics written", "err", err) // the run itself is as good as it is
		}
	}
	if (err != nil || aim == "") && len(s.Totals) == 0 && !a.json {
		return err // nothing was begun: the error is all there is to say
	}
	if writeErr := a.out.Print(s); err == nil {
		err = writeErr
	}
	return err
}

// verdict decides between the error that ended a run and the files that failed.
func verdict(err error, failed int64) error {
	if failed > 0 && (err == nil || isBudget(err)) {
		return errSomeFailed // a budget that ends a run is planned, a failure is not
	}
	return err
}

// drains gives a context that ends at the first signal.
func (a *app) drains(ctx context.Context) (context.Context, context.CancelFunc) {
	return a.stop.until(ctx)
}

func newLog(w *screen, format string, verbose, quiet bool) *slog.Logger {
	o := &slog.HandlerOptions{Level: slog.LevelWarn}
	switch {
	case quiet:
		o.Level = slog.LevelError
	case verbose:
		o.Level = slog.LevelInfo
	}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}
