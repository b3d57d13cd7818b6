package run

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/volume"
	"github.com/coldbrick/coldbrick/recall"
)

// Paths are the paths that the user named, one after the other. The first is taken
// before all others, since it tells of which volume they are.
type Paths struct {
	named iter.Seq2[string, error]

	begun bool
	first string
	dir   string // the mount that the first is on
	err   error  // why that is not known
	next  func() (string, error, bool)
	stop  func()
}

// NewPaths takes paths from named when they are needed, so they may be any number.
func NewPaths(named iter.Seq2[string, error]) *Paths { return &Paths{named: named} }

// Mount is the mount that the first path is on, "" if there is no path.
func (p *Paths) Mount() (dir string, err error) {
	if p.begun {
		return p.dir, p.err
	}
	p.begun = true
	p.next, p.stop = iter.Pull2(p.named)
	first, err, ok := p.next()
	switch {
	case err != nil:
		p.err = err
	case ok:
		p.first = first
		p.dir, _, p.err = volume.FindMount(first)
	}
	return p.dir, p.err
}

// Close lets go of what the paths are read from.
func (p *Paths) Close() {
	if p.begun {
		p.stop()
	}
}

// finder emits files to work on.
type finder func(ctx context.Context, emit func(context.Context, recall.Target) error) error

// search finds the files that the user named, which must all be on one mount; and
// with --recursive those below the directories that the user named.
type search struct {
	*Session
	files *volume.Private
	paths *Paths
}

func (s *search) find(ctx context.Context, emit func(context.Context, recall.Target) error) error {
	ctx, stop := s.drains(ctx)
	defer stop()
	for path, ok := s.paths.first, true; ok; {
		if ctx.Err() != nil { // while next waited
			return context.Cause(ctx)
		}
		if err := s.findOne(ctx, path, emit); err != nil {
			return causeOf(ctx, err)
		}
		var err error
		if path, err, ok = s.paths.next(); ok && err != nil {
			return err
		}
	}
	return nil
}

func (s *search) findOne(ctx context.Context, path string, emit func(context.Context, recall.Target) error) error {
	on, rel, err := volume.FindMount(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		s.failed(path, outcome.Vanished, err)
		return nil
	case err != nil:
		s.failed(path, outcome.IOError, err)
		return nil
	case on != s.paths.dir:
		s.failed(path, outcome.IOError, fmt.Errorf("is on another mount, %s: it needs a run of its own", on))
		return nil
	}
	at, err := s.files.Open(rel, unix.O_PATH)
	if err != nil {
		s.failed(rel, outcome.Vanished, err)
		return nil
	}
	info, err := at.Stat()
	at.Close()
	switch {
	case err != nil:
		s.failed(rel, outcome.IOError, err)
	case !info.IsDir():
		return emit(ctx, recall.Target{Path: rel})
	case !s.Recursive:
		s.failed(rel, outcome.IOError, errors.New("is a directory: -r takes all below it"))
	default:
		return recall.Walk(ctx, s.files, rel, emit, func(dir string, err error) { s.failed(dir, outcome.Unreadable, err) })
	}
	return nil
}
