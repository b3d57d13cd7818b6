package report

import (
	"fmt"
	"time"

	"github.com/coldbrick/coldbrick/internal/outcome"
)

// Object is one object that nothing refers to.
type Object struct {
	Key      string
	Size     int64
	Modified time.Time
	Volume   string // id of that of its file
	Outcome  outcome.Outcome
	Err      error // of failed
}

func (o Object) line() (string, audience) {
	text := fmt.Sprintf("%s: %s, %s, of %s", o.Outcome, Quote(o.Key), Bytes(o.Size), o.Modified.UTC().Format(time.DateOnly))
	if o.Outcome == outcome.Failed {
		return text + suffix(o.Err), trouble
	}
	return text, detail
}

// MarshalJSON gives the object record.
func (o Object) MarshalJSON() ([]byte, error) {
	return marshal(struct {
		Type string `json:"type"`
		keyName
		Size     int64           `json:"size"`
		Modified string          `json:"modified"`
		Volume   string          `json:"volume"`
		Outcome  outcome.Outcome `json:"outcome"`
		Error    string          `json:"error,omitempty"`
	}{"object", keyNameOf(o.Key), o.Size, timestamp(o.Modified), o.Volume, o.Outcome, message(o.Err)})
}

// Garbage is what gc has found below a key prefix.
type Garbage struct {
	Prefix       string
	Objects      int64 // of files, referred to or not
	Unreferenced int64
	Bytes        int64     // of these
	Oldest       time.Time // zero if there is none
}

func (g Garbage) line() (string, audience) {
	text := fmt.Sprintf("%s of %s below %q: nothing refers to them", number(g.Unreferenced), Count(g.Objects, "object"), g.Prefix)
	if g.Unreferenced > 0 {
		text += fmt.Sprintf("; %s, the oldest of %s", Bytes(g.Bytes), g.Oldest.UTC().Format(time.DateOnly))
	}
	return text, data
}

// MarshalJSON gives the garbage record.
func (g Garbage) MarshalJSON() ([]byte, error) {
	oldest := ""
	if !g.Oldest.IsZero() {
		oldest = timestamp(g.Oldest)
	}
	return marshal(struct {
		Type         string `json:"type"`
		Prefix       string `json:"prefix"`
		Objects      int64  `json:"objects"`
		Unreferenced int64  `json:"unreferenced"`
		Bytes        int64  `json:"bytes"`
		Oldest       string `json:"oldest,omitempty"`
	}{"garbage", g.Prefix, g.Objects, g.Unreferenced, g.Bytes, oldest})
}
