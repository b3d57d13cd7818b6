package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/coldbrick/coldbrick/internal/config"
	"github.com/coldbrick/coldbrick/internal/run"
)

func newConfig(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Show the settings in force",
		Args:  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return run.Usagef("unknown command %q: write coldbrick config show", "config "+args[0])
		},
	}
	cmd.AddCommand(newConfigShow(a))
	return cmd
}

func newConfigShow(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Show each setting with its value and where that came from",
		Long: `Show each setting with its value and where that came from: a flag, a variable of
the environment, a line of the configuration file, the volume (--volume or --mount)
and the file of its keys, or the default. Secrets are hidden. The output is TOML and
can serve as a configuration file.`,
		Example: `  coldbrick config show --volume vol`,
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.configure(cmd, a.byMount); err != nil {
				return err
			}
			return a.showConfig(cmd.Context())
		},
	}
	var names []string
	a.all.VisitAll(func(f *pflag.Flag) {
		if f.Annotations[config.FileOnly] == nil && f.Name != "config" {
			names = append(names, f.Name)
		}
	})
	a.uses(cmd, names)
	return cmd
}

func (a *app) showConfig(ctx context.Context) (err error) {
	if a.target.Volume != "" {
		if err := a.takeOfVolume(ctx); err != nil {
			a.ui.Say("what volume " + a.target.Volume + " says of its store is not known: " + err.Error())
		}
	}
	a.all.VisitAll(func(f *pflag.Flag) {
		if err != nil || f.Name == "config" {
			return
		}
		comment := ""
		if v := f.Value.String(); v == "" || v == "(hidden)" {
			comment = "# " // neither can be pasted as it stands
		}
		_, err = fmt.Fprintf(a.stdout, "%-40s # %s\n", comment+f.Name+" = "+tomlValue(f.Value), a.origins[f.Name])
	})
	if err == nil && a.file != nil && a.target.Volume == "" {
		for _, name := range a.file.Volumes() {
			if _, err = fmt.Fprintf(a.stdout, "# what [volume.%s] says comes in with --volume %[1]s\n", name); err != nil {
				break
			}
		}
	}
	return err
}

// takeOfVolume gives settings that nobody has set the values that the volume has for them.
func (a *app) takeOfVolume(ctx context.Context) error {
	values, err := a.session().OfVolume(ctx)
	if err != nil {
		return err
	}
	for name, value := range values {
		if err := a.all.Lookup(name).Value.Set(value); err != nil {
			return err
		}
		a.origins[name] = "volume " + a.target.Volume
	}
	return nil
}

// tomlValue writes a value as a configuration file has it.
func tomlValue(v pflag.Value) string {
	switch v := v.(type) {
	case *config.List:
		quoted := make([]string, 0, len(*v))
		for _, e := range *v {
			quoted = append(quoted, tomlString(e))
		}
		return "[" + strings.Join(quoted, ", ") + "]"
	case *config.Number:
		if !v.IsAuto() {
			return v.String()
		}
	}
	if v.Type() == "bool" {
		return v.String()
	}
	return tomlString(v.String())
}

// tomlString is a TOML string in one line. Go's quotes differ only in \x, \a
// and \v, which TOML lacks.
func tomlString(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r == '"' || r == '\\' {
			b.WriteByte('\\')
			b.WriteRune(r)
		} else if strconv.IsPrint(r) {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	return `"` + b.String() + `"`
}
