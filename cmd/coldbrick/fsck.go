package main

import (
	"github.com/spf13/cobra"

	"github.com/coldbrick/coldbrick/internal/run"
)

func newFsck(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "fsck {BRICK --mount DIR | [BRICK] --volume NAME}",
		Short: "Check that every stub's object exists and matches",
		Long: `Check for every stub of the brick in the directory BRICK, and for every file that
an archive or a recall has marked, that its object exists and matches, and print
what is wrong. With --volume and without BRICK, the bricks of this host are
examined that archive --volume would take.

Nothing is changed without --repair. With it, what can be fixed without guessing
is fixed: a recall that was cut short is finished, a wrong key is corrected,
left-over sizes are removed. Bytes on the volume are never given up for an object
that was not proven to hold the same.

The exit code is 14 if problems remain, and 15 if data is at risk.`,
		Example: `  coldbrick fsck --volume vol
  coldbrick fsck --volume vol --read --sample 1%     # reads one object in a hundred
  coldbrick fsck --volume vol --repair`,
		Args: brickOrVolume,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.configure(cmd, a.byMount); err != nil {
				return err
			}
			if a.used.Changed("sample") && !a.readObjects {
				return a.session().Finish("fsck", "", run.Usagef("--sample goes with --read: it says how many objects are read"))
			}
			return run.Fsck(cmd.Context(), a.session(), args)
		},
	}
	a.uses(cmd, []string{"mount", "volume", "under", "crawlers", "repair", "read", "sample", "state-dir", "metrics-file"}, storeFlags, outputFlags)
	return cmd
}
