package translator

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
)

// board is the root of a volume with so much room, and all that was written to it.
type board struct {
	mu     sync.Mutex
	room   int
	state  error // ErrRootGone, or why no request succeeds
	early  bool  // the bricks are not there yet
	silent bool  // no request is answered
	attrs  map[string][]byte
	writes int // of vouches
}

func (s *board) Ready() (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if errors.Is(s.state, ErrRootGone) {
		return false, s.state
	}
	return !s.early, nil
}

func (s *board) ask(ctx context.Context, do func() error) error {
	s.mu.Lock()
	if s.silent {
		s.mu.Unlock()
		<-ctx.Done()
		return ctx.Err()
	}
	defer s.mu.Unlock()
	if s.state != nil {
		return s.state
	}
	return do()
}

func (s *board) Xattr(ctx context.Context, name string) (value []byte, err error) {
	err = s.ask(ctx, func() error {
		var ok bool
		if value, ok = s.attrs[name]; !ok {
			return unix.ENODATA
		}
		return nil
	})
	return value, err
}

func (s *board) SetXattr(ctx context.Context, name string, value []byte) error {
	return s.ask(ctx, func() error {
		used := len(value)
		for other, v := range s.attrs {
			if other != name {
				used += len(v)
			}
		}
		if used > s.room {
			return unix.ENOSPC
		}
		if strings.HasPrefix(name, gluster.XattrVouch) {
			s.writes++
		}
		s.attrs[name] = value
		return nil
	})
}

func (s *board) RemoveXattr(ctx context.Context, name string) error {
	return s.ask(ctx, func() error {
		if _, ok := s.attrs[name]; !ok {
			return unix.ENODATA
		}
		delete(s.attrs, name)
		return nil
	})
}

func (s *board) change(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do()
}

var here = netip.MustParseAddr("10.0.0.7")

// on is the time of the vouch for this host, as a server reads it, and the number of
// writes so far.
func (s *board) on(t *testing.T) (at time.Time, writes int) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	v, err := gluster.ParseVouch(s.attrs[gluster.VouchName(here)])
	if err == nil && (v.Guard != "1" || v.Glusterfs != "10.3") {
		t.Errorf("%+v", v)
	}
	if _, left := s.attrs[gluster.XattrRoom]; left {
		t.Error("the trial for room was left on the root")
	}
	return v.Time, s.writes
}

// vouching runs a voucher in a bubble of its own time.
func vouching(t *testing.T, s *board, do func(log *bytes.Buffer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		if s.attrs == nil {
			s.attrs = map[string][]byte{}
		}
		log := &bytes.Buffer{}
		v := &Voucher{Root: s, Vouch: gluster.Vouch{Guard: "1", Glusterfs: "10.3"}, Log: slog.New(slog.NewTextHandler(log, nil)),
			Addresses: func() ([]netip.Addr, error) { return []netip.Addr{here}, nil }}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go v.Run(ctx)
		do(log)
	})
}

func wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestAVouchIsRenewedOnceADay(t *testing.T) {
	s := &board{room: 4 << 10, early: true}
	vouching(t, s, func(*bytes.Buffer) {
		wait(time.Hour) // a mount waits for its bricks
		s.change(func() { s.early = false })
		for day := range 10 {
			wait(24*time.Hour + time.Minute)
			if at, writes := s.on(t); time.Since(at) > 24*time.Hour || writes > day+2 {
				t.Fatalf("day %d: the vouch is of %v ago, written %d times", day, time.Since(at), writes)
			}
		}
	})
}

func TestClientsOfOneHostShareAVouch(t *testing.T) {
	s := &board{room: 4 << 10}
	for range 5 { // mounts of an hour, one after the other
		vouching(t, s, func(*bytes.Buffer) { wait(time.Hour) })
	}
	if _, writes := s.on(t); writes != 1 {
		t.Errorf("%d writes", writes)
	}
}

