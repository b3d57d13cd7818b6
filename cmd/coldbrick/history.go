package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/report"
	"github.com/coldbrick/coldbrick/internal/volume"
)

// history is what is remembered of the runs on one brick, for monitoring alone.
type history struct {
	Brick        string    `json:"brick"`
	Runs         int64     `json:"runs"`
	LastSuccess  time.Time `json:"last_success,omitzero"`
	FailingSince time.Time `json:"failing_since,omitzero"`
}

// add counts a run. A run that the user's own limits ended did not fail.
func (h *history) add(code int, ended time.Time) {
	h.Runs++
	switch code {
	case 0, exitCode(errMaxFiles), exitCode(errMaxTime):
		h.LastSuccess, h.FailingSince = ended, time.Time{}
	default:
		if h.FailingSince.IsZero() {
			h.FailingSince = ended
		}
	}
}

// runOn is what metrics tell of the brick of a run.
type runOn struct {
	brick        string
	free         int64 // bytes, before
	pluginLoaded bool
}

// freeBytes is the free space of the brick's file system.
func freeBytes(b *volume.Brick) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(b.Fd(), &st); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", b.Dir(), err)
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// writeMetrics tells monitoring of a run on a brick.
func (a *app) writeMetrics(s report.Summary, on runOn) error {
	dir, err := filepath.Abs(on.brick)
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(dir))
	path := filepath.Join(a.stateDir, "history", hex.EncodeToString(sum[:8])+".json")
	h := history{Brick: dir}
	b, err := os.ReadFile(path)
	switch {
	case err == nil:
		if err := json.Unmarshal(b, &h); err != nil {
			return fmt.Errorf("history %s: %w", path, err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("history: %w", err)
	}
	h.add(s.ExitCode, s.Started.Add(s.Duration))
	if b, err = json.Marshal(h); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("history: %w", err)
	}
	if err := report.ReplaceFile(path, append(b, '\n')); err != nil {
		return fmt.Errorf("history: %w", err)
	}
	m := report.Metrics{Summary: s, Brick: dir, Runs: h.Runs, LastSuccess: h.LastSuccess, FailingSince: h.FailingSince,
		FreeBefore: on.free, PluginLoaded: on.pluginLoaded}
	if brick, err := volume.OpenBrick(dir); err == nil {
		m.FreeAfter, err = freeBytes(brick)
		if err := errors.Join(err, brick.Close()); err != nil {
			return err
		}
	}
	return m.WriteFile(a.metricsFile)
}
