package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/report"
	"github.com/coldbrick/coldbrick/internal/volume"
	"github.com/coldbrick/coldbrick/recall"
)

// pathFlags say which files a command is about.
var pathFlags = []string{"recursive", "files-from", "null"}

// named yields the paths that the user named, as arguments and in the list of
// --files-from, without holding the list in memory.
func (a *app) named(args []string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, path := range args {
			if !yield(path, nil) {
				return
			}
		}
		if a.filesFrom == "" {
			return
		}
		list := a.stdin
		if a.filesFrom != "-" {
			file, err := os.Open(a.filesFrom)
			if err != nil {
				yield("", usageError{fmt.Errorf("--files-from: %w", err)})
				return
			}
			defer file.Close()
			list = file
		}
		end := byte('\n')
		if a.null {
			end = 0
		}
		for lines := bufio.NewReader(list); ; {
			path, err := lines.ReadString(end)
			if len(path) > 0 && path[len(path)-1] == end {
				path = path[:len(path)-1]
			}
			switch {
			case err != nil && !errors.Is(err, io.EOF):
				yield("", fmt.Errorf("--files-from: %w", err))
				return
			case path != "" && !yield(path, nil), err != nil:
				return
			}
		}
	}
}

// pathList is the paths that the user named. The first is taken before all others,
// since it tells of which volume they are.
type pathList struct {
	app  *app
	args []string

	begun bool
	first string
	dir   string // the mount that the first is on
	err   error  // why that is not known
	next  func() (string, error, bool)
	stop  func()
}

// mount is the mount that the first path is on, "" if there is no path.
func (l *pathList) mount() (dir string, err error) {
	if l.begun {
		return l.dir, l.err
	}
	l.begun = true
	l.next, l.stop = iter.Pull2(l.app.named(l.args))
	first, err, ok := l.next()
	switch {
	case err != nil:
		l.err = err
	case ok:
		l.first = first
		l.dir, _, l.err = volume.FindMount(first)
	}
	return l.dir, l.err
}

func (l *pathList) close() {
	if l.begun {
		l.stop()
	}
}

// ground is a volume to recall from: private mounts of it, and its store.
type ground struct {
	recaller recall.Recaller
	files    *volume.Private
	barrier  *volume.Private // nil if the volume has no cloudsync
	plugin   recall.Plugin   // nil if the store is not asked
	moves    *moves          // nil if nothing is changed
}

// openGround prepares to recall from a volume, or only to look at it: without
// the store and the barrier. The bricks are those of this host, where known.
func (a *app) openGround(ctx context.Context, mount *volume.Mount, bricks []string, store, write bool) (g *ground, err error) {
	if store {
		if err := a.checkStore(mount, bricks); err != nil {
			return nil, err
		}
	}
	g = &ground{}
	defer func() {
		if err != nil {
			err = errors.Join(causeOf(ctx, err), g.Close())
		}
	}()
	if write {
		if err = a.recallable(ctx, mount.Volume); err != nil {
			return g, err
		}
		if g.moves, err = a.watchMoves(ctx, mount.Volume); err != nil {
			return g, err
		}
	}
	if g.files, err = mountPrivately(ctx, mount, volume.ForRecall); err != nil {
		return g, err
	}
	g.recaller = recall.Recaller{
		Files: g.files, Barrier: g.files, BarrierLimit: barrierPatience,
		Distributed: mount.Graph.Distributed(),
		WORMOff:     func(ctx context.Context) bool { return volume.WORMOff(ctx, mount.Volume) },
	}
	if store { // whose objects are they?
		if g.recaller.Volume, err = a.volumeIDOf(ctx, mount); err != nil {
			return g, err
		}
		if g.recaller.Formerly, err = g.files.Formerly(); err != nil {
			return g, err
		}
	}
	if g.recaller.Owner, err = newOwner(); err != nil {
		return g, err
	}
	if write && mount.Graph.Has(gluster.TypeCloudsync) {
		if g.barrier, err = mountPrivately(ctx, mount, volume.ForStamping); err != nil {
			return g, err
		}
		g.recaller.Barrier = g.barrier
	}
	if store {
		if g.plugin, err = a.openStore(ctx, mount.Graph, nil); err != nil {
			return g, err
		}
		g.recaller.Plugin = g.plugin
	}
	return g, nil
}

