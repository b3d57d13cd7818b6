package main

import (
	"github.com/spf13/cobra"

	"github.com/coldbrick/coldbrick/internal/run"
)

func newCrawl(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "crawl {BRICK | --volume NAME}",
		Short: "List the cold files of a brick, and count why the others are not",
		Long: `List the cold files of the brick in the directory BRICK of this host, one path a
line, and count why the others are left alone. With --volume, those of the bricks
of this host that archive --volume would take. Nothing is changed.`,
		Example: `  coldbrick crawl /bricks/b1/vol --older-than 1y     # what is cold, and how much
  coldbrick crawl --volume vol --under home --json   # for a program`,
		Args: brickOrVolume,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.configure(cmd, nil); err != nil {
				return err
			}
			return run.Crawl(cmd.Context(), a.session(), args)
		},
	}
	a.uses(cmd, []string{"volume"}, policyFlags, []string{"order", "state-dir"}, outputFlags)
	return cmd
}
