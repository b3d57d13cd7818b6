package catalog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/extsort"
	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/volume"
	"github.com/coldbrick/coldbrick/internal/workers"
	"github.com/coldbrick/coldbrick/internal/xattrs"
)

// Scan says how to look at a brick.
type Scan struct {
	Brick   *volume.Brick
	Dir     string // for files on the way: some 100 bytes for each entry of the brick
	Workers int    // directories that are read at once

	// Notes decodes the notes of a recall on a file whose pointer names the object
	// pointed.
	Notes func(value []byte, pointed string) (Recalling, error)

	// Unreadable is told of each entry that could not be read or understood: then
	// there will be no catalog. Calls do not overlap.
	Unreadable func(path string, err error)

	Seen *atomic.Int64 // names seen so far; may be nil

	attrs  xattrs.New // nil: the best
	memory int        // bytes for references; 0: the sorter's own
}

// scanner is a scan under way.
//
// It looks at each file twice: by its handle in .glusterfs, which never moves while
// the file lives, so that no rename hides a reference; and by its names, for the
// tree, and for what has no handle. It holds one directory open, and one batch of its
// entries, for each level of each looker; memory does not depend on their number.
type scanner struct {
	Scan
	root  *os.File
	trash string
	tree  *partWriter

	formerly string // what the root says of that

	refsMu sync.Mutex
	refs   sorter

	group *errgroup.Group
	free  chan struct{} // a token for each worker that is idle

	reportMu   sync.Mutex
	unreadable int64 // guarded by reportMu

	directories, files, stubs, stubBytes, others, handles atomic.Int64
}

// looker looks at one directory after the other; it belongs to one goroutine.
type looker struct {
	*scanner
	attrs xattrs.Reader
	names []byte // of attributes
	value []byte // of one
}

// internalDir is where a brick keeps its handles.
const internalDir = ".glusterfs"

// Below internalDir: what is no file of users. Both may be huge.
var recordDirs = map[string]bool{"indices": true, "changelogs": true}

// newScanner prepares a scan. Its lookers sort too much for memory into files of Dir, and
// may each have a working directory of their own, which users chose.
func newScanner(scan Scan) (*scanner, error) {
	dir, err := filepath.Abs(scan.Dir)
	return &scanner{Scan: scan, refs: sorter{extsort.Sorter{Dir: dir, Memory: scan.memory}}}, err
}

// run looks at all of the brick. It returns an error only if it cannot go on; what
// could not be read is counted.
func (s *scanner) run(ctx context.Context) error {
	root, err := s.Brick.Open(".", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer root.Close()
	s.root = root
	if s.attrs == nil {
		s.attrs = xattrs.Best(int(root.Fd()))
	}
	if s.trash, err = trashName(root); err != nil {
		return err
	}
	handles, rest, err := s.internal()
	if err != nil {
		return err
	}
	// A file that is unlinked while somebody has it open moves from its handle to
	// .glusterfs/unlink, so that comes last.
	for _, step := range []func(context.Context, *looker) error{
		func(ctx context.Context, l *looker) error { return l.users(ctx) },
		func(ctx context.Context, l *looker) error { return l.below(ctx, handles) },
		func(ctx context.Context, l *looker) error { return l.below(ctx, rest) },
	} {
		if err := s.inParallel(ctx, step); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// trashName finds the directory of deleted files in the brick root, "" if there never
// was one.
func trashName(root *os.File) (string, error) {
	target, err := readlink(int(root.Fd()), gluster.TrashHandle)
	if errors.Is(err, unix.ENOENT) {
		return "", nil
	}
	return path.Base(target), err
}

func readlink(dir int, name string) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(dir, name, buf)
	if err != nil {
		return "", os.NewSyscallError("readlinkat", err)
	}
	return string(buf[:n]), nil
}

// internal lists what is to be looked at below .glusterfs: the directories of handles,
// and the others.
func (s *scanner) internal() (handles, rest []string, err error) {
	dir, err := s.Brick.Open(internalDir, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, nil, err
	}
	defer dir.Close()
	entries, err := dir.ReadDir(-1)
	if err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		_, hexErr := strconv.ParseUint(e.Name(), 16, 8)
		name := internalDir + "/" + e.Name()
		switch {
		case !e.IsDir() || recordDirs[e.Name()]:
		case len(e.Name()) == 2 && hexErr == nil:
			handles = append(handles, name)
		default:
			rest = append(rest, name)
		}
	}
	return handles, rest, nil
}

// inParallel runs a step and waits for all that it has given to others.
func (s *scanner) inParallel(ctx context.Context, step func(context.Context, *looker) error) error {
	group, ctx := errgroup.WithContext(ctx)
	s.group, s.free = group, make(chan struct{}, max(s.Workers, 1))
	for range cap(s.free) - 1 {
		s.free <- struct{}{}
	}
	s.start(func(l *looker) error { return step(ctx, l) })
	return group.Wait()
}

// start does the work in a goroutine of its own.
func (s *scanner) start(work func(*looker) error) {
	s.group.Go(func() error {
		return workers.Guard(func() error {
			attrs, err := s.attrs()
			if err != nil {
				return err
			}
			return work(&looker{scanner: s, attrs: attrs, names: make([]byte, usual), value: make([]byte, usual)})
		})
	})
}

// give does the work in a goroutine of its own if one is free, else at once. What it
// enters it leaves for dir.
func (l *looker) give(dir *os.File, work func(*looker) error) error {
	select {
	case <-l.free:
		free := l.free
		l.start(func(l *looker) error {
			defer func() { free <- struct{}{} }()
			return work(l)
		})
		return nil
	default:
		defer l.attrs.Enter(int(dir.Fd()))
		return work(l)
	}
}

// each enters a directory, calls do for its entries, and closes it.
func (l *looker) each(ctx context.Context, dir *os.File, name string, do func(os.DirEntry) error) error {
	defer dir.Close()
	l.attrs.Enter(int(dir.Fd()))
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		entries, err := dir.ReadDir(256)
		for _, e := range entries {
			if err := do(e); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF), isGone(err): // ENOENT: the directory was removed in the meantime
			return nil
		case err != nil:
			l.failed(name, err)
			return nil
		}
	}
}

