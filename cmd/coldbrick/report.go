package main

import (
	"github.com/spf13/cobra"

	"github.com/coldbrick/coldbrick/internal/run"
)

func newReport(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "report BRICK",
		Short: "Say what is cold on a brick, and how the last runs went",
		Long: `Say what is cold on the brick in the directory BRICK of this host, by age and by
top directory, what archiving it would free, and how the last runs on it went.
--svg draws the same as a picture. Nothing is changed.

Ages are those that clients see. The 15 directories with the most cold bytes are
told one by one. On a brick with more than 4,096 top directories small ones
count among the others, also with a part of their files if they come up again.`,
		Example: `  coldbrick report /bricks/b1/vol --svg report.svg`,
		Args:    exactly("BRICK"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.configure(cmd, nil); err != nil {
				return err
			}
			return run.Survey(cmd.Context(), a.session(), args[0])
		},
	}
	a.uses(cmd, policyFlags, []string{"svg", "state-dir"}, outputFlags)
	return cmd
}
