package safety

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/testkit"
	"github.com/coldbrick/coldbrick/upload"
)

// before runs do once, right before a step of the archive of any file.
func before(step upload.Step, do func()) func(upload.Step, gluster.File) error {
	return func(s upload.Step, _ gluster.File) error {
		if s == step && do != nil {
			do()
			do = nil
		}
		return nil
	}
}

// What a user does to a file while it is archived must never cost a byte. Each
// change is made right before every step from the identity to the stamp.
func TestAChangeBeforeTheStampKeepsTheFile(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	clock := testkit.NewClock(t)
	slow := g.NewMount(t, testkit.WithClock(clock))
	clock.Set(t, behind)
	old, fresh := randomBytes(9000), randomBytes(9000)
	for name, change := range map[string]func(path string){
		"append": func(path string) {
			appendTo(t, g.Path(path), fresh)
		},
		"overwrite and put the mtime back": func(path string) {
			check(t, os.WriteFile(g.Path(path), fresh, 0o644))
			g.SetMtime(path, longAgo)
		},
		"overwrite with an older mtime": func(path string) {
			check(t, os.WriteFile(g.Path(path), fresh, 0o644))
			g.SetMtime(path, longAgo.Add(-time.Hour))
		},
		"overwrite with an mtime of nine digits": func(path string) {
			check(t, os.WriteFile(g.Path(path), fresh, 0o644))
			g.SetMtime(path, time.Unix(999999999, 0))
		},
		"truncate": func(path string) {
			check(t, os.Truncate(g.Path(path), 10))
		},
		"replace by rename": func(path string) {
			check(t, os.WriteFile(g.Path(path+".new"), fresh, 0o644))
			g.SetMtime(path+".new", longAgo)
			check(t, os.Rename(g.Path(path+".new"), g.Path(path)))
		},
		"hard link": func(path string) {
			check(t, os.Link(g.Path(path), g.Path(path+".link")))
		},
		"store through a mapping": func(path string) {
			f, err := os.OpenFile(g.Path(path), os.O_RDWR, 0)
			check(t, err)
			defer f.Close()
			m, err := unix.Mmap(int(f.Fd()), 0, len(old), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
			check(t, err)
			copy(m, fresh)
			check(t, unix.Msync(m, unix.MS_SYNC))
			check(t, unix.Munmap(m))
		},
		// Neither moves anything that a mount shows.
		"punch a hole": func(path string) {
			f, err := os.OpenFile(g.Path(path), os.O_RDWR, 0)
			check(t, err)
			check(t, unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, 4096))
			check(t, f.Close())
		},
		"overwrite by a slow clock and put the mtime back": func(path string) {
			f, err := os.OpenFile(slow+"/"+path, os.O_WRONLY, 0)
			check(t, err)
			_, err = f.WriteAt(fresh, 0)
			check(t, errors.Join(err, f.Close(), os.Chtimes(f.Name(), longAgo, longAgo)))
		},
	} {
		for _, step := range upload.Steps() {
			if step == upload.StepStamp {
				break // later it is Gluster's own check that must see it
			}
			path := strings.ReplaceAll(name, " ", "-") + "/" + string(step)
			g.Write(path, old, longAgo)
			file := g.file(path)
			a := g.archiver()
			var want []byte
			a.At = before(step, func() {
				change(path)
				var err error
				want, err = os.ReadFile(g.BrickPath(path)) // a mount may show its page cache
				check(t, err)
			})
			res := a.Archive(t.Context(), file)
			if res.Outcome == outcome.Archived {
				// Right before the first looks the new content is what is
				// archived, if it looks the same to the crawl.
				if step != upload.StepOpen && step != upload.StepPoint && step != upload.StepIdentify {
					t.Errorf("%s before %s: archived", name, step)
				}
				g.mustRecall(path)
			} else {
				g.mustBeUnmarked(path)
			}
			got, err := os.ReadFile(g.BrickPath(path))
			check(t, err)
			if !bytes.Equal(got, want) {
				t.Errorf("%s before %s: %s %s (%v): not what was written last", name, step, res.Outcome, res.Reason, res.Err)
			}
		}
	}
}

