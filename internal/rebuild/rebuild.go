// Package rebuild makes the tree of a lost volume anew, in another one, from
// catalogs: directories, links, empty files, and a stub for each file whose data is in
// the store. Every entry has its previous gfid, so that objects know their files.
//
// Nothing is seen before it is whole: all is made in a directory that only root can
// enter, and what is in the topmost directory is then moved to its place. Nothing that
// exists is replaced. A rebuild may be cut at any point; the next one goes on.
package rebuild

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/catalog"
	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/volume"
	"github.com/coldbrick/coldbrick/internal/workers"
)

// ErrLeft means that some of the tree could not be made and is not in place yet.
var ErrLeft = errors.New("what could not be made whole was left in a directory " + gluster.RebuildPrefix + "...: the next run goes on with it")

// ErrUnder means that a directory to rebuild is not in the catalogs, or not beneath the
// root.
var ErrUnder = errors.New("no such directory in the catalogs")

// Volume is the new one: a mount without cloudsync on which entries can be made with
// a chosen gfid.
type Volume interface {
	Open(path string, flags int) (*os.File, error)
	AddFormerly(ids ...string) error
	Children() error // nil if all bricks are up
}

// Store tells of objects.
type Store interface {
	Head(ctx context.Context, key string) (object.Info, error)
}

// Catalog is a catalog of one brick of the lost volume.
type Catalog interface {
	Tree(ctx context.Context, visit func(catalog.Entry) error) error
}

// Result says what became of one name.
type Result struct {
	Entry   catalog.Entry
	Outcome outcome.Outcome // Rebuilt, Skipped or Failed
	Reason  outcome.Reason
	Err     error
}

// Builder makes a tree anew.
type Builder struct {
	Volume   Volume
	Store    Store    // each stub's object is looked at before the stub is made
	From     string   // id of the lost volume
	Formerly []string // ids of those that it was rebuilt from itself
	Under    string   // only this directory; "": all
	Jobs     int      // files at once
	DryRun   bool     // say what would be made, and make nothing

	// Tell is told of each name. Calls do not overlap.
	Tell func(Result)

	base  string // the directory of the volume whose entries are moved into place; "." as a rule
	stage string // where they are made

	mu    sync.Mutex
	tops  map[string]fate                // directories that are moved into place, by name
	held  map[string]bool                // those in which something could not be made
	names map[gluster.GFID]catalog.Bytes // the first name, as a path in the volume, of files with several

	// Every brick has a directory, with the time of its own last change; Gluster shows
	// the newest. Kept for each directory, where there are several catalogs.
	times map[gluster.GFID]times
}

type times struct{ access, change gluster.Time }

// noteTimes keeps the newest times of a directory.
func (b *Builder) noteTimes(e catalog.Entry) {
	t, known := b.times[e.GFID]
	if !known || t.access.Compare(e.Atime) < 0 {
		t.access = e.Atime
	}
	if !known || t.change.Compare(e.Mtime) < 0 {
		t.change = e.Mtime
	}
	b.times[e.GFID] = t
}

// newest is a directory with the newest times that any brick has of it.
func (b *Builder) newest(e catalog.Entry) catalog.Entry {
	if t, known := b.times[e.GFID]; known {
		e.Atime, e.Mtime = t.access, t.change
	}
	return e
}

// fate is what is to become of all below one name of base.
type fate int

const (
	build    fate = iota
	present       // was moved into place by an earlier run
	conflict      // something else has the name
)

