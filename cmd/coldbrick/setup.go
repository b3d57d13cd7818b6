package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/coldbrick/coldbrick/internal/config"
	"github.com/coldbrick/coldbrick/internal/run"
)

func newSetup(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "setup VOLUME",
		Short: "Write the files that a volume needs, and say which options it needs",
		Long: `Write the files that the volume needs on this host, print the command of gluster
that sets its options, and end in coldbrick doctor. On a terminal, setup asks for
what no flag says. With --apply, it runs the command, after telling what clients
will feel. Everything may be run again.

The keys of the bucket are asked for on a terminal, without showing them; or they
come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment, or from
the file of --keys-from, which is like the one that setup writes. They go to
/etc/coldbrick/VOLUME.toml, which only root can read, for coldbrick and its plugin
alike: copy that file to every other host with a brick. Every other client needs
one of the same form; a key that can only read is enough there.

With --undo, setup takes back what it has done on this host, and nothing that was
changed since. It refuses while the volume has stubs, which would look empty
without the options, and while a host has the volume mounted.`,
		Example: `  coldbrick setup vol                        # asks
  coldbrick setup vol --endpoint-url https://s3.example.com --bucket archive \
    --keys-from keys.toml --apply
  coldbrick setup vol --undo`,
		Args:              exactly("VOLUME"),
		ValidArgsFunction: volumeNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			a.volume = args[0]
			if err := a.configure(cmd, nil); err != nil {
				return err
			}
			switch {
			case a.undo && a.apply:
				return run.Usagef("--undo and --apply exclude each other")
			case a.undo:
				return run.Unsetup(cmd.Context(), a.session())
			}
			wish, err := a.arrangement()
			if err != nil {
				return err
			}
			return run.Setup(cmd.Context(), a.session(), wish)
		},
	}
	a.uses(cmd, []string{"endpoint-url", "region", "bucket", "path-style", "ca-bundle", "keys-from"}, ofTable,
		[]string{"apply", "undo", "state-dir", "allow-unqualified-version", "allow-unguarded-clients"}, outputFlags)
	return cmd
}

// ofTable are the settings that setup keeps in the volume's table of the configuration.
var ofTable = []string{"older-than", "storage-class", "key-prefix"}

// arrangement is what flags, environment and a terminal say.
func (a *app) arrangement() (run.Arrangement, error) {
	wish := run.Arrangement{Config: a.config}
	if wish.Config == "" {
		wish.Config = defaultConfig
	}
	var err error
	switch value := a.variable("AWS_SECRET_ACCESS_KEY"); {
	case a.keysFrom != "":
		wish.Keys, err = run.ParseKeys(a.keysFrom)
	case value != "":
		wish.Keys = run.Keys{ID: a.variable("AWS_ACCESS_KEY_ID"), Secret: value, Token: a.variable("AWS_SESSION_TOKEN")}
	}
	if stdin, ok := a.stdin.(*os.File); ok && err == nil && term.IsTerminal(int(stdin.Fd())) {
		err = a.ask(stdin, &wish)
	}
	for _, name := range ofTable {
		if origin := a.origins[name]; origin == config.FromFlag || origin == config.Variable(name) {
			wish.Table += name + " = " + tomlString(a.all.Lookup(name).Value.String()) + "\n"
		}
	}
	if a.file != nil {
		wish.Tables = a.file.Volumes()
	}
	return wish, err
}

// variable is that of the environment, "" if there is none.
func (a *app) variable(name string) string {
	at := slices.IndexFunc(a.environ, func(assignment string) bool { return strings.HasPrefix(assignment, name+"=") })
	if at < 0 {
		return ""
	}
	return a.environ[at][len(name)+1:]
}

// ask asks on a terminal for what nobody has said.
func (a *app) ask(terminal *os.File, wish *run.Arrangement) error {
	lines := bufio.NewReader(terminal)
	line := func(question, setting string) error {
		if a.origins[setting] != config.FromDefault {
			return nil
		}
		fmt.Fprint(a.stderr, question+": ")
		answer, err := lines.ReadString('\n')
		if answer = strings.TrimSpace(answer); answer != "" && err == nil {
			a.origins[setting] = config.FromFlag
			err = a.all.Lookup(setting).Value.Set(answer)
		}
		return notEnd(err)
	}
	hidden := func(question string, to *string) error {
		fmt.Fprint(a.stderr, question+": ")
		answer, err := term.ReadPassword(int(terminal.Fd()))
		fmt.Fprintln(a.stderr)
		*to = strings.TrimSpace(string(answer))
		return notEnd(err)
	}
	wish.Confirm = func(question string) (bool, error) {
		fmt.Fprint(a.stderr, question+" [y/N] ")
		answer, err := lines.ReadString('\n')
		return strings.HasPrefix(strings.ToLower(strings.TrimSpace(answer)), "y"), notEnd(err)
	}
	keys := &wish.Keys
	for _, q := range [][2]string{
		{"URL of the S3 server (empty for AWS)", "endpoint-url"},
		{"region (AWS needs it)", "region"},
		{"bucket", "bucket"},
	} {
		if err := line(q[0], q[1]); err != nil {
			return err
		}
	}
	if keys.Secret != "" || keys.Profile != "" {
		return nil
	}
	if err := hidden("access key (hidden; empty to leave the keys as they are)", &keys.ID); err != nil || keys.ID == "" {
		return err
	}
	return hidden("secret key (hidden)", &keys.Secret)
}

// notEnd makes an answer of a terminal that was closed.
func notEnd(err error) error {
	if err == io.EOF { //nolint:errorlint // of a terminal, as it is
		return nil
	}
	return err
}
