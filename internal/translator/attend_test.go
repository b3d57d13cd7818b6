package translator

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
)

// A brick that is away answers with ENOTCONN at once. The event thread must not
// wait for its return: the client would not connect before that thread is free.
func TestAStubIsMendedWhenItsBrickReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene()
		began := time.Now()
		s.brick.fail = func(op string) error {
			if away := time.Since(began) < time.Minute; away && op != "get "+gluster.XattrPointer {
				return unix.ENOTCONN
			}
			return nil
		}
		if _, err := s.recall(); err == nil || time.Since(began) > 0 {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		if s.brick.state() != gluster.Repair {
			t.Errorf("%s while the brick is away", s.brick.state())
		}
		if err := <-s.late; err != nil {
			t.Error(err)
		}
		if s.brick.state() != gluster.Remote || time.Since(began) > time.Minute+retryPause {
			t.Errorf("%s after %v", s.brick.state(), time.Since(began))
		}
	})
}

func TestABrickThatStaysAwayIsLeftToFsck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene()
		s.brick.fail = func(string) error { return unix.ENOTCONN }
		if _, err := s.recall(); err == nil {
			t.Error("recalled")
		}
		if err := <-s.late; !errors.Is(err, unix.ENOTCONN) {
			t.Error(err)
		}
	})
}

// An operation that was on its way when the brick died is answered only after
// the event thread has gone. So may be the first probe, while a pulled cable has
// not been noticed.
func TestAnOperationWithoutAnswerFreesTheEventThread(t *testing.T) {
	for _, noticed := range []time.Duration{0, 42 * time.Second} {
		t.Run(noticed.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScene()
				freed := make(chan struct{})
				var wrote atomic.Bool
				began := time.Now()
				s.brick.fail = func(op string) error {
					isFreed := false
					select {
					case <-freed:
						isFreed = true
					default:
					}
					switch {
					case op == "write" && wrote.CompareAndSwap(false, true):
						<-freed
						return unix.ENOTCONN
					case isFreed || !wrote.Load():
					case time.Since(began) < noticed:
						<-freed
						return unix.ENOTCONN
					default:
						return unix.ENOTCONN
					}
					return nil
				}
				if _, err := s.recall(); !errors.Is(err, errLost) {
					t.Errorf("error %v", err)
				}
				if took := time.Since(began); took > noticed+doubt+probeEvery+2*tick {
					t.Errorf("the event thread waited for %v", took)
				}
				close(freed)
				if err := <-s.late; err != nil {
					t.Error(err)
				}
				if s.brick.state() != gluster.Remote {
					t.Errorf("%s, %q", s.brick.state(), s.brick.xattrs)
				}
			})
		})
	}
}

// A sync of a large file takes minutes on a slow brick, and where one of several
// replicas is lost any operation does.
func TestASlowBrickIsNotALostOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene()
		s.brick.fail = func(op string) error {
			if op == "sync" || op == "write" {
				time.Sleep(30 * time.Minute)
			}
			return nil
		}
		if _, err := s.recall(); err != nil {
			t.Error(err)
		}
	})
}

// Success that comes after the translator was told of a failure would be undone
// by it: the file must become a stub, not half of a local file.
func TestLateSuccessIsUndone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene()
		var syncing atomic.Bool
		s.brick.fail = func(op string) error {
			if op == "sync" {
				syncing.Store(true)
				time.Sleep(time.Minute)
				syncing.Store(false)
			}
			if syncing.Load() { // the probe
				return unix.ENOTCONN
			}
			return nil
		}
		if _, err := s.recall(); !errors.Is(err, errLost) {
			t.Errorf("error %v", err)
		}
		if err := <-s.late; err != nil {
			t.Error(err)
		}
		if m := s.brick.marks(); s.brick.state() != gluster.Remote || !m.ObjectSize {
			t.Errorf("%s, %+v", s.brick.state(), m)
		}
	})
}

// When the answer to the last step is lost, another client may be recalling the
// file: another truncate would put zeros into what it has written.
func TestAnUncertainEndIsNotRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene()
		s.stub.Remote, s.noted = "no such object", false
		lost := false
		s.brick.fail = func(op string) error {
			if op == "remove "+gluster.XattrDownload && !lost {
				lost = true
				delete(s.brick.xattrs, gluster.XattrDownload) // done, and not told
				return unix.ENOTCONN
			}
			if lost {
				t.Errorf("%s after the end", op)
			}
			return nil
		}
		if _, err := s.recall(); err == nil {
			t.Error("recalled")
		}
	})
}

// What is done to a file after its graph has gone is done to memory that may be freed.
func TestTheEndOfAGraphEndsTheWaitForABrick(t *testing.T) {
	for name, end := range map[string]func(*Instance){
		"the instance's":   (*Instance).Close,
		"the graph's":      func(i *Instance) { i.End(false) },
		"told by a reader": func(i *Instance) { i.End(true) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScene()
				s.brick.fail = func(string) error { return unix.ENOTCONN }
				s.stub.File = s.brick
				i := NewInstance(NewStores(func() Store { return opened{bucket{"dir/f": s.object}} }), "",
					Settings{Bucket: "b", KeyID: "i", Secret: "s"})
				late := make(chan error, 1)
				if _, err := i.Recall(t.Context(), s.stub, func(err error) { late <- err }); err == nil {
					t.Error("recalled")
				}
				began := time.Now()
				end(i)
				if time.Since(began) > retryPause || len(late) == 0 || <-late == nil {
					t.Errorf("it took %v", time.Since(began))
				}
				s.brick.fail = func(op string) error {
					t.Errorf("%s after the end", op)
					return nil
				}
				time.Sleep(patience)
				s.brick.fail = nil
				_, err := i.Recall(t.Context(), s.stub, nil)
				if closed := name == "the instance's"; (err != nil) != closed {
					t.Errorf("another recall: %v", err)
				}
				time.Sleep(2 * idleStore)
			})
		})
	}
}

func TestCloseWaitsForWhatHasOutlivedItsGraph(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := NewInstance(NewStores(func() Store { return opened{bucket{}} }), "", Settings{Bucket: "b"})
		var ended atomic.Bool
		i.Begin(func(context.Context) {
			time.Sleep(closePatience + time.Second)
			ended.Store(true)
		})
		i.End(false)
		if ended.Load() {
			t.Error("the graph waited for longer than it may")
		}
		i.Close()
		if !ended.Load() {
			t.Error("the instance is gone, and a read is not")
		}
	})
}
