package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/coldbrick/coldbrick/internal/objstore"
	"github.com/coldbrick/coldbrick/internal/report"
)

// probeHolds is how long a run goes by the probe of another one. In a bucket with
// Object Lock nobody can delete what a probe has written.
const probeHolds = 24 * time.Hour

// keptProbe is <state-dir>/probes/<account>.json: a probe that saw the store do all
// that coldbrick can make use of. Any other finding is not kept.
type keptProbe struct {
	Version   int       `json:"v"`
	Coldbrick string    `json:"coldbrick"` // the version that probed: another one may ask for more
	Time      time.Time `json:"time"`
}

const keptProbeVersion = 1

// probes are what is kept of them, and by which version of this program.
type probes struct {
	dir, build string
	log        *slog.Logger
}

func (s *Session) probes() probes {
	return probes{filepath.Join(s.StateDir, "probes"), s.Build, s.Log}
}

// prove makes sure that it is known what the store can be relied on for. What was
// kept holds only while the store still leaves taken keys alone.
func (k probes) prove(ctx context.Context, store objstore.Store) error {
	p, ok := store.(objstore.Prober)
	if !ok {
		return nil
	}
	file, err := k.file(ctx, p)
	if err != nil {
		return err
	}
	if probeKept(file, k.build, time.Now()) && p.Reuse(ctx) {
		return nil
	}
	_, err = k.probe(ctx, p)
	return err
}

// probe asks the store anew, and keeps the answer for the runs of the next day.
func (k probes) probe(ctx context.Context, p objstore.Prober) (objstore.Capabilities, error) {
	file, err := k.file(ctx, p)
	if err != nil {
		return objstore.Capabilities{}, err
	}
	able, err := p.Probe(ctx)
	if err == nil && able.Proven() {
		if err := keepProbe(file, k.build, time.Now()); err != nil {
			k.log.Warn("the next run has to probe the store again", "err", err)
		}
		return able, nil
	}
	if forgotten := os.Remove(file); !errors.Is(forgotten, fs.ErrNotExist) { // what was good may be so no more
		err = errors.Join(err, forgotten)
	}
	return able, err
}

// file is where the probe of this store is kept.
func (k probes) file(ctx context.Context, p objstore.Prober) (string, error) {
	account, err := p.Account(ctx)
	return filepath.Join(k.dir, account+".json"), err
}

// probeKept reports whether a probe is kept that still holds. One from the future
// does not: a clock was wrong, and nobody knows when it was made.
func probeKept(file, build string, now time.Time) bool {
	text, err := os.ReadFile(file)
	if err != nil {
		return false
	}
	var kept keptProbe
	if json.Unmarshal(text, &kept) != nil || kept.Version != keptProbeVersion || kept.Coldbrick != build {
		return false
	}
	age := now.Sub(kept.Time)
	return age >= 0 && age < probeHolds
}

// keepProbe makes probeKept true from now on.
func keepProbe(file, build string, now time.Time) error {
	text, err := json.Marshal(keptProbe{keptProbeVersion, build, now.UTC()})
	if err == nil {
		err = os.MkdirAll(filepath.Dir(file), 0o700)
	}
	if err == nil {
		err = report.ReplaceFile(file, append(text, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("keep the probe: %w", err)
	}
	return nil
}
