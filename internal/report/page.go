package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"math"

	"github.com/coldbrick/coldbrick/internal/outcome"
)

//go:embed page.html
var pageSource string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"bytes": Bytes, "number": number, "count": Count, "local": local, "quote": Quote, "sentence": sentence,
	"whoRecalled": func() string { return whoRecalled },
	"numbers":     numbers, "days": days, "last": last,
	"part": func(part, whole int64) string { // of a bar, in percent; what is not zero can be seen
		if part <= 0 || whole <= 0 {
			return "0"
		}
		return fmt.Sprintf("%.2f", math.Max(0.4, 100*float64(part)/float64(whole)))
	},
}).Parse(pageSource))

// HTML writes the report as one page that needs nothing else: no script, no font, no
// network. It reads well on a phone.
func (v *VolumeReport) HTML() ([]byte, error) {
	var b bytes.Buffer
	err := pageTemplate.Execute(&b, pageData{v, v.sum()})
	return b.Bytes(), err
}

// pageData is what the page tells.
type pageData struct {
	*VolumeReport
	Sum *Survey
}

// Troubled are the nights that somebody should look at.
func (p pageData) Troubled() []pageRun { return pageRuns(p.troubled()) }

// LastRecalls are those by command, the newest first.
func (p pageData) LastRecalls() []pageRun { return pageRuns(last(p.Recalls)) }

// pageRun is a run as the page tells it.
type pageRun struct {
	Run
	End, Why, Took string
	Done           string // what was archived
	Well           bool
}

func pageRuns(runs []Run) (list []pageRun) {
	for _, r := range runs {
		done := numbers(r.Archived)
		if r.Ended.IsZero() {
			done = "not known"
		}
		list = append(list, pageRun{r, r.end(), OneLine(r.why()), r.took(), done, r.well()})
	}
	return list
}

// What follows is for the page, which sees only what is exported.

// Cold are the files that would be archived.
func (s *Survey) Cold() outcome.Total { return s.cold }

// Used is what the file system holds, in bytes.
func (s *Survey) Used() int64 { return s.used() }

// Stays is what archiving all that is cold would leave, in bytes.
func (s *Survey) Stays() int64 { return s.used() - min(s.cold.Bytes, s.used()) }

// Stored is what is in the store, in bytes, as far as it is known.
func (s *Survey) Stored() int64 {
	if s.Archived.Stubs == nil {
		return 0
	}
	return s.Archived.Stubs.Bytes
}

// AllData is what users see, on the brick and in the store.
func (s *Survey) AllData() int64 { return s.Stored() + s.used() }

// ArchivedText says what is in the store, and how that is known.
func (s *Survey) ArchivedText() string { return s.Archived.text(s.used(), s.Now) }

// Plan says what the next run can take.
func (s *Survey) Plan() string { return s.plan() }

// Recalled are the files that were brought back lately.
func (s *Survey) Recalled() outcome.Total { return s.recalled() }

// PercentFree is that of the file system.
func (s *Survey) PercentFree() string { return fmt.Sprintf("%.0f%%", percent(s.Free, s.Size)) }

// PercentStored is that of all data.
func (s *Survey) PercentStored() string {
	if s.Archived.Stubs == nil {
		return "?"
	}
	return share(s.Stored(), s.AllData())
}

// LastRuns are the newest first.
func (s *Survey) LastRuns() []pageRun { return pageRuns(last(s.Runs)) }

// pageRow is a bar of the page, with what it means.
type pageRow struct {
	Name, Value       string
	Cold, Rest, Whole int64
}

// AgeRows are the classes of ages.
func (s *Survey) AgeRows() (rows []pageRow) {
	largest := int64(0)
	for _, n := range s.ages {
		largest = max(largest, n.Bytes)
	}
	for i, n := range s.ages {
		rows = append(rows, pageRow{Name: ageClasses[i].Name, Value: numbers(n), Rest: n.Bytes, Whole: largest})
	}
	return rows
}

// DirectoryRows are the top directories.
func (s *Survey) DirectoryRows() (rows []pageRow) {
	list, others := s.top()
	if others.All.Files > 0 {
		others.Path = "(others)"
		list = append(list, others)
	}
	largest := int64(0)
	for _, d := range list {
		largest = max(largest, d.All.Bytes)
	}
	for _, d := range list {
		rows = append(rows, pageRow{
			Name: Quote(d.Path), Value: fmt.Sprintf("%s of %s cold", Bytes(d.Cold.Bytes), Bytes(d.All.Bytes)),
			Cold: d.Cold.Bytes, Rest: d.All.Bytes - d.Cold.Bytes, Whole: largest,
		})
	}
	return rows
}
