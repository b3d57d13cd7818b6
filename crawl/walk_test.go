package crawl

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/xattrs"
)

var monthly = Policy{ColdAfter: 30 * day, RecallGrace: 7 * day}

func TestWalkVisitsEachFileOnceAndSaysWhyNot(t *testing.T) {
	const cold = outcome.Reason("")
	stub := map[string]string{gluster.XattrRemote: "key", gluster.XattrObjectSize: "9", gluster.XattrBlockSize: "4096", gluster.XattrNumBlocks: "1"}
	with := func(attr, value string) node { return node{xattrs: map[string]string{attr: value}} }
	long := strings.Repeat("n", 255)
	tree := map[string]struct {
		node
		want outcome.Reason
	}{
		"top":                             {node{}, cold},
		"a/b/c/d/e/f/g/h/i/j/k/l/deep":    {node{}, cold},
		"-rf":                             {node{}, cold},
		"with space":                      {node{}, cold},
		"new\nline/new\nline":             {node{}, cold},
		"caf\xe9/\xff\xfe":                {node{}, cold},
		long + "/" + long:                 {node{}, cold},
		"sub/.glusterfs/x":                {node{}, cold}, // internal in the root only
		"sub/.shard":                      {node{}, cold},
		"sub/bin/x":                       {node{}, cold},
		"...":                             {node{}, cold},
		"warm":                            {node{age: 29 * day}, outcome.TooWarm},
		"warm for clients":                {node{mdata: 29 * day}, outcome.TooWarm},
		"cold for clients":                {node{mdata: 31 * day}, cold},
		"healed yesterday":                {node{age: day, mdata: 99 * day}, outcome.TooWarm}, // until its brick time aged as well
		"tomorrow":                        {node{age: -day}, outcome.TooWarm},
		"stub":                            {node{size: empty, xattrs: stub}, outcome.NoData},
		"stub with bytes":                 {node{size: 5, xattrs: stub}, outcome.Broken},
		"recalling":                       {with(gluster.XattrDownload, "1"), outcome.Recalling},
		"recall cut short":                {node{xattrs: map[string]string{gluster.XattrRemote: "k", gluster.XattrDownload: "1"}}, outcome.Recalling},
		"previous stub":                   {with(gluster.XattrObjectSize, "1"), outcome.StaleSize},
		"previous stub's blocks":          {with(gluster.XattrNumBlocks, "1"), outcome.StaleSize},
		"linkto":                          {node{size: empty, mode: 0o1000, xattrs: map[string]string{gluster.XattrLinkto: "v-client-1"}}, outcome.NoData},
		"linkto that is being filled":     {node{mode: 0o1000, xattrs: map[string]string{gluster.XattrLinkto: "v-client-1"}}, outcome.Linkto},
		"linkto by another name":          {node{mode: 0o1000, xattrs: map[string]string{"trusted.hot.linkto": "v-client-1"}}, outcome.Linkto},
		"sticky, but a file":              {node{mode: 0o1000}, cold},
		"migrating":                       {node{mode: 0o3644}, outcome.Migrating},
		"heal pending":                    {with("trusted.afr.v-client-1", "\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00"), outcome.HealPending},
		"dirty":                           {with("trusted.afr.dirty", "\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00"), outcome.HealPending},
		"healed":                          {with("trusted.afr.v-client-1", strings.Repeat("\x00", 12)), cold},
		"shard":                           {with("trusted.glusterfs.shard.block-size", "1"), outcome.Sharded},
		"fragment":                        {with("trusted.ec.size", "1"), outcome.Dispersed},
		"made under WORM":                 {with(gluster.XattrWORM, "1"), outcome.Retained},
		"retained":                        {with(gluster.XattrRetention, "3/120/180"), outcome.Retained},
		"damaged":                         {with(gluster.XattrBadFile, "1"), outcome.BadFile},
		"pin":                             {with(gluster.XattrPin, ""), outcome.Pinned},
		"pinned/by/a/directory":           {node{}, outcome.Pinned},
		"pinned too":                      {node{}, cold}, // no directory: only looks like it
		"alien":                           {node{alien: true}, outcome.NoGFID},
		"two names":                       {node{names: []string{"two names'"}}, outcome.HardLinked},
		"two names'":                      {node{}, outcome.HardLinked},
		"empty":                           {node{size: empty}, outcome.NoData},
		"before 2001":                     {node{age: 26 * 365 * day}, outcome.MtimeOutOfRange},
		"before 1970":                     {node{age: 60 * 365 * day}, outcome.MtimeOutOfRange},
		"recalled":                        {with(gluster.XattrRecalled, fmt.Sprint(now.Add(-6*day).Unix())), outcome.RecentlyRecalled},
		"recalled long ago":               {with(gluster.XattrRecalled, fmt.Sprint(now.Add(-7*day).Unix())), cold},
		"recalled, says nobody knows who": {with(gluster.XattrRecalled, "yesterday"), outcome.Unreadable},
		"mdata of another version":        {with(gluster.XattrMdata, "\x02"), outcome.Unreadable},
		"mdata far too long":              {with(gluster.XattrMdata, strings.Repeat("\x01", 100)), outcome.Unreadable},
	}
	files, want, tally := map[string]node{}, map[string]bool{}, map[outcome.Reason]int{}
	dirs := map[string]bool{".": true}
	for path, entry := range tree {
		if path != "two names'" {
			files[path] = entry.node
		}
		if entry.want == cold {
			want[path] = true
		} else {
			tally[entry.want]++
		}
		for _, dir := range parents(path) {
			dirs[dir] = true
		}
	}
	root := brick(t, files)
	setXattr(t, root+"/pinned", gluster.XattrPin, "")
	trash(t, root, "bin")
	for _, internal := range []string{".shard", ".trashcan", "bin", ".glusterfs-anonymous-inode-1b2c"} {
		addFile(t, root, internal+"/not/ours", node{})
	}
	addFile(t, root, ".coldbrick-probe-1b2c", node{})
	addFile(t, root, ".coldbrick-rebuild-11111111-2222-4333-8444-555555555555/f", node{})
	many := addManyAttributes(t, root)
	want[many] = true
	must(t, os.Symlink("top", root+"/symlink"))
	must(t, os.Symlink(t.TempDir(), root+"/symlink to a directory"))
	must(t, unix.Mkfifo(root+"/fifo", 0o600))

	for name, attrs := range readers() {
		for _, crawlers := range []int{1, 2, 16} {
			t.Run(fmt.Sprintf("%s/%d crawlers", name, crawlers), func(t *testing.T) {
				got, stats := walkAll(t, root, Options{Policy: monthly, Crawlers: crawlers}, attrs)
				if !maps.Equal(got.paths(), want) {
					t.Errorf("candidates:\ngot  %q\nwant %q", sorted(got.paths()), sorted(want))
				}
				if !maps.Equal(reasons(stats), tally) {
					t.Errorf("skipped:\ngot  %v\nwant %v", reasons(stats), tally)
				}
				if int(stats.Directories) != len(dirs) || stats.Others != 3 || stats.Unreadable != 0 {
					t.Errorf("%d directories, %d others, %d unreadable; want %d, 3, 0", stats.Directories, stats.Others, stats.Unreadable, len(dirs))
				}
				if len(got.unreadable) != tally[outcome.Unreadable] {
					t.Errorf("reported as unreadable: %v", got.unreadable)
				}
			})
		}
	}
}

