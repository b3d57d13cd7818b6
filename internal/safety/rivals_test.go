package safety

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/owner"
	"github.com/coldbrick/coldbrick/recall"
	"github.com/coldbrick/coldbrick/upload"
)

// livingRun is the owner of a run that other runs must respect.
func (p *proving) livingRun() owner.Owner {
	o := p.self
	o.Run = object.NewID()
	return o
}

func (s *subject) livingRecall(edit func(*recall.Recaller)) recall.Result {
	return s.recall(func(r *recall.Recaller) {
		r.Owner = s.livingRun()
		if edit != nil {
			edit(r)
		}
	})
}

// recallAtOnce recalls the subject n times at the same moment. It returns how
// many did the work.
func (s *subject) recallAtOnce(n int) (worked int, err error) {
	results := make([]recall.Result, n)
	var all sync.WaitGroup
	begin := make(chan struct{})
	for i := range results {
		all.Go(func() {
			<-begin
			results[i] = s.livingRecall(nil)
		})
	}
	close(begin)
	all.Wait()
	for _, res := range results {
		switch {
		case res.Outcome == outcome.Recalled && res.Err == nil:
			worked++
		case res.Reason == outcome.InProgress, res.Reason == outcome.AlreadyLocal:
		default:
			err = errors.Join(err, fmt.Errorf("%s %s: %w", res.Outcome, res.Reason, res.Err))
		}
	}
	return worked, err
}

func TestOfRecallsAtOnceOneWorks(t *testing.T) {
	t.Parallel()
	p := newProving(t)
	var cells []cell
	const rounds = 6
	for range rounds {
		for _, n := range []int{2, 5} {
			cells = append(cells, cell{"stub", fmt.Sprintf("%d recalls", n), "", func() error {
				return atOnceCell(p, n, nil)
			}})
		}
		for _, step := range recall.Steps() {
			if step == recall.StepCheck { // not on this way
				continue
			}
			cells = append(cells, cell{"killed before " + string(step), "2 recalls", "", func() error {
				return atOnceCell(p, 2, func(s *subject) { s.cutRecall(step) })
			}})
		}
		cells = append(cells, cell{"killed twice", "3 recalls", "", func() error {
			return atOnceCell(p, 3, func(s *subject) {
				s.cutRecall(recall.StepDownload)
				s.cutRecall(recall.StepTimes)
			})
		}})
	}
	runCells(t, "recalls at once", 4, cells)
}

func atOnceCell(p *proving, n int, before func(*subject)) error {
	s, err := p.subject(single)
	if err == nil {
		err = s.archived()
	}
	if err != nil {
		return err
	}
	local := false // already, only something was left on it
	if before != nil {
		before(s)
		local = s.read() == nil
	}
	worked, err := s.recallAtOnce(n)
	if err != nil {
		return err
	}
	if !local && worked != 1 {
		return fmt.Errorf("%d of %d recalls did the work", worked, n)
	}
	return s.whole()
}

// TestArchivesAgainstRecallsEndWithTheSameBytes lets archive and recall work on
// the same files as fast as they can, with readers and users who rename.
func TestArchivesAgainstRecallsEndWithTheSameBytes(t *testing.T) {
	t.Parallel()
	p := newProving(t)
	var cells []cell
	for range 6 {
		cells = append(cells, cell{"archive and recall loops", "readers", "", func() error { return loopsCell(p, 3) }})
	}
	runCells(t, "loops", 3, cells)
}

// loopsCell ends when the file was archived, recalled and read so many times.
func loopsCell(p *proving, times int64) error {
	s, err := p.subject(single)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	all, ctx := errgroup.WithContext(ctx)
	var archived, recalled, read atomic.Int64
	loop := func(once func() error) {
		all.Go(func() error {
			for min(archived.Load(), recalled.Load(), read.Load()) < times {
				if err := once(); err != nil {
					return err
				}
				if ctx.Err() != nil {
					return fmt.Errorf("%d archives, %d recalls, %d reads: that was no race", archived.Load(), recalled.Load(), read.Load())
				}
			}
			return nil
		})
	}
	count := func(done *atomic.Int64, got outcome.Outcome, reason outcome.Reason, err error) error {
		switch got {
		case outcome.Archived, outcome.Recalled:
			done.Add(1)
		case outcome.Failed:
			return fmt.Errorf("%s: %w", reason, err)
		}
		return nil
	}
	for range 2 {
		loop(func() error {
			res := s.archive(func(a *upload.Archiver) { a.Owner = s.livingRun() })
			return count(&archived, res.Outcome, res.Reason, res.Err)
		})
		loop(func() error {
			res := s.livingRecall(nil)
			return count(&recalled, res.Outcome, res.Reason, res.Err)
		})
	}
	loop(func() error {
		read.Add(1)
		return s.neverWrong()
	})
	if err := all.Wait(); err != nil {
		return err
	}
	return s.settle()
}

