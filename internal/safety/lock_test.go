package safety

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/testkit"
	"github.com/coldbrick/coldbrick/recall"
)

// stopped is a process that stopped itself before a step of a recall or an archive.
type stopped struct {
	*exec.Cmd
	out strings.Builder
}

func (s *subject) stop(t *testing.T, o order) *stopped {
	t.Helper()
	o.Stop = true
	cmd, err := s.victim(t.Context(), o)
	check(t, err)
	p := &stopped{Cmd: cmd}
	cmd.Stderr = &p.out
	check(t, cmd.Start())
	var status unix.WaitStatus
	_, err = unix.Wait4(cmd.Process.Pid, &status, unix.WUNTRACED, nil)
	check(t, err)
	if !status.Stopped() {
		t.Fatalf("the victim did not stop: %v", &p.out)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() }) // an error: it has ended
	return p
}

// goOn continues the process and waits for its end, which tells what it made of it.
func (p *stopped) goOn(t *testing.T) string {
	t.Helper()
	check(t, p.Process.Signal(syscall.SIGCONT))
	if err := p.Wait(); err == nil {
		t.Fatal("the victim did not say what came of it")
	}
	return p.out.String()
}

// killClients kills the clients of its private mounts.
func (p *stopped) killClients(t *testing.T) {
	t.Helper()
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", p.Process.Pid))
	check(t, err)
	killed := 0
	for _, list := range lists {
		text, err := os.ReadFile(list)
		check(t, err)
		for child := range strings.FieldsSeq(string(text)) {
			pid, err := strconv.Atoi(child)
			check(t, err)
			check(t, unix.Kill(pid, unix.SIGKILL))
			killed++
		}
	}
	if killed != 2 {
		t.Fatalf("%d clients were killed", killed)
	}
}

// restartBrick cuts all connections, and waits for those that are ours.
func (p *proving) restartBrick() {
	p.t.Helper()
	p.StopBrick()
	p.StartBrick()
	for _, dir := range []string{p.MountDir(), p.Reader, p.Files.Dir(), p.Stamping.Dir()} {
		p.WaitConnected(dir)
	}
}

// append is what a user does once the file is local.
func (s *subject) append(more string) error {
	f, err := os.OpenFile(s.Path(s.path), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(more)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	s.data = append(bytes.Clone(s.data), more...)
	s.sum = sha256.Sum256(s.data)
	return nil
}

// inWork are the steps before which a recall holds the lock and the file is not
// local yet.
var inWork = []recall.Step{
	recall.StepMark, recall.StepClaim, recall.StepBarrier, recall.StepTruncate,
	recall.StepDownload, recall.StepTimes, recall.StepSizes, recall.StepRelease,
}

func TestAStoppedRecallIsAliveAndAKilledOneIsNot(t *testing.T) {
	t.Parallel()
	p := newProving(t)
	for _, step := range inWork {
		s, err := p.subject(single)
		check(t, err)
		check(t, s.archived())
		victim := s.stop(t, order{Recall: step})
		if res := s.livingRecall(nil); res.Reason != outcome.InProgress {
			t.Errorf("before %s: beside a stopped recall: %s %s: %v", step, res.Outcome, res.Reason, res.Err)
		}
		e, err := s.recaller().Examine(t.Context(), s.path, s.gfid, recall.Head)
		check(t, err)
		for _, f := range e.Findings {
			t.Errorf("before %s: found beside a stopped recall: %s", step, f.Class)
		}
		check(t, s.neverWrong())
		check(t, victim.Process.Kill())
		_ = victim.Wait() // says that it was killed
		check(t, s.unlocked())
		if res := s.livingRecall(nil); res.Outcome != outcome.Recalled {
			t.Errorf("before %s: after its end: %s %s: %v", step, res.Outcome, res.Reason, res.Err)
		}
		check(t, s.whole())
	}
}

// TestAStoppedRecallThatLostItsLockChangesNothing cuts the connection of a recall
// that is stopped, by the end of its clients or that of the brick. Another recall
// takes over, a user writes, and then the first one goes on.
func TestAStoppedRecallThatLostItsLockChangesNothing(t *testing.T) {
	t.Parallel()
	for name, cut := range map[string]func(*testing.T, *proving, *stopped){
		"clients killed":  func(t *testing.T, _ *proving, v *stopped) { v.killClients(t) },
		"brick restarted": func(_ *testing.T, p *proving, _ *stopped) { p.restartBrick() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProving(t)
			for _, step := range inWork {
				s, err := p.subject(single)
				check(t, err)
				check(t, s.archived())
				victim := s.stop(t, order{Recall: step})
				cut(t, p, victim)
				check(t, s.unlocked())
				if res := s.livingRecall(nil); res.Outcome != outcome.Recalled {
					t.Fatalf("before %s: take over: %s %s: %v", step, res.Outcome, res.Reason, res.Err)
				}
				check(t, s.append("written by a user since"))
				said := victim.goOn(t)
				if err := s.read(); err != nil {
					t.Errorf("before %s: %v\nthe stopped recall said: %.300s", step, err, said)
				}
				if names, err := xattrNames(s.BrickPath(s.path)); err != nil || strings.Contains(strings.Join(names, " "), "trusted.glusterfs.cs.") {
					t.Errorf("before %s: the file has %q, %v", step, names, err)
				}
			}
		})
	}
}

