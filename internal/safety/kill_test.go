package safety

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/copied"
	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore/s3"
	"github.com/coldbrick/coldbrick/internal/owner"
	"github.com/coldbrick/coldbrick/internal/record"
	"github.com/coldbrick/coldbrick/internal/volume"
	"github.com/coldbrick/coldbrick/recall"
	"github.com/coldbrick/coldbrick/upload"
)

// victimEnv carries an order to a process of this test binary that is to die.
const victimEnv = "COLDBRICK_TEST_VICTIM"

// order tells a victim what to do, and before which step to die.
type order struct {
	Archive upload.Step // one of them
	Recall  recall.Step
	Verb    string // of the archive
	Stop    bool   // do not die there, but go on once somebody continues the process
	File    gluster.File
	Rebuild *rebuilding // instead of these

	MountDir, BrickDir, RunDir, StateDir, Volume string
	Store                                        map[string]string
}

func TestMain(m *testing.M) {
	if text := os.Getenv(victimEnv); text != "" {
		panic(fmt.Errorf("the victim lives: %w", victim([]byte(text))))
	}
	m.Run()
}

// victim is a whole process of coldbrick, with mounts of its own, for one file.
// It does not return if all goes as the order says.
func victim(text []byte) error {
	var o order
	if err := json.Unmarshal(text, &o); err != nil {
		return err
	}
	ctx := context.Background()
	if o.Rebuild != nil {
		return o.Rebuild.run(ctx)
	}
	mount, err := volume.Inspect(o.MountDir)
	if err != nil {
		return err
	}
	mount.RunDir = o.RunDir
	stamping, err := mount.Private(ctx, volume.ForStamping)
	if err != nil {
		return err
	}
	self, err := owner.Self(object.NewID())
	if err != nil {
		return err
	}
	store := &s3.Store{}
	if err := store.Init(ctx, o.Store); err != nil {
		return err
	}
	die := func() error {
		if o.Stop {
			// By a signal to this very thread: it executes nothing more before.
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			return unix.Tgkill(os.Getpid(), unix.Gettid(), unix.SIGSTOP)
		}
		return syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
	brick, err := volume.OpenBrick(o.BrickDir)
	if err != nil {
		return err
	}
	index, err := copied.Open(filepath.Join(o.StateDir, "copied"), brick)
	if err != nil {
		return err
	}
	if o.Recall != "" {
		files, err := mount.Private(ctx, volume.ForRecall)
		if err != nil {
			return err
		}
		r := &recall.Recaller{
			Files: files, Barrier: stamping, Plugin: store, Owner: self, Volume: o.Volume, BarrierLimit: time.Minute,
			Copies: []recall.Copies{{Brick: brick, Index: index}},
			At: func(step recall.Step, _ string) error {
				if step == o.Recall {
					return die()
				}
				return nil
			},
		}
		if replicas := mount.Replicas(false); replicas != nil {
			r.Replicas = replicas
		}
		return fmt.Errorf("%+v", r.Recall(ctx, o.File.Path, o.File.GFID))
	}
	log, err := record.Create(filepath.Join(o.StateDir, "runs"), self, o.BrickDir)
	if err != nil {
		return err
	}
	if _, err := store.Probe(ctx); err != nil {
		return err
	}
	a := &upload.Archiver{
		Mount: stamping, Brick: brick, Store: store, Log: log, Owner: self, Volume: o.Volume,
		ColdBefore: time.Now().Add(-5 * time.Second),
		At: func(step upload.Step, _ gluster.File) error {
			if step == o.Archive {
				return die()
			}
			return nil
		},
	}
	if a.Keep, a.Release = o.Verb == keeping, o.Verb == releasing; o.Verb != archiving {
		a.Index = index
	}
	return fmt.Errorf("%+v", a.Archive(ctx, o.File))
}

// victim is the command of a victim of this subject.
func (s *subject) victim(ctx context.Context, o order) (*exec.Cmd, error) {
	o.File = gluster.File{Path: s.path, GFID: s.gfid, Size: int64(len(s.data)), Mtime: s.mtime}
	o.MountDir, o.BrickDir, o.Volume = s.MountDir(), s.BrickDir(), s.ID
	o.RunDir, o.StateDir = filepath.Join(s.Dir(), "run", "coldbrick"), s.StateDir
	o.Store = s.storeOptions()
	text, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), victimEnv+"="+string(text))
	return cmd, nil
}

// kill starts a victim and sees it die by its own hand.
func (s *subject) kill(o order) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute) // it hangs
	defer cancel()
	cmd, err := s.victim(ctx, o)
	if err != nil {
		return err
	}
	var out strings.Builder
	cmd.Stderr = &out
	err = cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != unix.SIGKILL || ctx.Err() != nil {
		return errors.Join(errors.New("the victim was not killed: "+out.String()), err)
	}
	return s.unlocked()
}

// unlocked waits until every brick has dropped the lock of a process that ended. A
// mount asks one replica who holds it, and takes it on all.
func (s *subject) unlocked() error {
	f, err := s.Files.OpenRegularRDWR(s.path)
	if err != nil {
		return err
	}
	defer f.Close() // nothing was written
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		if err = volume.Lock(f); err == nil || time.Now().After(end) {
			break
		}
	}
	if err != nil {
		return err
	}
	return volume.Unlock(f)
}

// TestAKillAtAnyStepLosesNothing kills whole processes, which have their own
// mounts, before each step.
func TestAKillAtAnyStepLosesNothing(t *testing.T) {
	t.Parallel()
	bricks := onXFSAndExt4(t)
	archives, recalls := archiveStarts(), slices.DeleteFunc(recallStarts(), func(st *start[recall.Step]) bool { return st.again })
	recalls = append(recalls, &start[recall.Step]{
		name: "half written by a process that was killed", size: single,
		prepare: func(s *subject) error {
			if err := s.archived(); err != nil {
				return err
			}
			return s.kill(order{Recall: recall.StepTimes})
		},
	})
	learnSteps(t, bricks[0], archives, recalls)

	var cells []cell
	for _, st := range archives {
		for _, step := range st.steps {
			p := bricks.of(len(cells))
			cells = append(cells, cell{"archive " + string(step), "kill -9", st.name, func() error {
				return killCell(p, st, order{Archive: step, Verb: st.verb}, (*subject).archiveSettles)
			}})
		}
	}
	for _, st := range recalls {
		for _, step := range st.steps {
			p := bricks.of(len(cells))
			cells = append(cells, cell{"recall " + string(step), "kill -9", st.name, func() error {
				return killCell(p, st, order{Recall: step}, (*subject).recallSettles)
			}})
		}
	}
	runCells(t, "step × kill -9", atOnce, cells)
}

func killCell[S ~string](p *proving, st *start[S], o order, settles func(*subject) error) error {
	s, err := st.subject(p)
	if err != nil {
		return err
	}
	if err := s.kill(o); err != nil {
		return err
	}
	return settles(s)
}
