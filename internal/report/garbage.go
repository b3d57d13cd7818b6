package report

import (
	"fmt"
	"time"

	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/price"
)

// Object is one object that nothing refers to.
type Object struct {
	Key      string
	Size     int64
	Modified time.Time
	Volume   string // id of that of its file
	Version  string // of an erasure, where the store keeps versions
	Outcome  outcome.Outcome
	Reason   outcome.Reason // of skipped and failed
	Err      error
}

func (o Object) line() (string, audience) {
	text := fmt.Sprintf("%s: %s, %s, of %s", o.Outcome, Quote(o.Key), Bytes(o.Size), o.Modified.UTC().Format(time.DateOnly))
	if o.Version != "" {
		text += ", version " + o.Version
	}
	if o.Reason != "" {
		text += ": " + string(o.Reason)
	}
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
		Version  string          `json:"version,omitempty"`
		Outcome  outcome.Outcome `json:"outcome"`
		Reason   outcome.Reason  `json:"reason,omitempty"`
		Error    string          `json:"error,omitempty"`
	}{"object", keyNameOf(o.Key), o.Size, timestamp(o.Modified), o.Volume, o.Version, o.Outcome, o.Reason, message(o.Err)})
}

// Garbage is what gc has found below a key prefix.
type Garbage struct {
	Objects int64 // of files, referred to or not

	prefix       string
	prices       price.List
	unreferenced int64
	bytes        int64     // of these
	oldest       time.Time // zero if there is none
	month        float64   // what they cost
	unpriced     int64     // objects of a class without a price
}

// NewGarbage is of no object yet.
func NewGarbage(prefix string, prices price.List) *Garbage {
	return &Garbage{prefix: prefix, prices: prices}
}

// Add counts an object that nothing refers to.
func (g *Garbage) Add(size int64, class string, modified time.Time) {
	g.unreferenced++
	g.bytes += size
	if g.oldest.IsZero() || modified.Before(g.oldest) {
		g.oldest = modified
	}
	if c, ok := g.prices.Class(class); ok {
		g.month += c.Month(1, c.Billed(size))
	} else {
		g.unpriced++
	}
}

func (g *Garbage) line() (string, audience) {
	text := fmt.Sprintf("%s of %s below %q: nothing refers to them", number(g.unreferenced), Count(g.Objects, "object"), g.prefix)
	if g.unreferenced > 0 {
		text += fmt.Sprintf("; %s, the oldest of %s, %s %s a month by the prices of %s",
			Bytes(g.bytes), g.oldest.UTC().Format(time.DateOnly), money(g.month), g.prices.Currency, g.prices.Date)
	}
	if g.unpriced > 0 {
		text += fmt.Sprintf(", without %s of a storage class that has no price", Count(g.unpriced, "object"))
	}
	return text, data
}

// MarshalJSON gives the garbage record.
func (g *Garbage) MarshalJSON() ([]byte, error) {
	oldest := ""
	if !g.oldest.IsZero() {
		oldest = timestamp(g.oldest)
	}
	return marshal(struct {
		Type         string  `json:"type"`
		Prefix       string  `json:"prefix"`
		Objects      int64   `json:"objects"`
		Unreferenced int64   `json:"unreferenced"`
		Bytes        int64   `json:"bytes"`
		Oldest       string  `json:"oldest,omitempty"`
		Month        float64 `json:"month"`
		Currency     string  `json:"currency"`
		Date         string  `json:"prices_date"`
		Unpriced     int64   `json:"unpriced,omitempty"`
	}{"garbage", g.prefix, g.Objects, g.unreferenced, g.bytes, oldest, g.month, g.prices.Currency, g.prices.Date, g.unpriced})
}
