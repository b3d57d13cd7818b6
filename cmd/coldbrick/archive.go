package main

import (
	"github.com/spf13/cobra"

	"github.com/coldbrick/coldbrick/internal/run"
)

func newArchive(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "archive {BRICK --mount DIR | [BRICK] --volume NAME}",
		Short: "Copy the cold files of a brick to the store and make them stubs",
		Long: `Copy the cold files of the brick in the directory BRICK of this host to the
store, prove each copy, and only then let Gluster free its data: the file becomes
a stub. coldbrick stamps through a private mount, made from the mount of the
volume that --mount names, or with --volume from what glusterd says, and removes
it at the end.

With --volume and without BRICK, all active bricks of this host are archived: of
each replica set one brick is active, and the others are passive. The same command
can run on every host at the same time. Store and credentials are those
of the volume's options, unless set otherwise.

A volume on which stamping would lose or strand data is refused, and the checks
that failed are named; coldbrick doctor shows all of them. The run ends early when
the volume ceases to be safe. So it is while a client is connected that coldbrick's
plugin does not guard, since stubs look empty there (unguarded-clients).

The first SIGINT, SIGTERM or SIGHUP lets the files in work be finished and starts
no new one; the second drops them at once. Neither loses anything.`,
		Example: `  coldbrick archive --volume vol --dry-run           # what would be archived
  coldbrick archive --volume vol --under projects/2019 --max-files 1 -v
  coldbrick archive --volume vol --older-than 1y --until-free 20% --max-duration 6h`,
		Args: brickOrVolume,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.configure(cmd, a.byMount); err != nil {
				return err
			}
			return run.Archive(cmd.Context(), a.session(), args)
		},
	}
	a.uses(cmd, []string{"mount", "volume"}, policyFlags, []string{"order", "keep", "allow-unqualified-version", "allow-unguarded-clients", "allow-cold-class"}, storeFlags, runFlags, outputFlags)
	return cmd
}
