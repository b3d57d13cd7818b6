package main

import (
	"github.com/spf13/cobra"

	"github.com/coldbrick/coldbrick/internal/run"
)

func newRebuild(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rebuild {--volume NAME | --brick DIR --mount DIR} {--from VOLUME-ID | --under DIR}",
		Short: "Make the tree of a lost volume anew from its catalogs, or bring back deleted files",
		Long: `Make the tree of a lost volume anew in another one, which should be empty, from the
newest catalogs of the lost one: directories, links, empty files, and a stub for each
file whose data is in the store. Owners, modes, times, ACLs and users' attributes
come back, and each file has its previous gfid. --from is the id of the lost volume:
what gluster volume info shows, and the name of its entry in
KEY-PREFIX.coldbrick/volumes/ in the store.

Files whose data was on the volume alone are named as lost. Nothing that exists is
replaced: a name that is taken in the new volume stays as it is, with all below it.
Everything is made in a directory that only root can enter, and then moved into
place; a rebuild that was interrupted goes on where it was. With --dry-run nothing
is made, and what would be is counted. A volume that archive would refuse is refused.

Where there is no catalog that can be read, --without-catalog makes a stub for each
object of the lost volume, from its metadata: also for files that were deleted or written
anew since, and under the name that each had when it was archived. Of several objects of
one file or one name the newest counts, and the others are named. Directories belong to
root, and nobody else may enter them; links, empty files, ACLs and attributes are gone.
Each such stub carries trusted.coldbrick.rebuilt.

Without --from, this brings back what was deleted below DIR in this volume itself
(--under . for all of it): a stub, under its old name if that is free, of each file that
a catalog knows as a stub and that has no other name by now. Nothing that exists is
touched. Files come back as long as catalogs know them and their objects are there.

The object of each stub is looked at before the stub is made. Until a rebuild is complete
coldbrick gc deletes nothing.

The new volume notes the id of the lost one, so that its objects count as its own.
Run coldbrick fsck afterwards.`,
		Example: `  coldbrick rebuild --volume new --from 5b7c3a0e-2f1d-4c60-9e3b-8d1f4a6b7c20 --dry-run
  coldbrick rebuild --volume vol --under home/ann    # what was deleted there`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.configure(cmd, a.byMount); err != nil {
				return err
			}
			return run.Rebuild(cmd.Context(), a.session())
		},
	}
	a.uses(cmd, []string{"volume", "brick", "mount", "from", "without-catalog", "under", "dry-run", "allow-unqualified-version", "allow-unguarded-clients", "state-dir"}, storeFlags, outputFlags)
	return cmd
}
