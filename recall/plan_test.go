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
		m.notes, m.pointer, m.keep = false, false, false
	}
	return m
}

// FuzzPlan cuts a recall anywhere, as often as you like. The file is never local
// with bytes missing, and never looks shorter than it is; while it is not local
// it knows its object; and one recall that is not cut makes it whole.
func FuzzPlan(f *testing.F) {
	f.Add([]byte{}, int64(1), false)
	for i := range byte(12) {
		f.Add([]byte{i}, int64(5000), false)
		f.Add([]byte{i, 11 - i}, int64(5000), true)
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
		for _, cut := range append(slices.Clone(cuts), 255) { // the last run is whole
			for i, step := range Plan(m.state(), m.bytes, m.marks.Downloading, m.keep, m.late()) {
				last := i == int(cut) // it is cut within this step
				if last && step != StepDownload {
					break
				}
				if step == StepCheck && (m.bytes != size || !m.right) {
					t.Fatalf("%d bytes are to be kept, %d were there", m.bytes, size)
				}
				m = apply(m, step, size, int64(cut)*size/256, !last)
				switch {
				case m.state() == gluster.Local && (m.bytes != size || !m.right):
					t.Fatalf("after %s: local with %d of %d bytes, right: %v", step, m.bytes, size, m.right)
				case m.visible(size) < size && m.state() != gluster.Local && m.bytes == 0:
					t.Fatalf("after %s: looks empty", step)
				case m.state() != gluster.Local && !m.pointer:
					t.Fatalf("after %s: %s, and nothing tells its object", step, m.state())
				case m.state() == gluster.Downloading && !m.notes:
					t.Fatalf("after %s: half written without notes", step)
				}
				if last {
					break
				}
			}
		}
		if want := (model{bytes: size, right: true}); m != want {
			t.Fatalf("ended as %+v, want %+v", m, want)
		}
	})
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