// trash makes name, in the brick root, the directory of deleted files.
func trash(t testing.TB, root, name string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(root+"/"+gluster.TrashHandle), 0o700))
	must(t, os.Symlink("../../00/00/"+gluster.RootGFID.String()+"/"+name, root+"/"+gluster.TrashHandle))
}

// addManyAttributes makes a file whose list of attributes is longer than most.
func addManyAttributes(t testing.TB, root string) string {
	const name = "many attributes"
	xattrs := map[string]string{}
	for i := range 9 {
		xattrs[fmt.Sprintf("user.%d%s", i, strings.Repeat("a", 200))] = ""
	}
	addFile(t, root, name, node{xattrs: xattrs})
	return name
}

// Where its marks lie within its inode, a stub is counted as one; tmpfs keeps all there.
func TestAStubIsCountedAsOneWhereThatReadsNothing(t *testing.T) {
	root := t.TempDir()
	must(t, unix.Mount("tmpfs", root, "tmpfs", 0, "size=1m"))
	t.Cleanup(func() { must(t, unix.Unmount(root, 0)) })
	must(t, os.Mkdir(root+"/.glusterfs", 0o700))
	addFile(t, root, "stub", node{size: empty, age: day, xattrs: map[string]string{gluster.XattrRemote: "key", gluster.XattrObjectSize: "9"}})
	addFile(t, root, "empty", node{size: empty})
	addFile(t, root, "cold", node{})
	for name, attrs := range readers() {
		t.Run(name, func(t *testing.T) {
			f, stats := walkAll(t, root, Options{Policy: monthly}, attrs)
			want := map[outcome.Reason]int{outcome.ArchivedAlready: 1, outcome.NoData: 1}
			if got := reasons(stats); !maps.Equal(got, want) || !f.paths()["cold"] {
				t.Errorf("%v, %v", got, f.paths())
			}
		})
	}
}

