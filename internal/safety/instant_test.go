package safety

import (
	"errors"
	"os"
	"path"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/testkit"
	"github.com/coldbrick/coldbrick/upload"
)

// atTheInstant archives a file and runs do after all that coldbrick looks at, and
// before the stamp goes on its way.
func (g *ground) atTheInstant(a *upload.Archiver, path string, do func()) upload.Result {
	g.t.Helper()
	file := g.file(path)
	var stamping atomic.Bool
	a.At = func(s upload.Step, _ gluster.File) error {
		stamping.Store(s == upload.StepStamp)
		return nil
	}
	var res upload.Result
	check(g.t, interpose(
		func() { res = a.Archive(g.t.Context(), file) },
		func(c call) verdict {
			if c.number == unix.SYS_FSETXATTR && stamping.CompareAndSwap(true, false) {
				do()
			}
			return verdict{effect: true}
		}))
	return res
}

// Nobody above the brick can keep such a change; but it is never lost in silence.
func TestAChangeAtTheInstantOfTheStampIsReported(t *testing.T) {
	t.Parallel()
	for kind, options := range map[string][]testkit.Option{"distribute": nil, "replica 3": {testkit.Replica(3)}} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			g := newGround(t, options...)
			clock := testkit.NewClock(t)
			slow := g.NewMount(t, testkit.WithClock(clock))
			clock.Set(t, behind)
			fresh := randomBytes(9000)
			for name, change := range map[string]func(path string) error{
				"punch":                func(path string) error { return punch(g.Path(path)) },
				"punch, slow clock":    func(path string) error { return punch(slow + "/" + path) },
				"write, slow clock":    func(path string) error { return rewrite(slow+"/"+path, fresh) },
				"write, right clock":   func(path string) error { return rewrite(g.Path(path), fresh) },
				"punch past the mount": func(path string) error { return punch(g.BrickPath(path)) },
			} {
				path := path.Join("d", name)
				g.Write(path, randomBytes(9000), longAgo)
				res := g.atTheInstant(g.archiver(), path, func() { check(t, change(path)) })
				if res.Outcome != outcome.Failed || res.Reason != outcome.Broken || !strings.Contains(res.Err.Error(), "at the instant of the stamp") {
					t.Errorf("%s: %s %s (%v)", name, res.Outcome, res.Reason, res.Err)
				}
			}
			for name, look := range map[string]func(path string) error{
				"read": func(path string) error {
					_, err := os.ReadFile(g.Path(path))
					return err
				},
				"open for writing": func(path string) error {
					f, err := os.OpenFile(g.Path(path), os.O_RDWR, 0)
					if err != nil {
						return err
					}
					return f.Close()
				},
				"chmod": func(path string) error { return os.Chmod(g.Path(path), 0o600) },
			} {
				path := path.Join("d", name)
				data := randomBytes(9000)
				g.Write(path, data, longAgo)
				if res := g.atTheInstant(g.archiver(), path, func() { check(t, look(path)) }); res.Outcome != outcome.Archived {
					t.Errorf("%s: %s %s (%v)", name, res.Outcome, res.Reason, res.Err)
				}
				g.mustRecall(path)
				g.mustRead(path, data)
			}
		})
	}
}

// What comes between the last look and the stamp is seen before the stamp is sent.
func TestAChangeRightBeforeTheStampKeepsTheFile(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	data := randomBytes(9000)
	g.Write("f", data, longAgo)
	a := g.archiver()
	a.At = before(upload.StepStamp, func() { check(t, punch(g.BrickPath("f"))) })
	if res := a.Archive(t.Context(), g.file("f")); res.Outcome != outcome.Skipped || res.Reason != outcome.Changed {
		t.Errorf("%s %s (%v)", res.Outcome, res.Reason, res.Err)
	}
	g.mustBeUnmarked("f")
	g.mustRead("f", append(make([]byte, 4096), data[4096:]...))
}

// A host that has no more watches archives all the same, as the looks allow it, and
// says that nobody has watched.
func TestAHostWithoutWatchesArchivesAndSaysSo(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	for _, errno := range []unix.Errno{unix.EMFILE, unix.ENOSPC} {
		path := errno.Error()
		data := randomBytes(9000)
		g.Write(path, data, longAgo)
		a, file := g.archiver(), g.file(path)
		var res upload.Result
		check(t, interpose(func() { res = a.Archive(t.Context(), file) }, func(c call) verdict {
			if c.number == unix.SYS_INOTIFY_ADD_WATCH {
				return verdict{errno: errno}
			}
			return verdict{effect: true}
		}))
		if res.Outcome != outcome.Archived || !errors.Is(res.Err, errno) {
			t.Errorf("%s: %s %s (%v)", path, res.Outcome, res.Reason, res.Err)
		}
		g.mustRecall(path)
		g.mustRead(path, data)
	}
}
