package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/coldbrick/coldbrick/internal/config"
	"github.com/coldbrick/coldbrick/internal/report"
	"github.com/coldbrick/coldbrick/internal/volume"
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
	target  target // what the settings hold for

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

// target is the volume that a command line is about, as far as it can be known
// before anything else is.
type target struct {
	volume string        // name; "" if nothing tells it
	dir    string        // the mount that was asked; "" if none was
	mount  *volume.Mount // what it told, or
	err    error         // why nothing
}

// naming are the settings that tell which volume a command is about, so they are
// read before its table [volume.NAME] can be.
var naming = []string{"volume", "mount", "files-from", "null"}

// configure reads environment and file, and prepares output and log. All settings
// are resolved here, once, when it is known of which volume they are: from
// --volume, or else from the mount that mountOf names.
func (a *app) configure(cmd *cobra.Command, mountOf func() (dir string, err error)) error {
	a.used = pflag.NewFlagSet("", pflag.ContinueOnError)
	a.used.AddFlagSet(cmd.Flags())
	a.used.Lookup("help").Annotations = map[string][]string{config.FileOnly: {}}
	a.all.VisitAll(func(f *pflag.Flag) {
		if f.Annotations[config.FileOnly] != nil {
			a.used.AddFlag(f)
		}
	})
	// The file's own name first, from flag or environment.
	if err := a.resolve([]string{"config"}); err != nil {
		return err
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
	if err := a.resolve(naming); err != nil {
		return err
	}
	a.target = targetOf(a.volume, mountOf)
	if a.origins, err = config.Apply(a.used, a.environ, a.file, a.target.volume); err != nil {
		return usageError{err}
	}
	a.out = &report.Printer{Data: a.stdout, News: a.screen, JSON: a.json, Verbose: a.verbose, Quiet: a.quiet}
	a.log = newLog(a.screen, a.logFormat.String(), a.verbose, a.quiet)
	for _, name := range config.Unknown(a.all, a.environ) {
		a.log.Warn("unknown variable in the environment ignored", "name", name)
	}
	return nil
}

// resolve sets those of the named settings that the command has and that flags
// left open.
func (a *app) resolve(names []string) error {
	some := pflag.NewFlagSet("", pflag.ContinueOnError)
	for _, name := range names {
		if f := a.used.Lookup(name); f != nil {
			some.AddFlag(f)
		}
	}
	if _, err := config.Apply(some, a.environ, a.file, ""); err != nil {
		return usageError{err}
	}
	return nil
}

// targetOf finds out which volume is meant. That a mount does not tell is for the
// command to say, when it comes to use it.
func targetOf(named string, mountOf func() (string, error)) target {
	t := target{volume: named}
	if named != "" || mountOf == nil {
		return t
	}
	if t.dir, t.err = mountOf(); t.err == nil && t.dir != "" {
		if t.mount, t.err = volume.Inspect(t.dir); t.err == nil {
			t.volume = t.mount.Volume
		}
	}
	return t
}

// byMount is the mount that --mount names.
func (a *app) byMount() (string, error) { return a.mount, nil }

// inspect reads what the mount at dir says of itself. It must be of the volume
// that the settings are of.
func (a *app) inspect(dir string) (*volume.Mount, error) {
	mount, err := a.target.mount, a.target.err
	if dir != a.target.dir {
		mount, err = volume.Inspect(dir)
	}
	switch {
	case isMissing(err):
		return nil, usageError{err}
	case errors.Is(err, volume.ErrNoMount):
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errNoVolume, err)
	case a.target.volume != "" && mount.Volume != "" && mount.Volume != a.target.volume:
		return nil, fmt.Errorf("%w: %s is a mount of volume %s, not of %s", errUnsafe, dir, mount.Volume, a.target.volume)
	}
	return mount, nil
}

// finish prints the summary of a run that ended with err, and returns the error
// that decides the exit code.
func (a *app) finish(command string, aim report.Outcome, err error) error {
	err = verdict(err, a.tally.Outcome(report.Failed).Files)
	a.screen.stopBar()
	s := report.Summary{
		Command: command, DryRun: a.dryRun, Aim: aim,
		ExitCode: exitCode(err), Outcome: outcome(exitCode(err)), Err: err, Planned: isBudget(err),
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