func TestWalkEmitsWhatClientsSee(t *testing.T) {
	root := brick(t, map[string]node{"d/f": {size: 5, mdata: 99*day + 1}})
	for name, attrs := range readers() {
		t.Run(name, func(t *testing.T) {
			got, _ := walkAll(t, root, Options{Policy: monthly}, attrs)
			value := make([]byte, 16)
			_, err := unix.Lgetxattr(root+"/d/f", gluster.XattrGFID, value)
			must(t, err)
			want := gluster.File{Path: "d/f", GFID: gluster.GFID(value), Size: 5, Mtime: now.Add(-99*day - 1)}
			f := got.files["d/f"]
			if f.Path != want.Path || f.GFID != want.GFID || f.Size != want.Size || !f.Mtime.Equal(want.Mtime) {
				t.Errorf("got %+v, want %+v", f, want)
			}
		})
	}
}

func TestWalkUnderOneDirectory(t *testing.T) {
	root := brick(t, map[string]node{"a/b/in": {}, "a/b/c/in too": {}, "a/out": {}, "ab": {}, "p/q/pinned": {}})
	setXattr(t, root+"/p", gluster.XattrPin, "")
	must(t, os.Symlink("a", root+"/link"))
	addFile(t, root, "bin/deleted", node{})
	trash(t, root, "bin")

	for _, under := range []string{"a/b", "./a//b/"} {
		got, stats := walkAll(t, root, Options{Under: under}, nil)
		if want := map[string]bool{"a/b/in": true, "a/b/c/in too": true}; !maps.Equal(got.paths(), want) {
			t.Errorf("under %s: %q, want %q", under, sorted(got.paths()), sorted(want))
		}
		if stats.Directories != 2 {
			t.Errorf("under %s: %d directories, want 2", under, stats.Directories)
		}
	}
	if _, stats := walkAll(t, root, Options{Under: "p/q"}, nil); stats.Skipped[outcome.Pinned].Files != 1 {
		t.Errorf("a pin above --under does not count: %v", stats.Skipped)
	}
	for under, want := range map[string]error{
		"missing":    fs.ErrNotExist,
		"a/missing":  fs.ErrNotExist,
		"ab":         unix.ENOTDIR,
		"link/b":     unix.ENOTDIR,
		".glusterfs": fs.ErrPermission,
		"bin":        fs.ErrPermission,
	} {
		if _, err := walkWith(t, t.Context(), root, Options{Under: under}, nil, nil); !errors.Is(err, want) {
			t.Errorf("under %q: %v, want %v", under, err, want)
		}
	}
	for _, under := range []string{"..", "a/../..", "/", root} {
		if _, err := walkWith(t, t.Context(), root, Options{Under: under}, nil, nil); err == nil {
			t.Errorf("under %q: no error", under)
		}
	}
}

func TestAPinnedRootPinsAll(t *testing.T) {
	root := brick(t, map[string]node{"a/b": {}, "c": {}})
	setXattr(t, root, gluster.XattrPin, "")
	if got, stats := walkAll(t, root, Options{}, nil); len(got.files) != 0 || stats.Skipped[outcome.Pinned].Files != 2 {
		t.Errorf("%q, %v", sorted(got.paths()), stats.Skipped)
	}
}