// Run makes the tree. It returns an error if it cannot go on; what became of each name
// is told.
func (b *Builder) Run(ctx context.Context, catalogs []Catalog) error {
	if err := b.setUp(); err != nil {
		return err
	}
	parents, root, err := b.parents(ctx, catalogs)
	if err != nil {
		return err
	}
	if !b.DryRun {
		if err := b.Volume.AddFormerly(append([]string{b.From}, b.Formerly...)...); err != nil {
			return fmt.Errorf("%s: %w", gluster.XattrFormerly, err)
		}
		if err := b.prepare(); err != nil {
			return err
		}
	}
	for _, step := range []func() error{
		func() error { return b.each(ctx, catalogs, b.directory) },
		func() error { return b.files(ctx, catalogs) },
		func() error { return b.each(ctx, catalogs, b.furtherName) },
		func() error { return b.each(ctx, catalogs, b.lost) },
		func() error { return b.each(ctx, catalogs, b.finishDirectory) },
		func() error { return b.place(ctx, parents, root) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// setUp finds out where things are made, and where they go.
func (b *Builder) setUp() error {
	under := path.Clean(b.Under)
	if !filepath.IsLocal(under) {
		return fmt.Errorf("%q: %w", b.Under, ErrUnder)
	}
	b.Under, b.base, b.stage = under, path.Dir(under), gluster.RebuildPrefix+b.From
	b.tops, b.held, b.names = map[string]fate{}, map[string]bool{}, map[gluster.GFID]catalog.Bytes{}
	b.times = map[gluster.GFID]times{}
	return nil
}

// prepare makes the directory in which all is made.
func (b *Builder) prepare() error {
	root, err := b.Volume.Open(".", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := unix.Mkdirat(int(root.Fd()), b.stage, 0o700); err != nil && err != unix.EEXIST {
		return fmt.Errorf("make %s: %w", b.stage, err)
	}
	stage, err := b.Volume.Open(b.stage, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer stage.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(stage.Fd()), &st); err != nil {
		return err
	}
	if st.Uid != 0 || st.Mode&0o077 != 0 {
		return fmt.Errorf("%s was not made by a rebuild: others than root may enter it", b.stage)
	}
	return nil
}

// parents are the entries of the directories above Under, outermost first, less the
// root, which comes apart.
func (b *Builder) parents(ctx context.Context, catalogs []Catalog) (parents []catalog.Entry, root catalog.Entry, err error) {
	found := map[string]catalog.Entry{}
	seen := false
	for _, c := range catalogs {
		err := c.Tree(ctx, func(e catalog.Entry) error {
			p := string(e.Path)
			if e.Kind == catalog.Directory && len(catalogs) > 1 && (b.below(p) || strings.HasPrefix(b.Under+"/", p+"/") || p == ".") {
				b.noteTimes(e)
			}
			if e.Kind == catalog.Directory && (p == "." || strings.HasPrefix(b.Under+"/", p+"/")) {
				found[p] = e
			}
			seen = seen || b.below(p)
			return nil
		})
		if err != nil {
			return nil, root, err
		}
	}
	if !seen {
		return nil, root, fmt.Errorf("%q: %w", b.Under, ErrUnder)
	}
	for i := range len(b.base) + 1 {
		if i == len(b.base) || b.base[i] == '/' {
			if e, ok := found[b.base[:i]]; ok && b.base[:i] != "." {
				parents = append(parents, e)
			}
		}
	}
	return parents, found["."], nil
}

// below reports whether a path is to be made.
func (b *Builder) below(p string) bool {
	return p != "." && (b.Under == "." || p == b.Under || strings.HasPrefix(p, b.Under+"/"))
}

// relative is a path relative to base.
func (b *Builder) relative(p string) string {
	if b.base == "." {
		return p
	}
	return strings.TrimPrefix(p, b.base+"/")
}

// each visits those entries that are to be made.
func (b *Builder) each(ctx context.Context, catalogs []Catalog, visit func(catalog.Entry) error) error {
	for _, c := range catalogs {
		if err := c.Tree(ctx, func(e catalog.Entry) error {
			if !b.below(string(e.Path)) {
				return nil
			}
			return visit(e)
		}); err != nil {
			return err
		}
	}
	return nil
}

// locate says where an entry is made, or was, and what is to become of it.
func (b *Builder) locate(e catalog.Entry) (at string, f fate, err error) {
	rel := b.relative(string(e.Path))
	top, _, inside := strings.Cut(rel, "/")
	b.mu.Lock()
	f, known := b.tops[top]
	b.mu.Unlock()
	if !known {
		if f, err = b.look(top, e.GFID); err != nil {
			return "", 0, err
		}
		if inside && f == conflict { // known only now: the catalog lacks its directory
			f = build
		}
		if e.Kind == catalog.Directory && !inside {
			b.mu.Lock()
			b.tops[top] = f
			b.mu.Unlock()
		}
	}
	if f == build {
		return b.stage + "/" + rel, f, nil
	}
	return path.Clean(b.base) + "/" + rel, f, nil
}

// look says what has a name of base.
func (b *Builder) look(top string, gfid gluster.GFID) (fate, error) {
	at := b.base + "/" + top
	found, err := b.identify(at)
	switch {
	case err != nil:
		return 0, err
	case found == 0:
		return build, nil
	case found == gfid.Inode():
		return present, nil
	}
	return conflict, nil
}

// identify is the inode number of what has a name, 0 if nothing has.
func (b *Builder) identify(at string) (uint64, error) {
	f, err := b.Volume.Open(at, unix.O_PATH|unix.O_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return 0, err
	}
	return st.Ino, nil
}

// directory makes a directory. Others than root may not enter it yet.
func (b *Builder) directory(e catalog.Entry) error {
	if e.Kind != catalog.Directory {
		return nil
	}
	at, f, err := b.locate(e)
	switch {
	case err != nil:
		return b.failed(e, outcome.IOError, err)
	case f == conflict && b.relative(string(e.Path)) == path.Base(string(e.Path)):
		return b.failed(e, outcome.NameTaken, nil)
	case f != build || b.DryRun:
		return nil
	}
	private := e
	private.Mode = unix.S_IFDIR | 0o700
	if err := b.make(at, private); err != nil {
		return b.failed(e, outcome.IOError, err)
	}
	return nil
}

// files makes what is no directory, several at once.
func (b *Builder) files(ctx context.Context, catalogs []Catalog) error {
	return workers.Run(ctx, max(b.Jobs, 1), func(ctx context.Context, emit func(context.Context, catalog.Entry) error) error {
		return b.each(ctx, catalogs, func(e catalog.Entry) error {
			switch {
			case e.Kind == catalog.Directory, e.Kind == catalog.File && e.Size > 0:
				return nil
			case e.Links > 1:
				if _, f, err := b.locate(e); err == nil && f == conflict {
					return nil // another name can still be the first: furtherName tells of this one
				}
				b.mu.Lock()
				_, made := b.names[e.GFID]
				if !made {
					b.names[e.GFID] = e.Path
				}
				b.mu.Unlock()
				if made {
					return nil // for furtherName
				}
			}
			return emit(ctx, e)
		})
	}, b.file)
}

func (b *Builder) file(ctx context.Context, e catalog.Entry) error {
	at, f, err := b.locate(e)
	switch {
	case err != nil:
		return b.failed(e, outcome.IOError, err)
	case f == conflict:
		return b.failed(e, outcome.NameTaken, nil)
	case f == present:
		return b.tell(Result{Entry: e, Outcome: outcome.Skipped, Reason: outcome.Present})
	}
	if reason, err := b.proven(ctx, e); err != nil {
		return b.failed(e, reason, err)
	}
	if b.DryRun {
		return b.tell(Result{Entry: e, Outcome: outcome.Rebuilt})
	}
	if err = b.make(at, e); err == nil {
		err = b.describe(at, e)
	}
	if err != nil {
		return b.failed(e, outcome.IOError, err)
	}
	return b.tell(Result{Entry: e, Outcome: outcome.Rebuilt})
}

// furtherName gives a file that was made its other names.
func (b *Builder) furtherName(e catalog.Entry) error {
	first, made := b.names[e.GFID]
	if e.Links <= 1 || made && first == e.Path || e.Kind == catalog.Directory || e.Kind == catalog.File && e.Size > 0 {
		return nil
	}
	at, f, err := b.locate(e)
	switch {
	case err != nil:
		return b.failed(e, outcome.IOError, err)
	case f == conflict:
		return b.failed(e, outcome.NameTaken, nil)
	case f == present:
		return b.tell(Result{Entry: e, Outcome: outcome.Skipped, Reason: outcome.Present})
	case !made:
		return nil // what kept the first name from being made has been told
	case !b.DryRun:
		other := e
		other.Path = first
		from, _, err := b.locate(other)
		if err == nil {
			err = b.link(from, at, e.GFID)
		}
		if err != nil {
			return b.failed(e, outcome.IOError, err)
		}
	}
	return b.tell(Result{Entry: e, Outcome: outcome.Rebuilt})
}

// lost tells of files whose data was on the volume alone. Another brick may have
// known one as a stub.
func (b *Builder) lost(e catalog.Entry) error {
	if e.Kind != catalog.File || e.Size == 0 {
		return nil
	}
	at, f, err := b.locate(e)
	var found uint64
	if err == nil && f != conflict {
		found, err = b.identify(at)
	}
	switch {
	case err != nil:
		return b.failed(e, outcome.IOError, err)
	case found == e.GFID.Inode():
		return nil
	}
	return b.tell(Result{Entry: e, Outcome: outcome.Failed, Reason: outcome.Lost})
}

// finishDirectory gives a directory, in which all is made, its owner, mode and times.
func (b *Builder) finishDirectory(e catalog.Entry) error {
	if e.Kind != catalog.Directory || b.DryRun {
		return nil
	}
	at, f, err := b.locate(e)
	if err == nil && f == build {
		err = b.describe(at, b.newest(e))
	}
	if err != nil {
		return b.failed(e, outcome.IOError, err)
	}
	return nil
}

// failed tells of a name that could not be made, or not whole. Where the next run may
// do better, the topmost directory that it is in stays where it was made.
func (b *Builder) failed(e catalog.Entry, reason outcome.Reason, err error) error {
	if errors.Is(err, errGFIDTaken) {
		reason = outcome.GFIDTaken
	}
	top, _, _ := strings.Cut(b.relative(string(e.Path)), "/")
	b.mu.Lock()
	b.held[top] = b.held[top] || mayPass(reason, err)
	b.mu.Unlock()
	return b.tell(Result{Entry: e, Outcome: outcome.Failed, Reason: reason, Err: err})
}

// mayPass reports whether the next run may do better.
func mayPass(reason outcome.Reason, err error) bool {
	return reason == outcome.StoreRefused || reason == outcome.IOError && !errors.Is(err, errValues)
}

func (b *Builder) tell(r Result) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.Tell(r)
	return nil
}

// place moves what was made to where it belongs.
func (b *Builder) place(ctx context.Context, parents []catalog.Entry, root catalog.Entry) error {
	if b.DryRun {
		return nil
	}
	for _, e := range parents {
		at := string(e.Path)
		found, err := b.identify(at)
		if err == nil && found == 0 {
			if err = b.make(at, e); err == nil {
				err = b.describe(at, b.newest(e))
			}
		}
		if err != nil && !errors.Is(err, errValues) {
			return fmt.Errorf("make %q: %w", at, err)
		}
	}
	stage, err := b.Volume.Open(b.stage, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer stage.Close()
	base, err := b.Volume.Open(b.base, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer base.Close()
	names, err := stage.Readdirnames(-1)
	if err != nil {
		return err
	}
	left := 0
	for _, name := range names {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if b.held[name] {
			left++
			continue
		}
		err := move(stage, name, base, name)
		if errors.Is(err, unix.EEXIST) { // somebody has taken the name since
			left++
			continue
		}
		if err != nil {
			return fmt.Errorf("move %q into place: %w", name, err)
		}
	}
	if left > 0 {
		return ErrLeft
	}
	if err := b.unlink(b.stage, unix.AT_REMOVEDIR); err != nil {
		return err
	}
	if b.Under == "." && root.Kind == catalog.Directory {
		if err := b.describe(".", b.newest(root)); err != nil {
			return b.failed(root, outcome.IOError, err)
		}
	}
	return nil
}

// move moves a name from one directory to a name in another one that is free. A rename
// through Gluster would replace a file, so that is linked and unlinked; a directory is
// never renamed onto one that has entries.
func move(from *os.File, old string, to *os.File, name string) error {
	var st unix.Stat_t
	if err := unix.Fstatat(int(from.Fd()), old, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		err := unix.Linkat(int(from.Fd()), old, int(to.Fd()), name, 0)
		if err == unix.EEXIST { // perhaps by a run that was cut right here
			var there unix.Stat_t
			if statErr := unix.Fstatat(int(to.Fd()), name, &there, unix.AT_SYMLINK_NOFOLLOW); statErr == nil && there.Ino == st.Ino {
				err = nil
			}
		}
		if err != nil {
			return err
		}
		return unix.Unlinkat(int(from.Fd()), old, 0)
	}
	err := unix.Fstatat(int(to.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW)
	switch {
	case err == nil:
		return unix.EEXIST
	case err != unix.ENOENT:
		return err
	}
	return unix.Renameat(int(from.Fd()), old, int(to.Fd()), name)
}

var _ Volume = (*volume.Private)(nil)
