package safety

import (
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/owner"
	"github.com/coldbrick/coldbrick/internal/volume"
	"github.com/coldbrick/coldbrick/recall"
	"github.com/coldbrick/coldbrick/upload"
)

// An archive has its file open for reading only, on another mount than a recall.
func TestAnArchiveSharesALockThatARecallTakesAlone(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	g.Write("f", randomBytes(5000), longAgo)
	open := func(f *os.File, err error) *os.File {
		t.Helper()
		check(t, err)
		t.Cleanup(func() { f.Close() }) // read only, or nothing was written
		return f
	}
	one, two := open(g.Stamping.OpenRegular("f")), open(g.Stamping.OpenRegular("f"))
	recalling, brick := open(g.Files.OpenRegularRDWR("f")), open(g.Brick.OpenRegular("f"))
	user := open(os.OpenFile(g.Path("f"), os.O_RDWR, 0))
	users := func(kind int16) error {
		return unix.FcntlFlock(user.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: kind})
	}
	for _, tt := range []struct {
		what string
		do   func() error
		want error
	}{
		{"shared lock of a free file", func() error { return volume.LockShared(one) }, nil},
		{"look by the one that has it", func() error { return volume.Locked(one) }, nil},
		{"look by another", func() error { return volume.Locked(two) }, volume.ErrLocked},
		{"lock alone beside it", func() error { return volume.Lock(recalling) }, volume.ErrLocked},
		{"a user's lock of the whole file", func() error { return users(unix.F_WRLCK) }, unix.EAGAIN},
		{"a user's shared lock of the whole file", func() error { return users(unix.F_RDLCK) }, nil},
		{"lock again beside that", func() error { return volume.LockShared(one) }, nil},
		{"a user unlocks", func() error { return users(unix.F_UNLCK) }, nil},
		{"shared lock beside it", func() error { return volume.LockShared(two) }, nil},
		{"look by the one beside another", func() error { return volume.Locked(one) }, volume.ErrLocked},
		{"writers of the brick's file", func() error { return recalling.Close() }, nil},
		{"writers of the brick's file", func() error { return user.Close() }, nil},
		{"in use", func() error { return volume.NotInUse(brick) }, nil},
		{"unlock", func() error { return volume.Unlock(one) }, nil},
		{"unlock", func() error { return volume.Unlock(two) }, nil},
	} {
		if err := tt.do(); err != tt.want { //nolint:errorlint // nil is one of them
			t.Errorf("%s: %v, want %v", tt.what, err, tt.want)
		}
	}
	recalling = open(g.Files.OpenRegularRDWR("f"))
	check(t, volume.Lock(recalling))
	if err := volume.LockShared(one); err != volume.ErrLocked { //nolint:errorlint // as it is
		t.Errorf("shared lock beside a recall's: %v", err)
	}
}

// atWork are the steps before which an archive holds the lock.
func atWork() []upload.Step {
	steps := upload.Steps()
	return steps[slices.Index(steps, upload.StepIdentify):]
}

// ofOtherHost is a run that can tell of no process of this host whether it lives.
func (p *proving) ofOtherHost() owner.Owner {
	o := p.livingRun()
	o.ID, o.Boot = "another", "another"
	return o
}

func (s *subject) ours(t *testing.T) map[string]string {
	t.Helper()
	found := s.BrickXattrs(s.path)
	for name := range found {
		if !strings.HasPrefix(name, "trusted.coldbrick.") && !strings.HasPrefix(name, "trusted.glusterfs.cs.") {
			delete(found, name)
		}
	}
	return found
}

// halfStamped gives a local file what a stamp that is under way sets first.
func (s *subject) halfStamped(t *testing.T) {
	t.Helper()
	check(t, unix.Lsetxattr(s.BrickPath(s.path), gluster.XattrObjectSize, []byte("70001"), 0))
}

