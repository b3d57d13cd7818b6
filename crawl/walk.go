// Package crawl finds the cold files of one brick. It reads and never writes.
//
// What it finds is a proposal: a file may change the moment after it was looked
// at, and another may have taken its name between two looks. Whoever gives up
// data because of it has to compare the GFID and to look again.
package crawl

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/workers"
	"github.com/coldbrick/coldbrick/internal/xattrs"
)

// DefaultCrawlers is how many directories are read at once. With cold caches 16
// keep a disk busy (2 cores: 120,000 files a second against 50,000 with one);
// with warm ones they lose nothing against one per core.
const DefaultCrawlers = 16

// Options say where and how to walk.
type Options struct {
	Policy   Policy
	Now      time.Time // the moment that ages are counted to; zero: when the walk begins
	Under    string    // only this directory, relative to the brick root; "": all
	Crawlers int       // 0: DefaultCrawlers

	Order      Order // in which files are emitted
	SortMemory int   // bytes, for orders other than Found; 0: DefaultSortMemory

	// Marked emits, in place of cold files, those that carry a mark of
	// cloudsync or of coldbrick, whatever the policy says of them: all that
	// fsck has to look at.
	Marked bool

	// Unreadable is told of each directory that could not be opened or read to
	// its end, and of each file whose attributes could not be read. Calls do not
	// overlap. May be nil.
	Unreadable func(path string, err error)

	Progress *Progress // may be nil
}

// Walk calls emit for each file beneath root, the root directory of a brick,
// that the policy wants archived.
//
//   - Order: as found, unless Options.Order wants another; directories are read
//     in parallel. In another order emit is called by one goroutine, after the
//     walk; if more files are found than SortMemory holds, there is a walk for
//     each part of them. Stats are those of the first walk.
//   - emit is called by several crawlers at once. While it blocks, its crawler
//     waits: that is how a full queue slows the walk. Its error ends the walk
//     and is returned.
//   - When ctx ends, so does the walk, with ctx's error. Stats are valid in any
//     case.
//   - What belongs to GlusterFS or coldbrick in the brick root is left out, and counted
//     nowhere.
//   - No symlink is followed and each name is looked up in the open directory it
//     was read from, so renames during the walk lead nowhere else. A directory
//     that is moved in the meantime may be walked twice or not at all; one that
//     vanishes is no error.
//   - A directory that cannot be read is reported, and the rest goes on. So is
//     one whose path is longer than the kernel takes (4,095 bytes).
//   - Only a missing or unusable Under, or an invalid policy, is an error.
//
// Memory does not depend on the number of files or directories. In an order it
// is SortMemory more. A crawler goes
// depth first and holds, for each directory that it is in, one descriptor and
// one batch of entries (32 KiB, and 1 KiB in the 17th level and below). No list
// of directories exists: what is to be walked later is still unread in its
// parent. The limit of the path makes 2,048 levels the most there can be, that
// is 40 MiB with all of 16 crawlers at the bottom of such a chasm, and 4 MiB in
// trees that people make.
func Walk(ctx context.Context, root *os.File, opts Options, emit func(context.Context, gluster.File) error) (Stats, error) {
	if opts.Order == Coldest || opts.Order == Largest {
		return walkSorted(ctx, root, opts, emit)
	}
	return walkOnce(ctx, root, opts, emit)
}

func walkOnce(ctx context.Context, root *os.File, opts Options, emit func(context.Context, gluster.File) error) (Stats, error) {
	w, start, err := newWalk(root, opts, emit)
	if err != nil {
		return Stats{}, err
	}
	return w.run(ctx, start, opts.Crawlers)
}

func newWalk(root *os.File, opts Options, emit func(context.Context, gluster.File) error) (*walk, directory, error) {
	if err := opts.Policy.Validate(); err != nil {
		return nil, directory{}, err
	}
	defer runtime.KeepAlive(root)
	trash, err := trashName(int(root.Fd()))
	if err != nil {
		return nil, directory{}, err
	}
	start, err := openUnder(int(root.Fd()), opts.Under, trash)
	if err != nil {
		return nil, directory{}, err
	}
	return &walk{
		policy:   &opts.Policy,
		marked:   opts.Marked,
		trash:    trash,
		now:      opts.Now,
		emit:     emit,
		progress: opts.Progress,
		report:   opts.Unreadable,
		newAttrs: xattrs.Best(start.fd),
	}, start, nil
}

