package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/coldbrick/coldbrick/internal/config"
	"github.com/coldbrick/coldbrick/internal/run"
)

// command builds the tree of commands.
func (a *app) command() *cobra.Command {
	root := &cobra.Command{
		Use:                   "coldbrick COMMAND",
		Example:               "  coldbrick setup vol --apply\n  coldbrick archive --volume vol --dry-run\n  coldbrick archive --help",
		DisableFlagsInUseLine: true,
		Short:                 "The archive tier of a GlusterFS volume",
		Long:                  rootHelp(),
		SilenceErrors:         true,
		SilenceUsage:          true,
		CompletionOptions:     cobra.CompletionOptions{DisableDefaultCmd: true},
		Args:                  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			var names []string
			for _, c := range cmd.Commands() {
				names = append(names, c.Name())
			}
			return run.Usagef("unknown command %q%s", args[0], hint(args[0], names, "coldbrick help lists them all"))
		},
	}
	root.PersistentPreRunE = mustBeRoot
	root.SetArgs(a.args)
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.ui)
	root.SetFlagErrorFunc(flagError)
	root.SetUsageFunc(usage)
	root.AddCommand(
		newCrawl(a), newArchive(a), newRelease(a), newRecall(a), newStatus(a), newFsck(a), newDoctor(a), newSetup(a), newReport(a),
		newEstimate(a), newCatalog(a), newRebuild(a), newGC(a), newConfig(a), newStores(a), newVersion(a), newCompletion(a),
	)
	root.SetHelpCommand(newHelp(root))
	return root
}

// forAnybody are the commands that touch neither a brick nor a volume.
var forAnybody = []string{"coldbrick", "help", "version", "completion", "stores", "config", "show"}

// mustBeRoot refuses before anything is asked: only root can read the marks of files.
func mustBeRoot(cmd *cobra.Command, _ []string) error {
	if os.Geteuid() == 0 || slices.Contains(forAnybody, cmd.Name()) {
		return nil
	}
	return run.Usagef("run as root: only root can see on a volume what %s needs", cmd.CommandPath())
}

// flagError turns a complaint of the flag parser into one line that says what
// to do.
func flagError(cmd *cobra.Command, err error) error {
	see := "see " + cmd.CommandPath() + " --help"
	var unknown *pflag.NotExistError
	var empty *pflag.ValueRequiredError
	var wrong *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() == "":
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, "--"+f.Name) })
		name := "--" + unknown.GetSpecifiedName()
		return run.Usagef("unknown flag %s%s", name, hint(name, names, see))
	case errors.As(err, &empty):
		return run.Usagef("--%s needs a value: %s", empty.GetFlag().Name, see)
	case errors.As(err, &wrong) && wrong.GetFlag().Value.Type() == "bool":
		return run.Usagef("--%s: %q is neither true nor false", wrong.GetFlag().Name, wrong.GetValue())
	case errors.As(err, &wrong):
		return run.Usagef("--%s: %w", wrong.GetFlag().Name, wrong.Unwrap())
	}
	return run.Usagef("%w: %s", err, see)
}

// hint is the nearest of names, or else where to look.
func hint(word string, names []string, otherwise string) string {
	if near := config.Nearest(word, names); near != "" {
		return near
	}
	return ": " + otherwise
}

// exactly wants one argument for each of the given names.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return run.Usagef("no %s given: write %s", names[len(args)], cmd.UseLine())
		case len(args) > len(names):
			return run.Usagef("%q is one argument too many: write %s", args[len(names)], cmd.UseLine())
		}
		return nil
	}
}

// brickOrVolume wants one brick, or --volume in its place.
func brickOrVolume(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil // --volume may also come from the environment or the file
	}
	return exactly("BRICK")(cmd, args)
}

func newHelp(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Show the help of a command",
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return run.Usagef("unknown command %q: coldbrick help lists them all", strings.Join(args, " "))
			}
			return cmd.Help()
		},
	}
}

func newVersion(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Show the version of coldbrick and how it was built",
		Example: `  coldbrick version`,
		Args:    exactly(),
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(a.stdout, buildInfo())
			return err
		},
	}
}

func newCompletion(a *app) *cobra.Command {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	return &cobra.Command{
		Use:   "completion SHELL",
		Short: "Write a completion script for bash, zsh, fish or powershell",
		Long: `Write a script that makes a shell complete coldbrick's commands and flags:

    coldbrick completion bash > /etc/bash_completion.d/coldbrick
    coldbrick completion zsh > "${fpath[1]}/_coldbrick"
    coldbrick completion fish > ~/.config/fish/completions/coldbrick.fish`,
		Example:   `  source <(coldbrick completion bash)`,
		Args:      exactly("SHELL"),
		ValidArgs: shells,
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(a.stdout, true)
			case "zsh":
				return root.GenZshCompletion(a.stdout)
			case "fish":
				return root.GenFishCompletion(a.stdout, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(a.stdout)
			}
			return run.Usagef("no completion for %q: write one of %s", args[0], strings.Join(shells, ", "))
		},
	}
}

// rootHelp is the first page of the manual.
func rootHelp() string {
	var b strings.Builder
	b.WriteString(`coldbrick moves the cold files of a GlusterFS volume to an object store and
brings them back. An archived file stays where it is as a stub: name, owner,
times and visible size are those of the file, its data is in the store.

Every flag can be given as COLDBRICK_FLAG in the environment (upper case, - as
_) or in the TOML file named by --config; the command line wins over the
environment, and that over the file.

Exit codes:
`)
	for _, e := range exits {
		fmt.Fprintf(&b, "  %3d  %s\n", e.code, e.meaning)
	}
	return strings.TrimRight(b.String(), "\n")
}