// users walks the tree that clients see.
func (l *looker) users(ctx context.Context) error {
	top, err := openDir(l.root, ".")
	if err != nil {
		return err
	}
	l.attrs.Enter(int(top.Fd()))
	if err := l.entry(top, ".", "."); err != nil { // the root's own line
		return err
	}
	return l.each(ctx, top, ".", func(e os.DirEntry) error {
		switch {
		case e.Name() == internalDir:
			return nil
		case gluster.IsInternal(e.Name()), l.trash != "" && e.Name() == l.trash:
			defer l.attrs.Enter(int(top.Fd()))
			return l.below(ctx, []string{e.Name()})
		}
		return l.visit(ctx, top, e, e.Name())
	})
}

// visit writes the line of an entry of dir, and those of what is in it.
func (l *looker) visit(ctx context.Context, dir *os.File, e os.DirEntry, rel string) error {
	if !e.IsDir() {
		return l.entry(dir, e.Name(), rel)
	}
	inside, ok := l.openDir(dir, e.Name(), rel)
	if !ok {
		return nil
	}
	return l.give(dir, func(l *looker) error {
		l.attrs.Enter(int(inside.Fd()))
		if err := l.entry(inside, ".", rel); err != nil {
			inside.Close()
			return err
		}
		return l.each(ctx, inside, rel, func(e os.DirEntry) error { return l.visit(ctx, inside, e, rel+"/"+e.Name()) })
	})
}

// below looks for references in all that is below directories of the brick.
func (l *looker) below(ctx context.Context, dirs []string) error {
	for _, rel := range dirs {
		l.attrs.Enter(int(l.root.Fd()))
		dir, err := l.Brick.Open(rel, unix.O_RDONLY|unix.O_DIRECTORY)
		if isGone(err) { // it is no directory: look at it alone
			if err := l.refsOf(rel, rel); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			l.failed(rel, err)
			continue
		}
		if err := l.give(l.root, func(l *looker) error { return l.belowDir(ctx, dir, rel) }); err != nil {
			return err
		}
	}
	return nil
}

func (l *looker) belowDir(ctx context.Context, dir *os.File, rel string) error {
	return l.each(ctx, dir, rel, func(e os.DirEntry) error {
		name := rel + "/" + e.Name()
		if !e.IsDir() {
			l.handles.Add(1)
			return l.refsOf(e.Name(), name)
		}
		inside, ok := l.openDir(dir, e.Name(), name)
		if !ok {
			return nil
		}
		return l.give(dir, func(l *looker) error { return l.belowDir(ctx, inside, name) })
	})
}