// trashName finds the directory of deleted files in the brick root, "" if there never
// was one.
func trashName(root int) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(root, gluster.TrashHandle, buf)
	switch {
	case errors.Is(err, unix.ENOENT):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("readlink %s: %w", gluster.TrashHandle, err)
	}
	return path.Base(string(buf[:n])), nil
}

// isInternal reports whether an entry of the brick root is not users'.
func isInternal(name, trash string) bool {
	return gluster.IsInternal(name) || trash != "" && name == trash
}

// openUnder opens the directory where the walk begins. Pins above it count.
func openUnder(root int, under, trash string) (directory, error) {
	under = path.Clean(under)
	if !filepath.IsLocal(under) {
		return directory{}, fmt.Errorf("%q: not a directory beneath the brick root", under)
	}
	fd, err := openDirAt(root, ".")
	if err != nil {
		return directory{}, err
	}
	start := directory{fd: fd, brickRoot: true}
	start.pinned, err = isPinned(fd)
	for name := range strings.SplitSeq(under, "/") {
		if err != nil || name == "." {
			break
		}
		if start.brickRoot && isInternal(name, trash) {
			err = fmt.Errorf("belongs to GlusterFS or coldbrick: %w", fs.ErrPermission)
			break
		}
		var child int
		if child, err = openDirAt(start.fd, name); err != nil {
			break
		}
		unix.Close(start.fd)
		start = directory{fd: child, path: path.Join(start.path, name), pinned: start.pinned}
		if !start.pinned {
			start.pinned, err = isPinned(child)
		}
	}
	if err != nil {
		unix.Close(start.fd)
		return directory{}, fmt.Errorf("%q: %w", under, err)
	}
	return start, nil
}

// walk is what all crawlers share.
type walk struct {
	policy   *Policy
	marked   bool
	trash    string // the directory of deleted files in the brick root
	now      time.Time
	emit     func(context.Context, gluster.File) error
	progress *Progress
	newAttrs xattrs.New

	mu     sync.Mutex
	report func(path string, err error) // guarded by mu
	stats  Stats                        // guarded by mu

	// A crawler that has directories ahead of it gives them to those that have
	// none: it claims one that waits, and hands it an open directory through
	// give, which has no buffer. So giving never blocks and nothing piles up.
	give chan directory
	idle atomic.Int32  // crawlers that wait and are not claimed
	open atomic.Int64  // directories given and not yet done
	done chan struct{} // closed when open is 0 again
}

// directory is an open directory on its way from one crawler to another.
type directory struct {
	fd        int
	path      string
	pinned    bool // it, or one above it
	brickRoot bool
}

func (w *walk) run(ctx context.Context, start directory, crawlers int) (Stats, error) {
	if w.now.IsZero() {
		w.now = time.Now()
	}
	if crawlers <= 0 {
		crawlers = DefaultCrawlers
	}
	w.stats = newTally().Stats
	w.give, w.done = make(chan directory), make(chan struct{})
	w.open.Store(1)
	w.idle.Store(-1) // the crawler that gets start is claimed already

	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		select {
		case w.give <- start:
			return nil
		case <-ctx.Done():
			unix.Close(start.fd)
			return context.Cause(ctx)
		}
	})
	for range crawlers {
		group.Go(func() error {
			attrs, err := w.newAttrs()
			if err != nil {
				return err
			}
			c := &crawler{walk: w, attrs: attrs, tally: newTally(), names: make([]byte, usualNames)}
			err = workers.Guard(func() error { return c.work(ctx) })
			w.mu.Lock()
			defer w.mu.Unlock()
			w.stats.merge(&c.tally.Stats)
			return err
		})
	}
	err := group.Wait()
	return w.stats, err
}

// unreadable reports without overlap.
func (w *walk) unreadable(path string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.report != nil {
		w.report(path, err)
	}
}

// crawler walks one part of the tree at a time.
type crawler struct {
	*walk
	attrs xattrs.Reader
	tally tally

	stack []frame // the directories it is in, outermost first
	ahead int     // directories not yet looked at in the batches of all frames
	path  []byte  // of the innermost directory; each frame's own is a prefix

	// Reused for each file, so that a file costs no allocation.
	stat  unix.Statx_t
	facts Facts
	names []byte   // of a file's attributes
	value [64]byte // of one attribute
}

// frame is a directory that is being read.
type frame struct {
	fd        int
	pathLen   int
	pinned    bool
	brickRoot bool

	batch []byte // as long as its capacity
	rest  []byte // the part of batch not yet looked at
	ahead int    // directories in rest
}

