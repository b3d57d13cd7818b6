package recall

import (
	"slices"
	"testing"

	"github.com/coldbrick/coldbrick/internal/gluster"
)

// model is all of a file that a plan goes by and a reader sees.
type model struct {
	marks   gluster.Marks
	bytes   int64 // on the brick
	right   bool  // they are the object's
	pointer bool  // the file knows its object
	notes   bool  // and what it was
	keep    bool  // as the notes say
}

func (m model) state() gluster.State { return m.marks.State(m.bytes) }

// late is what a recall calls late.
func (m model) late() bool {
	return m.bytes > 0 && !m.keep && !m.marks.ObjectSize && !m.marks.BlockSize && !m.marks.NumBlocks
}

// visible is the size that users see.
func (m model) visible(size int64) int64 {
	if m.marks.ObjectSize {
		return size
	}
	return m.bytes
}

// apply is what a step does to a file whose data has size bytes. written is how
// many of them a download has brought when it is cut; whole says that it is not.
func apply(m model, step Step, size, written int64, whole bool) model {
	switch step {
	case StepNote:
		if !m.notes || m.state() == gluster.Repair && !m.marks.Downloading {
			m.keep = m.state() == gluster.Repair && !m.marks.Downloading || m.state() == gluster.Downloading
		}
		m.notes = true
	case StepMark:
		m.marks.Downloading = true
	case StepClaim:
		m.marks.Remote, m.marks.RemoteKey = false, ""
	case StepTruncate:
		m.marks.ObjectSize, m.marks.BlockSize, m.marks.NumBlocks = true, true, true
		m.bytes, m.right = 0, false
	case StepDownload:
		m.bytes, m.right = written, false
		if whole {
			m.bytes, m.right = size, true
		}
	case StepSizes:
		m.marks.ObjectSize, m.marks.BlockSize, m.marks.NumBlocks = false, false, false
	case StepRelease:
		m.marks.Downloading = false
	case StepTidy:
		m.notes, m.keep = false, false
	}
	return m
}

// revert is what a step back does to it.
func revert(m model, step undoStep) model {
	switch step {
	case undoEmpty:
		m.bytes, m.right = 0, false
		fallthrough
	case undoSizes:
		m.marks.ObjectSize, m.marks.BlockSize, m.marks.NumBlocks = true, true, true
	case undoClaim:
		m.marks.Remote, m.marks.RemoteKey = true, "k"
	case undoMark:
		m.marks.Downloading = false
	case undoNotes:
		m.notes, m.keep = false, false
	}
	return m
}

// after is how far a recall is that has done a step of the file m, or does not know
// whether it has.
func (p progress) after(step Step, m model, done bool) progress {
	switch {
	case step == StepClaim:
		p.claimed = true
	case step == StepRelease:
		p.local = true
	case !done:
	case step == StepNote:
		p = progress{owned: true, claimed: m.state() == gluster.Downloading, local: m.state() == gluster.Local || m.late()}
	case step == StepMark:
		p.marked = !m.marks.Downloading
	case step == StepBarrier:
		p.touched = true
	}
	return p
}

// mustHold is the promise: the file is never local with bytes missing, and never looks
// shorter than it is; while it is not local it knows its object.
func (m model) mustHold(t *testing.T, after string, size int64) {
	t.Helper()
	switch {
	case m.state() == gluster.Local && (m.bytes != size || !m.right):
		t.Fatalf("after %s: local with %d of %d bytes, right: %v", after, m.bytes, size, m.right)
	case m.visible(size) < size && m.state() != gluster.Local && m.bytes == 0:
		t.Fatalf("after %s: looks empty", after)
	case m.state() != gluster.Local && !m.pointer:
		t.Fatalf("after %s: %s, and nothing tells its object", after, m.state())
	case m.state() == gluster.Downloading && !m.notes:
		t.Fatalf("after %s: half written without notes", after)
	}
}

