package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/coldbrick/coldbrick/internal/report"
	"github.com/coldbrick/coldbrick/internal/run"
)

func newRecall(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "recall PATH...",
		Short: "Bring the data of stubs back",
		Long: `Bring the data of archived files back to the volume. PATH is a path on any mount
of the volume; all paths must be on one. A file becomes readable only when size
and checksum were verified, with the times it had. Objects stay in the store.

With --to or --stdout the data goes elsewhere, and the stub stays a stub. That is
the way while a rebalance or remove-brick moves files: then nothing is recalled
onto the volume.

With --thaw, objects in a storage class that cannot be read at once (GLACIER,
DEEP_ARCHIVE, the archive tiers of INTELLIGENT_TIERING) are restored first. The
store is asked for all of them before anything else; each file stays a stub until
its object can be read. --wait says how long to wait for them. Without it, or when
it is over, the run ends with exit code 10, and the same command recalls the rest
once the store is done.`,
		Example: `  coldbrick recall /mnt/vol/video/a.mov
  coldbrick recall -r /mnt/vol/projects/2019
  coldbrick recall --to /tmp /mnt/vol/video/a.mov        # to /tmp/video/a.mov; the stub stays
  coldbrick recall -r --thaw=bulk --wait 2d /mnt/vol/tapes`,
		RunE: func(cmd *cobra.Command, args []string) error {
			paths := run.NewPaths(a.named(args))
			defer paths.Close()
			if err := a.configure(cmd, paths.Mount); err != nil {
				return err
			}
			if err := a.recallUsage(args); err != nil {
				return err
			}
			return run.Recall(cmd.Context(), a.session(), paths)
		},
	}
	a.uses(cmd, pathFlags, []string{"to", "stdout", "thaw", "thaw-days", "wait", "state-dir", "metrics-file"}, storeFlags, outputFlags)
	return cmd
}

func (a *app) recallUsage(args []string) error {
	for _, path := range args {
		if info, err := os.Lstat(path); err == nil && info.IsDir() && !a.recursive {
			return run.Usagef("%s is a directory: -r takes all below it", report.Quote(path))
		}
	}
	switch {
	case a.stdoutData && a.to != "":
		return run.Usagef("--stdout and --to exclude each other")
	case a.wait > 0 && a.thaw.String() == "no":
		return run.Usagef("--wait without --thaw: there is nothing to wait for")
	case a.stdoutData && a.json:
		return run.Usagef("--stdout and --json exclude each other: both write to standard output")
	}
	return nil
}
