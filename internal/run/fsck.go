package run

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/crawl"
	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/report"
	"github.com/coldbrick/coldbrick/internal/volume"
	"github.com/coldbrick/coldbrick/internal/workers"
	"github.com/coldbrick/coldbrick/recall"
)

// Fsck examines the marked files of the brick named, or else of all active bricks
// of the volume on this host.
func Fsck(ctx context.Context, s *Session, named []string) error {
	return s.Finish("fsck", "", fsck(ctx, s, named))
}

func fsck(ctx context.Context, s *Session, named []string) (err error) {
	s.about = s.aboutOf(named)
	preparing, prepared := s.drains(ctx)
	defer prepared()
	s.UI.Doing(askingGlusterd)
	scope, err := s.scopeOf(preparing, named)
	if err != nil {
		return causeOf(preparing, err)
	}
	if scope.unfit != nil { // must not be passed over in silence
		return scope.unfit
	}
	g, err := s.openGround(preparing, scope.mount, scope.bricks, true, s.Repair)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.Close()) }()

	f := &checker{Session: s, recaller: &g.recaller, keys: map[string]gluster.GFID{}, remains: map[outcome.Severity]int64{}}
	f.gauge.Meter = g.meter
	f.gauge.Total.Store(s.filesOf(scope.bricks))
	s.UI.ShowBar("checking", ByFiles, &f.gauge)
	for _, dir := range scope.bricks {
		if err := f.brick(ctx, scope, dir, g.files); err != nil {
			return err
		}
	}
	return found(f.remains)
}

// found is how a fsck ends that has found this and not repaired it.
func found(remains map[outcome.Severity]int64) error {
	switch {
	case remains[outcome.Grave] > 0:
		return ErrAtRisk
	case remains[outcome.Problem] > 0:
		return ErrProblems
	}
	return nil
}

// checker is one run of fsck.
type checker struct {
	*Session
	recaller *recall.Recaller
	gauge    Gauge

	mu      sync.Mutex
	remains map[outcome.Severity]int64 // found and not repaired
	keys    map[string]gluster.GFID    // of objects that do not tell their file themselves
}

// brick examines one brick, and remembers what was found there.
func (f *checker) brick(ctx context.Context, s *scope, dir string, files *volume.Private) error {
	brick, err := openBrick(dir)
	if err != nil {
		return err
	}
	defer brick.Close()
	before, totals := maps.Clone(f.remains), f.tally.Totals()
	part := f.begin("fsck", dir, nil)
	err = cmp.Or(causeOf(ctx, f.examine(ctx, s, brick, files)), f.Stop.trouble())
	part.findings = map[outcome.Severity]int64{}
	for _, severity := range []outcome.Severity{outcome.Remark, outcome.Problem, outcome.Grave} {
		part.findings[severity] = f.remains[severity] - before[severity]
	}
	totals = outcome.Since(f.tally.Totals(), totals)
	if err == nil && f.Under == "" && outcome.Of(totals, outcome.Failed).Files == 0 {
		stubs := outcome.Of(totals, outcome.Outcome(outcome.StateRemote))
		stubs.Merge(outcome.Of(totals, outcome.Outcome(outcome.StateThawing)))
		part.stubs = &report.Stubs{Total: stubs, At: time.Now().UTC(), By: part.command}
	}
	part.end(cmp.Or(err, found(part.findings)))
	return err
}

// examine examines the marked files of one brick.
func (f *checker) examine(ctx context.Context, s *scope, brick *volume.Brick, files *volume.Private) error {
	if err := volume.Unsafe([]outcome.Check{s.mount.CheckBrick(brick, files.Root)}); err != nil {
		return err
	}
	f.recaller.Volume = brick.VolumeID
	f.recaller.Torn = func(_ context.Context, _ *os.File, _ string, gfid gluster.GFID) (bool, error) {
		return brick.Torn(gfid)
	}
	return workers.Run(ctx, f.Jobs, func(ctx context.Context, emit func(context.Context, gluster.File) error) error {
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
	seen, err := crawl.Walk(ctx, root, crawl.Options{
		Marked: true, Now: f.Started, Under: f.Under, Crawlers: f.Crawlers, Progress: &f.gauge.Seen,
		Unreadable: func(path string, err error) { f.failed(path, outcome.Unreadable, err) },
	}, emit)
	if isMissing(err) {
		return Usagef("--under %w", err)
	}
	if err == nil && f.Under == "" {
		f.rememberFiles(brick.Dir(), seen.Seen.Files)
	}
	return err
}

// check examines one file, and fixes it if that is asked for. Only a store that
// cannot be used ends the run.
func (f *checker) check(ctx context.Context, file gluster.File) error {
	err := workers.Guard(func() error { return f.checkOne(ctx, file) })
	var mistake *workers.PanicError
	if errors.As(err, &mistake) {
		f.failed(file.Path, outcome.InternalError, err)
		return nil
	}
	return err
}

func (f *checker) checkOne(ctx context.Context, file gluster.File) error {
	depth := recall.Head
	if f.ReadObjects && rand.IntN(100) < f.Sample {
		depth = recall.Read
	}
	f.gauge.Work.Begin(file.Path)
	defer f.gauge.Work.End(file.Path)
	e, err := f.recaller.Examine(ctx, file.Path, file.GFID, depth)
	var left *outcome.Left
	switch {
	case errors.Is(err, object.ErrStore), errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &left), volume.Gone(err):
		return nil // renamed or deleted since it was found
	case err != nil:
		f.failed(file.Path, outcome.IOError, err)
		return nil
	}
	if f.Repair {
		e.Findings = f.recaller.Repair(ctx, e)
	}
	if key, other, shared := f.sharesKey(e); shared {
		e.Findings = append(e.Findings, outcome.Finding{
			Class: outcome.ClassKeyShared, Severity: outcome.ClassKeyShared.Severity(),
			Path: e.Path, GFID: e.GFID, Key: key, Detail: "with " + other.String(),
		})
	}
	f.gauge.Files.Add(1)
	f.tally.Add(outcome.Outcome(e.State), "", e.Size)
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, finding := range e.Findings {
		f.print(report.Finding(finding))
		if !finding.Repaired {
			f.remains[finding.Severity]++
		}
	}
	return nil
}

// sharesKey finds a second file under one key. An object of ours tells its file
// itself; only the keys of others have to be remembered.
func (f *checker) sharesKey(e recall.Examined) (key string, other gluster.GFID, shared bool) {
	key = e.Candidate
	if key == "" {
		if e.Object == nil || e.State != outcome.StateRemote && e.State != outcome.StateThawing {
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
