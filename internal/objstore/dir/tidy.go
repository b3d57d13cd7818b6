package dir

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore"
)

// asidePrefix begins the names of what is being deleted. They end in tempSuffix.
const asidePrefix = "deleted-"

// writtenFor is how long after its last write an object that has no name yet may still
// get one.
const writtenFor = 7 * 24 * time.Hour

// Tidy removes objects that were only half written or half deleted by runs that died. What
// somebody is writing stays; if it does not, since his clock is wrong, his Create fails.
func (d *Store) Tidy(ctx context.Context, prefix string) error {
	n := d.current.Load()
	if n == nil {
		return objstore.ErrClosed
	}
	place, err := placeOf(prefix)
	if err == nil {
		err = n.tidy(ctx, place)
	}
	switch {
	case err == nil, errors.Is(err, fs.ErrNotExist):
		return nil
	case ctx.Err() != nil, errors.Is(err, object.ErrKey):
		return err
	}
	return dirError("remove what was left", err)
}

func (n *session) tidy(ctx context.Context, place string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	dir, err := openBeneath(n.root, place, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	var below []string
	names, err := dir.Readdirnames(-1)
	for _, name := range names {
		switch {
		case err != nil, strings.HasSuffix(name, objectSuffix):
		case strings.HasSuffix(name, tempSuffix):
			err = tidyOne(dir, name)
		default:
			below = append(below, name)
		}
	}
	if err = errors.Join(err, dir.Close()); err != nil {
		return err
	}
	for _, name := range below {
		err := n.tidy(ctx, place+"/"+name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) && !errors.Is(err, unix.ELOOP) { // not a directory of ours
			return err
		}
	}
	return nil
}

// tidyOne removes one that nobody writes.
func tidyOne(parent *os.File, name string) error {
	id, deleted := strings.CutPrefix(strings.TrimSuffix(name, tempSuffix), asidePrefix)
	if b, _ := hex.DecodeString(id); len(id) != 32 || len(b) != 16 { // not ours
		return nil
	}
	if deleted {
		return drop(parent, name)
	}
	for _, part := range []string{name, name + "/" + dataFile, name + "/" + infoFile} {
		var st unix.Stat_t
		err := unix.Fstatat(int(parent.Fd()), part, &st, unix.AT_SYMLINK_NOFOLLOW)
		if err == nil && time.Since(time.Unix(st.Mtim.Unix())) < writtenFor {
			return nil
		}
		if err != nil && err != unix.ENOENT {
			return err
		}
	}
	err := dropAs(parent, name, asidePrefix+name)
	if errors.Is(err, unix.ENOENT) { // it has got its name
		return nil
	}
	return err
}

// dropAs removes what is several files, under another name: under its own it is there
// whole or not at all.
func dropAs(parent *os.File, name, aside string) error {
	if err := unix.Renameat(int(parent.Fd()), name, int(parent.Fd()), aside); err != nil {
		return err
	}
	return drop(parent, aside)
}

func drop(parent *os.File, aside string) error {
	removeTemp(parent, aside)
	var st unix.Stat_t
	if err := unix.Fstatat(int(parent.Fd()), aside, &st, unix.AT_SYMLINK_NOFOLLOW); err != unix.ENOENT {
		return fmt.Errorf("its bytes could not be removed: %s", aside)
	}
	return nil
}
