package main

import (
	"github.com/spf13/cobra"

	"github.com/coldbrick/coldbrick/internal/run"
)

func newCatalog(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "catalog {BRICK [--mount DIR] | [BRICK] --volume NAME}",
		Short: "Write to the store what the bricks refer to, and their tree",
		Long: `Write to the store which objects the files of a brick refer to, and what its tree
looks like: every name with its owner, mode, times and attributes. From the newest
such catalogs coldbrick rebuild makes a lost volume anew. With --volume and
without BRICK, all bricks of this host are written down, passive ones too;
arbiters have no data and are left out.

A catalog is complete or it is not there: if one entry of a brick cannot be read,
or the store fails, nothing counts of what was written. The volume is not changed.

Catalogs are sealed with catalog-secret, which is set in the configuration file,
the same on every host of the volume. Keep a copy of it where the volume is not:
without it no catalog can be read. Catalogs hold the names of files in plain text.`,
		Example: `  coldbrick catalog --volume vol                     # every week`,
		Args:    brickOrVolume,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.configure(cmd, a.byMount); err != nil {
				return err
			}
			return run.Catalog(cmd.Context(), a.session(), args)
		},
	}
	a.uses(cmd, []string{"mount", "volume", "crawlers", "state-dir", "metrics-file"}, storeFlags, outputFlags)
	return cmd
}
