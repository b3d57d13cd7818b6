package recall

import (
	"context"
	"errors"
	"io"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/workers"
)

// Target is a file to be recalled.
type Target struct {
	Path string       // relative to the volume root
	GFID gluster.GFID // zero: whatever file is there
}

// Run calls one for each target that find emits, as many at a time as crew says, and done with
// its result. A file that fails is a result; Run itself fails only when the
// store cannot be used at all.
func Run(ctx context.Context, crew *workers.Crew, find func(ctx context.Context, emit func(context.Context, Target) error) error, one func(context.Context, Target) Result, done func(Result)) error {
	return workers.RunCrew(ctx, crew, find, func(ctx context.Context, t Target) error {
		res := one(ctx, t)
		done(res)
		if errors.Is(res.Err, object.ErrStore) {
			return res.Err
		}
		return nil
	})
}

// Tree opens directories beneath the root of a volume.
type Tree interface {
	Open(path string, flags int) (*os.File, error)
}

// Walk emits the regular files below dir, following no symlink. A directory
// that cannot be read is given to failed, and the rest goes on.
func Walk(ctx context.Context, tree Tree, dir string, emit func(context.Context, Target) error, failed func(dir string, err error)) error {
	entries, err := tree.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		failed(dir, err)
		return nil
	}
	defer entries.Close()
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		const batch = 1024
		list, err := entries.ReadDir(batch)
		for _, e := range list {
			child := path.Join(dir, e.Name())
			switch {
			case e.IsDir():
				err = Walk(ctx, tree, child, emit, failed)
			case e.Type().IsRegular():
				err = emit(ctx, Target{Path: child})
			}
			if err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			failed(dir, err)
			return nil
		}
	}
}
