package outcome

// Verdict is how a check ended.
type Verdict string

// The verdicts. Only Bad keeps a run from beginning.
const (
	OK      Verdict = "ok"
	Warning Verdict = "warning"
	Bad     Verdict = "failed"
)

// Check is the answer to one question about a volume, mount, brick, host or store: a
// line of doctor, or a part of a refusal.
type Check struct {
	Name    string // a stable word
	Verdict Verdict
	Reason  string // what was seen, and what it leads to
	Fix     string // what to do, most often a command
}