// TestNobodyWorksOnAFileBesideAnArchive stops an archive between its pointer and
// its last word, and then kills it.
func TestNobodyWorksOnAFileBesideAnArchive(t *testing.T) {
	t.Parallel()
	p := newProving(t)
	for _, step := range atWork() {
		s, err := p.subject(single)
		check(t, err)
		victim := s.stop(t, order{Archive: step})
		stamped := s.BrickMarks(s.path).Remote
		if !stamped {
			s.halfStamped(t)
		}
		before := s.ours(t)
		if before[gluster.XattrPointer] == "" {
			t.Errorf("before %s: the archive has set no pointer", step)
		}
		if res := s.livingRecall(func(r *recall.Recaller) { r.Owner = s.ofOtherHost() }); res.Reason != outcome.InProgress {
			t.Errorf("before %s: recall: %s %s: %v", step, res.Outcome, res.Reason, res.Err)
		}
		if res := s.archive(func(a *upload.Archiver) { a.Owner = s.ofOtherHost() }); res.Outcome != outcome.Skipped {
			t.Errorf("before %s: archive: %s %s: %v", step, res.Outcome, res.Reason, res.Err)
		}
		r := s.recaller()
		e, err := r.Examine(t.Context(), s.path, s.gfid, recall.Head)
		check(t, err)
		if !stamped && len(e.Findings) > 0 {
			t.Errorf("before %s: found beside a stopped archive: %+v", step, e.Findings)
		}
		for _, class := range []outcome.Class{outcome.ClassStaleSize, outcome.ClassKeyDiffers} { // as if it had been found before
			e.Findings = []outcome.Finding{{Class: class}}
			if f := r.Repair(t.Context(), e)[0]; f.Repaired || !strings.HasPrefix(f.Detail, "cannot: ") {
				t.Errorf("before %s: repair of %s beside a stopped archive: %+v", step, class, f)
			}
		}
		if now := s.ours(t); len(now) != len(before) || now[gluster.XattrPointer] != before[gluster.XattrPointer] {
			t.Errorf("before %s: attributes were %q, are %q", step, before, now)
		}

		check(t, victim.Process.Kill())
		_ = victim.Wait() // says that it was killed
		check(t, s.unlocked())
		if !stamped {
			if _, err := s.fix(); err != nil {
				t.Errorf("before %s: after its end: %v", step, err)
			}
		} else if res := s.livingRecall(func(r *recall.Recaller) { r.Owner = s.ofOtherHost() }); res.Outcome != outcome.Recalled {
			t.Errorf("before %s: recall after its end: %s %s: %v", step, res.Outcome, res.Reason, res.Err)
		}
		check(t, s.whole())
	}
}

// TestAStoppedArchiveThatLostItsLockChangesNothing restarts the brick in the meantime. Others
// archive and recall the file, a user writes, and then the first one goes on.
func TestAStoppedArchiveThatLostItsLockChangesNothing(t *testing.T) {
	t.Parallel()
	p := newProving(t)
	for _, step := range atWork() {
		s, err := p.subject(single)
		check(t, err)
		victim := s.stop(t, order{Archive: step})
		stamped := s.BrickMarks(s.path).Remote
		p.restartBrick()
		check(t, s.unlocked())
		if !stamped {
			res := s.archive(func(a *upload.Archiver) { a.Owner = s.ofOtherHost() })
			if res.Outcome != outcome.Archived {
				t.Fatalf("before %s: take over: %s %s: %v", step, res.Outcome, res.Reason, res.Err)
			}
		}
		if res := s.livingRecall(func(r *recall.Recaller) { r.Owner = s.ofOtherHost() }); res.Outcome != outcome.Recalled {
			t.Fatalf("before %s: recall: %s %s: %v", step, res.Outcome, res.Reason, res.Err)
		}
		check(t, s.append("written by a user since"))
		said := victim.goOn(t)
		if err := s.read(); err != nil {
			t.Errorf("before %s: %v\nthe stopped archive said: %.300s", step, err, said)
		}
		left, err := leftOn(s.BrickPath(s.path))
		check(t, err)
		if len(left) > 0 {
			t.Errorf("before %s: the file has %q\nthe stopped archive said: %.300s", step, left, said)
		}
	}
}

// TestAStubIsMadeGoodWithoutTheLock restarts the brick after the stamp: what is left
// to do goes by inode, and only replaces what is there.
func TestAStubIsMadeGoodWithoutTheLock(t *testing.T) {
	t.Parallel()
	p := newProving(t)
	for _, step := range []upload.Step{upload.StepVerify, upload.StepNote} {
		s, err := p.subject(single)
		check(t, err)
		res := s.archive(func(a *upload.Archiver) { a.At = before(step, p.restartBrick) })
		if res.Outcome != outcome.Archived || res.Err != nil {
			t.Errorf("before %s: %s %s: %v", step, res.Outcome, res.Reason, res.Err)
		}
		check(t, s.settle())
	}
}

// TestTheEndOfAnArchiveFreesItsFile asks a host that knows nothing of the process.
func TestTheEndOfAnArchiveFreesItsFile(t *testing.T) {
	t.Parallel()
	p := newProving(t)
	for _, step := range []upload.Step{upload.StepIdentify, upload.StepRecord, upload.StepStamp} {
		s, err := p.subject(single)
		check(t, err)
		check(t, s.kill(order{Archive: step}))
		if _, ok := s.ours(t)[gluster.XattrPointer]; !ok {
			t.Errorf("before %s: nothing is left of the process that was killed", step)
		}
		res := s.archive(func(a *upload.Archiver) { a.Owner = s.ofOtherHost() })
		if res.Outcome != outcome.Archived || res.Err != nil || res.Adopted != (step != upload.StepIdentify) {
			t.Errorf("before %s: %+v", step, res)
		}
		check(t, s.settle())
	}
}

// TestOfArchivesAtOnceAtMostOneWorks begins with the pointer of a run that was
// killed, which each of them may replace.
func TestOfArchivesAtOnceAtMostOneWorks(t *testing.T) {
	t.Parallel()
	p := newProving(t)
	s, err := p.subject(single)
	check(t, err)
	check(t, s.kill(order{Archive: upload.StepRecord}))
	const n = 4
	var results [n]upload.Result
	var all sync.WaitGroup
	for i := range results {
		all.Go(func() { results[i] = s.archive(func(a *upload.Archiver) { a.Owner = s.ofOtherHost() }) })
	}
	all.Wait()
	worked := 0
	for _, res := range results {
		switch {
		case res.Outcome == outcome.Archived && res.Err == nil:
			worked++
		case res.Outcome != outcome.Skipped:
			t.Errorf("%+v", res)
		}
	}
	if worked > 1 {
		t.Errorf("%d archives did the work", worked)
	}
	if worked == 0 { // each has seen another
		check(t, s.archived())
	}
	check(t, s.settle())
}

