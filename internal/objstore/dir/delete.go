package dir

import (
	"context"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore"
)

// Delete deletes an object that is still what a Head told of. It moves it aside first,
// since it is several files: a crash leaves what no listing shows, and Tidy takes. A taken key is never
// replaced, and one run alone deletes (gc), so the name still holds what was looked at.
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
	if err := dropAs(parent, name, asidePrefix+object.NewID()+tempSuffix); err != nil {
		return dirError("delete object", err)
	}
	if err := parent.Sync(); err != nil {
		return dirError("delete object", err)
	}
	return nil
}
