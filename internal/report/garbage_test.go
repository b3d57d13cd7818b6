package report

import (
	"strings"
	"testing"
	"time"

	"github.com/coldbrick/coldbrick/internal/price"
)

// What garbage costs is told by the class that each object is in; what has no price is
// said, and not taken to cost nothing.
func TestGarbageHasAPrice(t *testing.T) {
	prices := price.List{Currency: "EUR", Date: "2026-11-30", Classes: []price.Class{
		{Name: "STANDARD", GBMonth: 2}, {Name: "COLD", GBMonth: 1, LeastSize: 1 << 30},
	}}
	g := NewGarbage("p/", prices)
	g.Objects = 10
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	g.Add(3<<30, "", at.AddDate(0, 1, 0))
	g.Add(1, "COLD", at)
	g.Add(1<<30, "ELSEWHERE", at.AddDate(0, 2, 0))
	text, _ := g.line()
	want := "3 of 10 objects below \"p/\": nothing refers to them; 4.0 GiB, the oldest of 2026-01-02, " +
		"7.00 EUR a month by the prices of 2026-11-30, without 1 object of a storage class that has no price"
	if text != want {
		t.Errorf("\n%s, want\n%s", text, want)
	}
	record, err := g.MarshalJSON()
	if err != nil || !strings.Contains(string(record), `"month":7,"currency":"EUR","prices_date":"2026-11-30","unpriced":1`) {
		t.Errorf("%s, %v", record, err)
	}
}
