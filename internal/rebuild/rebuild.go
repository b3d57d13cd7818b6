// Package rebuild makes the tree of a lost volume anew, in another one, from
// catalogs: directories, links, empty files, and a stub for each file whose data is in
// the store. Every entry has its previous gfid, so that objects know their files.
//
// Nothing is seen before it is whole: all is made in a directory that only root can
// enter, and what is missing in a directory that exists is then moved there. Nothing that
// exists is replaced. A rebuild may be cut at any point; the next one goes on.
package rebuild

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
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

	stage string // the directory in which everything is made

	mu    sync.Mutex
	dirs  map[string]spot             // directories that exist, and the topmost of those that do not, by path
	tops  map[string]top              // the topmost missing names, which are moved into place, by path
	held  map[string]bool             // those of them in which something could not be made
	names map[gluster.GFID]*firstName // of files with several names

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

// spot says where an entry is, or is made.
type spot struct {
	at    string
	home  string // where what is made at belongs, if it is topmost
	fate  fate
	first bool // the fate is that of this very name, not of a directory above it
}

type fate int

const (
	build    fate = iota
	present       // it is there
	conflict      // something else has the name
)

// top is a name whose directory exists already.
type top struct {
	gfid gluster.GFID
	home string
}

// firstName is the name of a file with several under which it is made.
type firstName struct {
	path   catalog.Bytes
	there  bool   // it was made by an earlier run
	failed Result // why there is no such file
}

