package main

import (
	"github.com/spf13/cobra"

	"github.com/coldbrick/coldbrick/internal/run"
)

func newRelease(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "release {BRICK --mount DIR | [BRICK] --volume NAME}",
		Short: "Make copied files stubs, without an upload",
		Long: `Free the data of files that have a copy in the store, made by archive --keep or left
by a recall, and that have not changed since: they become stubs as by archive, but
nothing is uploaded. What archive --keep or recall on this host has noted of a file
proves that it is unchanged; any other file is read and compared with the checksum of
its object. Skipped are files that were never copied (not-copied), that have changed
(changed), and those that take no room of their own on the brick (frees-nothing).

With --until-free, where the brick's file system does not tell which bytes a file
shares, the run ends with code 1 if the brick does not gain what is released: a
snapshot keeps the room then.

What archive refuses, release refuses: see coldbrick archive.`,
		Example: `  coldbrick archive --volume vol --keep              # copies by day
  coldbrick release --volume vol --until-free 20%    # frees what is needed`,
		Args: brickOrVolume,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.configure(cmd, a.byMount); err != nil {
				return err
			}
			return run.Release(cmd.Context(), a.session(), args)
		},
	}
	a.uses(cmd, []string{"mount", "volume"}, policyFlags, []string{"order", "allow-unqualified-version", "allow-unguarded-clients", "allow-cold-class"}, storeFlags, runFlags, outputFlags)
	return cmd
}
