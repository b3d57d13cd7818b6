package report

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/outcome"
)

// Record is one line of output. docs/schema/record.json describes the JSON form.
type Record interface {
	// line is the record for people, and where it goes.
	line() (text string, to audience)
	json.Marshaler
}

// audience says who asked for a line.
type audience int

const (
	data     audience = iota // the answer of the command: stdout
	trouble                  // stderr, always
	detail                   // stderr, with -v
	epilogue                 // stderr, without -q
	page                     // stdout, several lines, fit for a terminal as they are
	fine                     // the same, with -v
	closing                  // the same, without -q
)

// Cold is a file that the crawl found worth archiving: a candidate.
type Cold struct {
	Path  string // relative to the volume root, raw bytes
	GFID  gluster.GFID
	Size  int64
	Mtime gluster.Time
}

// File is how one file left the run.
type File struct {
	Path    string
	GFID    gluster.GFID
	Size    int64
	Outcome outcome.Outcome
	Reason  outcome.Reason // of skipped and failed
	Key     string         // of the object, empty if there is none
	Err     error          // of failed
}

// Located says where the data of one path is.
type Located struct {
	Path   string
	GFID   gluster.GFID
	Size   int64 // of the data, in bytes
	State  outcome.State
	Reason outcome.Reason // of broken
	Key    string
	Err    error
	Chain  []Link // with -v
}

// Finding is what fsck has to tell about a file.
type Finding outcome.Finding

// Check is one answer of doctor.
type Check outcome.Check

// Checks ends the output of doctor for people.
type Checks struct{ Fine, Warnings, Failed int64 }

func (c Checks) line() (string, audience) {
	text := fmt.Sprintf("ok      %s (-v lists them)\n", Count(c.Fine, "check"))
	var rest []string
	if c.Failed > 0 {
		rest = append(rest, Count(c.Failed, "check")+" failed.")
	}
	if c.Warnings > 0 {
		rest = append(rest, Count(c.Warnings, "warning")+".")
	}
	verdict := "Ready."
	if c.Failed > 0 {
		verdict = "Not ready:"
	}
	return text + strings.Join(append([]string{verdict}, rest...), " "), closing
}

// MarshalJSON is for no program: those have the summary.
func (c Checks) MarshalJSON() ([]byte, error) { return nil, errors.ErrUnsupported }

// Text is the check as doctor shows it.
func (c Check) Text() string { text, _ := c.line(); return text }

// Store is one store plugin.
type Store struct {
	Name        string
	Library     string // that Gluster loads for it, empty if it has none
	Description string
}

func (c Cold) line() (string, audience) { return Quote(c.Path), data }

// MarshalJSON gives the candidate record.
func (c Cold) MarshalJSON() ([]byte, error) {
	return marshal(struct {
		Type string `json:"type"`
		name
		GFID  string       `json:"gfid"`
		Size  int64        `json:"size"`
		Mtime gluster.Time `json:"mtime"`
	}{"candidate", nameOf(c.Path), c.GFID.String(), c.Size, c.Mtime})
}

func (f File) line() (string, audience) {
	switch f.Outcome {
	case outcome.Failed:
		return fmt.Sprintf("failed: %s: %s%s", Quote(f.Path), f.Reason, suffix(f.Err)), trouble
	case outcome.Skipped:
		return fmt.Sprintf("skipped: %s: %s", Quote(f.Path), f.Reason), detail
	}
	return fmt.Sprintf("%s: %s, %s", f.Outcome, Quote(f.Path), Bytes(f.Size)), detail
}

// MarshalJSON gives the file record.
func (f File) MarshalJSON() ([]byte, error) {
	return marshal(struct {
		Type string `json:"type"`
		name
		GFID    string          `json:"gfid,omitempty"`
		Size    int64           `json:"size"`
		Outcome outcome.Outcome `json:"outcome"`
		Reason  outcome.Reason  `json:"reason,omitempty"`
		keyName
		Error string `json:"error,omitempty"`
	}{"file", nameOf(f.Path), gfidText(f.GFID), f.Size, f.Outcome, f.Reason, keyNameOf(f.Key), message(f.Err)})
}

func (s Located) line() (string, audience) {
	text := fmt.Sprintf("%-9s %s", s.State, Quote(s.Path))
	if s.Reason != "" {
		text += ": " + string(s.Reason)
	}
	text += suffix(s.Err)
	if len(s.Chain) > 0 {
		return s.chain(text), page
	}
	return text, data
}

