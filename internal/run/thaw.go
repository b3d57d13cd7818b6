package run

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/report"
	"github.com/coldbrick/coldbrick/internal/workers"
	"github.com/coldbrick/coldbrick/recall"
)

// Between two looks at the objects that are being thawed. Some stores take seconds, AWS
// takes hours, and each look is a request for each object.
const (
	firstThawPause = time.Second
	mostThawPause  = 15 * time.Minute
)

// thaw is a recall of objects that may have to be thawed first: all of them are asked
// for before the first is waited for, since each takes hours.
type thaw struct {
	*Session
	recaller *recall.Recaller
	how      object.Thaw
	one      func(context.Context, recall.Target) recall.Result
	done     func(recall.Result)
	crew     *workers.Crew // of one
}

// run recalls what can be read within the time that the user waits. It returns
// errThawing if that is not all.
func (t *thaw) run(ctx context.Context, find finder) error {
	deadline := time.Now().Add(t.ThawWait)
	left, err := newSpool()
	if err != nil {
		return err
	}
	defer func() { left.Close() }()
	var thawing outcome.Tally
	err = t.each(ctx, workers.NewCrew(t.Jobs, t.Jobs), find, func(ctx context.Context, at recall.Target) recall.Result {
		return t.recaller.Thaw(ctx, at.Path, at.GFID, t.how)
	}, func(r recall.Result) error {
		switch {
		case r.Reason == outcome.Thawing:
			thawing.Add(r.Outcome, r.Reason, r.Size)
		case r.Outcome != outcome.Recalled:
			t.done(r)
			return nil
		}
		return left.add(recall.Target{Path: r.Path, GFID: r.GFID})
	})
	if err != nil {
		return err
	}
	if n := thawing.Outcome(outcome.Skipped); n.Files > 0 {
		t.UI.Say(fmt.Sprintf("the store is thawing %s, %s (%s, to be kept for %s): this takes minutes (expedited) to two days (bulk, DEEP_ARCHIVE), and is charged",
			report.Count(n.Files, "object"), report.Bytes(n.Bytes), t.how.Tier, report.Count(int64(t.how.Days), "day")))
	}
	for pause := firstThawPause; ; pause = min(2*pause, mostThawPause) {
		still, err := t.round(ctx, left)
		left.Close()
		left = still
		if err != nil || still.n == 0 {
			return err
		}
		wait := min(pause, time.Until(deadline))
		if wait <= 0 {
			return t.giveUp(ctx, left)
		}
		if err := t.sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// round recalls those whose objects can be read by now, and keeps the others.
func (t *thaw) round(ctx context.Context, from *spool) (still *spool, err error) {
	still, err = newSpool()
	if err != nil {
		return &spool{}, err
	}
	return still, t.each(ctx, t.crew, from.find(t.Session), func(ctx context.Context, at recall.Target) recall.Result {
		r := t.recaller.Thaw(ctx, at.Path, at.GFID, t.how)
		if r.Outcome != outcome.Recalled {
			return r
		}
		r = t.one(ctx, at)
		if r.Reason == outcome.ObjectCold { // what was thawed has expired
			if again := t.recaller.Thaw(ctx, at.Path, at.GFID, t.how); again.Outcome != outcome.Recalled {
				return again
			}
		}
		return r
	}, func(r recall.Result) error {
		if r.Reason == outcome.Thawing {
			return still.add(recall.Target{Path: r.Path, GFID: r.GFID})
		}
		t.done(r)
		return nil
	})
}

// each does one thing with all files; take gets the results one at a time.
func (t *thaw) each(ctx context.Context, crew *workers.Crew, find finder, do func(context.Context, recall.Target) recall.Result, take func(recall.Result) error) error {
	var mu sync.Mutex
	var failed error
	err := recall.Run(ctx, crew, find, do, func(r recall.Result) {
		mu.Lock()
		defer mu.Unlock()
		if err := take(r); err != nil && failed == nil {
			failed = err
			t.Stop.Drain(err)
		}
	})
	if failed != nil {
		return failed
	}
	return err
}

func (t *thaw) sleep(ctx context.Context, d time.Duration) error {
	ctx, stop := t.drains(ctx)
	defer stop()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// giveUp tells of what is still being thawed: the same command, later, recalls it.
func (t *thaw) giveUp(ctx context.Context, left *spool) error {
	err := left.find(t.Session)(ctx, func(_ context.Context, at recall.Target) error {
		t.done(recall.Result{Path: at.Path, GFID: at.GFID, Outcome: outcome.Skipped, Reason: outcome.Thawing})
		return nil
	})
	if err != nil {
		return err
	}
	return fmt.Errorf("%w: %s to be recalled by the same command later", errThawing, report.Count(left.n, "file"))
}

// spool is a list of files on disk: they may be millions.
type spool struct {
	file *os.File
	w    *bufio.Writer
	n    int64
}

func newSpool() (*spool, error) {
	f, err := os.OpenFile(os.TempDir(), os.O_RDWR|unix.O_TMPFILE, 0o600)
	if err != nil {
		return nil, err
	}
	return &spool{file: f, w: bufio.NewWriter(f)}, nil
}

// Close frees the disk. It may be called twice.
func (s *spool) Close() {
	if s.file != nil {
		s.file.Close() // nobody reads it again
	}
}

// add appends a file. No path has a NUL.
func (s *spool) add(t recall.Target) error {
	s.n++
	_, err := fmt.Fprintf(s.w, "%s%s\x00", t.GFID, t.Path)
	return err
}

// find gives the files back.
func (s *spool) find(session *Session) finder {
	return func(ctx context.Context, emit func(context.Context, recall.Target) error) error {
		ctx, stop := session.drains(ctx)
		defer stop()
		if err := s.w.Flush(); err != nil {
			return err
		}
		if _, err := s.file.Seek(0, io.SeekStart); err != nil {
			return err
		}
		r := bufio.NewReader(s.file)
		for {
			entry, err := r.ReadString(0)
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			const gfidText = 36
			gfid, err := gluster.ParseGFID(entry[:gfidText])
			if err != nil {
				return err
			}
			target := recall.Target{Path: strings.TrimSuffix(entry[gfidText:], "\x00"), GFID: gfid}
			if err := emit(ctx, target); err != nil {
				return causeOf(ctx, err)
			}
		}
	}
}
