package recall

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/sparse"
	"github.com/coldbrick/coldbrick/internal/workers"
)

// Fetch makes the data of the file at path the content of dst, zeros as holes,
// and leaves the file on the volume as it is. Unless the outcome is
// outcome.Recalled, dst may hold anything.
func (r *Recaller) Fetch(ctx context.Context, path string, gfid gluster.GFID, dst *os.File) Result {
	t := &transaction{Recaller: r, path: path, gfid: gfid}
	res := Result{Path: path, Outcome: outcome.Recalled}
	if res.Err = workers.Guard(func() error { return t.copyTo(ctx, dst) }); res.Err != nil {
		res.Outcome, res.Reason = classify(res.Err)
	}
	res.GFID, res.Size, res.Key = t.gfid, t.notes.Size, t.notes.Key
	return res
}

func (t *transaction) copyTo(ctx context.Context, dst *os.File) (err error) {
	if t.file, err = t.Files.OpenRegular(t.path); err != nil {
		return err
	}
	defer t.file.Close() // read only
	if err := t.look(); err != nil {
		return err
	}
	if t.state == gluster.Local {
		t.notes.Size, err = copyLocal(dst, t.file)
	} else {
		var key string
		if key, err = t.chooseKey(ctx); err != nil {
			return err
		}
		if err = t.newNotes(key); err != nil {
			return err
		}
		_, err = t.fetch(ctx, dst)
	}
	if err != nil {
		return err
	}
	if err := dst.Sync(); err != nil {
		return fmt.Errorf("write %s: %w", dst.Name(), err)
	}
	return nil
}

// copyLocal copies a file that is on the volume, and keeps its holes.
func copyLocal(dst, src *os.File) (int64, error) {
	filling, err := sparse.Empty(dst)
	if err != nil {
		return 0, err
	}
	size, err := io.Copy(io.NewOffsetWriter(filling, 0), src)
	if err != nil {
		return size, err
	}
	return size, filling.Finish(size)
}
