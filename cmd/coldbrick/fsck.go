package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"sync"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/crawl"
	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/report"
	"github.com/coldbrick/coldbrick/internal/volume"
	"github.com/coldbrick/coldbrick/internal/workers"
	"github.com/coldbrick/coldbrick/recall"
)

func newFsck(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "fsck {BRICK --mount DIR | [BRICK] --volume NAME}",
		Short: "Hold the stubs of a brick against their objects",
		Long: `Hold every stub of the brick in the directory BRICK, and every file that an
archive or a recall has marked, against its object, and print what is wrong. With
--volume and without BRICK, the bricks of this host are examined that archive
--volume would take.

Nothing is changed without --repair. With it, what can be mended without guessing
is mended: a recall that was cut short is finished, a wrong key is corrected,
left-over sizes are removed. Bytes on the volume are never given up for an object
that was not proven to hold the same.

The exit code is 14 if problems remain, and 15 if data is at risk.`,
		Args: a.brickOrVolume,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.configure(cmd, a.byMount); err != nil {
				return err
			}
			return a.finish("fsck", "", a.fsck(cmd.Context(), args))
		},
	}
	a.uses(cmd, []string{"mount", "volume", "under", "crawlers", "repair", "read", "sample", "state-dir"}, storeFlags, outputFlags)
	return cmd
}

// fsck examines the marked files of the brick named, or else of all active bricks
// of --volume on this host.
func (a *app) fsck(ctx context.Context, named []string) (err error) {
	if a.used.Changed("sample") && !a.readObjects {
		return usagef("--sample goes with --read: it says how many objects are read")
	}
	preparing, prepared := a.drains(ctx)
	defer prepared()
	s, err := a.scopeOf(preparing, named)
	if err != nil {
		return causeOf(preparing, err)
	}
	if s.unfit != nil { // must not be passed over in silence
		return s.unfit
	}
	g, err := a.openGround(preparing, s.mount, s.bricks, true, a.repair)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.Close()) }()

	f := &checker{app: a, recaller: &g.recaller, keys: map[string]gluster.GFID{}}
	a.startBar("checking", byFiles, &f.gauge)
	for _, dir := range s.bricks {
		if err := f.examine(ctx, s, dir, g.files); err != nil {
			return causeOf(ctx, err)
		}
	}
	switch f.worst {
	case report.Grave:
		return errAtRisk
	case report.Problem:
		return errProblems
	}
	return nil
}

// checker is one run of fsck.
type checker struct {
	*app
	recaller *recall.Recaller
	gauge    gauge

	mu    sync.Mutex
	worst report.Severity         // of what remains
	keys  map[string]gluster.GFID // of objects that do not tell their file themselves
}

// examine examines the marked files of one brick.
func (f *checker) examine(ctx context.Context, s *scope, dir string, files *volume.Private) error {
	brick, err := openBrick(dir)
	if err != nil {
		return err
	}
	defer brick.Close()
	if err := volume.Unsafe([]volume.Check{s.mount.CheckBrick(brick, files.Root)}); err != nil {
		return err
	}
	f.recaller.Volume = brick.VolumeID
	f.recaller.Torn = func(_ context.Context, _ *os.File, _ string, gfid gluster.GFID) (bool, error) {
		return brick.Torn(gfid)
	}
	return workers.Run(ctx, f.jobs.Int(), func(ctx context.Context, emit func(context.Context, gluster.File) error) error {
		ctx, stop := f.drains(ctx)
		defer stop()
		return f.walk(ctx, brick, emit)
	}, f.check)
}

// walk emits the files that carry a mark.
func (f *checker) walk(ctx context.Context, brick *volume.Brick, emit func(context.Context, gluster.File) error) error {
	root, err := brick.Open(".", os.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer root.Close()
	_, err = crawl.Walk(ctx, root, crawl.Options{
		Marked: true, Now: f.started, Under: f.under, Crawlers: f.crawlers.Int(), Progress: &f.gauge.seen,
		Unreadable: func(path string, err error) { f.failed(path, report.Unreadable, err) },
	}, emit)
	if isMissing(err) {
		return usagef("--under %w", err)
	}
	return err
}

// check examines one file, and mends it if that is asked for. Only a store that
// cannot be used ends the run.
func (f *checker) check(ctx context.Context, file gluster.File) error {
	err := workers.Guard(func() error { return f.checkOne(ctx, file) })
	var mistake *workers.PanicError
	if errors.As(err, &mistake) {
		f.failed(file.Path, report.InternalError, err)
		return nil
	}
	return err
}

func (f *checker) checkOne(ctx context.Context, file gluster.File) error {
	depth := recall.Head
	if f.readObjects && rand.IntN(100) < int(f.sample) {
		depth = recall.Read
	}
	e, err := f.recaller.Examine(ctx, file.Path, file.GFID, depth)
	var left *report.Left
	switch {
	case errors.Is(err, object.ErrStore), errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &left), volume.Gone(err):
		return nil // renamed or deleted since it was found
	case err != nil:
		f.failed(file.Path, report.IOError, err)
		return nil
	}
	if f.repair {
		e.Findings = f.recaller.Repair(ctx, e)
	}
	if key, other, shared := f.sharesKey(e); shared {
		e.Findings = append(e.Findings, report.Finding{
			Class: report.ClassKeyShared, Severity: report.ClassKeyShared.Severity(),
			Path: e.Path, GFID: e.GFID, Key: key, Detail: "with " + other.String(),
		})
	}
	f.gauge.files.Add(1)
	f.tally.Add(report.Outcome(e.State), "", e.Size)
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, finding := range e.Findings {
		f.print(finding)
		if !finding.Repaired && (finding.Severity == report.Grave || f.worst == "" && finding.Severity == report.Problem) {
			f.worst = finding.Severity
		}
	}
	return nil
}

// sharesKey finds a second file under one key. An object of ours tells its file
// itself; only the keys of others have to be remembered.
func (f *checker) sharesKey(e recall.Examined) (key string, other gluster.GFID, shared bool) {
	key = e.Candidate
	if key == "" {
		if e.Object == nil || e.State != report.StateRemote {
			return "", gluster.GFID{}, false
		}
		if _, err := object.DecodeMetadata(e.Object.Metadata); !errors.Is(err, object.ErrForeign) {
			return "", gluster.GFID{}, false
		}
		key = e.Key
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	other, known := f.keys[key]
	f.keys[key] = e.GFID
	return key, other, known && other != e.GFID
}
