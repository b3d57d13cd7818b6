package safety

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/recall"
	"github.com/coldbrick/coldbrick/upload"
)

// job is a verb on a subject in some state.
type job struct {
	name    string
	size    int
	prepare func(*subject) error
	run     func(*subject)
	settles func(*subject) error // the plain re-run and what must hold after it
}

func jobs() []job {
	doArchive := func(s *subject) { s.archive(nil) }
	doRecall := func(s *subject) { s.recall(nil) }
	cut := func(make func(*subject) error, at recall.Step) func(*subject) error {
		return func(s *subject) error {
			if err := make(s); err != nil {
				return err
			}
			s.cutRecall(at)
			return nil
		}
	}
	stub := (*subject).archived
	nothing := func(*subject) error { return nil }
	left := func(s *subject) error { s.cutArchive(upload.StepRecord); return nil }
	return []job{
		{"archive", single, nothing, doArchive, (*subject).archiveSettles},
		{"archive what a dead run has left", single, left, doArchive, (*subject).archiveSettles},
		{"recall", single, stub, doRecall, (*subject).recallSettles},
		{"recall and enter", entered, stub, doRecall, (*subject).recallSettles},
		{"recall with bytes", single, withBytes, doRecall, (*subject).recallSettles},
		{"recall without proof", single, withoutProof, doRecall, (*subject).recallSettles},
		{"recall half written", single, cut(stub, recall.StepTimes), doRecall, (*subject).recallSettles},
		{"recall claimed without proof", single, cut(withoutProof, recall.StepRelease), doRecall, (*subject).recallSettles},
		{"recall local but untidy", single, cut(stub, recall.StepTidy), doRecall, (*subject).recallSettles},
	}
}

// way is a manner in which a system call goes wrong.
type way struct {
	name   string
	effect bool // it is done, and the answer lost
	after  bool // and from then on the volume is out of reach: nothing can be undone
	errno  unix.Errno
}

var (
	changeWays = []way{
		{"refused", false, false, unix.EIO},
		{"answer lost", true, false, unix.ENOTCONN},
		{"cut before", false, true, unix.ENOTCONN},
		{"cut after", true, true, unix.ENOTCONN},
	}
	readWays = []way{{"unanswered", false, false, unix.EIO}}

	// While a rebalance moves a file, DHT changes it on both bricks and answers
	// for the second one, where the change may have been made already.
	movingWays = map[int]way{
		unix.SYS_FREMOVEXATTR: {"done, and said to be absent", true, false, unix.ENODATA},
		unix.SYS_FSETXATTR:    {"done, and said to be there", true, false, unix.EEXIST},
	}
)

// mayBeMoving reports whether the answer of movingWays is one to the call.
func mayBeMoving(c call) bool {
	return c.number == unix.SYS_FREMOVEXATTR || c.number == unix.SYS_FSETXATTR && c.args[4] == unix.XATTR_CREATE
}

// TestNoSystemCallThatGoesWrongLosesData takes each system call by which archive
// and recall look at a file or change it, makes it fail with or without effect,
// and does or does not let anything else succeed afterwards. It knows nothing of
// steps, so nothing between them can be forgotten.
func TestNoSystemCallThatGoesWrongLosesData(t *testing.T) {
	t.Parallel()
	p := newProving(t)
	// A close that went wrong has closed nothing.
	t.Cleanup(func() { closeBelow(t, p.Files.Dir(), p.Stamping.Dir(), p.BrickDir()) })
	var cells []cell
	var alone sync.RWMutex
	for _, j := range jobs() {
		calls, err := callsOf(p, j)
		check(t, err)
		if !slices.ContainsFunc(calls, func(c call) bool { return changes[c.number] != "" }) {
			t.Fatalf("%s: no change was seen", j.name)
		}
		nth := map[string]int{}
		for _, c := range calls {
			nth[c.String()]++
			at := nth[c.String()]
			ways := readWays
			if changes[c.number] != "" {
				ways = changeWays
			}
			if mayBeMoving(c) {
				ways = append(slices.Clone(ways), movingWays[c.number])
			}
			for _, w := range ways {
				cells = append(cells, cell{
					j.name + ": " + c.String(), w.name, fmt.Sprintf("number %d", at),
					func() error { return systemCallCell(p, &alone, j, c, at, w) },
				})
			}
		}
	}
	runCells(t, "system call × way to fail", atOnce, cells)
}