// Run makes the tree. It returns an error if it cannot go on; what became of each name
// is told.
func (b *Builder) Run(ctx context.Context, catalogs []Catalog) error {
	if err := b.setUp(); err != nil {
		return err
	}
	root, err := b.survey(ctx, catalogs)
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
		func() error { return b.each(ctx, catalogs, b.chooseName) },
		func() error { return b.files(ctx, catalogs) },
		func() error { return b.each(ctx, catalogs, b.furtherName) },
		func() error { return b.each(ctx, catalogs, b.lost) },
		func() error { return b.each(ctx, catalogs, b.finishDirectory) },
		func() error { return b.place(ctx, root) },
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
	b.Under, b.stage = under, gluster.RebuildPrefix+b.From
	b.dirs, b.tops, b.held = map[string]spot{}, map[string]top{}, map[string]bool{}
	b.names, b.times = map[gluster.GFID]*firstName{}, map[gluster.GFID]times{}
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

// survey finds the root in the catalogs, and the newest times of each directory.
func (b *Builder) survey(ctx context.Context, catalogs []Catalog) (root catalog.Entry, err error) {
	seen := false
	for _, c := range catalogs {
		err := c.Tree(ctx, func(e catalog.Entry) error {
			isRoot := e.Path == "." && e.Kind == catalog.Directory
			if isRoot {
				root = e
			}
			if e.Kind == catalog.Directory && len(catalogs) > 1 && (isRoot || b.concerns(e)) {
				b.noteTimes(e)
			}
			seen = seen || b.below(string(e.Path))
			return nil
		})
		if err != nil {
			return root, err
		}
	}
	if !seen {
		return root, fmt.Errorf("%q: %w", b.Under, ErrUnder)
	}
	return root, nil
}

// below reports whether a path is Under or in it.
func (b *Builder) below(p string) bool {
	return p != "." && (b.Under == "." || p == b.Under || strings.HasPrefix(p, b.Under+"/"))
}

// concerns reports whether an entry is to be made: below Under, or a directory above it.
func (b *Builder) concerns(e catalog.Entry) bool {
	return b.below(string(e.Path)) || e.Kind == catalog.Directory && strings.HasPrefix(b.Under+"/", string(e.Path)+"/")
}

// each visits those entries that are to be made.
func (b *Builder) each(ctx context.Context, catalogs []Catalog, visit func(catalog.Entry) error) error {
	for _, c := range catalogs {
		if err := c.Tree(ctx, func(e catalog.Entry) error {
			if !b.concerns(e) {
				return nil
			}
			return visit(e)
		}); err != nil {
			return err
		}
	}
	return nil
}

// locate says where an entry is or is made. All directories that are there are known by
// now, of what is no directory.
func (b *Builder) locate(e catalog.Entry) (spot, error) {
	p := string(e.Path)
	above, known := b.nearest(p)
	name := strings.TrimPrefix(p, known+"/")
	switch {
	case known == p && e.Kind == catalog.Directory:
		return above, nil
	case known == p, above.fate == conflict: // another catalog knows a directory of this name
		return spot{fate: conflict}, nil
	case above.fate == build:
		return spot{at: above.at + "/" + name}, nil
	case strings.Contains(name, "/"):
		return spot{}, errors.New("the catalog lacks its directory, or that could not be made")
	}
	home := above.at + "/" + name
	found, err := b.identify(home)
	switch {
	case err != nil:
		return spot{}, err
	case found == 0:
		return spot{at: b.stage + "/" + e.GFID.String(), home: home, first: true}, nil
	case found == e.GFID.Inode(), !b.below(p): // what is above Under may be another directory by now
		return spot{at: home, fate: present, first: true}, nil
	}
	return spot{fate: conflict, first: true}, nil
}

// nearest is what is known of the nearest directory at or above a path.
func (b *Builder) nearest(p string) (s spot, known string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for known = p; known != "."; known = path.Dir(known) {
		if s, ok := b.dirs[known]; ok {
			return s, known
		}
	}
	return spot{at: ".", fate: present}, known
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
	s, err := b.locate(e)
	if err == nil && s.fate == build {
		s, err = b.makeDirectory(s, e)
	}
	if err != nil {
		return b.failed(e, outcome.IOError, err)
	}
	if s.first {
		b.mu.Lock()
		b.dirs[string(e.Path)] = s
		b.mu.Unlock()
	}
	if s.first && s.fate == conflict {
		return b.failed(e, outcome.NameTaken, nil)
	}
	return nil
}

// makeDirectory makes a directory, unless the volume has it under another name: users
// have moved it since, or while the catalogs were written, which then know it by both.
// What is in it belongs there.
func (b *Builder) makeDirectory(s spot, e catalog.Entry) (spot, error) {
	moved := spot{at: gluster.VirtualGFIDDir + "/" + e.GFID.String(), fate: present, first: true}
	if b.DryRun {
		lives, err := b.lives(e.GFID)
		if lives {
			return moved, err
		}
		return s, err
	}
	private := e
	private.Mode = unix.S_IFDIR | 0o700
	err := b.make(s.at, private)
	switch {
	case errors.Is(err, errGFIDTaken):
		return moved, nil
	case errors.Is(err, unix.EEXIST): // of a catalog that knows another directory of this name
		return s, nil
	case err == nil:
		b.moveLater(s, e)
	}
	return s, err
}

// moveLater has what is made at a spot moved into place.
func (b *Builder) moveLater(s spot, e catalog.Entry) {
	if s.home != "" {
		b.mu.Lock()
		b.tops[string(e.Path)] = top{e.GFID, s.home}
		b.mu.Unlock()
	}
}

// chooseName chooses under which of its names a file with several is made: one that is
// there, if any is.
func (b *Builder) chooseName(e catalog.Entry) error {
	if e.Links <= 1 || !isMade(e) {
		return nil
	}
	chosen := b.names[e.GFID]
	s, err := b.locate(e) // file and furtherName tell of an error
	if err == nil && s.fate != conflict && (chosen == nil || s.fate == present && !chosen.there) {
		b.names[e.GFID] = &firstName{path: e.Path, there: s.fate == present}
	}
	return nil
}

// isMade says of what is no directory whether there is something to make: the data of a
// file that was on the volume alone is lost.
func isMade(e catalog.Entry) bool {
	return e.Kind != catalog.Directory && (e.Kind != catalog.File || e.Size == 0)
}

// files makes what is no directory, several at once. What is in directories that have
// another name comes last: the catalogs may know the same file by both names.
func (b *Builder) files(ctx context.Context, catalogs []Catalog) error {
	for _, moved := range []bool{false, true} {
		err := workers.Run(ctx, max(b.Jobs, 1), func(ctx context.Context, emit func(context.Context, catalog.Entry) error) error {
			return b.each(ctx, catalogs, func(e catalog.Entry) error {
				above, _ := b.nearest(string(e.Path))
				if !isMade(e) || b.isFurther(e) || strings.HasPrefix(above.at, gluster.VirtualGFIDDir+"/") != moved {
					return nil
				}
				return emit(ctx, e)
			})
		}, b.file)
		if err != nil {
			return err
		}
	}
	return nil
}

// isFurther reports whether an entry is not the name under which its file is made.
func (b *Builder) isFurther(e catalog.Entry) bool {
	chosen := b.names[e.GFID]
	return e.Links > 1 && (chosen == nil || chosen.path != e.Path)
}

func (b *Builder) file(ctx context.Context, e catalog.Entry) error {
	r := b.makeFile(ctx, e)
	if r.Outcome != outcome.Failed {
		return b.tell(r)
	}
	if chosen := b.names[e.GFID]; e.Links > 1 && chosen != nil && !errors.Is(r.Err, errValues) {
		chosen.failed = r // nobody else looks at it before furtherName
	}
	return b.failed(e, r.Reason, r.Err)
}

func (b *Builder) makeFile(ctx context.Context, e catalog.Entry) Result {
	failed := func(reason outcome.Reason, err error) Result {
		return Result{Entry: e, Outcome: outcome.Failed, Reason: reason, Err: err}
	}
	s, err := b.locate(e)
	switch {
	case err != nil:
		return failed(outcome.IOError, err)
	case s.fate == conflict:
		return failed(outcome.NameTaken, nil)
	case s.fate == present:
		return Result{Entry: e, Outcome: outcome.Skipped, Reason: outcome.Present}
	}
	if reason, err := b.proven(ctx, e); err != nil {
		return failed(reason, err)
	}
	if b.DryRun {
		return Result{Entry: e, Outcome: outcome.Rebuilt}
	}
	switch err = b.make(s.at, e); {
	case errors.Is(err, errGFIDTaken):
		return failed(outcome.GFIDTaken, err)
	case errors.Is(err, unix.EEXIST): // of a catalog that knows another file of this name
		return failed(outcome.NameTaken, nil)
	case err == nil:
		b.moveLater(s, e)
		err = b.describe(s.at, e)
	}
	if err != nil {
		return failed(outcome.IOError, err)
	}
	return Result{Entry: e, Outcome: outcome.Rebuilt}
}

// furtherName gives a file that was made its other names. The file is whole, so that a
// name whose directory exists is given at once.
func (b *Builder) furtherName(e catalog.Entry) error {
	if !isMade(e) || !b.isFurther(e) {
		return nil
	}
	s, err := b.locate(e)
	chosen := b.names[e.GFID]
	switch {
	case err != nil:
		return b.failed(e, outcome.IOError, err)
	case s.fate == conflict:
		return b.failed(e, outcome.NameTaken, nil)
	case s.fate == present:
		return b.tell(Result{Entry: e, Outcome: outcome.Skipped, Reason: outcome.Present})
	case chosen == nil: // none of its names could be looked at, or was free, a moment ago
		return b.failed(e, outcome.IOError, errors.New("it changed while it was looked at"))
	case chosen.failed.Outcome != "": // it may do better next time, and then give this name, too
		return b.tell(Result{Entry: e, Outcome: outcome.Failed, Reason: chosen.failed.Reason, Err: chosen.failed.Err})
	case !b.DryRun:
		other := e
		other.Path = chosen.path
		from, err := b.locate(other)
		if err == nil {
			err = b.link(from.at, cmp.Or(s.home, s.at), e.GFID)
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
	s, err := b.locate(e)
	var found uint64
	if err == nil && s.fate != conflict {
		found, err = b.identify(s.at)
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
	s, err := b.locate(e)
	if err == nil && s.fate == build {
		err = b.describe(s.at, b.newest(e))
	}
	if err != nil && !errors.Is(err, errOther) {
		return b.failed(e, outcome.IOError, err)
	}
	return nil
}

// failed tells of a name that could not be made, or not whole. Where the next run may
// do better, the topmost of the missing directories that it is in stays where it was made.
func (b *Builder) failed(e catalog.Entry, reason outcome.Reason, err error) error {
	if mayPass(reason, err) {
		held := string(e.Path)
		if s, above := b.nearest(held); s.fate == build {
			held = above
		}
		b.mu.Lock()
		b.held[held] = true
		b.mu.Unlock()
	}
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
func (b *Builder) place(ctx context.Context, root catalog.Entry) error {
	if b.DryRun {
		return nil
	}
	stage, err := b.Volume.Open(b.stage, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer stage.Close()
	left := len(b.held)
	// The deepest first: what belongs into a directory that is itself in the stage.
	for _, p := range slices.Backward(slices.Sorted(maps.Keys(b.tops))) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if b.held[p] {
			continue
		}
		err := b.moveHome(stage, b.tops[p])
		switch {
		case errors.Is(err, unix.EEXIST): // somebody has taken the name since
			left++
		case err != nil && !errors.Is(err, unix.ENOENT): // what could not be made has been told
			return fmt.Errorf("move %q into place: %w", p, err)
		}
	}
	if left > 0 {
		return ErrLeft
	}
	// A run with another Under may have left something.
	if err := b.unlink(b.stage, unix.AT_REMOVEDIR); err != nil && !errors.Is(err, unix.ENOTEMPTY) {
		return err
	}
	if b.Under == "." && root.Kind == catalog.Directory {
		if err := b.describe(".", b.newest(root)); err != nil {
			return b.failed(root, outcome.IOError, err)
		}
	}
	return nil
}

func (b *Builder) moveHome(stage *os.File, t top) error {
	dir, err := b.Volume.Open(path.Dir(t.home), unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer dir.Close()
	return move(stage, t.gfid.String(), dir, path.Base(t.home))
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
