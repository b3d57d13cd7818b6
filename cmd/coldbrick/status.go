package main

import (
	"github.com/spf13/cobra"

	"github.com/coldbrick/coldbrick/internal/run"
)

func newStatus(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status PATH...",
		Short: "Say where the data of files is",
		Long: `Say for each path on a mount of the volume where its data is: local (on the
volume), remote (in the store), recalling, or broken, with the reason. With
--check the store is asked as well: copied means that a valid object exists and
the data is still here, thawing that the store is making the object of a stub
readable. Nothing is changed.

-v shows all that ties each file to its object: gfid, cs.remote, pointer and
proof, with --check the object, and what the run records of this host tell of the
file. It reads all records for each file.`,
		Example: `  coldbrick status /mnt/vol/video/a.mov
  coldbrick status -r --check /mnt/vol/projects/2019`,
		RunE: func(cmd *cobra.Command, args []string) error {
			paths := run.NewPaths(a.named(args))
			defer paths.Close()
			if err := a.configure(cmd, paths.Mount); err != nil {
				return err
			}
			return run.Status(cmd.Context(), a.session(), paths)
		},
	}
	a.uses(cmd, pathFlags, []string{"check", "state-dir"}, storeFlags, outputFlags)
	return cmd
}
