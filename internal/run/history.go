package run

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/owner"
	"github.com/coldbrick/coldbrick/internal/report"
)

// history is what is remembered of the runs on one brick, or on the bricks of
// volume:NAME, for people and for monitoring. Nothing that must not be lost
// depends on it.
type history struct {
	report.Metrics
	Since   time.Time `json:"since,omitzero"`    // when a run first archived something
	Nights  []pastRun `json:"recent,omitempty"`  // of archive and release, oldest first
	Recalls []pastRun `json:"recalls,omitempty"` // by command, oldest first
	Files   int64     `json:"files,omitempty"`   // on the brick, by the last look at all of it
	Cold    *cold     `json:"cold,omitempty"`    // nil: nobody has looked
}

// mostRecent is how many runs are remembered one by one: a month of nights.
const mostRecent = 31

// pastRun is one run. Of one that never came to its end, only its beginning is known.
type pastRun struct {
	Command   string        `json:"command,omitempty"`
	Owner     *owner.Owner  `json:"owner,omitempty"`
	By        string        `json:"by,omitempty"` // who has logged in to start it
	Started   time.Time     `json:"started"`
	Ended     time.Time     `json:"ended,omitzero"`
	Outcome   string        `json:"outcome,omitempty"`
	ExitCode  int           `json:"exit_code,omitempty"`
	Error     string        `json:"error,omitempty"` // what kept the run from going on
	Archived  outcome.Total `json:"archived,omitzero"`
	Recalled  outcome.Total `json:"recalled,omitzero"`
	Failed    int64         `json:"failed,omitempty"`
	FreeAfter int64         `json:"free_after,omitempty"` // bytes
}

// keep remembers a run, in place of what was known of it before.
func keep(runs []pastRun, r pastRun) []pastRun {
	if known := slices.IndexFunc(runs, func(k pastRun) bool { return k.Started.Equal(r.Started) }); known >= 0 {
		runs[known] = r
		return runs
	}
	runs = append(runs, r)
	return runs[max(0, len(runs)-mostRecent):]
}

// command is what is remembered of one.
func (h *history) command(name string) *report.Command {
	if h.Commands == nil {
		h.Commands = map[string]*report.Command{}
	}
	if h.Commands[name] == nil {
		h.Commands[name] = &report.Command{}
	}
	return h.Commands[name]
}

// lasting are the outcomes that add up. Others find the same files each time.
var lasting = []outcome.Outcome{
	outcome.Archived, outcome.Copied, outcome.Recalled, outcome.Deleted, outcome.Rebuilt, outcome.Failed,
}

// count adds what was done since it was last counted.
func (h *history) count(command string, totals map[outcome.Result]outcome.Total) {
	c := h.command(command)
	for _, o := range lasting {
		n := outcome.Of(totals, o)
		if n == (outcome.Total{}) {
			continue
		}
		if c.Done == nil {
			c.Done = map[outcome.Outcome]outcome.Total{}
		}
		n.Merge(c.Done[o])
		c.Done[o] = n
		if o == outcome.Archived && h.Since.IsZero() {
			h.Since = time.Now().UTC()
		}
	}
}

// end counts a run that has ended. One that the user's own limits ended did not fail,
// nor did one that has found what it was to look for.
func (h *history) end(command string, last report.Command, end End) {
	c := h.command(command)
	c.Runs++
	c.Started, c.Ended, c.Took = last.Started, last.Ended, last.Took
	c.ExitCode, c.EndedBy, c.Totals = last.ExitCode, last.EndedBy, last.Totals
	c.Room, c.Findings = last.Room, last.Findings
	switch end {
	case EndDone, EndBudget, EndTimeout, EndProblems, EndAtRisk:
		c.LastSuccess, c.FailingSince = last.Ended, time.Time{}
	default:
		if c.FailingSince.IsZero() {
			c.FailingSince = last.Ended
		}
	}
}

// aboutOf is what a run is remembered with: the brick named, or else the volume.
func (s *Session) aboutOf(named []string) string {
	if len(named) > 0 {
		return named[0]
	}
	return ofVolume + s.Volume
}

func historyID(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:8])
}

func historyDir(stateDir string) string { return filepath.Join(stateDir, "history") }

const ofVolume = "volume:"

// memoryName is the name by which a brick, or volume:NAME, is remembered.
func memoryName(name string) string {
	if strings.HasPrefix(name, ofVolume) {
		return name
	}
	if abs, err := filepath.Abs(name); err == nil {
		return abs
	}
	return name
}