// MarshalJSON gives the state record.
func (s Located) MarshalJSON() ([]byte, error) {
	return marshal(struct {
		Type string `json:"type"`
		name
		GFID   string         `json:"gfid,omitempty"`
		Size   int64          `json:"size"`
		State  outcome.State  `json:"state"`
		Reason outcome.Reason `json:"reason,omitempty"`
		keyName
		Error string `json:"error,omitempty"`
		Chain []Link `json:"chain,omitempty"`
	}{"state", nameOf(s.Path), gfidText(s.GFID), s.Size, s.State, s.Reason, keyNameOf(s.Key), message(s.Err), s.Chain})
}

func (f Finding) line() (string, audience) {
	text := fmt.Sprintf("%s: %s: %s", f.Severity, f.Class, Quote(f.Path))
	if f.Detail != "" {
		text += ": " + f.Detail
	}
	if f.Repaired {
		text += " (repaired)"
	}
	return text, data
}

// MarshalJSON gives the finding record.
func (f Finding) MarshalJSON() ([]byte, error) {
	return marshal(struct {
		Type string `json:"type"`
		name
		GFID string `json:"gfid,omitempty"`
		keyName
		Class    outcome.Class    `json:"class"`
		Severity outcome.Severity `json:"severity"`
		Repaired bool             `json:"repaired"`
		Detail   string           `json:"detail,omitempty"`
	}{"finding", nameOf(f.Path), gfidText(f.GFID), keyNameOf(f.Key), f.Class, f.Severity, f.Repaired, f.Detail})
}

// line has what to do on a line of its own, ready to be copied.
func (c Check) line() (string, audience) {
	text := OneLine(fmt.Sprintf("%-7s %s", c.Verdict, c.Name))
	if c.Reason != "" {
		text += ": " + OneLine(c.Reason)
	}
	if c.Fix != "" && c.Verdict != outcome.OK {
		text += "\n        fix: " + OneLine(c.Fix)
	}
	if c.Verdict == outcome.OK {
		return text, fine
	}
	return text, page
}

// MarshalJSON gives the check record.
func (c Check) MarshalJSON() ([]byte, error) {
	return marshal(struct {
		Type   string          `json:"type"`
		Name   string          `json:"name"`
		Status outcome.Verdict `json:"status"`
		Detail string          `json:"detail,omitempty"`
		Hint   string          `json:"hint,omitempty"`
	}{"check", c.Name, c.Verdict, c.Reason, c.Fix})
}

func (s Store) line() (string, audience) {
	return fmt.Sprintf("%-4s %-17s %s", s.Name, orDash(s.Library), s.Description), data
}

// MarshalJSON gives the store record.
func (s Store) MarshalJSON() ([]byte, error) {
	return marshal(struct {
		Type        string `json:"type"`
		Name        string `json:"name"`
		Library     string `json:"library,omitempty"`
		Description string `json:"description"`
	}{"store", s.Name, s.Library, s.Description})
}

// name is a path in JSON: a string, which holds only UTF-8, and the bytes where
// they are something else.
type name struct {
	Path   string `json:"path"`
	Base64 string `json:"path_base64,omitempty"`
}

func nameOf(path string) name { return name{path, base64Unless(utf8.ValidString(path), path)} }

// keyName is an object's key in JSON. Gluster keeps any bytes as cs.remote.
type keyName struct {
	Key       string `json:"key,omitempty"`
	KeyBase64 string `json:"key_base64,omitempty"`
}

func keyNameOf(key string) keyName { return keyName{key, base64Unless(utf8.ValidString(key), key)} }

func base64Unless(fine bool, s string) string {
	if fine {
		return ""
	}
	return base64.StdEncoding.EncodeToString([]byte(s))
}

// marshal leaves <, > and & as they are: the output is for programs and people,
// not for HTML.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return inert(bytes.TrimSuffix(b.Bytes(), []byte("\n"))), nil
}

// timestamp is RFC 3339 with nanoseconds, in UTC.
func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000000Z") }

func gfidText(g gluster.GFID) string {
	if g.IsZero() {
		return ""
	}
	return g.String()
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return strings.ReplaceAll(err.Error(), "\n", "; ") // errors.Join separates by newlines
}

func suffix(err error) string {
	if err == nil {
		return ""
	}
	return ": " + message(err)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
