package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/coldbrick/coldbrick/internal/config"
	"github.com/coldbrick/coldbrick/internal/objstore/stores"
	"github.com/coldbrick/coldbrick/internal/run"
)

// section is a group of flags in the help of a command.
type section struct {
	title string
	names []string
}

// sections are all groups, in the order of the help. What a command alone has is in the
// first, which takes the flags that no other has.
var sections = []section{
	{title: "Of this command"},
	{"Volume, brick and paths", []string{"volume", "brick", "mount", "client", "files-from", "null", "recursive"}},
	{"Which files", append(slices.Clone(policyFlags), "order")},
	{"How much", []string{"max-files", "max-bytes", "max-duration", "until-free", "max-errors"}},
	{"Store", storeFlags},
	{"Output", append([]string{"metrics-file"}, outputFlags...)},
	{"Rarely needed", []string{"allow-unqualified-version", "allow-unguarded-clients", "allow-cold-class", "state-dir", "lock-wait", "config", "help"}},
}

// flagSections are the flags of a command by section, without those that are empty.
func flagSections(cmd *cobra.Command) (titles []string, groups []*pflag.FlagSet) {
	at := func(name string) int {
		return max(0, slices.IndexFunc(sections, func(s section) bool { return slices.Contains(s.names, name) }))
	}
	for i, s := range sections {
		group := pflag.NewFlagSet(s.title, pflag.ContinueOnError)
		group.SortFlags = false
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if at(f.Name) == i {
				group.AddFlag(f)
			}
		})
		if group.HasAvailableFlags() {
			titles, groups = append(titles, s.title), append(groups, group)
		}
	}
	return titles, groups
}

// flagHelp is the part of a help text that lists the flags.
func flagHelp(cmd *cobra.Command) string {
	var b strings.Builder
	titles, groups := flagSections(cmd)
	for i, group := range groups {
		b.WriteString("\n" + titles[i] + ":\n" + group.FlagUsages())
	}
	return b.String()
}

// usage writes the help of a command after what it says of itself.
func usage(cmd *cobra.Command) error {
	var b strings.Builder
	b.WriteString("Usage:\n  " + cmd.UseLine() + "\n")
	if cmd.HasAvailableSubCommands() {
		b.WriteString("\nCommands:\n")
		for _, c := range cmd.Commands() {
			if c.IsAvailableCommand() || c.Name() == "help" {
				b.WriteString("  " + c.Name() + strings.Repeat(" ", cmd.NamePadding()-len(c.Name())+1) + c.Short + "\n")
			}
		}
	}
	if cmd.HasExample() {
		b.WriteString("\nExamples:\n" + cmd.Example + "\n")
	}
	if cmd.HasParent() { // the program itself has none but --help
		b.WriteString(flagHelp(cmd))
	}
	cmd.Print(b.String())
	return nil
}

// completes gives the flags of a command the words that a shell may offer for them.
func (a *app) completes(cmd *cobra.Command) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if _, done := cmd.GetFlagCompletionFunc(f.Name); done {
			return // by another command that has the same flag
		}
		if words := wordsOf(f); words != nil {
			_ = cmd.RegisterFlagCompletionFunc(f.Name, words) // it fails for a flag that is not there
		}
	})
}

func wordsOf(f *pflag.Flag) cobra.CompletionFunc {
	if choice, ok := f.Value.(*config.Choice); ok {
		return cobra.FixedCompletions(choice.Words(), cobra.ShellCompDirectiveNoFileComp|cobra.ShellCompDirectiveKeepOrder)
	}
	switch f.Name {
	case "volume":
		return volumeNames
	case "store":
		var names []string
		for _, kind := range stores.All {
			names = append(names, kind.Name+"\t"+kind.Description)
		}
		return cobra.FixedCompletions(names, cobra.ShellCompDirectiveNoFileComp)
	case "mount", "brick", "client", "to", "state-dir", "store-dir":
		return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		}
	case "config", "prices", "keys-from", "ca-bundle", "files-from", "svg", "html", "list", "metrics-file":
		return nil // a file, which shells offer by themselves
	}
	return cobra.NoFileCompletions
}

// volumeNames are the volumes that this host knows. Only root can read their names.
func volumeNames(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return run.VolumeNames(), cobra.ShellCompDirectiveNoFileComp
}
