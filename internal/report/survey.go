package report

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/outcome"
)

// Survey is what report tells about one brick: what is cold there, and what the
// last runs have done. Add may be called by any number of goroutines.
type Survey struct {
	Brick     string
	Now       time.Time
	ColdAfter time.Duration
	Size      int64 // of the brick's file system, in bytes
	Free      int64
	Skipped   map[outcome.Result]outcome.Total // files that no policy about age can free
	Runs      []Run                            // oldest first

	Archived Archived
	Grace    time.Duration // how long a recalled file is left alone
	Budget   outcome.Total // of one run; 0: no limit

	mu          sync.Mutex
	all, cold   outcome.Total
	copied      outcome.Total // of what is cold: with an object that may still be theirs
	ages        [len(ageClasses)]outcome.Total
	directories map[string]*Directory // by path, at most mostDirectories
	others      Directory             // those that had to give way
}

// Archived is what of a brick is in the store.
type Archived struct {
	Stubs *Stubs        // nil: nobody has counted them
	Done  outcome.Total // by all runs
	Since time.Time     // the first of them; zero: none is known
}

// Run is a run that report tells about.
type Run struct {
	Command   string
	By        string // who had logged in to start it; "" for cron and systemd
	Started   time.Time
	Ended     time.Time // zero: it has not, or was killed
	Outcome   string    // as of a summary, or running, or died
	ExitCode  int
	Error     string // what kept it from going on
	Archived  outcome.Total
	Recalled  outcome.Total
	Failed    int64
	FreeAfter int64 // bytes; 0: not known
}

// well reports whether nobody needs to look at the run.
func (r Run) well() bool {
	return r.ExitCode == 0 && r.Failed == 0 && r.Outcome != "died" || r.Outcome == "budget" || r.Outcome == "timeout" || r.Outcome == "interrupted"
}

// end is the outcome with its exit code, where there is one.
func (r Run) end() string {
	if r.ExitCode == 0 {
		return r.Outcome
	}
	return fmt.Sprintf("%s (%d)", r.Outcome, r.ExitCode)
}

// why says in a line what was wrong with a run.
func (r Run) why() string {
	switch {
	case r.Error != "":
		return r.Error
	case r.Failed > 0:
		return Count(r.Failed, "file") + " failed"
	case r.Outcome == "died":
		return "it was killed, or its host has gone down"
	}
	return r.Outcome
}

// shownRuns is how many of the last runs are told one by one, whatever their outcome.
const shownRuns = 10

// last are the runs that are told one by one, the newest first.
func last(runs []Run) []Run {
	list := slices.Clone(runs[max(0, len(runs)-shownRuns):])
	slices.Reverse(list)
	return list
}

// Troubled are the runs that somebody should look at, the newest first.
func Troubled(runs []Run) []Run {
	var list []Run
	for _, r := range slices.Backward(runs) {
		if !r.well() {
			list = append(list, r)
		}
	}
	return list
}

// used is what the brick's file system holds, in bytes.
func (s *Survey) used() int64 { return max(s.Size-s.Free, 0) }

// archived says what is in the store, and how that is known.
func (a Archived) text(used int64, now time.Time) string {
	var b strings.Builder
	switch {
	case a.Stubs != nil:
		fmt.Fprintf(&b, "archived: %s, %s, %s of all data here (%s of %s, %s)", Count(a.Stubs.Files, "file"), Bytes(a.Stubs.Bytes),
			share(a.Stubs.Bytes, a.Stubs.Bytes+used), a.Stubs.By, local(a.Stubs.At), ago(a.Stubs.At, now))
	case a.Done.Files > 0:
		fmt.Fprintf(&b, "archived: %s, %s by all runs; what is in the store now is not known: no catalog or fsck has run", Count(a.Done.Files, "file"), Bytes(a.Done.Bytes))
	default:
		return "archived: nothing that is known of"
	}
	if !a.Since.IsZero() {
		fmt.Fprintf(&b, "; since %s", a.Since.Local().Format(time.DateOnly))
	}
	return b.String()
}

func local(t time.Time) string { return t.Local().Format("2006-01-02 15:04") }

// ago writes how long ago something was: "3 days ago", "today".
func ago(t, now time.Time) string {
	if d := now.Sub(t); d >= 48*time.Hour {
		return days(d) + " ago"
	}
	if local(t)[:10] == local(now)[:10] {
		return "today"
	}
	return "yesterday"
}

// whoRecalled says where the rest of it stands: a brick learns when a file came back, and
// not who read it.
const whoRecalled = "by which user's program, the log of each client says: grep msg=recalled /var/log/glusterfs/*.log"

