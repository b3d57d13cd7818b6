package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/owner"
	"github.com/coldbrick/coldbrick/internal/volume"
)

// brickLock keeps other runs of this host away from a brick. The kernel frees
// it when its owner dies, so no lock is ever stale; what the file says of the
// owner is for the message alone. Runs on other hosts, or with another
// --state-dir, are harmless: they do work twice, never wrongly.
type brickLock struct{ file *os.File }

// holder is what a lock file says.
type holder struct {
	Brick string      `json:"brick"`
	Since time.Time   `json:"since"`
	Owner owner.Owner `json:"owner"`
}

// lockBrick takes the lock of a brick, or waits for it. The brick is known by
// its root directory, not by one of the names that lead there.
func lockBrick(ctx context.Context, stateDir string, brick *volume.Brick, self owner.Owner, wait time.Duration) (*brickLock, error) {
	var st unix.Stat_t
	if err := unix.Fstat(brick.Fd(), &st); err != nil {
		return nil, fmt.Errorf("lock %s: %w", brick.Dir(), err)
	}
	dir := filepath.Join(stateDir, "locks")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	path := filepath.Join(dir, fmt.Sprintf("brick-%x-%d", st.Dev, st.Ino))
	// The file stays when the run ends: were it removed, two runs could each
	// hold a lock of the same name.
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	l := &brickLock{file}
	if err := l.take(ctx, wait); err != nil {
		if errors.Is(err, ErrLocked) {
			err = fmt.Errorf("brick %s: %w%s", brick.Dir(), err, l.heldBy())
		}
		file.Close()
		return nil, err
	}
	note, err := json.Marshal(holder{brick.Dir(), time.Now().UTC(), self})
	if err == nil {
		err = errors.Join(file.Truncate(0), writeAt(file, append(note, '\n')))
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("lock: %w", err)
	}
	return l, nil
}

func writeAt(file *os.File, b []byte) error {
	_, err := file.WriteAt(b, 0)
	return err
}

func (l *brickLock) take(ctx context.Context, wait time.Duration) error {
	const pause = 200 * time.Millisecond
	deadline := time.Now().Add(wait)
	for {
		err := unix.Flock(int(l.file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, unix.EWOULDBLOCK):
			return fmt.Errorf("lock %s: %w", l.file.Name(), err)
		case !time.Now().Before(deadline):
			return ErrLocked
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(min(pause, time.Until(deadline))):
		}
	}
}

// heldBy tells who has the lock, as far as the file says.
func (l *brickLock) heldBy() string {
	const most = 4096
	b := make([]byte, most)
	n, err := l.file.ReadAt(b, 0)
	var h holder
	if err != nil && !errors.Is(err, io.EOF) || json.Unmarshal(b[:n], &h) != nil {
		return ""
	}
	return fmt.Sprintf(" (process %d, since %s)", h.Owner.PID, h.Since.Local().Format(time.DateTime))
}

// release lets the next run in.
func (l *brickLock) release() error { return l.file.Close() }
