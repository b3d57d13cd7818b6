package recall

// undoStep is one step of the way back to a stub.
type undoStep string

const (
	undoEmpty undoStep = "empty" // what was written is gone; the sizes come back before
	undoTimes undoStep = "times" // emptying has changed them
	undoSizes undoStep = "sizes" // the file looks as long as its data is
	undoClaim undoStep = "claim" // set remote: the file is a stub once downloading goes
	undoMark  undoStep = "mark"  // remove downloading
	undoNotes undoStep = "notes" // nothing is left of this recall
)

// progress is how far a recall of a file has come.
type progress struct {
	owned   bool // the notes on the file are ours
	marked  bool // downloading was set by us
	claimed bool // remote may be gone by our doing, the file belongs to this run
	touched bool // the barrier is passed: content may have been changed by us
	local   bool // downloading may be removed: nothing can be taken back
}

// undo lists the steps that make the file a stub again, in their order. Any prefix of
// them may be all that comes to pass: the notes go last, and tell the next recall to do
// the rest. They stay as well while a client's recall, or what a dead run has left, is
// still there. keep says that the bytes are not to be replaced. downloading says that
// the mark is there: it is another's, or ours if the answer was lost.
func (p progress) undo(keep, downloading bool) []undoStep {
	switch {
	case !p.owned || p.local:
		return nil
	case !p.claimed && p.marked:
		return []undoStep{undoMark, undoNotes}
	case !p.claimed && downloading:
		return nil
	case !p.claimed:
		return []undoStep{undoNotes}
	}
	var steps []undoStep
	if p.touched && !keep {
		steps = append(steps, undoEmpty, undoTimes)
	}
	// Readers are kept off by downloading until the stub is complete.
	steps = append(steps, undoSizes, undoClaim)
	if p.touched || p.marked { // else the mark is another's, who may still be writing
		steps = append(steps, undoMark, undoNotes)
	}
	return steps
}
