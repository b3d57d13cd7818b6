package safety

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/testkit"
	"github.com/coldbrick/coldbrick/recall"
)

// bricksPatience is longer than a brick takes to notice that its file system is
// full, or is no more: it looks every five seconds.
const bricksPatience = 7 * time.Second

// TestARecallThatDoesNotFitLeavesAStub fills the file system of a brick before
// each step of a recall: there is no room for the data, for attributes, or, once
// the brick has noticed, for anything.
func TestARecallThatDoesNotFitLeavesAStub(t *testing.T) {
	t.Parallel()
	p := newProving(t, testkit.BrickRoom(64<<20))
	var cells []cell
	for _, step := range append(recall.Steps(), "") {
		if step == recall.StepCheck { // needs no room
			continue
		}
		row := "before recall " + string(step)
		if step == "" {
			row = "before all"
		}
		for _, left := range []int64{0, parted - 1} {
			cells = append(cells, cell{row, fmt.Sprintf("%d bytes left", left), "stub", func() error {
				return fullCell(p, step, left, 0)
			}})
		}
	}
	for _, step := range []recall.Step{recall.StepMark, recall.StepDownload} {
		cells = append(cells, cell{"before recall " + string(step), "full for long", "stub", func() error {
			return fullCell(p, step, 0, bricksPatience)
		}})
	}
	runCells(t, "brick full", 1, cells) // they share its space
}

func fullCell(p *proving, at recall.Step, left int64, pause time.Duration) error {
	s, err := p.subject(parted)
	if err == nil {
		err = s.archived()
	}
	if err == nil && at == "" {
		err = p.fill(left)
	}
	if err != nil {
		return err
	}
	res := s.recall(func(r *recall.Recaller) {
		r.At = func(step recall.Step, _ string) error {
			if step != at {
				return nil
			}
			err := p.fill(left)
			time.Sleep(pause)
			return err
		}
	})
	wrong := s.neverWrong()
	brick, err := os.Lstat(s.BrickPath(s.path))
	if err := errors.Join(wrong, err, p.empty()); err != nil {
		return err
	}
	if res.Outcome == outcome.Recalled {
		return s.whole()
	}
	if s.read() != nil && brick.Size() != 0 {
		return fmt.Errorf("%d bytes are left on the full brick", brick.Size())
	}
	if res.Reason != outcome.NoSpace {
		return fmt.Errorf("recall: %s %s: %w", res.Outcome, res.Reason, res.Err)
	}
	// If there was room to make it a stub again, a stub is all that it is. Where
	// there is none for an attribute, it stays invisible until there is.
	names, err := xattrNames(s.BrickPath(s.path))
	if err != nil {
		return err
	}
	stub := slices.Contains(names, gluster.XattrRemote) && !slices.Contains(names, gluster.XattrDownload)
	switch {
	case stub && len(ours(names)) != 5: // remote, three of size, pointer
		return fmt.Errorf("the stub has %q", names)
	case !stub && left > 0 && s.read() != nil:
		return fmt.Errorf("it is neither a stub nor local: %q", names)
	}
	return s.recallSettles()
}

// fill leaves so many bytes of the brick's space, as the disk's other users may.
func (g *ground) fill(left int64) error {
	var st unix.Statfs_t
	if err := unix.Statfs(g.BrickDir(), &st); err != nil {
		return err
	}
	f, err := os.Create(g.ballast())
	if err != nil {
		return err
	}
	defer f.Close() // nothing was written
	return unix.Fallocate(int(f.Fd()), 0, 0, max(int64(st.Bavail)*st.Bsize-left, 1))
}

// empty undoes fill, and waits until the brick takes changes again.
func (g *ground) empty() error {
	if err := os.Remove(g.ballast()); err != nil {
		return err
	}
	return takesChanges(g.MountDir())
}

// takesChanges waits until a brick has noticed that there is room again.
func takesChanges(mount string) error {
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		err := unix.Setxattr(mount, "trusted.room", []byte("?"), 0)
		if !errors.Is(err, unix.ENOSPC) || time.Now().After(end) {
			return err
		}
	}
}

func (g *ground) ballast() string { return filepath.Join(g.BrickDir(), "ballast") }
