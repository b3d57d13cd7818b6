package run

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coldbrick/coldbrick/crawl"
	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/record"
	"github.com/coldbrick/coldbrick/internal/report"
	"github.com/coldbrick/coldbrick/internal/testkit"
	"github.com/coldbrick/coldbrick/internal/volume"
)

// listener is a UI that remembers.
type listener struct {
	mu      sync.Mutex
	records []report.Record
	err     error  // of Print: nobody reads any more
	told    func() // if given, is called for each file
}

func (l *listener) Print(r report.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records = append(l.records, r)
	if _, ok := r.(report.File); ok && l.told != nil {
		l.told()
	}
	return l.err
}

func (*listener) Say(string)                   {}
func (*listener) Doing(string)                 {}
func (*listener) Retrying(string, error)       {}
func (*listener) ShowBar(string, Unit, *Gauge) {}
func (*listener) HideBar()                     {}

// outcomes tells what became of the files, by path.
func (l *listener) outcomes() map[string]outcome.Outcome {
	of := map[string]outcome.Outcome{}
	for _, r := range l.records {
		if f, ok := r.(report.File); ok {
			of[f.Path] = f.Outcome
		}
	}
	return of
}

// summary is the last record.
func (l *listener) summary(t *testing.T) report.Summary {
	t.Helper()
	if len(l.records) > 0 {
		if s, ok := l.records[len(l.records)-1].(report.Summary); ok {
			return s
		}
	}
	t.Fatalf("no summary at the end of %+v", l.records)
	return report.Summary{}
}

// sessionOn is a run on a volume, with its objects in a directory.
func sessionOn(t *testing.T, v *testkit.Volume, store, state string) (*Session, *listener) {
	l := &listener{}
	return &Session{
		Settings: Settings{
			Mount: v.MountDir(), Wanted: crawl.Policy{MinSize: 1}, Crawlers: 2, Jobs: 2, StateDir: state,
			Store: StoreSettings{Name: "dir", Options: map[string]string{"store-dir": store, "part-size": "8388608", "jobs": "2"}},
		},
		Target: TargetOf("", func() (string, error) { return v.MountDir(), nil }),
		UI:     l, Log: slog.New(slog.DiscardHandler), Stop: NewStopper(t.Context(), nil, nil), Started: time.Now(),
		ExitCode: func(error) int { return 0 }, Stdout: io.Discard,
	}, l
}

func pathsOf(paths ...string) *Paths {
	return NewPaths(iter.Seq2[string, error](func(yield func(string, error) bool) {
		for _, p := range paths {
			if !yield(p, nil) {
				return
			}
		}
	}))
}

// A file's whole way, there and back, without a command line.
func TestARunNeedsNoCommandLine(t *testing.T) {
	v, store, state := testkit.NewVolume(t), t.TempDir(), t.TempDir()
	v.Write("f", []byte("data"), testkit.Old)

	s, l := sessionOn(t, v, store, state)
	if err := Archive(t.Context(), s, []string{v.BrickDir()}); err != nil {
		t.Fatal(err)
	}
	if got := l.outcomes()["f"]; got != outcome.Archived || v.BrickSize("f") != 0 {
		t.Fatalf("the file is %q, with %d bytes on the brick", got, v.BrickSize("f"))
	}
	if sum := l.summary(t); sum.Outcome != string(EndDone) || sum.Of(outcome.Archived).Files != 1 {
		t.Errorf("summary: %+v", sum)
	}

	s, l = sessionOn(t, v, store, state)
	if err := Fsck(t.Context(), s, []string{v.BrickDir()}); err != nil {
		t.Errorf("fsck: %v, %+v", err, l.records)
	}

	s, l = sessionOn(t, v, store, state)
	paths := pathsOf(v.Path("f"))
	defer paths.Close()
	if err := Recall(t.Context(), s, paths); err != nil || l.outcomes()["f"] != outcome.Recalled {
		t.Fatalf("recall: %v, %+v", err, l.records)
	}
	if got, err := os.ReadFile(v.Path("f")); err != nil || string(got) != "data" {
		t.Errorf("after the recall: %q, %v", got, err)
	}
}