func TestAVouchOfTheFutureOrOfAnotherVersionIsReplaced(t *testing.T) {
	for _, old := range []gluster.Vouch{
		{Time: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC), Guard: "1", Glusterfs: "10.3"},
		{Time: time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), Guard: "1", Glusterfs: "9.6"}, // when bubbles begin
	} {
		s := &board{room: 4 << 10, attrs: map[string][]byte{gluster.VouchName(here): old.Encode()}}
		vouching(t, s, func(*bytes.Buffer) {
			wait(time.Minute)
			if at, writes := s.on(t); writes != 1 || time.Since(at) > time.Minute {
				t.Errorf("after %+v: %d writes, the vouch is of %v", old, writes, at)
			}
		})
	}
}

// The root needs attributes of Gluster's own, such as those that blame a replica.
func TestNoVouchTakesTheLastRoom(t *testing.T) {
	s := &board{room: rootRoom - 1}
	vouching(t, s, func(log *bytes.Buffer) {
		wait(24 * time.Hour)
		if at, writes := s.on(t); writes != 0 {
			t.Errorf("a vouch of %v", at)
		}
		if !strings.Contains(log.String(), "no room for the attributes of so many clients") {
			t.Errorf("the log does not tell: %s", log)
		}
	})
}

func TestAVouchFollowsWhenTheBricksAreBack(t *testing.T) {
	s := &board{room: 4 << 10, state: unix.ENOTCONN}
	vouching(t, s, func(log *bytes.Buffer) {
		wait(5 * time.Hour)
		if lines := strings.Count(log.String(), "\n"); lines == 0 || lines > 40 {
			t.Errorf("%d lines in the log: %s", lines, log)
		}
		s.change(func() { s.state, s.silent = nil, true })
		wait(5 * time.Hour)
		s.change(func() { s.silent = false })
		wait(15 * time.Minute)
		if _, writes := s.on(t); writes != 1 {
			t.Errorf("%d writes", writes)
		}
	})
}

func TestNobodyVouchesThroughAFormerGraph(t *testing.T) {
	s := &board{room: 4 << 10}
	vouching(t, s, func(*bytes.Buffer) {
		wait(time.Minute)
		s.change(func() { s.state = ErrRootGone })
		wait(2 * time.Hour)
		s.change(func() { s.state, s.attrs = nil, map[string][]byte{} })
		wait(48 * time.Hour)
		if _, writes := s.on(t); writes != 1 {
			t.Errorf("%d writes", writes)
		}
	})
}

func TestAClientIsKnownByTheAddressesItIsConnectedFrom(t *testing.T) {
	const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 0100007F:C001 01 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 0700000A:C0FC 0100000A:5E97 01 00000000:00000000 00:00000000 00000000     0        0 2 1 0 100 0 0 10 0
   2: 0700000A:C0FD 0200000A:5E97 01 00000000:00000000 00:00000000 00000000     0        0 3 1 0 100 0 0 10 0
   3: 0800000A:C0FE 0200000A:5E97 0A 00000000:00000000 00:00000000 00000000     0        0 4 1 0 100 0 0 10 0
   4: 0900000A:C0FF 0200000A:5E97 01 00000000:00000000 00:00000000 00000000     0        0 5 1 0 100 0 0 10 0
   5: B80D0120000000000000000007000000:C0FF B80D0120000000000000000001000000:5E97 01 0:0 0:0 0 0 0 6 1 0 100
   6: 0000000000000000FFFF00000700000A:C0FF 0000000000000000FFFF00000100000A:5E97 01 0:0 0:0 0 0 0 7 1 0 100
`
	own := map[string]bool{"1": true, "2": true, "3": true, "4": true, "6": true, "7": true}
	got, err := connectedFrom(strings.NewReader(table), own)
	if err != nil {
		t.Fatal(err)
	}
	got = foreign(got)
	if len(got) != 2 || got[0] != here || got[1] != netip.MustParseAddr("2001:db8::7") {
		t.Errorf("%v", got)
	}
}

func TestSomeAddressIsFound(t *testing.T) {
	if _, err := Addresses(); err != nil {
		t.Error(err)
	}
}