// run recalls the file m until its step number at, which is half done: then the process
// is killed, or the step fails, with or without its effect, and so many steps are gone
// back.
func (m model) run(t *testing.T, size int64, at, portion int, effect, killed bool, back int) model {
	t.Helper()
	var p progress
	for i, step := range Plan(m.state(), m.bytes, m.marks.Downloading, m.keep, m.late()) {
		before, last := m, i == at
		if !last || effect || step == StepDownload {
			if step == StepCheck && (m.bytes != size || !m.right) {
				t.Fatalf("%d bytes are to be kept, %d were there", m.bytes, size)
			}
			m = apply(m, step, size, int64(portion)*size/256, !last)
			m.mustHold(t, string(step), size)
		}
		p = p.after(step, before, !last)
		if !last {
			continue
		}
		if killed {
			return m
		}
		steps := p.undo(m.keep, m.marks.Downloading)
		for _, step := range steps[:min(back, len(steps))] {
			m = revert(m, step)
			m.mustHold(t, "going back: "+string(step), size)
		}
		return m
	}
	return m
}

// FuzzPlan cuts recalls, and their ways back, anywhere, as often as you like. What must
// always hold does, and one recall that is not cut makes the file whole.
func FuzzPlan(f *testing.F) {
	f.Add([]byte{}, int64(1), false)
	for i := range byte(12) {
		f.Add([]byte{i}, int64(5000), false)
		f.Add([]byte{i, 0xff, 11 - i, 0xfe}, int64(5000), true)
		for back := range byte(8) {
			f.Add([]byte{i, back << 2, 11 - i, back<<2 | 1}, int64(5000), false)
		}
	}
	f.Fuzz(func(t *testing.T, cuts []byte, size int64, healed bool) {
		size = max(size&(1<<40-1), 1) // an empty file is never archived
		m := model{
			marks:   gluster.Marks{Remote: true, RemoteKey: "k", ObjectSize: true, BlockSize: true, NumBlocks: true},
			pointer: true,
		}
		if healed { // the data came back by itself
			m.bytes, m.right = size, true
		}
		for cut := range slices.Chunk(cuts, 2) {
			how := cut[len(cut)-1]
			m = m.run(t, size, int(cut[0]&15), int(cut[0]), how&1 == 1, how&2 == 2, int(how>>2))
		}
		m = m.run(t, size, -1, 0, false, false, 0) // the last one is whole
		if want := (model{bytes: size, right: true, pointer: true}); m != want {
			t.Fatalf("ended as %+v, want %+v", m, want)
		}
	})
}

// A recall of a stub that fails, wherever that is, and goes back leaves the stub as it
// was; unless the file has become local.
func TestARecallThatFailsLeavesTheStubAsItWas(t *testing.T) {
	const size = 5000
	stub := model{
		marks:   gluster.Marks{Remote: true, RemoteKey: "k", ObjectSize: true, BlockSize: true, NumBlocks: true},
		pointer: true,
	}
	healed := stub
	healed.bytes, healed.right = size, true
	for _, start := range []model{stub, healed} {
		for i, step := range Plan(start.state(), start.bytes, false, false, false) {
			if step == StepRelease {
				break
			}
			if got := start.run(t, size, i, 100, false, false, 100); got != start {
				t.Errorf("%s fails: %+v becomes %+v", step, start, got)
			}
		}
	}
}

func TestEveryPlanEndsByTidying(t *testing.T) {
	for _, state := range []gluster.State{gluster.Local, gluster.Remote, gluster.Repair, gluster.Downloading} {
		for _, downloading := range []bool{false, true} {
			for _, keep := range []bool{false, true} {
				plan := Plan(state, 1, downloading, keep, false)
				if len(plan) == 0 || plan[len(plan)-1] != StepTidy {
					t.Errorf("%s downloading=%v keep=%v: %v", state, downloading, keep, plan)
				}
				if i, j := slices.Index(plan, StepTruncate), slices.Index(plan, StepBarrier); i >= 0 && (j < 0 || i < j) {
					t.Errorf("%s downloading=%v keep=%v: truncates before the barrier: %v", state, downloading, keep, plan)
				}
				if slices.Contains(plan, StepTruncate) && slices.Contains(plan, StepCheck) {
					t.Errorf("%s downloading=%v keep=%v: %v", state, downloading, keep, plan)
				}
			}
		}
	}
}
