package main

import (
	"github.com/spf13/cobra"

	"github.com/coldbrick/coldbrick/internal/run"
)

func newEstimate(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "estimate {BRICK | --volume NAME}",
		Short: "Say what it costs to archive, keep and recall what is cold",
		Long: `Say what it costs to archive the cold files of the brick in the directory BRICK of
this host, to keep them in the store and to recall them, in several storage classes
side by side. With --volume, those of the bricks of this host that archive --volume
would take. Prices are those of a file, with its date: no store is asked, and
nothing is changed. docs/estimate.md explains each figure.`,
		Example: `  coldbrick estimate --volume vol --older-than 1y
  coldbrick estimate /bricks/b1/vol --prices prices.toml`,
		Args: brickOrVolume,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.configure(cmd, nil); err != nil {
				return err
			}
			return run.Estimate(cmd.Context(), a.session(), args)
		},
	}
	a.uses(cmd, []string{"volume"}, policyFlags, []string{"prices", "part-size", "state-dir"}, outputFlags)
	return cmd
}