// TestARecallAmongUsersKeepsWhatTheyDo races a recall with users who read,
// append, rename, unlink and truncate. What they were told has happened, has.
func TestARecallAmongUsersKeepsWhatTheyDo(t *testing.T) {
	t.Parallel()
	p := newProving(t)
	var cells []cell
	for range 5 {
		cells = append(cells,
			cell{"recall", "append", "", func() error { return appendCell(p) }},
			cell{"recall", "rename", "", func() error { return renameCell(p) }},
			cell{"recall", "unlink", "", func() error { return unlinkCell(p) }},
			cell{"recall", "archive", "", func() error { return archiveRaceCell(p) }},
		)
	}
	runCells(t, "recall among users", 4, cells)
}

// during calls what users do while a recall of the subject is at work: from its
// first step until it has ended.
func (s *subject) during(do func(ended func() bool) error) (recall.Result, error) {
	if err := s.archived(); err != nil {
		return recall.Result{}, err
	}
	begun, ended := make(chan struct{}), make(chan struct{})
	var once sync.Once
	users := make(chan error, 1)
	go func() {
		<-begun
		users <- do(func() bool {
			select {
			case <-ended:
				return true
			default:
				return false
			}
		})
	}()
	res := s.livingRecall(func(r *recall.Recaller) {
		r.At = func(recall.Step, string) error {
			once.Do(func() { close(begun) })
			return nil
		}
	})
	close(ended)
	once.Do(func() { close(begun) })
	return res, <-users
}

func appendCell(p *proving) error {
	s, err := p.subject(single)
	if err != nil {
		return err
	}
	const more = "appended by a user"
	want := bytes.Clone(s.data)
	res, err := s.during(func(ended func() bool) error {
		for range 200 {
			last := ended()
			f, err := os.OpenFile(s.Path(s.path), os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				continue
			}
			_, err = f.WriteString(more)
			if err = errors.Join(err, f.Close()); err == nil {
				want = append(want, more...)
			}
			if last {
				return err
			}
		}
		return errors.New("the recall does not end")
	})
	if err != nil {
		return err
	}
	if res.Outcome != outcome.Recalled {
		return fmt.Errorf("recall: %s %s: %w", res.Outcome, res.Reason, res.Err)
	}
	if len(want) == len(s.data) {
		return errors.New("no append succeeded")
	}
	s.data, s.sum = want, sha256.Sum256(want)
	if err := s.read(); err != nil {
		return err
	}
	s.mtime = time.Now().Add(-time.Hour)
	if err := os.Chtimes(s.Path(s.path), s.mtime, s.mtime); err != nil {
		return err
	}
	return s.whole()
}

func renameCell(p *proving) error {
	s, err := p.subject(single)
	if err != nil {
		return err
	}
	name := s.path
	res, err := s.during(func(ended func() bool) error {
		for n := 0; ; n++ {
			next := fmt.Sprintf("%s renamed %d", name, n)
			if err := os.Rename(s.Path(s.path), s.Path(next)); err != nil {
				return err
			}
			s.path = next
			if err := s.neverWrong(); err != nil {
				return err
			}
			if ended() {
				return nil
			}
		}
	})
	if err != nil {
		return err
	}
	switch {
	case res.Outcome == outcome.Recalled && res.Err == nil:
		return s.whole()
	case res.Reason == outcome.Vanished: // rolled back
		return s.settle()
	}
	return fmt.Errorf("recall: %s %s: %w", res.Outcome, res.Reason, res.Err)
}

func unlinkCell(p *proving) error {
	s, err := p.subject(single)
	if err != nil {
		return err
	}
	key := ""
	res, err := s.during(func(func() bool) error { return os.Remove(s.Path(s.path)) })
	key = res.Key
	if err != nil {
		return err
	}
	if res.Outcome == outcome.Failed && res.Reason != outcome.IOError {
		return fmt.Errorf("recall: %s %s: %w", res.Outcome, res.Reason, res.Err)
	}
	if _, err := os.Lstat(filepath.Join(s.Reader, s.path)); !errors.Is(err, unix.ENOENT) {
		return errors.Join(errors.New("the file that was unlinked is still there"), err)
	}
	if _, err := os.Stat(s.S3.ObjectFile(key)); key != "" && err != nil {
		return fmt.Errorf("the object went with the file: %w", err)
	}
	return nil
}

// archiveRaceCell has an archive of the same file try its luck all the time.
func archiveRaceCell(p *proving) error {
	s, err := p.subject(single)
	if err != nil {
		return err
	}
	res, err := s.during(func(ended func() bool) error {
		for {
			last := ended()
			got := s.archive(func(a *upload.Archiver) { a.Owner = s.livingRun() })
			if got.Outcome == outcome.Failed {
				return fmt.Errorf("archive: %s: %w", got.Reason, got.Err)
			}
			if err := s.neverWrong(); err != nil || last {
				return err
			}
		}
	})
	if err != nil {
		return err
	}
	if res.Outcome != outcome.Recalled {
		return fmt.Errorf("recall: %s %s: %w", res.Outcome, res.Reason, res.Err)
	}
	return s.settle()
}