// A run that is told to stop before it has begun, or whose records nobody reads,
// ends by itself, and what it did until then is whole.
func TestARunThatIsStoppedLeavesNothingHalfDone(t *testing.T) {
	v, store := testkit.NewVolume(t), t.TempDir()
	for _, name := range []string{"a", "b", "c"} {
		v.Write(name, []byte("data"), testkit.Old)
	}
	for name, tt := range map[string]struct {
		prepare func(*Session, *listener)
		want    End
	}{
		"told before": {func(s *Session, _ *listener) { s.Stop.Drain(SignalError{os.Interrupt}) }, EndInterrupted},
		"not read":    {func(_ *Session, l *listener) { l.err = syscall.EPIPE }, EndClosed},
	} {
		t.Run(name, func(t *testing.T) {
			s, l := sessionOn(t, v, store, t.TempDir())
			tt.prepare(s, l)
			err := Archive(t.Context(), s, []string{v.BrickDir()})
			if EndOf(err) != tt.want {
				t.Errorf("the run ended %s: %v", EndOf(err), err)
			}
			for _, file := range []string{"a", "b", "c"} {
				size := v.BrickSize(file)
				if state := v.BrickMarks(file).State(size); state != gluster.Local && state != gluster.Remote {
					t.Errorf("%s is %s, with %d bytes on the brick", file, state, size)
				}
			}
			if left, err := os.ReadDir("/proc/self/fd"); err != nil || slices.ContainsFunc(left, func(e os.DirEntry) bool {
				at, err := os.Readlink("/proc/self/fd/" + e.Name())
				return err == nil && len(at) > len(s.StateDir) && at[:len(s.StateDir)] == s.StateDir
			}) {
				t.Errorf("a lock or a record is still open: %v", err)
			}
		})
	}
}

// The last file is in work, and nothing is left to begin: what has come to light about the
// volume by then must be told, while a limit was not reached.
func TestTroubleIsToldThoughNothingIsLeftToBegin(t *testing.T) {
	v, store, state := testkit.NewVolume(t), t.TempDir(), t.TempDir()
	v.Write("f", []byte("data"), testkit.Old)
	for cause, want := range map[error]End{volume.ErrGraphChanged: EndUnsafe, ErrMaxTime: EndDone} {
		s, l := sessionOn(t, v, store, state)
		l.told = func() { s.Stop.Drain(cause) }
		if err := Archive(t.Context(), s, []string{v.BrickDir()}); EndOf(err) != want || l.outcomes()["f"] != outcome.Archived {
			t.Errorf("%v: archive ended %s: %v, %+v", cause, EndOf(err), err, l.records)
		}
		s, l = sessionOn(t, v, store, state)
		l.told = func() { s.Stop.Drain(cause) }
		if err := Fsck(t.Context(), s, []string{v.BrickDir()}); EndOf(err) != EndDone {
			t.Errorf("%v: fsck ended %s: %v", cause, EndOf(err), err)
		}
		s, l = sessionOn(t, v, store, state)
		l.told = func() { s.Stop.Drain(cause) }
		paths := pathsOf(v.Path("f"))
		defer paths.Close()
		if err := Recall(t.Context(), s, paths); EndOf(err) != want || l.outcomes()["f"] != outcome.Recalled {
			t.Errorf("%v: recall ended %s: %v, %+v", cause, EndOf(err), err, l.records)
		}
	}
}