// A crawler without the capabilities of root meets a directory that is closed to
// it.
func TestAnUnreadableDirectoryIsReportedAndTheRestGoesOn(t *testing.T) {
	root := brick(t, map[string]node{"a/1": {}, "closed/2": {}, "closed/deeper/3": {}, "z/4": {}, "5": {}})
	must(t, os.Chmod(root+"/closed", 0))
	for name, attrs := range readers() {
		t.Run(name, func(t *testing.T) {
			got, stats := walkAll(t, root, Options{Policy: monthly, Crawlers: 3}, func() (xattrs.Reader, error) {
				if err := dropFileCapabilities(); err != nil {
					return nil, err
				}
				return attrs()
			})
			if want := map[string]bool{"a/1": true, "z/4": true, "5": true}; !maps.Equal(got.paths(), want) {
				t.Errorf("candidates %q, want %q", sorted(got.paths()), sorted(want))
			}
			if stats.Unreadable != 1 || !errors.Is(got.unreadable["closed"], fs.ErrPermission) {
				t.Errorf("%d unreadable: %v", stats.Unreadable, got.unreadable)
			}
		})
	}
}

// dropFileCapabilities makes modes count for the calling goroutine, which is
// tied to its thread from then on; the thread ends with it.
func dropFileCapabilities() error {
	runtime.LockOSThread()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return err
	}
	data[0].Effective &^= 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_DAC_READ_SEARCH
	return unix.Capset(&header, &data[0])
}

func TestDeepTreesAreWalkedAndTooDeepOnesReported(t *testing.T) {
	root := brick(t, map[string]node{"last": {}})
	descend := func(levels int, name string) {
		t.Helper()
		dir, err := os.OpenRoot(root)
		must(t, err)
		for range levels {
			must(t, dir.Mkdir(name, 0o755))
			next, err := dir.OpenRoot(name)
			must(t, err)
			must(t, dir.Close())
			dir = next
		}
		must(t, dir.WriteFile("bottom", []byte("x"), 0o600))
		must(t, dir.Close())
	}
	descend(300, "d")
	descend(30, strings.Repeat("e", 200)) // 6,030 bytes, of which 20 levels can be named
	for name, attrs := range readers() {
		t.Run(name, func(t *testing.T) {
			got, stats := walkAll(t, root, Options{Now: time.Now().Add(day)}, attrs)
			if stats.Directories != 1+300+20 {
				t.Errorf("%d directories, want 321", stats.Directories)
			}
			if want := map[outcome.Reason]int{outcome.NoGFID: 1}; !maps.Equal(reasons(stats), want) { // the bottom of 300
				t.Errorf("skipped %v, want %v", reasons(stats), want)
			}
			if !got.paths()["last"] || stats.Unreadable != 1 || len(got.unreadable) != 1 {
				t.Errorf("got %q, %d unreadable: %v", sorted(got.paths()), stats.Unreadable, got.unreadable)
			}
			for path, err := range got.unreadable {
				if len(path) != 21*201-1 || !errors.Is(err, unix.ENAMETOOLONG) {
					t.Errorf("reported %d bytes: %v", len(path), err)
				}
			}
		})
	}
}

// A filesystem may leave it to stat what an entry is, as XFS made without ftype
// does. Here each batch forgets what it was told.
func TestEntriesWithoutTypeAreLookedAt(t *testing.T) {
	want := map[string]bool{"f": true, "a/f": true, "a/b/f": true, "c/f": true}
	files := map[string]node{".shard/f": {}}
	for path := range want {
		files[path] = node{}
	}
	root := brick(t, files)
	must(t, os.Symlink("f", root+"/link"))
	must(t, os.Symlink("a", root+"/link to a directory"))

	dir, err := os.Open(root)
	must(t, err)
	defer dir.Close()
	got := &found{files: map[string]gluster.File{}}
	w, start, err := newWalk(dir, Options{Now: now}, got.emit(t))
	must(t, err)
	attrs, err := w.newAttrs()
	must(t, err)
	c := &crawler{walk: w, attrs: attrs, tally: newTally(), names: make([]byte, usualNames)}
	for c.push(start); len(c.stack) > 0; {
		top := &c.stack[len(c.stack)-1]
		if len(top.rest) == 0 {
			if !c.refill(top) {
				c.pop()
				continue
			}
			for entry, rest, ok := nextDirent(top.rest); ok; entry, rest, ok = nextDirent(rest) {
				if entry.kind() != typeDone {
					entry.raw[direntTypeAt] = unix.DT_UNKNOWN
				}
			}
			c.ahead, top.ahead = 0, 0
		}
		must(t, c.step(t.Context()))
	}
	if !maps.Equal(got.paths(), want) || c.tally.Others != 2 || c.tally.Directories != 4 {
		t.Errorf("got %q, %d others, %d directories", sorted(got.paths()), c.tally.Others, c.tally.Directories)
	}
}