// mustDie has an archive of the file end before a step without any clean-up that
// a stamp has ruled out.
func (g *ground) mustDie(path string, at upload.Step) {
	g.t.Helper()
	died := errors.New("died")
	a := g.archiver()
	a.At = func(s upload.Step, _ gluster.File) error {
		if s == at {
			return died
		}
		return nil
	}
	if res := a.Archive(g.t.Context(), g.file(path)); !errors.Is(res.Err, died) {
		g.t.Fatalf("%+v", res)
	}
}

func appendTo(t *testing.T, path string, data []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	check(t, err)
	_, err = f.Write(data)
	check(t, errors.Join(err, f.Close()))
}

func TestABrickThatForgotThePathRecordsNoEmptyKey(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	for _, step := range []upload.Step{upload.StepPut, upload.StepRecheck, upload.StepStamp} {
		path := "dir/" + string(step)
		data := randomBytes(5000)
		g.Write(path, data, longAgo)
		a := g.archiver()
		a.Patience = time.Minute
		a.At = before(step, func() {
			g.StopBrick()
			g.StartBrick()
			testkit.Eventually(t, time.Minute, "the brick is connected again", func() bool { return g.Stamping.Children() == nil })
		})
		res := a.Archive(t.Context(), g.file(path))
		if res.Outcome != outcome.Skipped || res.Reason != outcome.Interrupted { // the lock is gone, and all that was open with it
			t.Errorf("restart before %s: %s %s (%v)", step, res.Outcome, res.Reason, res.Err)
		}
		g.mustRead(path, data)
		res = g.mustArchive(path)
		g.mustBeStub(path, res.Key)
		g.mustRecall(path)
		g.mustRead(path, data)
	}
}

// The brick records the path. Where that is no key for the store, a run that dies
// before it is rewritten leaves a stub that is recalled by its pointer.
func TestAStubWhosePathIsNoKeyComesBack(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	const path = "del\x7f/f"
	data := randomBytes(5000)
	g.Write(path, data, longAgo)
	g.mustDie(path, upload.StepVerify)
	if m := g.BrickMarks(path); m.RemoteKey != path {
		t.Fatalf("%+v", m)
	}
	g.mustRecall(path)
	g.mustRead(path, data)
}

// The same where the path is the key of an object of the file's own past, of the
// same size; and where another host's pointer names that one.
func TestAStubIsNeverItsFormerSelf(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	for _, last := range []upload.Step{upload.StepVerify, ""} {
		path := "f" + string(last)
		first, second := randomBytes(5000), randomBytes(5000)
		g.Write(path, first, longAgo)
		g.mustArchive(path)
		g.mustRecall(path)
		f, err := os.OpenFile(g.Path(path), os.O_WRONLY, 0)
		check(t, err)
		_, err = f.Write(second)
		check(t, errors.Join(err, f.Close(), os.Chtimes(g.Path(path), longAgo, longAgo.Add(time.Hour))))
		if last != "" {
			g.mustDie(path, last)
		} else {
			g.mustArchive(path)
			former, err := object.DecodePointer([]byte(g.BrickXattrs(path)[gluster.XattrPointer]))
			check(t, err)
			former.Key, former.Proof = path, nil
			testkit.SetXattr(t, g.BrickPath(path), gluster.XattrPointer, string(former.Encode()))
		}
		if m := g.BrickMarks(path); (m.RemoteKey == path) != (last != "") {
			t.Fatalf("%+v", m)
		}
		g.mustRecall(path)
		g.mustRead(path, second)
	}
}

// What the brick lets through when a stamp comes between its change of the bytes
// and of the mtime: another size than was uploaded, or an mtime that moves late.
func TestAWriteAtTheInstantOfTheStampIsReported(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	for name, change := range map[string]func(path string){
		"size":  func(path string) { testkit.SetXattr(t, g.BrickPath(path), gluster.XattrObjectSize, "7") },
		"mtime": func(path string) { check(t, os.Chtimes(g.Path(path), time.Now(), time.Now())) },
	} {
		g.Write(name, randomBytes(5000), longAgo)
		a := g.archiver()
		a.At = before(upload.StepVerify, func() { change(name) })
		res := a.Archive(t.Context(), g.file(name))
		if res.Outcome != outcome.Failed || res.Reason != outcome.Broken {
			t.Errorf("%s: %s %s (%v)", name, res.Outcome, res.Reason, res.Err)
		}
	}
}