// readHistory reads what is remembered of the brick at name, or of volume:NAME. What a
// power failure has left half written is forgotten.
func (s *Session) readHistory(name string) (history, error) {
	name = memoryName(name)
	empty := history{Metrics: report.Metrics{Brick: name}}
	path := filepath.Join(historyDir(s.StateDir), historyID(name)+".json")
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return empty, nil
	case err != nil:
		return empty, fmt.Errorf("history: %w", err)
	}
	h := empty
	if err := json.Unmarshal(b, &h); err != nil {
		s.Log.Warn("a history that cannot be read begins anew", "path", path, "err", err)
		return empty, nil
	}
	return h, nil
}

// historyPatience bounds the wait for another process that writes the history: one
// that is stopped there must not stop this one.
const historyPatience = 5 * time.Second

// remember changes what is remembered of a brick, or of volume:NAME, and writes its
// metrics. That it cannot does not make the run worse.
func (s *Session) remember(name string, change func(*history)) {
	if err := s.tryRemember(memoryName(name), change); err != nil {
		s.Log.Warn("no history or metrics written", "err", err)
	}
}

func (s *Session) tryRemember(name string, change func(*history)) (err error) {
	dir := historyDir(s.StateDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("history: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("history: %w", err)
	}
	lock := &brickLock{file} // held for milliseconds
	defer func() { err = errors.Join(err, lock.release()) }()
	if err := lock.take(context.Background(), historyPatience); err != nil {
		return fmt.Errorf("history: another process is writing it: %w", err)
	}
	h, err := s.readHistory(name)
	if err != nil {
		return err
	}
	h.Volume = cmp.Or(s.Volume, s.Target.Volume, h.Volume)
	change(&h)
	b, err := json.Marshal(h)
	if err != nil {
		return err
	}
	if err := report.ReplaceFile(filepath.Join(dir, historyID(name)+".json"), append(b, '\n'), report.Readable); err != nil {
		return fmt.Errorf("history: %w", err)
	}
	return s.writeMetrics(h)
}

// writeMetrics writes those of a brick, or of volume:NAME: into a directory as a file
// of their own, which no other process writes with less knowledge, or into the one
// file of this run, together with all that the run has changed.
func (s *Session) writeMetrics(h history) error {
	if s.MetricsFile == "" || h.Commands == nil {
		return nil
	}
	if info, err := os.Stat(s.MetricsFile); err == nil && info.IsDir() {
		return report.WriteMetrics(filepath.Join(s.MetricsFile, "coldbrick-"+historyID(h.Brick)+".prom"), &h.Metrics)
	}
	if s.metrics == nil {
		s.metrics = map[string]*report.Metrics{}
	}
	s.metrics[h.Brick] = &h.Metrics
	var all []*report.Metrics
	for _, name := range slices.Sorted(maps.Keys(s.metrics)) {
		all = append(all, s.metrics[name])
	}
	return report.WriteMetrics(s.MetricsFile, all...)
}

// part is the run of a command on one brick, as it is remembered.
type part struct {
	*Session
	command string
	brick   string
	run     pastRun
	room    *report.Room
	stubs   *report.Stubs // set by those who have counted them

	findings map[outcome.Severity]int64

	before  map[outcome.Result]outcome.Total // by this run on other bricks
	mu      sync.Mutex
	counted map[outcome.Result]outcome.Total
	ticking context.CancelFunc
}

// countEvery is how much of a run that is killed may miss in what adds up.
const countEvery = 15 * time.Second

// lockedBy is who has locked a brick, so that its run is one of the nights: two that
// ran at once would be told as one.
type lockedBy struct {
	owner.Owner
	pluginLoaded bool
}

// begin remembers that a command works on a brick; by is nil if it has not locked it.
func (s *Session) begin(command, dir string, by *lockedBy) *part {
	now := s.tally.Totals()
	p := &part{
		Session: s, command: command, brick: memoryName(dir), before: now, counted: now,
		run: pastRun{Command: command, Started: time.Now().UTC(), By: loggedIn()},
	}
	if by != nil {
		p.run.Owner = &by.Owner
		p.room = s.roomOf(dir, by.pluginLoaded)
	}
	s.parts = append(s.parts, p.brick)
	s.remember(p.brick, func(h *history) {
		h.command(command).Started = p.run.Started
		p.night(h)
	})
	var ticks context.Context
	ticks, p.ticking = context.WithCancel(context.Background())
	go func() {
		tick := time.NewTicker(countEvery)
		defer tick.Stop()
		for {
			select {
			case <-ticks.Done():
				return
			case <-tick.C:
				s.remember(p.brick, p.count)
			}
		}
	}()
	return p
}

// roomOf is nil if nobody knows.
func (s *Session) roomOf(dir string, pluginLoaded bool) *report.Room {
	room, err := spaceOf(dir)
	if err != nil {
		return nil
	}
	r := &report.Room{Size: room.size, Before: room.free, After: room.free, PluginLoaded: pluginLoaded}
	if !s.UntilFree.IsZero() {
		r.Goal = s.UntilFree.Of(room.size)
	}
	return r
}

// night is in the history if the run is one.
func (p *part) night(h *history) {
	if p.run.Owner != nil {
		h.Nights = keep(h.Nights, p.run)
	}
}

func (p *part) count(h *history) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.tally.Totals()
	h.count(p.command, outcome.Since(now, p.counted))
	p.counted = now
}

