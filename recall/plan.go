package recall

import (
	"slices"

	"github.com/coldbrick/coldbrick/internal/gluster"
)

// Step is one step of a recall.
type Step string

// The steps in their order.
const (
	StepNote     Step = "note"     // key, size and times of the stub are kept on the file; one recall owns it
	StepMark     Step = "mark"     // set downloading: readers get EIO from here on
	StepClaim    Step = "claim"    // remove remote: only one can; readers get EREMOTE from here on
	StepBarrier  Step = "barrier"  // wait for clients that had found the file remote before the claim
	StepTruncate Step = "truncate" // nothing of a previous, half written copy is left
	StepDownload Step = "download" // all bytes, size and checksum proven, on disk
	StepCheck    Step = "check"    // in place of both: the bytes that are there are the object's
	StepTimes    Step = "times"    // mtime and atime are the stub's
	StepSizes    Step = "sizes"    // the attributes that override the visible size are gone
	StepRelease  Step = "release"  // remove downloading: the file is local
	StepTidy     Step = "tidy"     // a last look; then the pointer is spent and the notes are gone
)

// fenced says that a step changes nothing but bytes, which need the descriptor that has
// the lock, or nothing at all.
func (s Step) fenced() bool { return s == StepBarrier || s == StepDownload }

// doing says in an error what was tried.
var doing = map[Step]string{
	StepNote: "noting on it what ends the recall", StepMark: "marking it as half written", StepClaim: "claiming it for this recall",
	StepBarrier: "waiting for other clients", StepTruncate: "emptying it", StepDownload: "downloading it",
	StepCheck: "comparing it with its object", StepTimes: "setting its times", StepSizes: "removing the size of the stub",
	StepRelease: "making it local", StepTidy: "removing the notes of the recall",
}

// Plan lists the steps that make a file local. Any prefix of them may have run
// before: the plan for the state in which that leaves the file ends the same.
//
// bytes is the size on the brick. keep says that the notes of a previous run on a
// half written file tell to keep its bytes. late says that there are bytes and no
// attribute of a size, which go only once all bytes are proven: all that is left is
// the mark. It may be that of a recall that had lost its lock when it set it, and
// users may have written to the file by then. (Bytes that are to be kept were there
// before the sizes went.)
func Plan(s gluster.State, bytes int64, downloading, keep, late bool) []Step {
	if s == gluster.Downloading && late {
		return []Step{StepNote, StepRelease, StepTidy}
	}
	switch s {
	case gluster.Remote:
		return []Step{StepNote, StepMark, StepClaim, StepBarrier, StepTruncate, StepDownload, StepTimes, StepSizes, StepRelease, StepTidy}
	case gluster.Repair:
		if !downloading {
			// Nobody was downloading, so these bytes came another way: a
			// self-heal has brought the data back, or somebody wrote into
			// the stub past cloudsync. They are never truncated.
			return []Step{StepNote, StepMark, StepClaim, StepBarrier, StepCheck, StepTimes, StepSizes, StepRelease, StepTidy}
		}
		if keep {
			return []Step{StepNote, StepClaim, StepBarrier, StepCheck, StepTimes, StepSizes, StepRelease, StepTidy}
		}
		return []Step{StepNote, StepClaim, StepBarrier, StepTruncate, StepDownload, StepTimes, StepSizes, StepRelease, StepTidy}
	case gluster.Downloading:
		if keep {
			return []Step{StepNote, StepBarrier, StepCheck, StepTimes, StepSizes, StepRelease, StepTidy}
		}
		return []Step{StepNote, StepBarrier, StepTruncate, StepDownload, StepTimes, StepSizes, StepRelease, StepTidy}
	}
	return []Step{StepNote, StepSizes, StepTidy}
}

// Steps lists the steps of all plans, for tests that stop at each.
func Steps() []Step {
	var all []Step
	for _, state := range []gluster.State{gluster.Remote, gluster.Repair, gluster.Downloading, gluster.Local} {
		for _, downloading := range []bool{false, true} {
			for _, keep := range []bool{false, true} {
				for _, step := range Plan(state, 0, downloading, keep, false) {
					if !slices.Contains(all, step) {
						all = append(all, step)
					}
				}
			}
		}
	}
	return all
}
