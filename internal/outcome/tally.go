package outcome

import (
	"maps"
	"strings"
	"sync"
)

// Total counts files and their bytes.
type Total struct {
	Files int64 `json:"files"`
	Bytes int64 `json:"bytes"`
}

// Add counts one file of the given size in bytes.
func (t *Total) Add(bytes int64) { t.Merge(Total{1, bytes}) }

// Merge counts what another total has counted.
func (t *Total) Merge(other Total) {
	t.Files += other.Files
	t.Bytes += other.Bytes
}

// Of is the total of one outcome, whatever the reason.
func Of(totals map[Result]Total, o Outcome) Total {
	var sum Total
	for r, n := range totals {
		if r.Outcome == o {
			sum.Merge(n)
		}
	}
	return sum
}

// Since is what has come to totals since they were earlier.
func Since(totals, earlier map[Result]Total) map[Result]Total {
	since := map[Result]Total{}
	for r, n := range totals {
		if n = n.Minus(earlier[r]); n != (Total{}) {
			since[r] = n
		}
	}
	return since
}

// Minus is what came to t since it was earlier.
func (t Total) Minus(earlier Total) Total {
	return Total{t.Files - earlier.Files, t.Bytes - earlier.Bytes}
}

// Result is what files are counted by.
type Result struct {
	Outcome Outcome
	Reason  Reason // empty for what was done
}

// MarshalText is the inverse of UnmarshalText: "skipped too-warm", "archived".
func (r Result) MarshalText() ([]byte, error) {
	return []byte(strings.TrimSuffix(string(r.Outcome)+" "+string(r.Reason), " ")), nil
}

// UnmarshalText reads what MarshalText has written.
func (r *Result) UnmarshalText(text []byte) error {
	o, reason, _ := strings.Cut(string(text), " ")
	*r = Result{Outcome(o), Reason(reason)}
	return nil
}

// Tally counts files by outcome and reason. It may be used by any number of
// goroutines; the zero value is ready.
type Tally struct {
	mu     sync.Mutex
	totals map[Result]Total
}

// Add counts one file of the given size in bytes.
func (t *Tally) Add(outcome Outcome, reason Reason, size int64) {
	t.AddTotal(Result{outcome, reason}, Total{1, size})
}

// AddTotal counts many files at once.
func (t *Tally) AddTotal(r Result, n Total) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.totals == nil {
		t.totals = map[Result]Total{}
	}
	n.Merge(t.totals[r])
	t.totals[r] = n
}

// Outcome is the total of one outcome, whatever the reason.
func (t *Tally) Outcome(o Outcome) Total {
	t.mu.Lock()
	defer t.mu.Unlock()
	return Of(t.totals, o)
}

// Totals is a copy of all totals.
func (t *Tally) Totals() map[Result]Total {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.totals)
}

// Take is the part of the totals with one outcome, which is counted no more.
func (t *Tally) Take(o Outcome) map[Result]Total {
	t.mu.Lock()
	defer t.mu.Unlock()
	taken := map[Result]Total{}
	for r, n := range t.totals {
		if r.Outcome == o {
			taken[r] = n
			delete(t.totals, r)
		}
	}
	return taken
}
