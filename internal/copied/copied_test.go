package copied

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/testkit"
	"github.com/coldbrick/coldbrick/internal/volume"
)

// shelf is an index under a clock that a test sets.
type shelf struct {
	t    *testing.T
	dir  string
	salt [sha256.Size]byte
	at   clock
}

func newShelf(t *testing.T) *shelf {
	now, err := readClock("this")
	if err != nil {
		t.Fatal(err)
	}
	return &shelf{t: t, dir: filepath.Join(t.TempDir(), "index"), at: now}
}

func (s *shelf) open() *Index {
	s.t.Helper()
	x, err := open(s.dir, s.salt, func() (clock, error) { return s.at, nil })
	if err != nil {
		s.t.Fatal(err)
	}
	return x
}

// pass lets time go by; set sets the clock forward or back in the meantime.
func (s *shelf) pass(d, set time.Duration) { s.at.up, s.at.real = s.at.up+d, s.at.real+d+set }

func gfid(n uint32) (g gluster.GFID) {
	g[0], g[1] = 0xab, 0xc0 // all in one file
	binary.BigEndian.PutUint32(g[12:], n)
	return g
}

func identity(n int64) volume.Identity {
	return volume.Identity{Inode: 7, Size: 100 + n, Mtime: unix.Timespec{Sec: 1_700_000_000, Nsec: n}, Ctime: unix.Timespec{Sec: 1_700_000_001, Nsec: n}, Links: 2}
}

func (s *shelf) knows(x *Index, what string, want bool) {
	s.t.Helper()
	crc, ok := x.CRC32(gfid(1), identity(1), "key")
	if ok != want || ok && crc != 42 {
		s.t.Errorf("%s: %08x, %v", what, crc, ok)
	}
}

func (s *shelf) close(x *Index) {
	s.t.Helper()
	s.must(x.Close())
}

func (s *shelf) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Error(err)
	}
}

func TestOnlyAFileThatHasNotChangedIsKnown(t *testing.T) {
	s := newShelf(t)
	x := s.open()
	s.knows(x, "before", false)
	x.Note(gfid(1), identity(1), "key", 42)
	x.Note(gfid(2), identity(2), "key", 43)
	s.knows(x, "noted", true)
	for what, change := range map[string]func(*volume.Identity){
		"inode":              func(id *volume.Identity) { id.Inode++ },
		"size":               func(id *volume.Identity) { id.Size++ },
		"mtime":              func(id *volume.Identity) { id.Mtime.Nsec++ },
		"seconds of mtime":   func(id *volume.Identity) { id.Mtime.Sec++ },
		"ctime":              func(id *volume.Identity) { id.Ctime.Nsec++ },
		"ctime, in the past": func(id *volume.Identity) { id.Ctime.Sec-- },
	} {
		id := identity(1)
		change(&id)
		if _, ok := x.CRC32(gfid(1), id, "key"); ok {
			t.Errorf("another %s is the same file", what)
		}
	}
	if _, ok := x.CRC32(gfid(1), identity(1), "another key"); ok {
		t.Error("known under another key")
	}
	s.close(x)
	x = s.open()
	s.knows(x, "the next run", true)
	x.Note(gfid(1), identity(5), "key", 44) // it was changed, and copied anew
	s.knows(x, "its former self", false)
	x.Note(gfid(1), identity(1), "key", 42)
	s.knows(x, "again", true)
	x.Forget(gfid(1))
	x.Forget(gfid(99))
	s.knows(x, "forgotten", false)
	if crc, ok := x.CRC32(gfid(2), identity(2), "key"); !ok || crc != 43 {
		t.Error("forgotten as well")
	}
	future := identity(3)
	future.Ctime.Sec = time.Now().Add(time.Hour).Unix()
	x.Note(gfid(3), future, "key", 42)
	if _, ok := x.CRC32(gfid(3), future, "key"); ok {
		t.Error("a ctime of the future says that nothing has changed since")
	}
	s.close(x)
	if st, err := os.Stat(filepath.Join(s.dir, "abc")); err != nil || st.Size() != 2*recordSize {
		t.Errorf("%v, %v", st, err)
	}
}