const (
	wideBatch  = 32 << 10
	deepBatch  = 1 << 10 // getdents64 refuses less than its longest entry, 280 bytes
	wideLevels = 16

	pathMax = unix.PathMax - 1 // without the NUL

	usualNames = 1 << 10
	mostNames  = 64 << 10 // XATTR_LIST_MAX
)

// work takes directories until none is left.
func (c *crawler) work(ctx context.Context) error {
	for {
		c.idle.Add(1)
		select {
		case d := <-c.give:
			err := c.walkTree(ctx, d)
			c.tally.show(c.progress)
			if c.open.Add(-1) == 0 {
				close(c.done)
			}
			if err != nil {
				return err
			}
		case <-c.done:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// walkTree walks all beneath d, except for what it gives away, and closes d.
func (c *crawler) walkTree(ctx context.Context, d directory) error {
	c.path = append(c.path[:0], d.path...)
	c.push(d)
	for len(c.stack) > 0 {
		if err := c.step(ctx); err != nil {
			for len(c.stack) > 0 {
				c.pop()
			}
			return err
		}
	}
	return nil
}

// step looks at one entry of the innermost directory, or leaves it at its end.
func (c *crawler) step(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := c.share(ctx); err != nil {
		return err
	}
	top := &c.stack[len(c.stack)-1]
	if len(top.rest) == 0 {
		if !c.refill(top) {
			c.pop()
		}
		return nil
	}
	entry, rest, ok := nextDirent(top.rest)
	if !ok {
		c.unreadableDirectory(c.pathOf(top), errors.New("getdents64: entry of unknown layout"))
		c.pop()
		return nil
	}
	top.rest = rest
	if entry.kind() == unix.DT_DIR {
		top.ahead--
		c.ahead--
	}
	return c.visit(ctx, top, entry)
}

func (c *crawler) push(d directory) {
	depth := len(c.stack)
	if depth < cap(c.stack) {
		c.stack = c.stack[:depth+1] // with the batch of a previous frame
	} else {
		c.stack = append(c.stack, frame{})
	}
	f := &c.stack[depth]
	if f.batch == nil {
		size := deepBatch
		if depth < wideLevels {
			size = wideBatch
		}
		f.batch = make([]byte, size)
	}
	*f = frame{fd: d.fd, pathLen: len(d.path), pinned: d.pinned, brickRoot: d.brickRoot, batch: f.batch}
	c.attrs.Enter(d.fd)
	c.tally.Directories++
}

func (c *crawler) pop() {
	depth := len(c.stack) - 1
	f := &c.stack[depth]
	unix.Close(f.fd)
	c.ahead -= f.ahead
	c.stack = c.stack[:depth]
	if depth > 0 {
		c.attrs.Enter(c.stack[depth-1].fd)
	}
}

// refill reads the next batch and reports whether there was one. It strikes out
// what is not to be looked at: whoever takes an entry later need not ask again.
func (c *crawler) refill(f *frame) bool {
	c.tally.show(c.progress)
	n, err := readDirents(f.fd, f.batch)
	if err != nil {
		c.unreadableDirectory(c.pathOf(f), err)
		return false
	}
	f.rest = f.batch[:n]
	for entry, rest, ok := nextDirent(f.rest); ok; entry, rest, ok = nextDirent(rest) {
		switch {
		case entry.isDotOrDotDot(), f.brickRoot && isInternal(unsafeString(entry.name), c.trash):
			entry.setDone()
		case entry.kind() == unix.DT_DIR:
			f.ahead++
		}
	}
	c.ahead += f.ahead
	return n > 0
}

// share gives directories ahead to crawlers that wait, outermost first: these
// are likely to be the largest trees.
func (c *crawler) share(ctx context.Context) error {
	for i := 0; c.ahead > 0 && i < len(c.stack); {
		f := &c.stack[i]
		if f.ahead == 0 {
			i++
			continue
		}
		if !c.claim() {
			return nil
		}
		if err := c.giveNext(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

// giveNext gives the next directory ahead in f to the crawler just claimed.
func (c *crawler) giveNext(ctx context.Context, f *frame) error {
	for entry, rest, ok := nextDirent(f.rest); ok; entry, rest, ok = nextDirent(rest) {
		if entry.kind() != unix.DT_DIR {
			continue
		}
		entry.setDone()
		f.ahead--
		c.ahead--
		if child, ok := c.openChild(f, entry.name); ok {
			return c.handOver(ctx, child)
		}
	}
	c.idle.Add(1) // claimed for nothing
	return nil
}

// claim reserves a crawler that waits. Each claim is followed by handOver, or
// taken back.
func (w *walk) claim() bool {
	for {
		n := w.idle.Load()
		if n <= 0 {
			return false
		}
		if w.idle.CompareAndSwap(n, n-1) {
			return true
		}
	}
}

// handOver gives d to the crawler just claimed, which is at the receive or about
// to be.
func (w *walk) handOver(ctx context.Context, d directory) error {
	w.open.Add(1)
	select {
	case w.give <- d:
		return nil
	case <-ctx.Done():
		unix.Close(d.fd)
		return context.Cause(ctx)
	}
}

// visit looks at one entry of f, the innermost directory.
func (c *crawler) visit(ctx context.Context, f *frame, entry dirent) error {
	switch entry.kind() {
	case typeDone:
		return nil
	case unix.DT_REG:
		return c.visitFile(ctx, f, entry.name)
	case unix.DT_DIR:
		return c.visitDirectory(ctx, f, entry.name)
	case unix.DT_UNKNOWN: // XFS made without ftype, for one
		return c.visitUnknown(ctx, f, entry.name)
	}
	c.tally.Others++
	return nil
}

func (c *crawler) visitUnknown(ctx context.Context, f *frame, name []byte) error {
	if err := statAt(f.fd, &name[0], &c.stat); err == nil {
		switch c.stat.Mode & unix.S_IFMT {
		case unix.S_IFREG:
		case unix.S_IFDIR:
			return c.visitDirectory(ctx, f, name)
		default:
			c.tally.Others++
			return nil
		}
	}
	return c.visitFile(ctx, f, name)
}

// visitDirectory gives the directory away if somebody waits, or enters it.
func (c *crawler) visitDirectory(ctx context.Context, f *frame, name []byte) error {
	child, ok := c.openChild(f, name)
	if !ok {
		return nil
	}
	if c.claim() {
		return c.handOver(ctx, child)
	}
	c.path = append(c.path[:0], child.path...)
	c.push(child)
	return nil
}

// openChild opens a directory of f. If it cannot, it has said so.
func (c *crawler) openChild(f *frame, name []byte) (directory, bool) {
	child := directory{path: c.pathOf(f, name...), pinned: f.pinned}
	if len(child.path) > pathMax {
		c.unreadableDirectory(child.path, unix.ENAMETOOLONG)
		return directory{}, false
	}
	var err error
	child.fd, err = openDirAt(f.fd, string(name))
	if isGone(err) {
		return directory{}, false
	}
	if err != nil {
		c.unreadableDirectory(child.path, err)
		return directory{}, false
	}
	if !child.pinned {
		if child.pinned, err = isPinned(child.fd); err != nil {
			unix.Close(child.fd)
			c.unreadableDirectory(child.path, err)
			return directory{}, false
		}
	}
	return child, true
}

// isGone reports whether the directory that an entry stood for is no longer
// there: removed, renamed, or replaced by something that is no directory.
func isGone(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP)
}

func (c *crawler) unreadableDirectory(path string, err error) {
	c.tally.Unreadable++
	c.unreadable(path, err)
}

// pathOf is the path of the entry name of f, or of f itself.
func (c *crawler) pathOf(f *frame, name ...byte) string {
	dir := c.path[:f.pathLen]
	switch {
	case len(name) == 0 && len(dir) == 0:
		return "."
	case len(name) == 0:
		return string(dir)
	case len(dir) == 0:
		return string(name)
	}
	return string(dir) + "/" + string(name)
}

// visitFile decides over one file, asking for no more than it takes.
func (c *crawler) visitFile(ctx context.Context, f *frame, name []byte) error {
	c.path = c.path[:f.pathLen]
	if f.pathLen > 0 {
		c.path = append(c.path, '/')
	}
	c.path = append(c.path, name...)

	reason, err := c.examine(f, name)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODATA) {
		// ENODATA: what has this name now lacks an attribute just listed, so
		// another file took the name in between.
		reason, err = outcome.Vanished, nil
	}
	if err != nil {
		reason = outcome.Unreadable
		c.unreadable(string(c.path), err)
	}
	c.tally.Seen.add(c.facts.Size)
	if reason != "" {
		c.tally.skip(reason, c.facts.Size)
		return nil
	}
	times := c.facts.clientTimes()
	err = c.emit(ctx, gluster.File{
		Path:      string(c.path),
		GFID:      c.facts.GFID,
		Size:      c.facts.Size,
		Mtime:     times.Mtime,
		Copied:    c.facts.HasPointer,
		ColdSince: c.policy.ageFrom(times),
	})
	if err != nil {
		return err
	}
	c.tally.Candidates.add(c.facts.Size)
	return nil
}