// refsOf notes what an entry of the directory that was entered refers to.
func (l *looker) refsOf(name, rel string) error {
	a, err := l.readAttrs(name, refers)
	if err == nil && len(a) > 0 { // of most nothing more is asked for
		a, err = l.readAttrs(name, func(attr string) bool { return refers(attr) || attr == gluster.XattrGFID })
	}
	if isGone(err) {
		return nil
	}
	if err != nil {
		l.failed(rel, err)
		return nil
	}
	gfid := gfidOf(a) // in the trash, whose names are users', nothing else tells it
	if gfid.IsZero() {
		gfid, _ = gluster.ParseGFID(path.Base(rel)) // as the handle says; else zero
	}
	_, err = l.note(a, gfid, rel)
	return err
}

// gfidOf is zero for what was not made through Gluster.
func gfidOf(a attrs) gluster.GFID {
	gfid, _ := gluster.GFIDFromBytes(a[gluster.XattrGFID])
	return gfid
}

// note notes the keys among the attributes of a file. gfid is for people.
func (s *scanner) note(a attrs, gfid gluster.GFID, rel string) (said, error) {
	found, err := s.read(a)
	if err != nil {
		s.failed(rel, err)
		return said{}, nil
	}
	if len(found.keys) == 0 {
		if s.tree == nil && (a.has(gluster.XattrRemote) || a.has(gluster.XattrDownload)) {
			s.failed(rel, errors.New("a stub that names no object: any may be its own"))
		}
		return found, nil
	}
	s.refsMu.Lock()
	defer s.refsMu.Unlock()
	for _, key := range found.keys {
		if err := s.refs.add(Ref{Bytes(key), gfid}); err != nil {
			return found, err
		}
	}
	return found, nil
}

// entry writes the line of an entry of the directory that was entered, and notes what
// it refers to.
func (l *looker) entry(dir *os.File, name, rel string) error {
	if l.Seen != nil {
		l.Seen.Add(1)
	}
	st, a, target, err := l.describe(int(dir.Fd()), name)
	if isGone(err) {
		return nil
	}
	if err != nil {
		l.failed(rel, err)
		return nil
	}
	gfid := gfidOf(a)
	found, err := l.note(a, gfid, rel)
	if err != nil {
		return err
	}
	if gfid.IsZero() || a.has(gluster.XattrLinkto) {
		return nil // not made through Gluster, so not a file of the volume; or DHT's pointer to one
	}
	e, err := entryOf(st, a, found)
	if err != nil {
		l.failed(rel, err)
		return nil
	}
	e.Path, e.GFID, e.Target = Bytes(rel), gfid, Bytes(target)
	if rel == "." {
		l.formerly = string(a[gluster.XattrFormerly])
	}
	l.count(e)
	return l.tree.write(e)
}

// describe reads what belongs into the tree of one and the same file: what was renamed
// over it in the meantime is read anew.
func (l *looker) describe(dir int, name string) (st unix.Statx_t, a attrs, target string, err error) {
	for range tries {
		if st, err = statx(dir, name); err != nil {
			return st, nil, "", err
		}
		if a, err = l.readAttrs(name, describes); err != nil {
			return st, nil, "", err
		}
		if st.Mode&unix.S_IFMT == unix.S_IFLNK {
			target, err = readlink(dir, name)
			if err != nil && !errors.Is(err, unix.EINVAL) { // EINVAL: it is no symlink any more
				return st, nil, "", err
			}
		}
		now, err := statx(dir, name)
		if err != nil {
			return st, nil, "", err
		}
		if now.Ino == st.Ino && now.Btime == st.Btime {
			return st, a, target, nil
		}
		target = ""
	}
	return st, nil, "", errors.New("it is replaced again and again")
}

func statx(dir int, name string) (st unix.Statx_t, err error) {
	err = unix.Statx(dir, name, unix.AT_SYMLINK_NOFOLLOW|unix.AT_STATX_DONT_SYNC, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &st)
	return st, os.NewSyscallError("statx", err)
}

func (s *scanner) count(e Entry) {
	switch e.Kind {
	case Directory:
		s.directories.Add(1)
	case Stub:
		s.stubs.Add(1)
		s.stubBytes.Add(e.Size)
	case File:
		s.files.Add(1)
	default:
		s.others.Add(1)
	}
}

