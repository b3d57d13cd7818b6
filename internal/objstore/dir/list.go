package dir

import (
	"context"
	"errors"
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore"
)

// List visits the objects whose keys begin with prefix, in no order. An error of visit
// ends it.
func (d *Store) List(ctx context.Context, prefix string, visit func(objstore.Listed) error) error {
	n := d.current.Load()
	if n == nil {
		return objstore.ErrClosed
	}
	parent := parentOf(prefix)
	place, err := placeOf(prefix)
	if err != nil {
		return err
	}
	err = n.list(ctx, place, parent, func(o objstore.Listed) error {
		if !strings.HasPrefix(o.Key, prefix) {
			return nil
		}
		return visit(o)
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// parentOf is what is before the last element of a prefix.
func parentOf(prefix string) string { return prefix[:strings.LastIndexByte(prefix, '/')+1] }

// placeOf is the directory that has all keys that begin with prefix.
func placeOf(prefix string) (string, error) {
	parent := parentOf(prefix)
	if parent == "" {
		return ".", nil
	}
	place, _ := objectPath(parent + "x")
	return place, objstore.CheckKey(parent + "x")
}

// list visits the objects below the directory place, whose keys begin with key.
func (n *session) list(ctx context.Context, place, key string, visit func(objstore.Listed) error) error {
	dir, err := openBeneath(n.root, place, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return dirError("list objects", err)
	}
	names, err := dir.Readdirnames(-1)
	dir.Close()
	if err != nil {
		return dirError("list objects", err)
	}
	for _, name := range names {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if own, ok := strings.CutSuffix(name, objectSuffix); ok {
			err = n.listOne(key+own, visit)
		} else if own, ok := strings.CutSuffix(name, moreSuffix); ok {
			err = n.list(ctx, place+"/"+name, key+own, visit)
		} else if !strings.HasSuffix(name, tempSuffix) {
			err = n.list(ctx, place+"/"+name, key+strings.TrimSuffix(name, escapedSuffix)+"/", visit)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // deleted in the meantime, or not a directory of ours
			return err
		}
	}
	return nil
}

func (n *session) listOne(key string, visit func(objstore.Listed) error) error {
	if _, ok := object.PathKey(key, ""); !ok { // not ours: nobody could ask for it
		return nil
	}
	data, info, err := n.open(key)
	if err != nil {
		return err
	}
	data.Close()
	return visit(objstore.Listed{Key: key, Size: info.Size, Modified: info.Modified})
}