// recalled are the files that were brought back lately, in whatever way, and that the
// policy does not leave out.
func (s *Survey) recalled() outcome.Total {
	return s.Skipped[outcome.Result{Outcome: outcome.Skipped, Reason: outcome.RecentlyRecalled}]
}

// next is what the next run can take, within its budget.
func (s *Survey) next() outcome.Total {
	n := s.cold
	if s.Budget.Files > 0 {
		n.Files = min(n.Files, s.Budget.Files)
	}
	if s.Budget.Bytes > 0 {
		n.Bytes = min(n.Bytes, s.Budget.Bytes)
	}
	return n
}

// rate is what one of the last runs has archived on average, in bytes; 0 if that is
// not known.
func (s *Survey) rate() int64 {
	const most = 7
	var sum, runs int64
	for _, r := range slices.Backward(s.Runs) {
		if r.Archived.Bytes > 0 && runs < most {
			sum, runs = sum+r.Archived.Bytes, runs+1
		}
	}
	if runs == 0 {
		return 0
	}
	return sum / runs
}

// limited reports whether the last run that archived something ended at a limit.
func (s *Survey) limited() bool {
	for _, r := range slices.Backward(s.Runs) {
		if r.Archived.Bytes > 0 {
			return r.Outcome == "budget" || r.Outcome == "timeout"
		}
	}
	return false
}

// plan says what the next run can take, and how many runs all that is cold needs.
func (s *Survey) plan() string {
	if s.cold.Files == 0 {
		return ""
	}
	n := s.next()
	text := fmt.Sprintf("next run: all of it, %s", Bytes(n.Bytes))
	if n != s.cold {
		text = fmt.Sprintf("next run: at most %s, %s (its budget)", Count(n.Files, "file"), Bytes(n.Bytes))
	}
	if rate := s.rate(); rate > 0 && (n != s.cold || s.limited()) { // else one run takes all of it
		if s.Budget.Bytes > 0 {
			rate = min(rate, s.Budget.Bytes)
		}
		text += fmt.Sprintf("; at today's rate, %s a run, all that is cold takes %s", Bytes(rate), Count((s.cold.Bytes+rate-1)/rate, "run"))
	}
	return text
}

// ahead says what of the cold files needs no upload any more.
func (s *Survey) ahead() string {
	if s.copied.Files == 0 {
		return ""
	}
	return fmt.Sprintf("of these copied already: %s, %s: release frees them without an upload, unless they have changed since",
		Count(s.copied.Files, "file"), Bytes(s.copied.Bytes))
}

// Directory is a top directory of the volume, and the part of it on the brick.
type Directory struct {
	Path string // "." for the files in the root itself
	All  outcome.Total
	Cold outcome.Total
}

// AgeClass is a range of ages in days.
type AgeClass struct {
	From, To int // To is excluded; 0: no end
	Name     string
}

var ageClasses = [...]AgeClass{
	{0, 30, "under 30 days"}, {30, 90, "30 to 90 days"}, {90, 180, "90 to 180 days"},
	{180, 365, "180 to 365 days"}, {365, 0, "365 days and more"},
}

const (
	// mostDirectories bounds the memory of a survey: a few MiB, were every top
	// directory's name as long as it can be.
	mostDirectories = 4096
	// topDirectories is how many are told one by one.
	topDirectories = 15
)

