package main

import (
	"github.com/spf13/cobra"

	"github.com/coldbrick/coldbrick/internal/run"
)

func newDoctor(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor {--volume NAME | --brick DIR --mount DIR | --client DIR}",
		Short: "Say whether volume, brick, mount and store are safe to archive",
		Long: `Say whether volume, brick, mount and store are safe to archive, each check by
name, and what to do about those that fail. With --volume, all bricks of this host
are looked at. Checks that only glusterd can answer are named as such where there
is none. A few small objects are written to the store and deleted again, and a good
answer of the store is noted in --state-dir for the runs of the next day; nothing
else is changed.

With --client, say whether a mount of users on this host is safe for stubs: run it
on every client. It needs no store, no brick and no settings. A small file of its
own, .coldbrick-probe-*, is made in the root of the volume, turned into a stub, and
removed again.`,
		Example: `  coldbrick doctor --volume vol
  coldbrick doctor --client /mnt/vol                 # on every client`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.configure(cmd, a.byMount); err != nil {
				return err
			}
			switch {
			case a.client == "" && a.volume == "" && (a.brick == "" || a.mount == ""):
				return run.Usagef("name what to look at: write --volume NAME, --brick DIR and --mount DIR, or --client DIR")
			}
			return run.Doctor(cmd.Context(), a.session())
		},
	}
	a.uses(cmd, []string{"volume", "brick", "mount", "client", "state-dir", "allow-unqualified-version", "allow-unguarded-clients", "allow-cold-class"}, storeFlags, outputFlags)
	return cmd
}
