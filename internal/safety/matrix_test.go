package safety

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/recall"
	"github.com/coldbrick/coldbrick/upload"
)

// errnos are what a step may hear in place of what it wanted.
var errnos = []unix.Errno{unix.EIO, unix.ESTALE, unix.ENOENT, unix.ENOSPC, unix.ETIMEDOUT}

// archiveStarts are the states in which an archive may find a file.
func archiveStarts() []*start[upload.Step] {
	return []*start[upload.Step]{
		{name: "fresh", size: single},
		{name: "fresh, in parts", size: parted},
		{name: "left by a dead run", size: single, prepare: func(s *subject) error {
			s.cutArchive(upload.StepRecord)
			return nil
		}},
		{name: "to be copied", verb: keeping, size: single},
		{name: "copied", verb: releasing, size: single, prepare: func(s *subject) error {
			res := s.archive(func(a *upload.Archiver) { s.asIf(keeping, a) })
			if res.Outcome != outcome.Copied {
				return fmt.Errorf("keep: %s %s: %w", res.Outcome, res.Reason, res.Err)
			}
			return nil
		}},
	}
}

// Verbs of an archive.
const (
	archiving = ""
	keeping   = "archive --keep"
	releasing = "release"
)

// asIf makes an archiver one for the verb. Copies have an index.
func (s *subject) asIf(verb string, a *upload.Archiver) {
	if a.Keep, a.Release = verb == keeping, verb == releasing; verb != archiving {
		a.Index = s.Copies
	}
}

// recallStarts are the states in which a recall may find a file. Those that a
// recall which died has left are made by cutting one before each of its steps.
func recallStarts() []*start[recall.Step] {
	stub := func(s *subject) error { return s.archived() }
	starts := []*start[recall.Step]{
		{name: "stub", size: single, prepare: stub},
		{name: "stub, in parts", size: parted, prepare: stub},
		{name: "stub with bytes", size: single, prepare: withBytes},
		{name: "stub without proof", size: single, prepare: withoutProof},
		{name: "stub without proof, with bytes", size: single, prepare: func(s *subject) error {
			if err := withoutProof(s); err != nil {
				return err
			}
			return s.fill()
		}},
		{name: "stub with another key", size: single, prepare: func(s *subject) error {
			if err := s.archived(); err != nil {
				return err
			}
			return unix.Setxattr(s.Path(s.path), gluster.XattrRemote, []byte("no such object"), 0)
		}},
	}
	for _, whole := range starts[:4] {
		if whole.size != single {
			continue
		}
		for _, step := range recall.Steps() {
			starts = append(starts, &start[recall.Step]{
				name: fmt.Sprintf("%s, cut before %s", whole.name, step), size: single, again: true,
				prepare: func(s *subject) error {
					if err := whole.prepare(s); err != nil {
						return err
					}
					s.cutRecall(step)
					return nil
				},
			})
		}
	}
	return starts
}

// start is a state in which a verb finds a file, and the steps it then takes.
type start[S ~string] struct {
	name    string
	size    int
	prepare func(*subject) error
	verb    string // of an archive
	again   bool   // left by a recall that died

	steps []S // as one subject went, see hook
}

func (st *start[S]) subject(p *proving) (*subject, error) {
	s, err := p.subject(st.size)
	if err == nil && st.prepare != nil {
		err = st.prepare(s)
	}
	if err != nil {
		return nil, fmt.Errorf("prepare: %w", err)
	}
	return s, nil
}

// hook gives an error in place of one step, after it has looked at the subject;
// what was wrong then goes to seen. If the step is empty, it only notes which
// ones there are.
func (st *start[S]) hook(s *subject, at S, errno unix.Errno, seen *error) func(S) error {
	return func(step S) error {
		if at == "" {
			st.steps = append(st.steps, step)
		}
		if step != at {
			return nil
		}
		if err := s.neverWrong(); err != nil {
			*seen = fmt.Errorf("at the fault: %w", err)
		}
		return errno
	}
}

// fill brings the data back into a stub past cloudsync, as a self-heal does.
func (s *subject) fill() error {
	f, err := s.Files.OpenRegularRDWR(s.path)
	if err != nil {
		return err
	}
	defer f.Close() // written through
	if _, err := f.WriteAt(s.data, 0); err != nil {
		return err
	}
	return os.Chtimes(s.Files.Dir()+"/"+s.path, s.mtime, s.mtime)
}

func withBytes(s *subject) error {
	if err := s.archived(); err != nil {
		return err
	}
	return s.fill()
}

// withoutProof makes a stub whose archive died right after the stamp.
func withoutProof(s *subject) error {
	s.cutArchive(upload.StepNote)
	return nil
}

