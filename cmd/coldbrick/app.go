package main

import (
	"errors"
	"io/fs"
	"log/slog"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/coldbrick/coldbrick/internal/config"
	"github.com/coldbrick/coldbrick/internal/run"
)

// defaultConfig is read where --config does not name another file.
const defaultConfig = "/etc/coldbrick/coldbrick.toml"

// app is what the commands of one command line share.
type app struct {
	env
	ui      *display
	stop    *run.Stopper
	started time.Time

	settings
	all     *pflag.FlagSet // every setting, bound to settings
	used    *pflag.FlagSet // those of the command in use, and of the file alone
	file    *config.File   // nil if there is none
	origins config.Origins
	target  run.Target // what the settings hold for
	log     *slog.Logger
}

func newApp(e env, stop *run.Stopper) *app {
	a := &app{env: e, stop: stop, started: time.Now(), ui: &display{screen: &screen{to: e.stderr}, width: e.width}}
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
	a.completes(cmd)
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
		return run.Usagef("%w", err)
	}
	if err := a.resolve(naming); err != nil {
		return err
	}
	a.target = run.TargetOf(a.volume, mountOf)
	if a.origins, err = config.Apply(a.used, a.environ, a.file, a.target.Volume); err != nil {
		return run.Usagef("%w", err)
	}
	a.ui.begin(a.stdout, a.settings)
	a.log = a.logger()
	a.ui.log = a.log
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
		return run.Usagef("%w", err)
	}
	return nil
}

// byMount is the mount that --mount names.
func (a *app) byMount() (string, error) { return a.mount, nil }

// session is a run by the settings that are in force.
func (a *app) session() *run.Session {
	settings := a.values(a.origins)
	settings.Store.Volume = a.target.Volume
	return &run.Session{
		Settings: settings, Target: a.target, UI: a.ui, Log: a.log, Stop: a.stop, Started: a.started,
		Build: buildInfo(), ExitCode: exitCode, Stdout: a.stdout,
	}
}

// logger is the log as the settings want it.
func (a *app) logger() *slog.Logger {
	o := &slog.HandlerOptions{Level: slog.LevelWarn}
	switch {
	case a.quiet:
		o.Level = slog.LevelError
	case a.verbose:
		o.Level = slog.LevelInfo
	}
	if a.logFormat.String() == "json" {
		return slog.New(slog.NewJSONHandler(a.ui, o))
	}
	return slog.New(slog.NewTextHandler(a.ui, o))
}
