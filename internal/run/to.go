package run

import (
	"context"
	"os"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/volume"
	"github.com/coldbrick/coldbrick/recall"
)

// fetchTo writes the data of a file below root, under the path it has on the
// volume, with its times. Nothing is there until it is whole and proven, and an
// existing file is not touched.
func fetchTo(ctx context.Context, g *ground, root *os.Root, t recall.Target) recall.Result {
	r := recall.Result{Path: t.Path, GFID: t.GFID, Outcome: outcome.Failed, Reason: outcome.IOError}
	mtime, err := mtimeOf(g, t.Path)
	if err != nil {
		r.Err = err
		return r
	}
	n, err := newFileAt(root, t.Path)
	if err != nil {
		r.Err = err
		return r
	}
	defer n.discard()
	r = g.recaller.Fetch(ctx, t.Path, t.GFID, n.File)
	if r.Outcome != outcome.Recalled {
		return r
	}
	if err := n.publish(mtime); err != nil {
		r.Outcome, r.Reason, r.Err = outcome.Failed, outcome.IOError, err
	}
	return r
}

func mtimeOf(g *ground, path string) (unix.Timespec, error) {
	at, err := g.files.Open(path, unix.O_PATH)
	if err != nil {
		return unix.Timespec{}, err
	}
	defer at.Close()
	st, err := volume.StatOf(at)
	return st.Mtime, err
}