// TestWhoeverHoldsTheLockKeepsArchivesOff locks after the look whether somebody has
// the file open for writing, as whoever locks it alone has.
func TestWhoeverHoldsTheLockKeepsArchivesOff(t *testing.T) {
	t.Parallel()
	p := newProving(t)
	s, err := p.subject(single)
	check(t, err)
	var held *os.File
	for _, tt := range []struct {
		name string
		lock func() error
		want outcome.Reason
	}{
		{"a recall that has just begun", func() (err error) {
			if held, err = s.Files.OpenRegularRDWR(s.path); err == nil {
				err = volume.Lock(held)
			}
			return err
		}, outcome.InProgress},
		{"a user", func() (err error) {
			if held, err = os.OpenFile(s.Path(s.path), os.O_RDWR, 0); err == nil {
				err = unix.FcntlFlock(held.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
			}
			return err
		}, outcome.LockedByUser},
	} {
		res := s.archive(func(a *upload.Archiver) { a.At = before(upload.StepPoint, func() { check(t, tt.lock()) }) })
		if res.Outcome != outcome.Skipped || res.Reason != tt.want {
			t.Errorf("%s: %s %s: %v", tt.name, res.Outcome, res.Reason, res.Err)
		}
		if left := s.ours(t); len(left) > 0 {
			t.Errorf("%s: left on the file: %q", tt.name, left)
		}
		check(t, held.Close())
		check(t, s.unlocked())
	}
	// Many may read at once.
	reader, err := os.Open(s.Path(s.path))
	check(t, err)
	defer reader.Close() // read only
	check(t, unix.FcntlFlock(reader.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_RDLCK}))
	check(t, s.archived())
	check(t, reader.Close())
	check(t, s.unlocked())
	check(t, s.settle())
}

// TestAnArchiveOfAVersionWithoutLockIsLeftAlone has hosts that are not upgraded yet.
func TestAnArchiveOfAVersionWithoutLockIsLeftAlone(t *testing.T) {
	t.Parallel()
	p := newProving(t)
	const long = owner.UnlockedLife + time.Hour
	for _, tt := range []struct {
		name  string
		owner owner.Owner
		ago   time.Duration
		locks bool
		taken bool // over by another archive
		tidy  bool // by fsck --repair, once the stamp has left sizes
	}{
		{"alive here", p.livingRun(), time.Hour, false, false, false},
		{"ended here", p.deadRun(), time.Hour, false, true, false},
		{"ended here long ago", p.deadRun(), long, false, true, true},
		{"of another host", p.ofOtherHost(), 25 * time.Hour, false, false, false},
		{"long ago on another host", p.ofOtherHost(), long, false, true, false},
		{"in the future of another host", p.ofOtherHost(), -long, false, false, false},
		{"of another host, with a lock that is free", p.ofOtherHost(), time.Hour, true, true, true},
	} {
		s, err := p.subject(single)
		check(t, err)
		pointer := object.Pointer{GFID: s.gfid, Volume: s.ID, Key: s.path, Attempt: "a", Owner: tt.owner, Time: time.Now().Add(-tt.ago), Locks: tt.locks}
		check(t, unix.Lsetxattr(s.Path(s.path), gluster.XattrPointer, pointer.Encode(), 0))

		s.halfStamped(t)
		_, err = s.fix()
		left := s.ours(t)
		switch {
		case tt.tidy && (err != nil || len(left) > 0):
			t.Errorf("%s: repair: %v, left are %q", tt.name, err, left)
		case !tt.tidy && (err == nil || !strings.Contains(err.Error(), "cannot: ") || len(left) != 2):
			t.Errorf("%s: repair: %v, left are %q", tt.name, err, left)
		}
		if !tt.tidy {
			check(t, unix.Lremovexattr(s.Path(s.path), gluster.XattrObjectSize))
		} else {
			check(t, unix.Lsetxattr(s.Path(s.path), gluster.XattrPointer, pointer.Encode(), 0))
		}
		res := s.archive(func(a *upload.Archiver) { a.Owner = s.livingRun() })
		if tt.taken != (res.Outcome == outcome.Archived) || !tt.taken && res.Reason != outcome.InProgress {
			t.Errorf("%s: archive: %s %s: %v", tt.name, res.Outcome, res.Reason, res.Err)
		}
		if !tt.taken { // what the manual tells people to do once they know that nobody is at it
			s.halfStamped(t)
			check(t, unix.Lremovexattr(s.Path(s.path), gluster.XattrPointer))
			_, err := s.fix()
			check(t, err)
		}
		check(t, s.settle())
	}
}