// callsOf lists the calls of a job that goes well: the shortest of five lists, since how
// often it looks at a brick that is not ready yet depends on how busy the host is.
func callsOf(p *proving, j job) (least []call, err error) {
	for range 5 {
		calls, err := callsOnce(p, j)
		if err != nil {
			return nil, err
		}
		if least == nil || len(calls) < len(least) {
			least = calls
		}
	}
	return least, nil
}

func callsOnce(p *proving, j job) ([]call, error) {
	s, err := j.subject(p)
	if err != nil {
		return nil, err
	}
	var calls []call
	err = interpose(func() { j.run(s) }, func(c call) verdict {
		calls = append(calls, c)
		return verdict{effect: true}
	})
	if err != nil {
		return nil, err
	}
	return calls, j.settles(s)
}

func (j job) subject(p *proving) (*subject, error) {
	s, err := p.subject(j.size)
	if err == nil {
		err = j.prepare(s)
	}
	if err != nil {
		return nil, fmt.Errorf("prepare %s: %w", j.name, err)
	}
	return s, nil
}

// systemCallCell makes the nth call of a kind go wrong. It is counted by kind
// since how often the brick is looked at depends on what it says. Cells that run
// at once share their looks at the bricks, so one whose call was not made is
// tried again alone, as it was when the calls were listed.
func systemCallCell(p *proving, alone *sync.RWMutex, j job, want call, nth int, w way) error {
	alone.RLock()
	err := trySystemCall(p, j, want, nth, w)
	alone.RUnlock()
	for range 20 {
		if !errors.Is(err, errTooFew) {
			break
		}
		alone.Lock()
		err = trySystemCall(p, j, want, nth, w)
		alone.Unlock()
	}
	return err
}

var errTooFew = errors.New("so many calls were never made")

func trySystemCall(p *proving, j job, want call, nth int, w way) error {
	s, err := j.subject(p)
	if err != nil {
		return err
	}
	var seen error
	met, done, looked := 0, false, false
	err = interpose(func() { j.run(s) }, func(c call) verdict {
		if c.number == want.number {
			met++
		}
		switch {
		case !done && met < nth:
			return verdict{effect: true}
		case !done:
			done = true
			return verdict{w.effect, w.errno}
		case !looked:
			looked = true
			seen = s.neverWrong()
		}
		if w.after {
			return verdict{errno: w.errno}
		}
		return verdict{effect: true}
	})
	switch {
	case err != nil:
		return err
	case seen != nil:
		return fmt.Errorf("right after the fault: %w", seen)
	case !done:
		return errTooFew
	}
	return j.settles(s)
}

// closeBelow ends what this process has open below the directories. The numbers
// stay taken, by nothing: those that have an owner are closed once more, and
// must not be another test's by then.
func closeBelow(t *testing.T, dirs ...string) {
	t.Helper()
	nothing, err := os.Open(os.DevNull)
	check(t, err)
	defer nothing.Close()
	list, err := os.ReadDir("/proc/self/fd")
	check(t, err)
	for _, e := range list {
		name, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err != nil || !slices.ContainsFunc(dirs, func(d string) bool { return strings.HasPrefix(name, d+"/") }) {
			continue
		}
		fd, err := strconv.Atoi(e.Name())
		check(t, err)
		check(t, unix.Dup3(int(nothing.Fd()), fd, unix.O_CLOEXEC))
	}
}