// Users rename, remove and replace what the walk is about to enter, among others
// by symlinks to a place outside.
func TestWalkNeverLeavesTheBrickUnderMutation(t *testing.T) {
	files := map[string]node{}
	for i := range 40 {
		files[fmt.Sprintf("d%d/sub/f", i)] = node{}
		files[fmt.Sprintf("d%d/f", i)] = node{}
	}
	root := brick(t, files)
	outside := brick(t, map[string]node{"secret": {}, "sub/secret": {}, "f": {}})
	var foreign []gluster.GFID
	for _, name := range []string{"secret", "sub/secret", "f"} {
		value := make([]byte, 16)
		_, err := unix.Lgetxattr(filepath.Join(outside, name), gluster.XattrGFID, value)
		must(t, err)
		foreign = append(foreign, gluster.GFID(value))
	}

	stop, stopped := make(chan struct{}), make(chan struct{})
	attempt := func(...error) {} // one thing after the other; failing is part of the game
	go func() {
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			dir := fmt.Sprintf("%s/d%d", root, i%40)
			switch i % 3 {
			case 0: // replaced by a symlink for a while
				attempt(os.Rename(dir, dir+".away"), os.Symlink(outside, dir), os.Remove(dir), os.Rename(dir+".away", dir))
			case 1: // a file replaced by a symlink, and by a directory
				attempt(os.Rename(dir+"/f", dir+"/g"), os.Symlink(outside+"/f", dir+"/f"), os.Remove(dir+"/f"))
				attempt(os.Mkdir(dir+"/f", 0o755), os.Remove(dir+"/f"), os.Rename(dir+"/g", dir+"/f"))
			case 2: // removed with all that is in it, and made anew
				attempt(os.RemoveAll(dir+"/sub"), os.Mkdir(dir+"/sub", 0o755))
			}
		}
	}()
	defer func() { close(stop); <-stopped }()

	for name, attrs := range readers() {
		t.Run(name, func(t *testing.T) {
			for end := time.Now().Add(time.Second); time.Now().Before(end); {
				dir, err := os.Open(root)
				must(t, err)
				w, start, err := newWalk(dir, Options{Unreadable: func(path string, err error) { t.Errorf("%q: %v", path, err) }}, func(_ context.Context, f gluster.File) error {
					for _, g := range foreign {
						if f.GFID == g {
							t.Errorf("left the brick: %q", f.Path)
						}
					}
					return nil
				})
				must(t, err)
				w.newAttrs = attrs
				_, err = w.run(t.Context(), start, 4)
				must(t, err)
				must(t, dir.Close())
			}
		})
	}
}

// While one crawler is busy with the files of one directory, the others get the
// directories that it has yet to come to.
func TestABusyCrawlerGivesAwayWhatIsAhead(t *testing.T) {
	const crawlers = 8
	files := map[string]node{}
	for i := range crawlers {
		for j := range 200 {
			files[fmt.Sprintf("chain/d%d/f%d", i, j)] = node{}
		}
	}
	root := brick(t, files)
	var inside atomic.Int32
	var once sync.Once
	all := make(chan struct{}) // closed when all crawlers are at work at once
	_, err := walkWith(t, t.Context(), root, Options{Crawlers: crawlers}, nil, func(context.Context, gluster.File) error {
		n := inside.Add(1)
		defer inside.Add(-1)
		if n == crawlers {
			once.Do(func() { close(all) })
		}
		select {
		case <-all: // the rest may go fast
		case <-time.After(5 * time.Millisecond): // a crawler gives between files, so none may stay in one
		}
		return nil
	})
	must(t, err)
	select {
	case <-all:
	default:
		t.Errorf("the %d crawlers never found work at once", crawlers)
	}
}

