package safety

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/recall"
	"github.com/coldbrick/coldbrick/upload"
)

// The owner of a stub may set any time: it comes back with it, and no other file's
// recall suffers.
func TestTimesThatUsersSetComeBack(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	for i, sec := range []int64{253402300800 /* year 10000 */, 13569465600 /* 2400 */, -5, -62135596801 /* before year 1 */, 1 << 40} {
		path := fmt.Sprintf("f%d", i)
		data := randomBytes(5000)
		g.Write(path, data, longAgo)
		g.mustArchive(path)
		times := []unix.Timespec{{Sec: sec, Nsec: 999999999}, {Sec: sec, Nsec: 1}}
		check(t, unix.UtimesNanoAt(unix.AT_FDCWD, g.Path(path), times, 0))
		g.mustRecall(path)
		var st unix.Stat_t
		check(t, unix.Stat(g.Path(path), &st)) // before a read moves the atime
		if st.Atim != times[0] || st.Mtim != times[1] {
			t.Errorf("%s: times %v and %v, were %v", path, st.Atim, st.Mtim, times)
		}
		g.mustRead(path, data)
	}
}

// A mistake of ours that one file brings to light is that file's alone.
func TestAPanicCostsOneFile(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	data := randomBytes(5000)
	for _, step := range upload.Steps() {
		if step == upload.StepVerify {
			break // the file is a stub from here on, and the next run looks at it again
		}
		path := "archive/" + string(step)
		g.Write(path, data, longAgo)
		a := g.archiver()
		a.At = func(s upload.Step, _ gluster.File) error {
			if s == step {
				panic("a mistake")
			}
			return nil
		}
		if res := a.Archive(t.Context(), g.file(path)); res.Outcome != outcome.Failed || res.Reason != outcome.InternalError {
			t.Errorf("%s: %+v", step, res)
		}
		g.mustBeUnmarked(path)
		g.mustRead(path, data)
	}
	g.Write("f", data, longAgo)
	g.mustArchive("f")
	for _, step := range recall.Plan(gluster.Remote, 0, false, false, false) {
		r := g.recaller()
		r.At = func(s recall.Step, _ string) error {
			if s == step {
				panic("a mistake")
			}
			return nil
		}
		if res := r.Recall(t.Context(), "f", gluster.GFID{}); res.Reason != outcome.InternalError {
			t.Errorf("%s: %+v", step, res)
		}
		g.mustRecallOrBeLocal("f")
		g.mustRead("f", data)
		g.mustArchive("f")
	}
}

func (g *ground) mustRecallOrBeLocal(path string) {
	g.t.Helper()
	if res := g.recall(path); res.Outcome != outcome.Recalled && res.Reason != outcome.AlreadyLocal {
		g.t.Errorf("%s: %+v", path, res)
	}
}

// refusesPaths is a store that takes no key but those that coldbrick makes up, and says
// so whatever it is asked.
type refusesPaths struct{ upload.Store }

func (s refusesPaths) refused(key string) error {
	if strings.HasPrefix(key, ".coldbrick/") {
		return nil
	}
	return object.ErrKey
}

func (s refusesPaths) Create(ctx context.Context, key string, body io.ReaderAt, size int64, metadata map[string]string) (object.Proof, error) {
	if err := s.refused(key); err != nil {
		return object.Proof{}, err
	}
	return s.Store.Create(ctx, key, body, size, metadata)
}

func (s refusesPaths) Head(ctx context.Context, key string) (object.Info, error) {
	if err := s.refused(key); err != nil {
		return object.Info{}, err
	}
	return s.Store.Head(ctx, key)
}

// A large file's key is looked for before it is uploaded, a small one's is not.
func TestAPathThatTheStoreRefusesGetsAKeyThatItTakes(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	for path, size := range map[string]int64{"small": 1000, "large": 64 << 20} {
		g.Write(path, make([]byte, size), longAgo)
		a := g.archiver()
		a.Store = refusesPaths{a.Store}
		if res := a.Archive(t.Context(), g.file(path)); res.Outcome != outcome.Archived || res.Key == path {
			t.Errorf("%s: %s %s under %q (%v)", path, res.Outcome, res.Reason, res.Key, res.Err)
		}
	}
}