// Whatever becomes of the file of an index: what it says is true, or nothing.
func TestADamagedIndexKnowsNothing(t *testing.T) {
	s := newShelf(t)
	x := s.open()
	x.Note(gfid(0), identity(0), "key", 7)
	x.Note(gfid(1), identity(1), "key", 42)
	path := filepath.Join(s.dir, "abc")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	damaged := func(what string, b []byte) {
		t.Helper()
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		s.knows(x, what, false)
	}
	for at := recordSize; at < len(whole); at++ {
		b := bytes.Clone(whole)
		b[at] ^= 0x10
		damaged("one bit is another", b)
		damaged("cut short", whole[:at])
		damaged("the rest is zeros", append(bytes.Clone(whole[:at]), make([]byte, len(whole)-at)...))
	}
	damaged("moved", whole[8:])
	// What follows goes on with what is left.
	x.Note(gfid(1), identity(1), "key", 42)
	s.knows(x, "noted anew", true)
	if err := os.RemoveAll(s.dir); err != nil {
		t.Fatal(err)
	}
	s.knows(x, "lost", false)
	x.Note(gfid(1), identity(1), "key", 42)
	s.knows(x, "lost, under a run", false)
	if x.Close() == nil {
		t.Error("nobody is told")
	}
	x = s.open()
	x.Note(gfid(1), identity(1), "key", 42)
	s.knows(x, "begun anew", true)
	s.close(x)
}

func TestAnIndexOfAnotherBrickKnowsNothing(t *testing.T) {
	s := newShelf(t)
	x := s.open()
	x.Note(gfid(1), identity(1), "key", 42)
	s.close(x)
	s.salt[3]++
	x = s.open()
	s.knows(x, "another brick", false)
	s.salt[3]--
	s.close(x)
	x = s.open()
	s.knows(x, "its own", true)
}

func TestAnIndexFromBeforeAStepOfTheClockKnowsNothing(t *testing.T) {
	const day = 24 * time.Hour
	for _, tt := range []struct {
		name    string
		passes  func(*shelf)
		believe bool
	}{
		{"nothing", func(*shelf) {}, true},
		{"a day", func(s *shelf) { s.pass(day, 0) }, true},
		{"set forward", func(s *shelf) { s.pass(day, time.Hour) }, true},
		{"slowed down", func(s *shelf) { s.pass(day, -40*time.Second) }, true},
		{"a second back", func(s *shelf) { s.pass(time.Minute, -time.Second) }, false},
		{"an hour back", func(s *shelf) { s.pass(day, -time.Hour) }, false},
		{"reboot", func(s *shelf) { s.pass(time.Hour, 0); s.at.life, s.at.up = "another", time.Minute }, false},
		{"mounted anew", func(s *shelf) { s.pass(time.Hour, 0); s.at.life = "another" }, false},
		{"no clock is noted", func(s *shelf) { s.must(os.Remove(filepath.Join(s.dir, clockFile))) }, false},
		{"half a clock is noted", func(s *shelf) { s.must(os.Truncate(filepath.Join(s.dir, clockFile), 20)) }, false},
	} {
		for _, within := range []bool{false, true} {
			s := newShelf(t)
			x := s.open()
			x.Note(gfid(1), identity(1), "key", 42)
			if within {
				if tt.name[0] == 'n' || tt.name[0] == 'h' || tt.name[0] == 'r' || tt.name[0] == 'm' {
					continue // between runs alone
				}
				tt.passes(s)
				s.knows(x, tt.name+", within a run", tt.believe)
				x.Note(gfid(1), identity(1), "key", 42)
				s.knows(x, tt.name+", within a run, later", tt.believe)
				if x.Close() == nil != tt.believe {
					t.Errorf("%s: who is told?", tt.name)
				}
				continue
			}
			s.close(x)
			tt.passes(s)
			x = s.open()
			s.knows(x, tt.name, tt.believe)
			x.Note(gfid(1), identity(1), "key", 42)
			s.knows(x, tt.name+", and noted since", true)
			s.close(x)
		}
	}
}