// A brick may be named with a slash behind it, through a symlink, or by where one stands:
// what a dead run has left there is cleared away all the same, and what one has left on
// another brick is not.
func TestABrickIsTheSameByAnyName(t *testing.T) {
	v, state := testkit.NewVolume(t), t.TempDir()
	v.Write("f", []byte("data"), testkit.Old)
	link := t.TempDir() + "/link"
	if err := os.Symlink(v.BrickDir(), link); err != nil {
		t.Fatal(err)
	}
	t.Chdir(filepath.Dir(v.BrickDir()))
	relative := filepath.Base(v.BrickDir())
	here, elsewhere := v.GFID("f"), gluster.GFID{15: 7}
	leave := func(brick string, gfid gluster.GFID) {
		t.Helper()
		dead, err := newOwner()
		if err != nil {
			t.Fatal(err)
		}
		dead.Start++ // no living process
		log, err := record.Create(filepath.Join(state, "runs"), dead, brick)
		if err == nil {
			err = log.Append(record.Entry{Phase: record.Proven, Path: []byte("f"), GFID: &gfid, Key: "f", Attempt: "a"})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	leave(v.BrickDir(), here)
	leave(v.BrickDir()+"/", here)
	leave(link, here)
	leave(relative, here)
	leave(relative, elsewhere) // of a brick that had this name from another directory

	s, l := sessionOn(t, v, t.TempDir(), state)
	if err := Archive(t.Context(), s, []string{relative + "/"}); err != nil {
		t.Fatalf("%v: %+v", err, l.records)
	}
	self, err := newOwner()
	if err != nil {
		t.Fatal(err)
	}
	left, err := record.Open(filepath.Join(state, "runs"), self)
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range left {
		switch {
		case len(u.Proven) == 0 && u.Brick != v.BrickDir():
			t.Errorf("this run has noted its brick as %s", u.Brick)
		case len(u.Proven) > 0 && *u.Proven[0].GFID == here:
			t.Errorf("what was left on %s is still there", u.Brick)
		}
	}
	if len(left) != 2 { // that of this run, and the other brick's
		t.Errorf("unsettled: %+v", left)
	}

	brick, err := openBrick(relative)
	if err != nil {
		t.Fatal(err)
	}
	defer brick.Close()
	t.Chdir(t.TempDir())
	if room, err := newFreeGoal(brick, s.UntilFree, false).space(); err != nil || room.size == 0 {
		t.Errorf("the room of the brick, asked for from another directory: %+v, %v", room, err)
	}
}

// Where two things went wrong, the graver one decides; a limit that the user set
// does not hide that a file failed.
func TestTheGraverErrorDecidesHowARunEnded(t *testing.T) {
	for _, tt := range []struct {
		err    error
		failed int64
		want   End
	}{
		{nil, 0, EndDone},
		{nil, 1, EndPartial},
		{ErrMaxFiles, 0, EndBudget},
		{ErrMaxTime, 1, EndPartial},
		{errors.Join(ErrProblems, ErrAtRisk), 1, EndAtRisk},
		{errors.Join(ErrUnsafe, ErrMaxFiles), 0, EndUnsafe},
		{errors.Join(ErrUnsafe, SignalError{os.Interrupt}), 0, EndInterrupted},
	} {
		if got := EndOf(verdict(tt.err, tt.failed)); got != tt.want {
			t.Errorf("%v with %d files failed: %s, want %s", tt.err, tt.failed, got, tt.want)
		}
	}
}

// On XFS the owner of a file can give it more attributes than Linux lists. That costs the
// file, and nobody else's.
func TestMoreAttributesThanLinuxListsCostTheirFileAlone(t *testing.T) {
	v, store, state := testkit.NewVolume(t, testkit.BrickOn("xfs")), t.TempDir(), t.TempDir()
	crowd := func(name string) {
		for i := range 280 {
			testkit.SetXattr(t, v.BrickPath(name), fmt.Sprintf("user.%0240d", i), "")
		}
	}
	for _, name := range []string{"cold", "one", "stub"} {
		v.Write(name, []byte("data"), testkit.Old)
	}
	crowd("cold")
	told := func(command string, l *listener, want map[string]outcome.Outcome) {
		t.Helper()
		got := l.outcomes()
		for name, of := range want {
			if got[name] != of {
				t.Errorf("%s: %s is %q, want %q: %+v", command, name, got[name], of, l.records)
			}
		}
	}
	s, l := sessionOn(t, v, store, state)
	if err := Archive(t.Context(), s, []string{v.BrickDir()}); EndOf(err) != EndPartial {
		t.Errorf("archive: %v", err)
	}
	told("archive", l, map[string]outcome.Outcome{"cold": outcome.Failed, "one": outcome.Archived, "stub": outcome.Archived})
	crowd("stub")
	s, l = sessionOn(t, v, store, state)
	if err := Fsck(t.Context(), s, []string{v.BrickDir()}); EndOf(err) != EndPartial {
		t.Errorf("fsck: %v", err)
	}
	told("fsck", l, map[string]outcome.Outcome{"cold": outcome.Failed, "stub": outcome.Failed})
	s, l = sessionOn(t, v, store, state)
	paths := pathsOf(v.Path("stub"), v.Path("one"))
	defer paths.Close()
	if err := Recall(t.Context(), s, paths); EndOf(err) != EndPartial {
		t.Errorf("recall: %v", err)
	}
	told("recall", l, map[string]outcome.Outcome{"stub": outcome.Failed, "one": outcome.Recalled})
}