// TestNeitherMachineIDNorClockTellsWhoIsDead takes hosts that were cloned from one
// image, and one whose clock is ahead.
func TestNeitherMachineIDNorClockTellsWhoIsDead(t *testing.T) {
	t.Parallel()
	p := newProving(t)
	s, err := p.subject(single)
	check(t, err)
	check(t, s.archived())
	res := s.livingRecall(func(r *recall.Recaller) {
		r.At = func(step recall.Step, _ string) error {
			if step != recall.StepTimes {
				return nil
			}
			other := s.livingRecall(func(r *recall.Recaller) { r.Owner.Boot = "of a clone" })
			if other.Reason != outcome.InProgress {
				return fmt.Errorf("a clone: %s %s: %w", other.Outcome, other.Reason, other.Err)
			}
			return nil
		}
	})
	if res.Outcome != outcome.Recalled {
		t.Fatalf("%s %s: %v", res.Outcome, res.Reason, res.Err)
	}
	check(t, s.whole())
}

// notes1 are the notes of a version that knew no lock.
func (s *subject) notes1(boot string, pid int) string {
	return fmt.Sprintf(`{"v":1,"gfid":"%s","key":"%s","size":%d,"mtime":"%s","atime":"%s","attempt":"a1",`+
		`"owner":{"run":"r1","host":"h","id":"%s","boot":"%s","pidns":"%s","pid":%d,"start":%d}}`,
		s.gfid, s.path, len(s.data), s.mtime.UTC().Format(time.RFC3339Nano), s.mtime.UTC().Format(time.RFC3339Nano),
		s.self.ID, boot, s.self.PIDNS, pid, s.self.Start)
}

func TestNotesOfAVersionWithoutLockAreFollowed(t *testing.T) {
	t.Parallel()
	p := newProving(t)
	for _, tt := range []struct {
		name string
		boot string
		pid  int
		want outcome.Reason
	}{
		{"alive here", p.self.Boot, p.self.PID, outcome.InProgress},
		{"ended here", p.self.Boot, 1 << 30, ""},
		{"rebooted, or a clone", "earlier", p.self.PID, outcome.InProgress},
	} {
		s, err := p.subject(single)
		check(t, err)
		check(t, s.archived())
		check(t, unix.Lsetxattr(s.Path(s.path), gluster.XattrRecall, []byte(s.notes1(tt.boot, tt.pid)), 0))
		check(t, unix.Lsetxattr(s.Path(s.path), gluster.XattrDownload, []byte("1"), 0))
		check(t, unix.Lsetxattr(s.Path(s.path), gluster.XattrRecall+".a0", []byte(s.notes1(p.self.Boot, 1<<30)), 0))
		res := s.livingRecall(nil)
		if res.Reason != tt.want || tt.want == "" && res.Outcome != outcome.Recalled {
			t.Errorf("%s: %s %s: %v", tt.name, res.Outcome, res.Reason, res.Err)
		}
		if tt.want == "" {
			check(t, s.whole())
		}
	}
}

// TestNotesDoNotPileUp kills recalls of one file, and cuts others, a hundred in a
// row, at each step in turn. ext4 has one block for the attributes of a file.
func TestNotesDoNotPileUp(t *testing.T) {
	t.Parallel()
	p := newProving(t, testkit.Ext4(256))
	s, err := p.subject(single)
	check(t, err)
	check(t, s.archived())
	s.crowd(t, 400)
	steps := inWork[2:7] // those that each half written file goes
	room := func() (names, size int) {
		for name, value := range s.attributes() {
			names, size = names+1, size+len(name)+len(value)
		}
		return names, size
	}
	s.cutRecall(steps[0])
	names, size := room()
	const kills, all = 30, 100 // the rest costs less
	for i := range all {
		step := steps[i%len(steps)]
		if i < kills {
			check(t, s.kill(order{Recall: step}))
		} else {
			s.cutRecall(step)
		}
		const other = 8 // another host and run may have longer names
		if n, b := room(); n > names || b > size+other {
			t.Fatalf("after %d: %d attributes of %d bytes, %d of %d at first", i+1, n, b, names, size)
		}
	}
	if res := s.livingRecall(nil); res.Outcome != outcome.Recalled {
		t.Fatalf("%s %s: %v", res.Outcome, res.Reason, res.Err)
	}
	check(t, s.whole())
}

func TestAUsersLockCostsThatFileOnly(t *testing.T) {
	t.Parallel()
	p := newProving(t)
	s, err := p.subject(single)
	check(t, err)
	check(t, s.archived())
	f, err := os.OpenFile(s.Path(s.path), os.O_RDWR, 0)
	check(t, err)
	defer f.Close()
	check(t, unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}))
	if res := s.livingRecall(nil); res.Reason != outcome.LockedByUser || res.Outcome != outcome.Skipped {
		t.Fatalf("%s %s: %v", res.Outcome, res.Reason, res.Err)
	}
	check(t, unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_UNLCK}))
	if res := s.livingRecall(nil); res.Outcome != outcome.Recalled {
		t.Fatalf("%s %s: %v", res.Outcome, res.Reason, res.Err)
	}
	check(t, f.Close())
	check(t, s.whole())
}

// TestALateMarkCostsNoUsersBytes is the mark of a recall that was stopped between
// its look at the lock and this mark, and lost the lock in the meantime.
func TestALateMarkCostsNoUsersBytes(t *testing.T) {
	t.Parallel()
	p := newProving(t)
	s, err := p.subject(single)
	check(t, err)
	check(t, s.archived())
	if res := s.livingRecall(nil); res.Outcome != outcome.Recalled {
		t.Fatalf("%s %s: %v", res.Outcome, res.Reason, res.Err)
	}
	check(t, s.append("written by a user since"))
	check(t, unix.Lsetxattr(s.Path(s.path), gluster.XattrDownload, []byte("1"), 0))
	if err := s.read(); !errors.Is(err, errUnreadable) {
		t.Fatalf("the mark hides nothing: %v", err)
	}
	_, err = s.fix()
	check(t, err)
	check(t, s.read())
}