// TestAnErrorInPlaceOfAStepLosesNothing is the matrix of steps and errors. The
// steps are those that the code takes, from every state in which it may find a
// file; a step that no cell reaches fails the test.
func TestAnErrorInPlaceOfAStepLosesNothing(t *testing.T) {
	t.Parallel()
	bricks := onXFSAndExt4(t)
	archives, recalls := archiveStarts(), recallStarts()
	learnSteps(t, bricks[0], archives, recalls)

	var cells []cell
	tried := map[string]bool{}
	for _, st := range archives {
		for _, step := range st.steps {
			row := "archive " + string(step)
			tried[row] = true
			for _, errno := range errnos {
				p := bricks.of(len(cells))
				cells = append(cells, cell{row, unix.ErrnoName(errno), st.name,
					func() error { return archiveCell(p, st, step, errno) }})
			}
		}
	}
	for _, st := range recalls {
		faults := errnos
		if st.again {
			faults = faults[:1] // what differs here is the state, not the error
		}
		for _, step := range st.steps {
			row := "recall " + string(step)
			tried[row] = true
			for _, errno := range faults {
				p := bricks.of(len(cells))
				cells = append(cells, cell{row, unix.ErrnoName(errno), st.name,
					func() error { return recallCell(p, st, step, errno) }})
			}
		}
	}
	for _, step := range upload.Steps() {
		if !tried["archive "+string(step)] {
			t.Errorf("no cell reaches archive's step %s", step)
		}
	}
	for _, step := range recall.Steps() {
		if !tried["recall "+string(step)] {
			t.Errorf("no cell reaches recall's step %s", step)
		}
	}
	runCells(t, "step × error", atOnce, cells)
}

// learnSteps lets a subject go its way from each start without a fault, and
// notes the steps it takes.
func learnSteps(t *testing.T, p *proving, archives []*start[upload.Step], recalls []*start[recall.Step]) {
	t.Helper()
	var cells []cell
	for _, st := range archives {
		cells = append(cells, cell{"archive", "no fault", st.name, func() error { return archiveCell(p, st, "", 0) }})
	}
	for _, st := range recalls {
		cells = append(cells, cell{"recall", "no fault", st.name, func() error { return recallCell(p, st, "", 0) }})
	}
	runCells(t, "no fault", atOnce, cells)
}

// archiveCell archives a file with an error in place of one step, or without if
// step is empty, then once more, and holds what comes of it against the promise.
func archiveCell(p *proving, st *start[upload.Step], at upload.Step, errno unix.Errno) error {
	s, err := st.subject(p)
	if err != nil {
		return err
	}
	var seen error
	hook := st.hook(s, at, errno, &seen)
	res := s.archive(func(a *upload.Archiver) {
		s.asIf(st.verb, a)
		a.At = func(step upload.Step, _ gluster.File) error { return hook(step) }
	})
	if seen != nil {
		return seen
	}
	want := outcome.Archived
	if st.verb == keeping {
		want = outcome.Copied
	}
	if at == "" && (res.Outcome != want || res.Err != nil) {
		return fmt.Errorf("archive: %s %s: %w", res.Outcome, res.Reason, res.Err)
	}
	return s.archiveSettles()
}

// archiveSettles is the plain re-run of an archive and what must hold after it.
func (s *subject) archiveSettles() error {
	if err := s.neverWrong(); err != nil {
		return fmt.Errorf("after the fault: %w", err)
	}
	if res := s.archive(nil); res.Outcome != outcome.Archived && res.Reason != outcome.AlreadyRemote {
		return fmt.Errorf("archive again: %s %s: %w", res.Outcome, res.Reason, res.Err)
	}
	return s.settle()
}

// recallCell is archiveCell for a recall.
func recallCell(p *proving, st *start[recall.Step], at recall.Step, errno unix.Errno) error {
	s, err := st.subject(p)
	if err != nil {
		return err
	}
	var seen error
	hook := st.hook(s, at, errno, &seen)
	s.recall(func(r *recall.Recaller) {
		r.At = func(step recall.Step, _ string) error { return hook(step) }
	})
	if seen != nil {
		return seen
	}
	return s.recallSettles()
}

// recallSettles is the plain re-run of a recall and what must hold after it.
func (s *subject) recallSettles() error {
	if err := s.neverWrong(); err != nil {
		return fmt.Errorf("after the fault: %w", err)
	}
	if res := s.recall(nil); res.Outcome != outcome.Recalled && res.Reason != outcome.AlreadyLocal {
		return fmt.Errorf("recall again: %s %s: %w", res.Outcome, res.Reason, res.Err)
	}
	brick, err := os.Lstat(s.BrickPath(s.path))
	if err != nil {
		return err
	}
	if brick.Size() != int64(len(s.data)) {
		return fmt.Errorf("the re-run left %d bytes on the brick", brick.Size())
	}
	return s.settle()
}