// A run dies after its PUT; rsync puts other bytes of the same size and mtime
// into the file; the object that is there must not pass for its copy.
func TestAnObjectOfADeadRunIsAdoptedOnlyForTheSameBytes(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	for _, tt := range []struct {
		name  string
		touch bool
	}{{"same", false}, {"other", true}} {
		data := randomBytes(70_000)
		g.Write(tt.name, data, longAgo)
		g.mustDie(tt.name, upload.StepRecord)
		if tt.touch {
			data = randomBytes(len(data))
			source := t.TempDir() + "/source"
			check(t, os.WriteFile(source, data, 0o644))
			check(t, os.Chtimes(source, longAgo, longAgo))
			out, err := exec.Command("rsync", "--inplace", "--ignore-times", "--times", source, g.Path(tt.name)).CombinedOutput()
			if err != nil {
				t.Fatalf("rsync: %v: %s", err, out)
			}
			if f := g.file(tt.name); !f.Mtime.Equal(longAgo) {
				t.Fatalf("rsync left mtime %v", f.Mtime)
			}
		}
		res := g.mustArchive(tt.name)
		if res.Adopted == tt.touch {
			t.Errorf("%s bytes: adopted = %v under %q", tt.name, res.Adopted, res.Key)
		}
		g.mustRecall(tt.name)
		g.mustRead(tt.name, data)
	}
}

// aged is a store whose objects are a month old.
type aged struct{ upload.Store }

func (s aged) Head(ctx context.Context, key string) (object.Info, error) {
	info, err := s.Store.Head(ctx, key)
	info.Modified = info.Modified.Add(-30 * 24 * time.Hour)
	return info, err
}

// gc may be about to delete an object to which nothing has referred for long. What a
// run has uploaded was referred to all the time by the pointer that it wrote first; a
// later pointer with the same key may have come after gc's last look.
func TestAnOldObjectIsAdoptedOnlyByTheFileThatHasReferredToItEver(t *testing.T) {
	g := newGround(t)
	killed := func(path string, at upload.Step) {
		t.Helper()
		var pointer string // a kill leaves it, and an error does not
		a, died := g.archiver(), errors.New("died")
		a.At = func(s upload.Step, _ gluster.File) error {
			if s != at {
				return nil
			}
			pointer = testkit.Xattrs(t, g.BrickPath(path))[gluster.XattrPointer]
			return died
		}
		if res := a.Archive(t.Context(), g.file(path)); !errors.Is(res.Err, died) {
			t.Fatalf("%+v", res)
		}
		testkit.SetXattr(t, g.BrickPath(path), gluster.XattrPointer, pointer)
	}
	for _, tt := range []struct {
		name string
		runs func(path string)
		want bool
	}{
		{"referred to ever", func(path string) { killed(path, upload.StepRecord); killed(path, upload.StepPut) }, true},
		{"made anew under its key", func(path string) { killed(path, upload.StepPut); g.keep(path, nil) }, true},
		{"pointed to anew", func(path string) { g.mustDie(path, upload.StepRecord); killed(path, upload.StepPut) }, false},
	} {
		data := randomBytes(70_000)
		g.Write(tt.name, data, longAgo)
		tt.runs(tt.name)
		a := g.archiver()
		a.Store = aged{a.Store}
		res := a.Archive(t.Context(), g.file(tt.name))
		if res.Outcome != outcome.Archived || res.Adopted != tt.want {
			t.Errorf("%s: %s, adopted = %v under %q (%v)", tt.name, res.Outcome, res.Adopted, res.Key, res.Err)
		}
		g.mustRecall(tt.name)
		g.mustRead(tt.name, data)
	}
}