// end remembers how the part has ended.
func (p *part) end(err error) {
	p.ticking()
	totals := outcome.Since(p.tally.Totals(), p.before)
	failed := outcome.Of(totals, outcome.Failed).Files
	err = verdict(err, failed)
	p.run.ended(err, p.ExitCode(err))
	p.run.Archived, p.run.Failed = outcome.Of(totals, outcome.Archived), failed
	if p.room != nil {
		if room, err := spaceOf(p.brick); err == nil {
			p.room.After, p.run.FreeAfter = room.free, room.free
		}
	}
	p.remember(p.brick, func(h *history) {
		p.count(h)
		p.night(h)
		if p.stubs != nil {
			h.Stubs = p.stubs
		}
		if h.Cold != nil {
			h.Cold.less(p.run.Archived)
		}
		last := p.run.last(cmp.Or(limitOf(err), p.endedBy), totals)
		last.Room, last.Findings = p.room, p.findings
		h.end(p.command, last, EndOf(err))
	})
}

// ended is told of the run itself, with at most a few lines of its error.
func (r *pastRun) ended(err error, code int) {
	const most = 500
	r.Ended, r.Outcome, r.ExitCode = time.Now().UTC(), string(EndOf(err)), code
	if err != nil && !errors.Is(err, ErrSomeFailed) {
		r.Error = report.OneLine(strings.Join(strings.Fields(err.Error()), " ")) // refusals have a line for each check
		r.Error = strings.ToValidUTF8(r.Error[:min(len(r.Error), most)], "")
	}
}

func (r *pastRun) last(limit string, totals map[outcome.Result]outcome.Total) report.Command {
	return report.Command{
		Started: r.Started, Ended: r.Ended, Took: r.Ended.Sub(r.Started), ExitCode: r.ExitCode, EndedBy: limit, Totals: totals,
	}
}

// refused remembers that a brick was not worked on, and why.
func (s *Session) refused(command, dir string, err error) {
	if name := memoryName(dir); !slices.Contains(s.parts, name) {
		s.parts = append(s.parts, name)
		s.rememberEnd(command, name, err, true, nil)
	}
}

// conclude remembers the run of a command as a whole, unless all of it is remembered
// with its brick.
func (s *Session) conclude(command string, err error) {
	name := memoryName(s.about)
	if !slices.Contains(s.parts, name) {
		s.rememberEnd(command, name, err, len(s.parts) == 0, s.tally.Totals())
	}
}

// rememberEnd remembers how a run has ended; alone says that no part of it is
// remembered elsewhere. A slip of the hand makes nothing that was never heard of
// known, and who has found another run at work has not run.
func (s *Session) rememberEnd(command, name string, err error, alone bool, totals map[outcome.Result]outcome.Total) {
	if known, readErr := s.readHistory(name); EndOf(err) == EndUsage && (readErr != nil || known.Commands == nil) {
		return
	}
	r := pastRun{Command: command, Started: s.Started.UTC(), By: loggedIn(),
		Recalled: outcome.Of(totals, outcome.Recalled), Failed: outcome.Of(totals, outcome.Failed).Files}
	r.ended(err, s.ExitCode(err))
	s.remember(name, func(h *history) {
		switch command {
		case "archive", "release":
			if alone {
				h.Nights = keep(h.Nights, r)
			}
		case "recall":
			h.Recalls = keep(h.Recalls, r)
			h.count(command, totals)
		case "gc":
			h.count(command, totals)
		}
		if !errors.Is(err, ErrLocked) {
			h.end(command, r.last(cmp.Or(limitOf(err), s.endedBy), totals), EndOf(err))
		}
	})
}

// loggedIn is the user who has logged in to start this process, also by way of sudo;
// "" for one that cron or systemd has started.
func loggedIn() string {
	const nobody = "4294967295"
	id, err := os.ReadFile("/proc/self/loginuid")
	if uid := strings.TrimSpace(string(id)); err == nil && uid != nobody {
		if u, err := user.LookupId(uid); err == nil {
			return u.Username
		}
		return uid
	}
	return ""
}
