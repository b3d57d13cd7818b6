package rebuild

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/catalog"
	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/workers"
)

// undeletion brings back what was deleted from a volume that lives.
//
// Each stub is made whole, by the name of its gfid, in the directory that only root can
// enter, and is then linked to its place: a link never replaces anything. A file that
// was cut in between is found there by the next run.
type undeletion struct {
	*Builder
	pass int

	mu    sync.Mutex
	told  map[gluster.GFID]int     // the pass in which a deleted file was told of
	dirs  map[string]catalog.Entry // those of the catalog at hand that may have to be made
	ready map[string]bool          // directories that are there
}

// Undelete brings back stubs of files that were deleted from the volume From, which is
// the one that Volume is. catalogs are all that there are, the newest first: a file comes
// back as the newest one knows it. What exists is not touched, and a file that lives is
// passed over, whatever its name is now.
func (b *Builder) Undelete(ctx context.Context, catalogs []Catalog) error {
	if err := b.setUp(); err != nil {
		return err
	}
	if !b.DryRun {
		if err := b.prepare(); err != nil {
			return err
		}
	}
	u := &undeletion{Builder: b, told: map[gluster.GFID]int{}, ready: map[string]bool{".": true}}
	seen := false
	for pass, c := range catalogs {
		u.pass, u.dirs = pass, map[string]catalog.Entry{}
		err := workers.Run(ctx, max(b.Jobs, 1), func(ctx context.Context, emit func(context.Context, catalog.Entry) error) error {
			return c.Tree(ctx, func(e catalog.Entry) error {
				below := b.below(string(e.Path))
				seen = seen || below || b.Under == "."
				switch {
				case e.Kind == catalog.Directory:
					if below || strings.HasPrefix(b.Under+"/", string(e.Path)+"/") {
						u.mu.Lock()
						u.dirs[string(e.Path)] = e
						u.mu.Unlock()
					}
					return nil
				case !below || e.Size == 0 || e.Kind != catalog.Stub && e.Kind != catalog.File:
					return nil
				case e.Links > 1: // its names one after the other
					return u.file(ctx, e)
				}
				return emit(ctx, e)
			})
		}, u.file)
		if err == nil && !b.DryRun {
			err = u.clear()
		}
		if err != nil {
			return err
		}
	}
	if !seen {
		return fmt.Errorf("%q: %w", b.Under, ErrUnder)
	}
	if b.DryRun {
		return nil
	}
	if b.held[b.stage] {
		return ErrLeft
	}
	return b.unlink(b.stage, unix.AT_REMOVEDIR)
}

// file brings back one name of a file, if the file was deleted.
func (u *undeletion) file(ctx context.Context, e catalog.Entry) error {
	staged := u.stage + "/" + e.GFID.String()
	found, err := u.identify(staged)
	if err == nil && found == 0 {
		var lives bool
		if lives, err = u.lives(e.GFID); lives {
			return nil
		}
	}
	if err != nil {
		return u.fail(e, outcome.IOError, err)
	}
	u.mu.Lock()
	pass, told := u.told[e.GFID]
	if !told {
		u.told[e.GFID] = u.pass
	}
	u.mu.Unlock()
	if told && pass != u.pass {
		return nil // a newer catalog knows it better
	}
	if e.Kind == catalog.File {
		return u.fail(e, outcome.Lost, nil)
	}
	switch found, err := u.identify(string(e.Path)); {
	case err != nil && !errors.Is(err, unix.ELOOP):
		return u.fail(e, outcome.IOError, err)
	case err == nil && found == e.GFID.Inode(): // placed by a run that was cut right after
		return u.tell(Result{Entry: e, Outcome: outcome.Skipped, Reason: outcome.Present})
	case err != nil || found != 0:
		return u.fail(e, outcome.NameTaken, nil)
	}
	if reason, err := u.proven(ctx, e); err != nil {
		return u.fail(e, reason, err)
	}
	if u.DryRun {
		return u.tell(Result{Entry: e, Outcome: outcome.Rebuilt})
	}
	if err = u.make(staged, e); err == nil {
		err = u.describe(staged, e)
	}
	if err != nil && !errors.Is(err, errValues) {
		return u.fail(e, outcome.IOError, err)
	}
	values := err
	switch err := u.put(staged, e); {
	case errors.Is(err, unix.EEXIST), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
		return u.fail(e, outcome.NameTaken, nil)
	case err != nil:
		return u.fail(e, outcome.IOError, err)
	case values != nil:
		return u.failed(e, outcome.IOError, values)
	}
	return u.tell(Result{Entry: e, Outcome: outcome.Rebuilt})
}

// fail tells of a file that did not come back. Where another run may do better, the
// directory in which files are made is kept for it.
func (u *undeletion) fail(e catalog.Entry, reason outcome.Reason, err error) error {
	if mayPass(reason, err) {
		u.Builder.mu.Lock()
		u.held[u.stage] = true
		u.Builder.mu.Unlock()
	}
	return u.tell(Result{Entry: e, Outcome: outcome.Failed, Reason: reason, Err: err})
}

// put gives a stub that was made its name, and makes the directories that are missing.
func (u *undeletion) put(staged string, e catalog.Entry) error {
	if err := u.directories(path.Dir(string(e.Path))); err != nil {
		return err
	}
	if err := u.link(staged, string(e.Path), e.GFID); err != nil {
		return err
	}
	if e.Links > 1 { // for its other names; clear takes it away
		return nil
	}
	return u.unlink(staged, 0)
}

// directories makes a directory and those above it where they are missing. One that
// lives under another name stays where it is; in its old place a new one is made.
func (u *undeletion) directories(dir string) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.makeDirectories(dir)
}

func (u *undeletion) makeDirectories(dir string) error {
	if u.ready[dir] {
		return nil
	}
	if err := u.makeDirectories(path.Dir(dir)); err != nil {
		return err
	}
	switch found, err := u.identify(dir); {
	case err != nil:
		return err
	case found != 0:
		u.ready[dir] = true
		return nil
	}
	e, known := u.dirs[dir]
	if !known {
		return fmt.Errorf("the catalog lacks directory %q", dir)
	}
	staged := u.stage + "/" + e.GFID.String()
	found, err := u.identify(staged) // of a run that was cut
	if err == nil && found == 0 {
		var lives bool
		if lives, err = u.lives(e.GFID); lives {
			e.GFID = gluster.NewGFID()
			staged = u.stage + "/" + e.GFID.String()
		}
	}
	if err != nil {
		return err
	}
	if err = u.make(staged, e); err == nil {
		err = u.describe(staged, e)
	}
	if err != nil && !errors.Is(err, errValues) {
		return fmt.Errorf("make %q: %w", dir, err)
	}
	from, err := u.Volume.Open(u.stage, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := u.Volume.Open(path.Dir(dir), unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer to.Close()
	if err := move(from, path.Base(staged), to, path.Base(dir)); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("move %q into place: %w", dir, err)
	}
	u.ready[dir] = true
	return nil
}

// clear takes away what has its place by now, or has none: links to files with several
// names, and what runs that were cut have left.
func (u *undeletion) clear() error {
	if u.held[u.stage] {
		return nil
	}
	stage, err := u.Volume.Open(u.stage, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer stage.Close()
	names, err := stage.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		err := unix.Unlinkat(int(stage.Fd()), name, 0)
		if err == unix.EISDIR {
			err = unix.Unlinkat(int(stage.Fd()), name, unix.AT_REMOVEDIR)
		}
		if err != nil {
			return fmt.Errorf("remove %s/%s: %w", u.stage, name, err)
		}
	}
	return nil
}