// volumeIDOf is the volume's id, "" if nobody here knows it: then a file's gfid alone
// tells whether an object is its own.
func (a *app) volumeIDOf(ctx context.Context, mount *volume.Mount) (string, error) {
	asking, cancel := context.WithTimeout(ctx, glusterdPatience)
	defer cancel()
	id, err := mount.AskVolumeID(asking)
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	if err != nil {
		a.log.Info("the volume's id is not known", "err", err)
	}
	return id, nil
}

// Close unmounts what was mounted.
func (g *ground) Close() error {
	var errs []error
	if g.moves != nil {
		g.moves.stop()
	}
	if g.plugin != nil {
		errs = append(errs, g.plugin.Fini())
	}
	for _, p := range []*volume.Private{g.barrier, g.files} {
		if p != nil {
			errs = append(errs, p.Close())
		}
	}
	return errors.Join(errs...)
}

// find emits the files that the user named, which must all be on one mount; and
// with --recursive those below the directories that the user named.
func (a *app) find(ctx context.Context, g *ground, dir string, next func() (string, error, bool), first string, emit func(context.Context, recall.Target) error) error {
	ctx, stop := a.drains(ctx)
	defer stop()
	for path, ok := first, true; ok; {
		if err := ctx.Err(); err != nil { // while next waited
			return causeOf(ctx, err)
		}
		if err := a.findOne(ctx, g, dir, path, emit); err != nil {
			return causeOf(ctx, err)
		}
		var err error
		if path, err, ok = next(); ok && err != nil {
			return err
		}
	}
	return nil
}

func (a *app) findOne(ctx context.Context, g *ground, dir, path string, emit func(context.Context, recall.Target) error) error {
	on, rel, err := volume.FindMount(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		a.failed(path, report.Vanished, err)
		return nil
	case err != nil:
		a.failed(path, report.IOError, err)
		return nil
	case on != dir:
		a.failed(path, report.IOError, fmt.Errorf("is on another mount, %s: it needs a run of its own", on))
		return nil
	}
	at, err := g.files.Open(rel, unix.O_PATH)
	if err != nil {
		a.failed(rel, report.Vanished, err)
		return nil
	}
	info, err := at.Stat()
	at.Close()
	switch {
	case err != nil:
		a.failed(rel, report.IOError, err)
	case !info.IsDir():
		return emit(ctx, recall.Target{Path: rel})
	case !a.recursive:
		a.failed(rel, report.IOError, errors.New("is a directory: -r takes all below it"))
	default:
		return recall.Walk(ctx, g.files, rel, emit, func(dir string, err error) { a.failed(dir, report.Unreadable, err) })
	}
	return nil
}

// onGround opens the volume of the first path and hands it over with a search
// for all.
func (a *app) onGround(ctx context.Context, paths *pathList, store, write bool,
	do func(g *ground, find func(context.Context, func(context.Context, recall.Target) error) error) error,
) (err error) {
	dir, err := paths.mount()
	switch {
	case isMissing(err):
		return usageError{err}
	case err != nil:
		return err
	case dir == "" && a.filesFrom != "":
		return nil // an empty list is nothing to do
	case dir == "":
		return usagef("no PATH given: write paths, or --files-from FILE")
	}
	preparing, prepared := a.drains(ctx)
	defer prepared()
	mount, err := a.inspect(dir)
	if err != nil {
		return err
	}
	g, err := a.openGround(preparing, mount, nil, store, write)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.Close()) }()
	return do(g, func(ctx context.Context, emit func(context.Context, recall.Target) error) error {
		return a.find(ctx, g, dir, paths.next, paths.first, emit)
	})
}
