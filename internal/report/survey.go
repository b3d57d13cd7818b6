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

	mu          sync.Mutex
	all, cold   outcome.Total
	ages        [len(ageClasses)]outcome.Total
	directories map[string]*Directory // by path, at most mostDirectories
	others      Directory             // those that had to give way
}

// Run is a run on the brick that report tells about.
type Run struct {
	Started   time.Time
	Ended     time.Time // zero: it has not, or was killed
	Outcome   string    // as of a summary, or running, or died
	Archived  outcome.Total
	Failed    int64
	FreeAfter int64 // bytes; 0: not known
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
	fmt.Fprintf(&b, "cold for %s: %s, %s would be freed: %.0f%% free then\n\n", days(s.ColdAfter),
		Count(s.cold.Files, "file"), Bytes(s.cold.Bytes), percent(min(s.Size, s.Free+s.cold.Bytes), s.Size))
	row := "%12s %12s   %s\n"
	fmt.Fprintf(&b, row, "bytes", "files", "age")
	for i, n := range s.ages {
		fmt.Fprintf(&b, row, Bytes(n.Bytes), number(n.Files), ageClasses[i].Name)
	}
	fmt.Fprintf(&b, row+"\n", Bytes(s.all.Bytes), number(s.all.Files), "all that can be archived")

	row = "%12s %12s %12s %12s   %s\n"
	fmt.Fprintf(&b, row, "cold bytes", "cold files", "all bytes", "all files", "directory")
	list, others := s.top()
	for _, d := range list {
		fmt.Fprintf(&b, row, Bytes(d.Cold.Bytes), number(d.Cold.Files), Bytes(d.All.Bytes), number(d.All.Files), Quote(d.Path))
	}
	if others.All.Files > 0 {
		fmt.Fprintf(&b, row, Bytes(others.Cold.Bytes), number(others.Cold.Files), Bytes(others.All.Bytes), number(others.All.Files), "(others)")
	}
	if why := (Summary{Totals: s.Skipped}).reasons(outcome.Skipped); len(why) > 0 {
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
	row = "%-16s  %8s  %-12s %12s %12s %8s %12s\n"
	fmt.Fprintf(&b, row, "last runs", "took", "outcome", "archived", "bytes", "failed", "free then")
	for _, r := range slices.Backward(s.Runs) {
		free := "-"
		if r.FreeAfter > 0 {
			free = Bytes(r.FreeAfter)
		}
		fmt.Fprintf(&b, row, r.Started.Local().Format("2006-01-02 15:04"), r.took(), r.Outcome,
			number(r.Archived.Files), Bytes(r.Archived.Bytes), number(r.Failed), free)
	}
	return b.String(), page
}

func (r Run) took() string {
	if r.Ended.IsZero() {
		return "-"
	}
	return took(r.Ended.Sub(r.Started))
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
	type run struct {
		Started   string        `json:"started"`
		Seconds   float64       `json:"duration_seconds,omitempty"`
		Outcome   string        `json:"outcome"`
		Archived  outcome.Total `json:"archived"`
		Failed    int64         `json:"failed"`
		FreeAfter int64         `json:"free_after,omitempty"`
	}
	r := struct {
		Type        string                           `json:"type"`
		Brick       string                           `json:"brick"`
		Size        int64                            `json:"size"`
		Free        int64                            `json:"free"`
		OlderThan   float64                          `json:"older_than_seconds"`
		All         outcome.Total                    `json:"all"`
		Cold        outcome.Total                    `json:"cold"`
		Ages        []class                          `json:"ages"`
		Directories []directory                      `json:"directories"`
		Others      *others                          `json:"others,omitempty"`
		Skipped     map[outcome.Reason]outcome.Total `json:"skipped"`
		Runs        []run                            `json:"runs"`
	}{
		Type: "report", Brick: s.Brick, Size: s.Size, Free: s.Free, OlderThan: s.ColdAfter.Seconds(), All: s.all, Cold: s.cold,
		Directories: []directory{}, Skipped: map[outcome.Reason]outcome.Total{}, Runs: []run{},
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
	for _, past := range slices.Backward(s.Runs) {
		one := run{timestamp(past.Started), 0, past.Outcome, past.Archived, past.Failed, past.FreeAfter}
		if !past.Ended.IsZero() {
			one.Seconds = past.Ended.Sub(past.Started).Seconds()
		}
		r.Runs = append(r.Runs, one)
	}
	return marshal(r)
}
