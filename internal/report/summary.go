package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/coldbrick/coldbrick/internal/outcome"
)

// Summary ends the output of each run.
type Summary struct {
	Command  string
	DryRun   bool
	Aim      outcome.Outcome // what the command is for: named also when it is 0
	Outcome  string          // a stable word for ExitCode
	ExitCode int
	Totals   map[outcome.Result]outcome.Total
	Freed    int64 // bytes that bricks were seen to give back
	Started  time.Time
	Duration time.Duration
	EndedBy  string // the flag whose limit or goal ended the run, empty if none did
	Err      error  // why the run ended early, or not all is well
	Planned  bool   // it ended at a limit that the user had set, and nothing failed
}

// Of is the total of one outcome, whatever the reason.
func (s Summary) Of(o outcome.Outcome) outcome.Total { return outcome.Of(s.Totals, o) }

// reasons are those of one outcome, the most frequent first.
func (s Summary) reasons(o outcome.Outcome) []outcome.Reason {
	var reasons []outcome.Reason
	for r := range s.Totals {
		if r.Outcome == o && r.Reason != "" {
			reasons = append(reasons, r.Reason)
		}
	}
	slices.SortFunc(reasons, func(a, b outcome.Reason) int {
		return cmp.Or(cmp.Compare(s.Totals[outcome.Result{Outcome: o, Reason: b}].Files, s.Totals[outcome.Result{Outcome: o, Reason: a}].Files), cmp.Compare(a, b))
	})
	return reasons
}

// outcomes are the aim first, then the others; skipped and failed are last.
func (s Summary) outcomes() []outcome.Outcome {
	found := map[outcome.Outcome]bool{}
	for r := range s.Totals {
		found[r.Outcome] = true
	}
	if s.Aim != "" {
		found[s.Aim] = true
	}
	rank := map[outcome.Outcome]int{s.Aim: -1, outcome.Skipped: 1, outcome.Failed: 2}
	return slices.SortedFunc(maps.Keys(found), func(a, b outcome.Outcome) int {
		return cmp.Or(cmp.Compare(rank[a], rank[b]), cmp.Compare(a, b))
	})
}

// line is, for example, "archived 12 files, 4.2 GiB, freed 4.2 GiB, 1.3 GiB/s, 3.2s;
// skipped 300 (too-warm 290, hard-linked 10); failed 1".
func (s Summary) line() (string, audience) {
	var parts []string
	for i, o := range s.outcomes() {
		n := s.Of(o)
		part := fmt.Sprintf("%s %s", s.verb(o), number(n.Files))
		if i == 0 {
			part = fmt.Sprintf("%s %s", s.verb(o), Count(n.Files, "file"))
		}
		if n.Bytes > 0 && o != outcome.Skipped && o != outcome.Failed {
			part += ", " + Bytes(n.Bytes)
			if i == 0 && s.frees() {
				part += ", freed " + Bytes(s.Freed)
			}
			if i == 0 && s.moves() && s.Duration > 0 {
				part += ", " + Bytes(int64(float64(n.Bytes)/s.Duration.Seconds())) + "/s"
			}
		}
		if i == 0 {
			part += ", " + took(s.Duration)
		}
		var why []string
		for _, r := range s.reasons(o) {
			why = append(why, fmt.Sprintf("%s %s", r, number(s.Totals[outcome.Result{Outcome: o, Reason: r}].Files)))
		}
		if len(why) > 0 {
			part += " (" + strings.Join(why, ", ") + ")"
		}
		parts = append(parts, part)
	}
	if len(parts) == 0 {
		parts = append(parts, took(s.Duration))
	}
	if s.ExitCode == 0 && s.EndedBy != "" { // else the error says it
		parts = append(parts, "--"+s.EndedBy+" reached")
	}
	to := epilogue
	if s.ExitCode != 0 && !s.Planned {
		to = trouble
	}
	return strings.Join(parts, "; "), to
}

// moves reports whether the command moves data, so that its bytes have a rate.
func (s Summary) moves() bool {
	return s.Command != "release" && (s.Aim == outcome.Archived || s.Aim == outcome.Copied || s.Aim == outcome.Recalled)
}

// frees reports whether the command makes room on bricks.
func (s Summary) frees() bool { return s.Aim == outcome.Archived }

func (s Summary) verb(o outcome.Outcome) string {
	switch {
	case o == outcome.Candidate && s.DryRun && s.Command == "release":
		return "would release"
	case o == outcome.Candidate && s.DryRun:
		return "would archive"
	case o == outcome.Rebuilt && s.DryRun:
		return "would rebuild"
	case o == outcome.Candidate:
		return "found cold"
	}
	return string(o)
}

// took writes a duration for people: "3.2s", "1h2m3s".
func took(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return d.Round(time.Second).String()
}

// MarshalJSON gives the summary record.
func (s Summary) MarshalJSON() ([]byte, error) {
	files, bytes := map[outcome.Outcome]int64{}, map[outcome.Outcome]int64{}
	for _, o := range s.outcomes() {
		n := s.Of(o)
		files[o], bytes[o] = n.Files, n.Bytes
	}
	by := func(o outcome.Outcome) map[outcome.Reason]int64 {
		counts := map[outcome.Reason]int64{}
		for _, r := range s.reasons(o) {
			counts[r] = s.Totals[outcome.Result{Outcome: o, Reason: r}].Files
		}
		return counts
	}
	var freed *int64
	if s.frees() {
		freed = &s.Freed
	}
	return marshal(struct {
		Type     string                    `json:"type"`
		Command  string                    `json:"command"`
		DryRun   bool                      `json:"dry_run,omitempty"`
		Outcome  string                    `json:"outcome"`
		Files    map[outcome.Outcome]int64 `json:"files"`
		Bytes    map[outcome.Outcome]int64 `json:"bytes"`
		Freed    *int64                    `json:"freed_bytes,omitempty"`
		Skipped  map[outcome.Reason]int64  `json:"skipped"`
		Failed   map[outcome.Reason]int64  `json:"failed"`
		Started  string                    `json:"started"`
		Seconds  float64                   `json:"duration_seconds"`
		ExitCode int                       `json:"exit_code"`
		EndedBy  string                    `json:"ended_by,omitempty"`
		Error    string                    `json:"error,omitempty"`
	}{"summary", s.Command, s.DryRun, s.Outcome, files, bytes, freed, by(outcome.Skipped), by(outcome.Failed),
		timestamp(s.Started), s.Duration.Seconds(), s.ExitCode, s.EndedBy, message(s.Err)})
}