// entryOf describes an entry, less its path, gfid and target.
func entryOf(st unix.Statx_t, a attrs, found said) (Entry, error) {
	at := func(t unix.StatxTimestamp) gluster.Time { return gluster.Time{Sec: t.Sec, Nsec: int32(t.Nsec)} }
	e := Entry{Mode: uint32(st.Mode), UID: st.Uid, GID: st.Gid, Atime: at(st.Atime), Mtime: at(st.Mtime)}
	if value, ok := a[gluster.XattrMdata]; ok {
		m, err := gluster.ParseMdata(value)
		if err != nil {
			return e, err
		}
		e.Atime, e.Mtime = gluster.TimeAt(m.Atime), gluster.TimeAt(m.Mtime)
	}
	for name, value := range a {
		if restored(name) {
			e.Xattrs = append(e.Xattrs, Xattr{Bytes(name), value})
		}
	}
	e.XattrsCut = a.has(leftOut)
	slices.SortFunc(e.Xattrs, func(a, b Xattr) int { return strings.Compare(string(a.Name), string(b.Name)) })
	switch e.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		e.Kind = Directory
	case unix.S_IFLNK:
		e.Kind = Symlink
	case unix.S_IFREG:
		const handle = 1 // the link in .glusterfs
		if st.Nlink > 1+handle {
			e.Links = uint64(st.Nlink - handle)
		}
		return e, fileOf(&e, st, a, found)
	default:
		e.Kind, e.Rdev = Special, unix.Mkdev(st.Rdev_major, st.Rdev_minor)
	}
	return e, nil
}

// fileOf says where the data of a regular file is.
func fileOf(e *Entry, st unix.Statx_t, a attrs, found said) (err error) {
	if p := found.pointer; p != nil && p.Proof != nil && !p.Recalled {
		e.Pointer = &object.Pointer{Version: p.Version, GFID: p.GFID, Volume: p.Volume, Key: p.Key, Attempt: p.Attempt, Proof: p.Proof}
	}
	if !a.has(gluster.XattrRemote) && !a.has(gluster.XattrDownload) {
		e.Kind, e.Size, e.Blocks = File, int64(st.Size), int64(st.Blocks)
		return nil
	}
	e.Kind, e.Key = Stub, Bytes(a[gluster.XattrRemote])
	if p := found.pointer; p != nil && e.Key == "" {
		e.Key = Bytes(p.Key)
	}
	if e.Pointer != nil {
		e.Size = e.Pointer.Proof.Size
	}
	if value, ok := a[gluster.XattrObjectSize]; ok {
		if e.Size, err = decimal(value); err != nil {
			return fmt.Errorf("%s: %w", gluster.XattrObjectSize, err)
		}
	}
	if value, ok := a[gluster.XattrNumBlocks]; ok {
		if e.Blocks, err = decimal(value); err != nil {
			return fmt.Errorf("%s: %w", gluster.XattrNumBlocks, err)
		}
	}
	if n := found.notes; n != nil && a.has(gluster.XattrDownload) { // the times of the file are those of the recall
		e.Atime, e.Mtime = n.Atime, n.Mtime
		if n.Key != "" {
			e.Key, e.Size = Bytes(n.Key), n.Size
		}
	}
	return nil
}

// decimal reads a number as Gluster writes it: with zeros before it, and a NUL behind.
func decimal(value []byte) (int64, error) {
	for len(value) > 0 && value[len(value)-1] == 0 {
		value = value[:len(value)-1]
	}
	n, err := strconv.ParseInt(string(value), 10, 64)
	if err == nil && n < 0 {
		err = strconv.ErrRange
	}
	return n, err
}

// failed reports an entry because of which there will be no catalog.
func (s *scanner) failed(rel string, err error) {
	s.reportMu.Lock()
	defer s.reportMu.Unlock()
	s.unreadable++
	if s.Unreadable != nil {
		s.Unreadable(rel, err)
	}
}

// openDir opens a directory to read it, unless it is gone or cannot be read.
func (l *looker) openDir(dir *os.File, name, rel string) (*os.File, bool) {
	inside, err := openDir(dir, name)
	if err != nil && !isGone(err) {
		l.failed(rel, err)
	}
	return inside, err == nil
}

func openDir(dir *os.File, name string) (*os.File, error) {
	for {
		fd, err := unix.Openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_NOATIME|unix.O_CLOEXEC, 0)
		switch err {
		case nil:
			return os.NewFile(uintptr(fd), name), nil
		case unix.EINTR:
		default:
			return nil, os.NewSyscallError("openat", err)
		}
	}
}

// isGone reports whether what an entry stood for is no longer there: removed, renamed,
// or replaced by something else. Its handle is still to come, if it lives.
func isGone(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ESTALE)
}
