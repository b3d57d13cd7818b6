package run

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/coldbrick/coldbrick/internal/catalog"
	"github.com/coldbrick/coldbrick/internal/gc"
	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/rebuild"
	"github.com/coldbrick/coldbrick/internal/report"
)

// erase erases files on purpose, or without Apply says what there is of them.
func (c *collection) erase(ctx context.Context, named iter.Seq2[string, error]) error {
	wanted, err := c.namedToErase(named)
	if err != nil {
		return err
	}
	var status *gc.Status
	if c.Apply {
		if status, err = c.open(ctx); err != nil {
			return err
		}
	}
	if status == nil {
		list, err := c.place.SearchErasure(ctx, wanted)
		if errors.Is(err, gc.ErrUnknownPath) {
			return UsageError{err}
		}
		if err != nil {
			return err
		}
		if !c.Apply {
			for _, o := range list.Candidates {
				c.tally.Add(outcome.Unreferenced, "", o.Size)
				c.print(objectRecord(o, outcome.Unreferenced, "", nil))
			}
		}
		if !c.Apply || len(list.Targets) == 0 {
			c.notErased(&list, wanted)
			return nil
		}
		if status, err = c.publish(ctx, &list); err != nil {
			return err
		}
	}
	list, err := c.place.Read(ctx, *status)
	if err != nil {
		return err
	}
	switch {
	case !list.Erases():
		return fmt.Errorf("%w: gc is deleting by list %s of %s: end that by gc --apply, or wait two days",
			gc.ErrNotProven, list.ID, moment(list.Published))
	case list.Volume != c.scope.cluster.ID: // its paths, and the protocol, are of that one
		return fmt.Errorf("%w: an erasure of volume %s is under way, by list %s of %s: end it there by gc --erase --apply, or wait two days",
			gc.ErrNotProven, list.Volume, list.ID, moment(list.Published))
	}
	c.UI.Say(fmt.Sprintf("erasing %s, by list %s of %s", report.Count(int64(len(list.Targets)), "file"), list.ID, moment(list.Published)))
	left := c.notErased(list, wanted)
	if err := c.answerOwn(ctx, list, *status); err != nil {
		return err
	}
	return c.eraseBy(ctx, list, left)
}

// notErased tells which files the list cannot erase.
func (c *collection) notErased(list *gc.List, wanted gc.Erasure) (left []report.Erasure) {
	for _, t := range list.Named {
		left = append(left, c.toldErasure(t, gc.ErrNamed))
	}
	for _, t := range list.Lacks(wanted) {
		left = append(left, c.toldErasure(t, gc.ErrUnlisted))
	}
	return left
}

// eraseBy erases by a list that all bricks have answered, and files the protocol, with
// what is left, too.
func (c *collection) eraseBy(ctx context.Context, list *gc.List, left []report.Erasure) error {
	p := &report.Protocol{
		Volume: c.scope.cluster.Name, VolumeID: c.scope.cluster.ID, Store: c.Store.whereIn(c.scope.mount.Graph), Prefix: c.place.Prefix,
		List: list.ID, Host: c.self.Host, Published: list.Published, Backups: c.Backups, Versions: list.Versions, StateDir: c.StateDir,
	}
	err := c.delete(ctx, list, p)
	if len(p.Files) == 0 { // it was not begun
		return err
	}
	p.Files = append(p.Files, left...)
	p.Ended, p.Err = time.Now(), err
	p.Sort()
	dir := filepath.Join(c.StateDir, "erasures")
	if mkErr := os.MkdirAll(dir, 0o700); mkErr != nil {
		return errors.Join(err, mkErr)
	}
	name := filepath.Join(dir, list.ID+".txt")
	f, openErr := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if openErr != nil {
		return errors.Join(err, openErr)
	}
	if writeErr := errors.Join(p.Write(f), f.Sync(), f.Close()); writeErr != nil {
		return errors.Join(err, fmt.Errorf("%s: %w", name, writeErr))
	}
	c.UI.Say("the protocol is in " + name)
	return err
}

// mostNamed bounds the paths and gfids of one erasure.
const mostNamed = 10_000

// namedToErase reads what the user has named.
func (c *collection) namedToErase(named iter.Seq2[string, error]) (e gc.Erasure, err error) {
	e.Volume, e.Jobs = c.scope.cluster.ID, c.Jobs
	for name, err := range named {
		if err != nil {
			return e, err
		}
		if gfid, err := gluster.ParseGFID(name); err == nil {
			e.GFIDs = append(e.GFIDs, gfid)
			continue
		}
		at := path.Clean(strings.TrimLeft(name, "/"))
		if !filepath.IsLocal(at) || at == "." {
			return e, Usagef("--erase: %q is neither a gfid nor a path below the volume's root", name)
		}
		e.Paths = append(e.Paths, at)
		if len(e.Paths)+len(e.GFIDs) > mostNamed {
			return e, Usagef("--erase: name at most %d files at once", mostNamed)
		}
	}
	if len(e.Paths)+len(e.GFIDs) == 0 {
		return e, Usagef("--erase: no file is named: write paths or gfids, or --files-from FILE")
	}
	return e, nil
}

// toldErasure tells and counts what became of a file to be erased.
func (c *collection) toldErasure(t gc.Target, err error) report.Erasure {
	r := report.Erasure{GFID: t.GFID, Outcome: outcome.Erased, Err: err}
	for _, name := range t.Names {
		r.Names = append(r.Names, string(name))
	}
	if err != nil {
		r.Outcome, r.Reason = outcome.Failed, outcome.NotErasable
		switch {
		case errors.Is(err, gc.ErrLives), errors.Is(err, gc.ErrNamed):
			r.Reason = outcome.NotDeleted
		case errors.Is(err, gc.ErrReferred):
			r.Reason = outcome.Referred
		case errors.As(err, new(gc.LockedError)), errors.Is(err, fs.ErrPermission):
			r.Reason = outcome.StoreKeeps
		}
	}
	c.tally.Add(r.Outcome, r.Reason, 0)
	c.print(r)
	return r
}

// withoutErased leaves files out of catalogs that were erased on purpose.
type withoutErased struct {
	rebuild.Catalog
	erased func(context.Context, gluster.GFID) (bool, error)
	tell   func(catalog.Entry)
}

// Tree visits the entries of all other files.
func (w withoutErased) Tree(ctx context.Context, visit func(catalog.Entry) error) error {
	return w.Catalog.Tree(ctx, func(e catalog.Entry) error {
		if e.Kind != catalog.Directory { // what is in it has to be somewhere
			if erased, err := w.erased(ctx, e.GFID); err != nil {
				return err
			} else if erased {
				w.tell(e)
				return nil
			}
		}
		return visit(e)
	})
}

// honour leaves out what was erased on purpose, and tells of each file once.
func (s *Session) honour(ctx context.Context, place catalog.Place, sources []rebuild.Catalog) ([]rebuild.Catalog, error) {
	erased, err := gc.NewPlace(place.Store, place.Prefix, place.Secret, "").Erased(ctx)
	if err != nil {
		return nil, err
	}
	told := map[gluster.GFID]bool{}
	tell := func(e catalog.Entry) {
		if told[e.GFID] {
			return
		}
		told[e.GFID] = true
		s.tally.Add(outcome.Skipped, outcome.ErasedFile, e.Size)
		s.print(report.File{Path: string(e.Path), GFID: e.GFID, Size: e.Size, Outcome: outcome.Skipped, Reason: outcome.ErasedFile})
	}
	for i := range sources {
		sources[i] = withoutErased{sources[i], erased, tell}
	}
	return sources, nil
}