func TestWalkWaitsWhileEmitBlocks(t *testing.T) {
	const crawlers, n = 3, 200
	files := map[string]node{}
	for i := range n {
		files[fmt.Sprintf("d%d/f%d", i%20, i)] = node{}
	}
	root := brick(t, files)
	queue := make(chan gluster.File) // full at once
	progress := &Progress{}
	ended := make(chan error)
	go func() {
		_, err := walkWith(t, t.Context(), root, Options{Crawlers: crawlers, Progress: progress}, nil, func(ctx context.Context, f gluster.File) error {
			select {
			case queue <- f:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		ended <- err
	}()
	seen := map[string]bool{}
	for len(seen) < n {
		select {
		case f := <-queue:
			seen[f.Path] = true
			// What was taken, one file held by each crawler, and one directory
			// read to its end before the next: not more was looked at.
			if ahead := int(progress.Files.Load()) - len(seen); ahead > crawlers {
				t.Fatalf("the walk ran %d files ahead", ahead)
			}
		case err := <-ended:
			t.Fatalf("ended after %d files: %v", len(seen), err)
		}
	}
	must(t, <-ended)
	if got := progress.Files.Load(); got != n {
		t.Errorf("progress shows %d of %d files", got, n)
	}
}

func TestWalkEndsWithItsContextOrWithEmit(t *testing.T) {
	files := map[string]node{}
	for i := range 300 {
		files[fmt.Sprintf("d%d/e%d/f", i%30, i)] = node{}
	}
	root := brick(t, files)
	broken := errors.New("queue is gone")
	for name, attrs := range readers() {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			stopped := errors.New("stopped")
			// One at a time: nobody emits between the tenth and the cancel.
			var emitting sync.Mutex
			emitted := 0
			stats, err := walkWith(t, ctx, root, Options{}, attrs, func(context.Context, gluster.File) error {
				emitting.Lock()
				defer emitting.Unlock()
				if emitted++; emitted == 10 {
					cancel(stopped)
				}
				return nil
			})
			if !errors.Is(err, stopped) {
				t.Errorf("after cancel: %v", err)
			}
			// Each crawler may have been about to emit one.
			if stats.Candidates.Files < 10 || stats.Candidates.Files > 10+DefaultCrawlers {
				t.Errorf("%d candidates after a cancel at 10", stats.Candidates.Files)
			}

			var before atomic.Int32
			_, err = walkWith(t, t.Context(), root, Options{}, attrs, func(ctx context.Context, _ gluster.File) error {
				if before.Add(1) == 10 {
					return broken
				}
				return nil
			})
			if !errors.Is(err, broken) {
				t.Errorf("after emit's error: %v", err)
			}
		})
	}
}

func TestSkippedFilesCostNoAllocation(t *testing.T) {
	make1 := func(n int) string {
		files := map[string]node{}
		for i := range n {
			files[fmt.Sprintf("warm%d", i)] = node{age: day}
			files[fmt.Sprintf("stub%d", i)] = node{size: empty, xattrs: map[string]string{gluster.XattrRemote: "k"}}
			files[fmt.Sprintf("recalled%d", i)] = node{mdata: 99 * day, xattrs: map[string]string{gluster.XattrRecalled: fmt.Sprint(now.Unix()), "trusted.afr.dirty": strings.Repeat("\x00", 12)}}
			files[fmt.Sprintf("excluded%d.iso", i)] = node{}
		}
		return brick(t, files)
	}
	few, many := make1(1), make1(250)
	policy := monthly
	policy.Exclude = []string{"**/*.iso"}
	for name, attrs := range readers() {
		t.Run(name, func(t *testing.T) {
			allocs := func(root string) float64 {
				return testing.AllocsPerRun(5, func() {
					dir, err := os.Open(root)
					must(t, err)
					defer dir.Close()
					w, start, err := newWalk(dir, Options{Policy: policy, Now: now}, func(context.Context, gluster.File) error {
						return errors.New("not one of them is a candidate")
					})
					must(t, err)
					w.newAttrs = attrs
					_, err = w.run(t.Context(), start, 1)
					must(t, err)
				})
			}
			if a, b := allocs(few), allocs(many); b > a+10 {
				t.Errorf("4 files cost %.0f allocations, 1,000 files %.0f", a, b)
			}
		})
	}
}