// Add counts a file that could be archived, if it were cold.
func (s *Survey) Add(f gluster.File) {
	age := s.Now.Sub(f.ColdSince)
	class := len(ageClasses) - 1
	for ; class > 0 && age < time.Duration(ageClasses[class].From)*24*time.Hour; class-- {
	}
	top, _, nested := strings.Cut(f.Path, "/")
	if !nested {
		top = "."
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	dir := s.directories[top]
	if dir == nil {
		if s.directories == nil {
			s.directories = map[string]*Directory{}
		}
		if len(s.directories) >= mostDirectories {
			s.forgetSmall()
		}
		dir = &Directory{Path: strings.Clone(top)} // not a part of the whole path
		s.directories[dir.Path] = dir
	}
	s.all.Add(f.Size)
	s.ages[class].Add(f.Size)
	dir.All.Add(f.Size)
	if age >= s.ColdAfter {
		s.cold.Add(f.Size)
		dir.Cold.Add(f.Size)
		if f.Copied {
			s.copied.Add(f.Size)
		}
	}
}

// forgetSmall makes room for further directories: the smaller half becomes part
// of the others.
func (s *Survey) forgetSmall() {
	for _, d := range s.sorted()[mostDirectories/2:] {
		s.others.merge(d)
		delete(s.directories, d.Path)
	}
}

// sorted are the directories, with the most cold bytes first.
func (s *Survey) sorted() []Directory {
	list := make([]Directory, 0, len(s.directories))
	for _, d := range s.directories {
		list = append(list, *d)
	}
	slices.SortFunc(list, func(a, b Directory) int {
		return cmp.Or(cmp.Compare(b.Cold.Bytes, a.Cold.Bytes), cmp.Compare(b.All.Bytes, a.All.Bytes), cmp.Compare(a.Path, b.Path))
	})
	return list
}

// top are the directories that are told one by one, and the sum of the others.
func (s *Survey) top() (list []Directory, others Directory) {
	list, others = s.sorted(), s.others
	if len(list) > topDirectories {
		for _, d := range list[topDirectories:] {
			others.merge(d)
		}
		list = list[:topDirectories]
	}
	return list, others
}

func (d *Directory) merge(other Directory) {
	d.All.Merge(other.All)
	d.Cold.Merge(other.Cold)
}

// line is a page for people.
func (s *Survey) line() (string, audience) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s, %s free (%.0f%%)\n", Quote(s.Brick), Bytes(s.Size), Bytes(s.Free), percent(s.Free, s.Size))
	fmt.Fprintf(&b, "%s\n", s.Archived.text(s.used(), s.Now))
	fmt.Fprintf(&b, "cold for %s: %s, %s would be freed: %.0f%% free then\n", days(s.ColdAfter),
		Count(s.cold.Files, "file"), Bytes(s.cold.Bytes), percent(min(s.Size, s.Free+s.cold.Bytes), s.Size))
	if text := s.ahead(); text != "" {
		b.WriteString(text + "\n")
	}
	if plan := s.plan(); plan != "" {
		b.WriteString(plan + "\n")
	}
	if n := s.recalled(); n.Files > 0 {
		fmt.Fprintf(&b, "recalled in the last %s, by readers or by command: %s, %s (%s)\n", days(s.Grace), Count(n.Files, "file"), Bytes(n.Bytes), whoRecalled)
	}
	b.WriteString("\n")
	var ages, directories, runs table
	ages.row("bytes", "files", "age")
	for i, n := range s.ages {
		ages.row(Bytes(n.Bytes), number(n.Files), ageClasses[i].Name)
	}
	ages.row(Bytes(s.all.Bytes), number(s.all.Files), "all that can be archived")
	ages.writeTo(&b)
	b.WriteString("\n")

	directories.row("cold bytes", "cold files", "all bytes", "all files", "directory")
	list, others := s.top()
	for _, d := range list {
		directories.row(Bytes(d.Cold.Bytes), number(d.Cold.Files), Bytes(d.All.Bytes), number(d.All.Files), Quote(d.Path))
	}
	if others.All.Files > 0 {
		directories.row(Bytes(others.Cold.Bytes), number(others.Cold.Files), Bytes(others.All.Bytes), number(others.All.Files), "(others)")
	}
	directories.writeTo(&b)
	why := (Summary{Totals: s.Skipped}).reasons(outcome.Skipped)
	if why = slices.DeleteFunc(why, func(r outcome.Reason) bool { return r == outcome.RecentlyRecalled }); len(why) > 0 {
		b.WriteString("\nleft alone whatever their age:")
		for i, r := range why {
			fmt.Fprintf(&b, "%s %s %s", strings.Repeat(",", min(i, 1)), r, number(s.Skipped[outcome.Result{Outcome: outcome.Skipped, Reason: r}].Files))
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
	if len(s.Runs) == 0 {
		b.WriteString("no run is remembered under --state-dir\n")
		return b.String(), page
	}
	runs.row("last runs", "took", "archived", "bytes", "failed", "free then", "outcome")
	for _, r := range last(s.Runs) {
		free := "-"
		if r.FreeAfter > 0 {
			free = Bytes(r.FreeAfter)
		}
		files, size, failed := number(r.Archived.Files), Bytes(r.Archived.Bytes), number(r.Failed)
		if r.Ended.IsZero() {
			files, size, failed = "-", "-", "-" // nobody has counted them
		}
		runs.row(local(r.Started), r.took(), files, size, failed, free, r.Outcome)
	}
	runs.writeTo(&b)
	writeTroubled(&b, s.Runs)
	return b.String(), page
}

// writeTroubled lists the runs that somebody should look at.
func writeTroubled(b *strings.Builder, runs []Run) {
	for i, r := range Troubled(runs) {
		if i == 0 {
			fmt.Fprintf(b, "\n%-16s  %-16s %s\n", "failed, refused", "outcome (code)", "why")
		}
		fmt.Fprintf(b, "%s  %-16s %s\n", local(r.Started), r.end(), OneLine(r.why()))
	}
}

func (r Run) took() string {
	if r.Ended.IsZero() {
		return "-"
	}
	return took(r.Ended.Sub(r.Started))
}

// share writes a percentage: what there is a little of is not 0%.
func share(part, whole int64) string {
	if p := percent(part, whole); part == 0 || p >= 1 {
		return fmt.Sprintf("%.0f%%", p)
	}
	return "<1%"
}

func percent(part, whole int64) float64 {
	if whole <= 0 {
		return 0
	}
	return math.Floor(100 * float64(part) / float64(whole))
}

// days writes an age for people: "30 days", "12 hours".
func days(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", d/time.Hour)
	}
	return d.String()
}

// MarshalJSON gives the report record.
func (s *Survey) MarshalJSON() ([]byte, error) {
	type class struct {
		From int `json:"from_days"`
		To   int `json:"to_days,omitempty"`
		outcome.Total
	}
	type directory struct {
		name
		All  outcome.Total `json:"all"`
		Cold outcome.Total `json:"cold"`
	}
	type others struct {
		All  outcome.Total `json:"all"`
		Cold outcome.Total `json:"cold"`
	}
	r := struct {
		Type        string                           `json:"type"`
		Brick       string                           `json:"brick"`
		Size        int64                            `json:"size"`
		Free        int64                            `json:"free"`
		OlderThan   float64                          `json:"older_than_seconds"`
		All         outcome.Total                    `json:"all"`
		Cold        outcome.Total                    `json:"cold"`
		Copied      outcome.Total                    `json:"copied"`
		Ages        []class                          `json:"ages"`
		Directories []directory                      `json:"directories"`
		Others      *others                          `json:"others,omitempty"`
		Skipped     map[outcome.Reason]outcome.Total `json:"skipped"`
		Runs        []runRecord                      `json:"runs"`
		Archived    archivedRecord                   `json:"archived"`
		Next        outcome.Total                    `json:"next_run"`
		Rate        int64                            `json:"rate,omitempty"`
	}{
		Type: "report", Brick: s.Brick, Size: s.Size, Free: s.Free, OlderThan: s.ColdAfter.Seconds(), All: s.all, Cold: s.cold, Copied: s.copied,
		Directories: []directory{}, Skipped: map[outcome.Reason]outcome.Total{}, Runs: runRecords(s.Runs),
		Archived: s.Archived.record(), Next: s.next(), Rate: s.rate(),
	}
	for i, n := range s.ages {
		r.Ages = append(r.Ages, class{ageClasses[i].From, ageClasses[i].To, n})
	}
	list, rest := s.top()
	for _, d := range list {
		r.Directories = append(r.Directories, directory{nameOf(d.Path), d.All, d.Cold})
	}
	if rest.All.Files > 0 {
		r.Others = &others{rest.All, rest.Cold}
	}
	for of, n := range maps.All(s.Skipped) {
		r.Skipped[of.Reason] = n
	}
	return marshal(r)
}

// runRecord is a run in JSON.
type runRecord struct {
	Command   string         `json:"command,omitempty"`
	By        string         `json:"by,omitempty"`
	Started   string         `json:"started"`
	Seconds   float64        `json:"duration_seconds,omitempty"`
	Outcome   string         `json:"outcome"`
	ExitCode  int            `json:"exit_code,omitempty"`
	Error     string         `json:"error,omitempty"`
	Archived  outcome.Total  `json:"archived"`
	Recalled  *outcome.Total `json:"recalled,omitempty"`
	Failed    int64          `json:"failed"`
	FreeAfter int64          `json:"free_after,omitempty"`
}

// runRecords are the newest first.
func runRecords(runs []Run) []runRecord {
	records := []runRecord{}
	for _, r := range slices.Backward(runs) {
		one := runRecord{
			Command: r.Command, By: r.By, Started: timestamp(r.Started), Outcome: r.Outcome, ExitCode: r.ExitCode,
			Error: r.Error, Archived: r.Archived, Failed: r.Failed, FreeAfter: r.FreeAfter,
		}
		if r.Command == "recall" {
			one.Recalled = &r.Recalled
		}
		if !r.Ended.IsZero() {
			one.Seconds = r.Ended.Sub(r.Started).Seconds()
		}
		records = append(records, one)
	}
	return records
}

// archivedRecord is what is in the store, in JSON.
type archivedRecord struct {
	Stubs *outcome.Total `json:"stubs,omitempty"`
	At    string         `json:"counted_at,omitempty"`
	By    string         `json:"counted_by,omitempty"`
	Done  outcome.Total  `json:"by_all_runs"`
	Since string         `json:"since,omitempty"`
}

func (a Archived) record() archivedRecord {
	r := archivedRecord{Done: a.Done}
	if a.Stubs != nil {
		r.Stubs, r.At, r.By = &a.Stubs.Total, timestamp(a.Stubs.At), a.Stubs.By
	}
	if !a.Since.IsZero() {
		r.Since = timestamp(a.Since)
	}
	return r
}
