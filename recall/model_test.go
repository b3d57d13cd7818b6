package recall

import (
	"testing"

	"github.com/coldbrick/coldbrick/internal/gluster"
)

// world is a file on a brick that several recalls and a user work on.
type world struct {
	model
	holder *actor // of the lock
	user   int64  // bytes that a user has written to the local file
	lost   bool   // one of them is gone
}

// actor is one recall. It may stand still before or within each of its steps, for
// any time.
type actor struct {
	plan   []Step     // nil: it has not begun
	looked bool       // at the lock, for the next step
	undo   []undoStep // of it, once a step has failed
	progress
	cut bool // its connection was: the brick has dropped its lock, and its descriptor is dead
}

const dataSize = 100

// data is an effect that goes by the descriptor.
func (w *world) data(a *actor, step Step, written int64) (done bool) {
	if a.cut {
		return false
	}
	w.lost = w.lost || w.user > 0
	w.model = apply(w.model, step, dataSize, written, written == dataSize)
	return true
}

// proceed is the next thing that a does. failed says that the step fails otherwise.
func (w *world) proceed(a *actor, failed bool) {
	if a.plan == nil {
		m := w.model
		clean := m.state() == gluster.Local && !m.marks.ObjectSize && !m.notes
		if a.cut || w.holder != nil || clean {
			return
		}
		w.holder = a
		keep := m.keep
		if !m.notes || m.state() == gluster.Repair && !m.marks.Downloading {
			keep = m.state() == gluster.Repair && !m.marks.Downloading || m.state() == gluster.Downloading
		}
		a.plan = Plan(m.state(), m.bytes, m.marks.Downloading, keep, m.late())
		return
	}
	if len(a.plan) == 0 && len(a.undo) == 0 {
		w.end(a)
		return
	}
	if !a.looked {
		if a.cut {
			w.end(a) // nor does it roll back
			return
		}
		a.looked = true
		return
	}
	a.looked = false
	if len(a.undo) > 0 {
		w.goBack(a)
		return
	}
	step := a.plan[0]
	a.plan = a.plan[1:]
	a.progress = a.after(step, w.model, !failed)
	switch {
	case step == StepTruncate && !failed: // sizes are attributes, and come first
		w.marks.ObjectSize, w.marks.BlockSize, w.marks.NumBlocks = true, true, true
		if !w.data(a, step, 0) {
			w.end(a)
			return
		}
	case step == StepDownload:
		written := int64(dataSize)
		if failed {
			written = dataSize / 2
		}
		if !w.data(a, step, written) {
			w.end(a)
			return
		}
	case step == StepCheck && (a.cut || !w.right):
		failed = true // broken: for a person
	case !failed:
		w.model = apply(w.model, step, dataSize, 0, true)
	}
	if failed {
		a.plan, a.undo = []Step{}, a.progress.undo(w.keep, w.marks.Downloading)
	}
}

// goBack is the next step back that a does.
func (w *world) goBack(a *actor) {
	step := a.undo[0]
	a.undo = a.undo[1:]
	if step == undoEmpty { // sizes are attributes, and come first
		w.model = revert(w.model, undoSizes)
		if !w.data(a, StepTruncate, 0) {
			w.end(a)
		}
		return
	}
	w.model = revert(w.model, step)
}

func (w *world) end(a *actor) {
	if w.holder == a {
		w.holder = nil
	}
	*a = actor{cut: a.cut}
}

// FuzzRecallsAndAUser interleaves two recalls that stand still and lose their
// connections at any instant, also between a look at the lock and the attribute
// that is then changed, with a user who writes whenever the file is local. No byte
// of the user is ever lost, and the file ends local or, where a mark came late,
// for a person to look at.
func FuzzRecallsAndAUser(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 0, 0, 4, 1, 1, 1, 1, 1, 1, 1, 1})
	f.Add([]byte{0, 0, 0, 0, 4, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 6, 0, 0, 0, 0, 0, 0, 6, 1, 1, 1})
	f.Fuzz(func(t *testing.T, events []byte) {
		w := &world{model: model{
			marks:   gluster.Marks{Remote: true, RemoteKey: "k", ObjectSize: true, BlockSize: true, NumBlocks: true},
			pointer: true,
		}}
		actors := []*actor{{}, {}}
		late := false // something was changed after its lock was lost
		for _, e := range events {
			a := actors[e&1]
			switch e >> 1 % 4 {
			case 0, 1:
				// A recall that is cut right before it removes downloading may show a
				// file that another has half written: said in recall.go.
				if a.cut && a.looked && (len(a.plan) > 0 && a.plan[0] == StepRelease || len(a.undo) > 0 && a.undo[0] == undoMark) {
					continue
				}
				failed := e>>1%4 == 1
				late = late || a.cut && (a.looked || failed)
				w.proceed(a, failed)
			case 2:
				a.cut = true
				if w.holder == a {
					w.holder = nil
				}
			case 3:
				if w.state() == gluster.Local && !w.marks.ObjectSize {
					w.user++
					w.bytes, w.right = w.bytes+1, false
				}
			}
			if w.lost {
				t.Fatal("a byte that a user wrote is lost")
			}
			if w.state() == gluster.Local && !late && w.user == 0 && !w.right {
				t.Fatalf("local with other bytes: %+v", w.model)
			}
		}
		for _, a := range actors { // both end; a third one does what is left
			a.cut = true
			w.end(a)
		}
		w.holder = nil
		last := &actor{}
		for range 64 {
			w.proceed(last, false)
		}
		if w.lost {
			t.Fatal("a byte that a user wrote is lost at the end")
		}
		if !late && (w.state() != gluster.Local || !w.right && w.user == 0 || w.notes) {
			t.Fatalf("ends as %+v", w.model)
		}
	})
}