// fdatasync makes bytes durable and leaves the times for later. Without power, what is on
// disk is a file with other bytes and the identity with which it was copied.
func TestAnIndexDoesNotOutliveTheMountOfTheBrick(t *testing.T) {
	dir := testkit.Dir(t)
	brick, image := filepath.Join(dir, "brick"), filepath.Join(dir, "image")
	if err := errors.Join(os.Mkdir(brick, 0o755), os.WriteFile(image, nil, 0o600), os.Truncate(image, 16<<20)); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) {
		t.Helper()
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", args, err, out)
		}
	}
	run("mkfs.ext4", "-q", image)
	run("mount", "-o", "loop", image, brick)
	t.Cleanup(func() { _ = unix.Unmount(brick, unix.MNT_DETACH) })
	path := filepath.Join(brick, "f")
	known := func(note bool) bool {
		t.Helper()
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		life, err := lifeOf(int(f.Fd()))
		if err != nil {
			t.Fatal(err)
		}
		x, err := open(filepath.Join(dir, "index"), [sha256.Size]byte{}, func() (clock, error) { return readClock(life) })
		if err != nil {
			t.Fatal(err)
		}
		st, err := volume.StatOf(f)
		if err != nil {
			t.Fatal(err)
		}
		if note {
			x.Note(gfid(1), st.Identity, "key", 42)
		}
		_, ok := x.CRC32(gfid(1), st.Identity, "key")
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if err := os.WriteFile(path, []byte("what  was copied"), 0o600); err != nil {
		t.Fatal(err)
	}
	run("sync", "-f", path)
	time.Sleep(2 * volume.Tick()) // the identity of before says nothing
	if !known(true) || !known(false) {
		t.Error("forgotten by the next run")
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteString("what was changed")
	if err := errors.Join(err, unix.Fdatasync(int(f.Fd())), f.Close()); err != nil {
		t.Fatal(err)
	}
	power, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	run("umount", brick)
	if err := os.WriteFile(image, power, 0o600); err != nil {
		t.Fatal(err)
	}
	run("mount", "-o", "loop", image, brick)
	if b, err := os.ReadFile(path); err != nil || string(b) != "what was changed" {
		t.Fatalf("%q, %v", b, err)
	}
	if known(false) {
		t.Error("a file that was written to before the power was lost is taken for what was copied")
	}
}

// An index stays small, whatever is deleted without its knowing.
func TestAnIndexIsBoundedAndUsedByMany(t *testing.T) {
	s := newShelf(t)
	x, y := s.open(), s.open()
	var all sync.WaitGroup
	for n := range uint32(50) {
		for _, each := range []*Index{x, y} {
			all.Go(func() { each.Note(gfid(n), identity(int64(n)), "key", n) })
		}
	}
	all.Wait()
	path := filepath.Join(s.dir, "abc")
	if st, err := os.Stat(path); err != nil || st.Size() != 50*recordSize {
		t.Errorf("%v, %v", st, err)
	}
	for n := range uint32(50) {
		if crc, ok := y.CRC32(gfid(n), identity(int64(n)), "key"); !ok || crc != n {
			t.Errorf("%d: %d, %v", n, crc, ok)
		}
	}
	if err := os.WriteFile(path, bytes.Repeat([]byte{1}, mostBytes), 0o600); err != nil {
		t.Fatal(err)
	}
	x.Note(gfid(1), identity(1), "key", 42)
	s.knows(x, "begun anew", true)
	if st, err := os.Stat(path); err != nil || st.Size() != recordSize {
		t.Errorf("%v, %v", st, err)
	}
	s.close(x)
}
