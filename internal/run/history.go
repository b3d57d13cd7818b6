package run

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

	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/owner"
	"github.com/coldbrick/coldbrick/internal/report"
	"github.com/coldbrick/coldbrick/internal/volume"
)

// history is what is remembered of the runs on one brick, or on the bricks of
// volume:NAME, for people and for monitoring. Nothing that must not be lost
// depends on it.
type history struct {
	Name         string                            `json:"brick"`
	Runs         int64                             `json:"runs"`
	Done         map[outcome.Outcome]outcome.Total `json:"done,omitempty"` // by all runs
	LastSuccess  time.Time                         `json:"last_success,omitzero"`
	FailingSince time.Time                         `json:"failing_since,omitzero"`
	Recent       []pastRun                         `json:"recent,omitempty"` // of a brick, oldest first
}

// mostRecent is how many runs are remembered one by one.
const mostRecent = 10

// pastRun is one run on one brick. Of one that never came to its end, only the
// owner and the beginning are known.
type pastRun struct {
	Owner     *owner.Owner  `json:"owner,omitempty"`
	Started   time.Time     `json:"started"`
	Ended     time.Time     `json:"ended,omitzero"`
	Outcome   string        `json:"outcome,omitempty"`
	Archived  outcome.Total `json:"archived,omitzero"`
	Failed    int64         `json:"failed,omitempty"`
	FreeAfter int64         `json:"free_after,omitempty"` // bytes
}

// add counts a run and what it did. One that the user's own limits ended did not fail.
func (h *history) add(end End, ended time.Time, totals map[outcome.Result]outcome.Total) {
	h.Runs++
	if h.Done == nil {
		h.Done = map[outcome.Outcome]outcome.Total{}
	}
	for r, n := range totals {
		if r.Outcome != outcome.Skipped { // the same files, night after night
			n.Merge(h.Done[r.Outcome])
			h.Done[r.Outcome] = n
		}
	}
	switch end {
	case EndDone, EndBudget, EndTimeout:
		h.LastSuccess, h.FailingSince = ended, time.Time{}
	default:
		if h.FailingSince.IsZero() {
			h.FailingSince = ended
		}
	}
}

// note remembers a run, in place of what was known of it before.
func (h *history) note(r pastRun) {
	if last := len(h.Recent) - 1; last >= 0 && h.Recent[last].Started.Equal(r.Started) {
		h.Recent = h.Recent[:last]
	}
	h.Recent = append(h.Recent, r)
	h.Recent = h.Recent[max(0, len(h.Recent)-mostRecent):]
}

func historyFile(stateDir, name string) string {
	sum := sha256.Sum256([]byte(name))
	return filepath.Join(stateDir, "history", hex.EncodeToString(sum[:8])+".json")
}

// readHistory reads what is remembered of the brick at name, or of volume:NAME.
func readHistory(stateDir, name string) (history, error) {
	if !strings.HasPrefix(name, "volume:") {
		var err error
		if name, err = filepath.Abs(name); err != nil {
			return history{}, err
		}
	}
	h := history{Name: name}
	path := historyFile(stateDir, name)
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return h, nil
	case err != nil:
		return h, fmt.Errorf("history: %w", err)
	}
	if err := json.Unmarshal(b, &h); err != nil {
		return h, fmt.Errorf("history %s: %w", path, err)
	}
	return h, nil
}

// changeHistory changes what is remembered, and returns it.
func changeHistory(stateDir, name string, change func(*history)) (history, error) {
	h, err := readHistory(stateDir, name)
	if err != nil {
		return h, err
	}
	change(&h)
	b, err := json.Marshal(h)
	if err != nil {
		return h, err
	}
	path := historyFile(stateDir, h.Name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return h, fmt.Errorf("history: %w", err)
	}
	if err := report.ReplaceFile(path, append(b, '\n'), report.Readable); err != nil {
		return h, fmt.Errorf("history: %w", err)
	}
	return h, nil
}

// runOn is what a run leaves in history and metrics.
type runOn struct {
	name         string // the brick's directory, or volume:NAME
	bricks       []string
	before       space
	pluginLoaded bool
	noted        bool // in the history of a brick
}

// noteRun remembers that a run works on a brick, and how it ended once ended is
// called. The brick's lock is held.
func (s *Session) noteRun(self owner.Owner, brick *volume.Brick) (ended func(error)) {
	s.on.noted = true
	before := report.Summary{Totals: s.tally.Totals()} // of this run's other bricks
	r := pastRun{Owner: &self, Started: time.Now().UTC()}
	note := func() {
		if _, err := changeHistory(s.StateDir, brick.Dir(), func(h *history) { h.note(r) }); err != nil {
			s.Log.Warn("a run is missing in the history", "err", err)
		}
	}
	note()
	return func(err error) {
		all := report.Summary{Totals: s.tally.Totals()}
		r.Ended = time.Now().UTC()
		r.Archived = all.Of(outcome.Archived).Minus(before.Of(outcome.Archived))
		r.Failed = all.Of(outcome.Failed).Minus(before.Of(outcome.Failed)).Files
		r.Outcome = string(EndOf(verdict(err, r.Failed)))
		if room, err := spaceOf(brick.Dir()); err == nil {
			r.FreeAfter = room.free
		}
		note()
	}
}

// remember counts a run that has ended, and writes the metrics.
func (s *Session) remember(sum report.Summary, end End, on runOn) error {
	after, err := spaceOf(on.bricks...)
	if err != nil {
		return err
	}
	ended := sum.Started.Add(sum.Duration)
	h, err := changeHistory(s.StateDir, on.name, func(h *history) {
		h.add(end, ended, sum.Totals)
		if !on.noted {
			h.note(pastRun{Started: sum.Started, Ended: ended, Outcome: sum.Outcome, FreeAfter: after.free})
		}
	})
	if err != nil || s.MetricsFile == "" {
		return err
	}
	return report.Metrics{
		Summary: sum, Brick: h.Name, Runs: h.Runs, Done: h.Done, LastSuccess: h.LastSuccess, FailingSince: h.FailingSince,
		BrickSize: after.size, FreeBefore: on.before.free, FreeAfter: after.free, PluginLoaded: on.pluginLoaded,
	}.WriteFile(s.MetricsFile)
}
