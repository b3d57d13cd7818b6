package run

import (
	"slices"
	"strings"
	"testing"

	"github.com/coldbrick/coldbrick/internal/owner"
	"github.com/coldbrick/coldbrick/internal/record"
)

// sayings is a UI that remembers what it was told to say.
type sayings struct {
	listener
	said []string
}

func (s *sayings) Say(message string) { s.said = append(s.said, message) }

// gc names the uploads that dead runs of this host have left, and no others.
func TestGCNamesUploadsOfDeadRuns(t *testing.T) {
	self, err := owner.Self("1")
	if err != nil {
		t.Fatal(err)
	}
	ui := &sayings{}
	c := &collection{Session: &Session{UI: ui}, self: self}
	c.StateDir = t.TempDir()
	for _, run := range []string{"alive", "dead"} {
		o := self
		if o.Run = run; run == "dead" {
			o.Start++
		}
		log, err := record.Create(c.records(), o, "/brick")
		if err != nil {
			t.Fatal(err)
		}
		if err := log.Append(record.Entry{Phase: record.Uploading, Key: "half of " + run, Upload: "u"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.tellUploads(); err != nil {
		t.Fatal(err)
	}
	if len(ui.said) != 1 || !slices.ContainsFunc(ui.said, func(s string) bool { return strings.Contains(s, "half of dead") && strings.Contains(s, "/brick") }) {
		t.Errorf("%q", ui.said)
	}
}
