package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/outcome"
)

// Erasure is what became of a file that was to be erased on purpose.
type Erasure struct {
	GFID    gluster.GFID // zero: of a path of which no file is known
	Names   []string     // by which catalogs know it
	Outcome outcome.Outcome
	Reason  outcome.Reason
	Err     error
}

func (e Erasure) line() (string, audience) {
	text := fmt.Sprintf("%s: file %s", e.Outcome, e.known())
	for _, name := range e.Names {
		text += ", " + Quote(name)
	}
	if e.Outcome == outcome.Failed {
		return text + ": " + string(e.Reason) + suffix(e.Err), trouble
	}
	return text, data
}

func (e Erasure) known() string {
	if e.GFID.IsZero() {
		return "of unknown gfid"
	}
	return e.GFID.String()
}

// MarshalJSON gives the erasure record.
func (e Erasure) MarshalJSON() ([]byte, error) {
	names := make([]name, len(e.Names))
	for i, n := range e.Names {
		names[i] = nameOf(n)
	}
	return marshal(struct {
		Type    string          `json:"type"`
		GFID    gluster.GFID    `json:"gfid,omitzero"`
		Names   []name          `json:"names"`
		Outcome outcome.Outcome `json:"outcome"`
		Reason  outcome.Reason  `json:"reason,omitempty"`
		Error   string          `json:"error,omitempty"`
	}{"erasure", e.GFID, names, e.Outcome, e.Reason, message(e.Err)})
}

// Protocol is what is filed of an erasure.
type Protocol struct {
	Volume, VolumeID string
	Store            string // its name and place
	Prefix           string
	List, Host       string
	Published, Ended time.Time
	Files            []Erasure
	Objects          []Object
	Backups          time.Duration // how old a backup of a brick is at most
	Versions         bool          // the store keeps them
	StateDir         string
	Err              error // that ended the run
}

// Write writes the protocol as text.
func (p Protocol) Write(w io.Writer) error {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("Erasure of files from the object store, by coldbrick gc --erase\n")
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, row := range [][2]string{
		{"volume", p.Volume + " (" + p.VolumeID + ")"}, {"store", p.Store}, {"key prefix", Quote(p.Prefix)},
		{"host", p.Host}, {"list", p.List}, {"published", dateTime(p.Published)}, {"ended", dateTime(p.Ended)},
	} {
		fmt.Fprintf(table, "%s\t%s\n", row[0], row[1])
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if p.Err != nil {
		line("\nThe run was not completed: %s", OneLine(p.Err.Error()))
	}
	for _, o := range []struct {
		title string
		is    outcome.Outcome
	}{{"Erased files", outcome.Erased}, {"Files that were NOT erased", outcome.Failed}} {
		line("\n%s", o.title)
		for _, f := range p.Files {
			if f.Outcome != o.is {
				continue
			}
			line("  %s", f.known())
			for _, name := range f.Names {
				line("    %s", Quote(name))
			}
			if f.Err != nil {
				line("    because: %s", OneLine(f.Err.Error()))
			}
		}
	}
	line("\nObjects")
	for _, o := range p.Objects {
		text, _ := o.line()
		line("  %s", text)
		if o.Err != nil {
			line("    because: %s", OneLine(o.Err.Error()))
		}
	}
	line("\nBefore an object was deleted, every brick of every volume with this key prefix was looked at: none had the")
	line("file any more, none referred to the object, all were up, and there was neither a snapshot nor a clone.")
	line("Catalogs that knew an erased file were deleted%s.", map[bool]string{true: ", with their old versions in the store"}[p.Versions])
	line("\nWhat this program cannot reach, and somebody has to see to:")
	line("  - backups of bricks%s", map[bool]string{true: fmt.Sprintf(" (backups-older-than says: up to %d days old)", p.Backups/(24*time.Hour))}[p.Backups > 0])
	line("  - copies of the bucket elsewhere: replication, exports, backups of the store")
	line("  - data that was never archived, and free blocks of the bricks' file systems")
	line("  - names of files in logs, in %s of the hosts, and in this protocol", Quote(p.StateDir))
	line("  - an upload that was under way when its host died: run this again in a week, by gfid")
	_, err := io.WriteString(w, b.String())
	return err
}

// Sort puts files and objects in order.
func (p Protocol) Sort() {
	slices.SortFunc(p.Files, func(a, b Erasure) int { return strings.Compare(a.GFID.String(), b.GFID.String()) })
	slices.SortFunc(p.Objects, func(a, b Object) int { return strings.Compare(a.Key+a.Version, b.Key+b.Version) })
}

func dateTime(t time.Time) string { return t.UTC().Format(time.DateTime) + " UTC" }
