package main

import (
	"github.com/spf13/cobra"

	"github.com/coldbrick/coldbrick/internal/run"
)

func newReport(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "report {BRICK | --volume NAME}",
		Short: "Say what is cold and what is archived, and how the last runs went",
		Long: `Say what is cold on the brick in the directory BRICK of this host, by age and by
top directory, what archiving it would free, what of it is in the store already, and
how the last runs on it went, with each that failed or was refused. With --volume, of
every brick of the volume on this host, and of all together, with the recalls by
command on this host. --svg draws the same as a picture, --html as a page.
Nothing is changed.

What is archived is what the last catalog or fsck has counted; files that were
recalled lately are counted by their own notes, whoever has recalled them. Budgets
are those of archive, to say how many runs it takes.

Ages are those that clients see. The 15 directories with the most cold bytes are
told one by one. On a brick with more than 4,096 top directories small ones
count among the others, also with a part of their files if they come up again.`,
		Example: `  coldbrick report --volume vol --html report.html
  coldbrick report /bricks/b1/vol --svg report.svg`,
		Args: brickOrVolume,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.configure(cmd, nil); err != nil {
				return err
			}
			return run.Survey(cmd.Context(), a.session(), args)
		},
	}
	a.uses(cmd, []string{"volume"}, policyFlags, []string{"max-files", "max-bytes", "svg", "html", "state-dir"}, outputFlags)
	return cmd
}
