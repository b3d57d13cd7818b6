package main

import (
	"github.com/spf13/cobra"

	"github.com/coldbrick/coldbrick/internal/run"
)

func newGC(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "gc --volume NAME [--apply | --answer | --forget-volume ID | --erase [--apply] PATH|GFID...]",
		Short: "Find objects that no file refers to, and delete them",
		Long: `Find the objects that neither of two generations of catalogs refers to: one complete
set of catalogs of at most a week ago, and one that was complete --grace earlier. Of
each volume with this key prefix every brick must have been written down. Without
--apply this only says how many there are, how large, since when, and what they cost.

With --apply the list of these objects is published in the store, and all bricks of all
volumes with this key prefix are looked at once more. This run looks at those of this
host. For the others run coldbrick gc --answer on their hosts, or let the timer do so;
then run gc --apply again, within a day. Only if every brick has answered, and none
refers to an object, that object is deleted. Nothing is deleted while a brick is down, a
heal, a rebalance or a rebuild is under way, or the volume has snapshots or clones. A
bucket that keeps versions keeps what is deleted as an old version. Catalogs that neither
this nor a rebuild can need any more are deleted at the end.

With --erase it is about files that were deleted and must leave no trace: those of the
gfids and the paths that are named, as arguments or by --files-from. A path is relative
to the volume, as catalogs have it; that of a directory stands for all that was below.
Delete the files, run coldbrick catalog on every host, then this. With --apply every
object and version that was made from them is deleted by the same proof, without --grace,
then the catalogs that name them; a note that has the gfid alone keeps rebuild from
bringing them back. A protocol is written to STATE-DIR/erasures. Without --apply this
says what there is. Other hosts answer as they always do.

A volume that shares the key prefix and is gone for good keeps gc from working, until
--forget-volume says so.`,
		Example: `  coldbrick gc --volume vol                          # how much nobody refers to
  coldbrick gc --volume vol --apply --max-delete 100
  coldbrick gc --volume vol --erase --apply home/jdoe/cv.pdf`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.configure(cmd, a.byMount); err != nil {
				return err
			}
			if !a.erase && (len(args) > 0 || a.filesFrom != "") {
				return run.Usagef("no files are named without --erase")
			}
			return run.GC(cmd.Context(), a.session(), a.named(args))
		},
	}
	a.uses(cmd, []string{"volume", "apply", "answer", "forget-volume", "erase", "files-from", "null", "grace", "max-delete", "list", "prices", "crawlers", "state-dir", "metrics-file"}, storeFlags, outputFlags)
	return cmd
}
