package dir

import (
	"context"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore"
)

// Delete deletes an object that is still what a Head told of. It moves it aside first,
// so that what is deleted is what was looked at; a crash leaves what no listing shows.
func (d *Store) Delete(_ context.Context, key string, is object.Info) error {
	n, err := d.session(key)
	if err != nil {
		return err
	}
	path, name := objectPath(key)
	if path == "" {
		path = "."
	}
	parent, err := openBeneath(n.root, path, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return dirError("delete object", err)
	}
	defer parent.Close()
	data, now, err := n.open(key)
	if err != nil {
		return err
	}
	data.Close()
	if !now.Modified.Equal(is.Modified) || now.Size != is.Size || now.Metadata[object.MetaAttempt] != is.Metadata[object.MetaAttempt] {
		return &objstore.Error{Op: "delete object", Kind: object.ErrChanged}
	}
	aside := object.NewID() + tempSuffix
	if err := unix.Renameat(int(parent.Fd()), name, int(parent.Fd()), aside); err != nil {
		return dirError("delete object", err)
	}
	removeTemp(parent, aside)
	if err := parent.Sync(); err != nil {
		return dirError("delete object", err)
	}
	return nil
}