// Something else has the file's name by then: that is the user's business.
func TestAFileThatBecomesSomethingElseIsLeftAlone(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	for name, replace := range map[string]func(path string) error{
		"symlink":   func(path string) error { return os.Symlink("/etc/passwd", path) },
		"fifo":      func(path string) error { return unix.Mkfifo(path, 0o600) },
		"directory": func(path string) error { return os.Mkdir(path, 0o700) },
	} {
		for _, step := range []upload.Step{upload.StepOpen, upload.StepRecheck} {
			path := name + " before " + string(step)
			data := randomBytes(5000)
			g.Write(path, data, longAgo)
			file := g.file(path)
			a := g.archiver()
			a.At = before(step, func() {
				check(t, os.Rename(g.Path(path), g.Path(path+" moved")))
				check(t, replace(g.Path(path)))
			})
			if res := a.Archive(t.Context(), file); res.Outcome != outcome.Skipped || res.Reason != outcome.Vanished {
				t.Errorf("%s: %s %s (%v)", path, res.Outcome, res.Reason, res.Err)
			}
			g.mustRead(path+" moved", data)
			g.mustBeUnmarked(path + " moved")
		}
	}
}

// Whoever has a file open for writing, or mapped, may change it at any moment
// without a word.
func TestAFileThatIsOpenForWritingIsLeftAlone(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	for _, step := range []upload.Step{upload.StepOpen, upload.StepRecheck} {
		path := "before " + string(step)
		data := randomBytes(5000)
		g.Write(path, data, longAgo)
		var mapped []byte
		a := g.archiver()
		a.At = before(step, func() {
			f, err := os.OpenFile(g.Path(path), os.O_RDWR, 0)
			check(t, err)
			mapped, err = unix.Mmap(int(f.Fd()), 0, len(data), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
			check(t, errors.Join(err, f.Close()))
			mapped[0], data[0] = '!', '!'
		})
		if res := a.Archive(t.Context(), g.file(path)); res.Outcome != outcome.Skipped || res.Reason != outcome.InUse {
			t.Errorf("%s: %s %s (%v)", path, res.Outcome, res.Reason, res.Err)
		}
		g.mustBeUnmarked(path)
		check(t, errors.Join(unix.Msync(mapped, unix.MS_SYNC), unix.Munmap(mapped), os.Chtimes(g.Path(path), longAgo, longAgo)))
		g.mustArchive(path)
		g.mustRecall(path)
		g.mustRead(path, data)
	}
}

func TestASwapForASymlinkLeadsNowhere(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	outside := t.TempDir()
	secret := randomBytes(9000)
	check(t, os.WriteFile(outside+"/f", secret, 0o600))
	check(t, os.Chtimes(outside+"/f", longAgo, longAgo))
	for _, step := range upload.Steps() {
		if step == upload.StepVerify {
			break
		}
		dir := "dir-" + string(step)
		data := randomBytes(9000)
		g.Write(dir+"/f", data, longAgo)
		file := g.file(dir + "/f")
		a := g.archiver()
		a.At = before(step, func() {
			check(t, os.Rename(g.Path(dir), g.Path(dir+".moved")))
			check(t, os.Symlink(outside, g.Path(dir)))
		})
		res := a.Archive(t.Context(), file)
		moved := dir + ".moved/f"
		switch {
		case res.Outcome == outcome.Archived:
			// The file was open by then, or its directory a moment ago: it
			// is the same file, whose recorded path only was wrong, and is
			// not any more.
			g.mustBeStub(moved, res.Key)
			g.mustRecall(moved)
		case res.Reason != outcome.Vanished:
			t.Errorf("before %s: %s %s (%v)", step, res.Outcome, res.Reason, res.Err)
		}
		g.mustRead(moved, data)
		if got, err := os.ReadFile(outside + "/f"); err != nil || string(got) != string(secret) {
			t.Errorf("before %s: the file outside was touched: %v", step, err)
		}
		if names, err := os.ReadDir(outside); err != nil || len(names) != 1 {
			t.Errorf("before %s: outside has %v, %v", step, names, err)
		}
	}
}
