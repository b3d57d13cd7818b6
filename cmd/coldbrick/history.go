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
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/report"
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

// runOn is what metrics tell of the bricks of a run.
type runOn struct {
	name         string // the brick's directory, or volume:NAME
	bricks       []string
	free         int64 // bytes, before
	pluginLoaded bool
}

// freeBytes is the free space of the bricks' file systems.
func freeBytes(bricks []string) (int64, error) {
	free := int64(0)
	for _, dir := range bricks {
		var st unix.Statfs_t
		if err := unix.Statfs(dir, &st); err != nil {
			return 0, fmt.Errorf("free space of %s: %w", dir, err)
		}
		free += int64(st.Bavail) * st.Bsize
	}
	return free, nil
}

// writeMetrics tells monitoring of a run on a brick.
func (a *app) writeMetrics(s report.Summary, on runOn) error {
	name := on.name
	if !strings.HasPrefix(name, "volume:") {
		var err error
		if name, err = filepath.Abs(name); err != nil {
			return err
		}
	}
	sum := sha256.Sum256([]byte(name))
	path := filepath.Join(a.stateDir, "history", hex.EncodeToString(sum[:8])+".json")
	h := history{Brick: name}
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
	m := report.Metrics{Summary: s, Brick: name, Runs: h.Runs, LastSuccess: h.LastSuccess, FailingSince: h.FailingSince,
		FreeBefore: on.free, PluginLoaded: on.pluginLoaded}
	if m.FreeAfter, err = freeBytes(on.bricks); err != nil {
		return err
	}
	return m.WriteFile(a.metricsFile)
}
