package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/coldbrick/coldbrick/internal/outcome"
)

// VolumeReport is what report tells about the bricks of a volume on this host, beside
// the survey of each.
type VolumeReport struct {
	Volume  string
	Host    string
	Now     time.Time
	Bricks  []*Survey
	Nights  []Run // that came to no brick, oldest first
	Recalls []Run // by command on this host, oldest first
}

// sum adds up what is known of the bricks. What is archived is as old as the oldest
// count; nil if a brick was never counted.
func (v *VolumeReport) sum() *Survey {
	sum := &Survey{Brick: v.title(), Now: v.Now}
	counted := true
	stubs := Stubs{}
	for _, s := range v.Bricks {
		sum.Size += s.Size
		sum.Free += s.Free
		sum.cold.Merge(s.cold)
		sum.copied.Merge(s.copied)
		sum.all.Merge(s.all)
		sum.ColdAfter = s.ColdAfter
		a := s.Archived
		sum.Archived.Done.Merge(a.Done)
		if !a.Since.IsZero() && (sum.Archived.Since.IsZero() || a.Since.Before(sum.Archived.Since)) {
			sum.Archived.Since = a.Since
		}
		if counted = counted && a.Stubs != nil; counted {
			stubs.Merge(a.Stubs.Total)
			if stubs.At.IsZero() || a.Stubs.At.Before(stubs.At) {
				stubs.At, stubs.By = a.Stubs.At, a.Stubs.By
			}
		}
	}
	if counted && len(v.Bricks) > 0 {
		sum.Archived.Stubs = &stubs
	}
	return sum
}

func (v *VolumeReport) title() string {
	if v.Volume == "" && len(v.Bricks) == 1 {
		return v.Bricks[0].Brick
	}
	return "volume " + v.Volume
}

// troubled are the nights that failed or were refused, of volume and bricks, the
// newest first.
func (v *VolumeReport) troubled() []Run {
	list := slices.Clone(v.Nights)
	for _, s := range v.Bricks {
		for _, r := range s.Runs {
			r.Error = r.why()
			if !strings.Contains(r.Error, s.Brick) { // some name it themselves
				r.Error = Quote(s.Brick) + ": " + r.Error
			}
			list = append(list, r)
		}
	}
	slices.SortStableFunc(list, func(a, b Run) int { return a.Started.Compare(b.Started) })
	return Troubled(list)
}

// line is a page for people, which comes after those of the bricks.
func (v *VolumeReport) line() (string, audience) {
	var b strings.Builder
	sum := v.sum()
	fmt.Fprintf(&b, "%s: %s on %s, %s, %s free (%.0f%%)\n", Quote(sum.Brick), Count(int64(len(v.Bricks)), "brick"), v.Host,
		Bytes(sum.Size), Bytes(sum.Free), percent(sum.Free, sum.Size))
	fmt.Fprintf(&b, "%s\n", sum.Archived.text(sum.used(), v.Now))
	fmt.Fprintf(&b, "cold: %s, %s\n", Count(sum.cold.Files, "file"), Bytes(sum.cold.Bytes))
	if text := sum.ahead(); text != "" {
		b.WriteString(text + "\n")
	}
	writeTroubled(&b, v.Nights)
	for i, r := range last(v.Recalls) {
		if i == 0 {
			fmt.Fprintf(&b, "\n%-16s  %-12s %-12s %s\n", "recalled", "by", "outcome", "")
		}
		fmt.Fprintf(&b, "%s  %-12s %-12s %s\n", local(r.Started), Quote(cmp.Or(r.By, "-")), r.Outcome, numbers(r.Recalled))
	}
	return b.String(), page
}

// MarshalJSON gives the volume record.
func (v *VolumeReport) MarshalJSON() ([]byte, error) {
	sum := v.sum()
	bricks := []string{}
	for _, s := range v.Bricks {
		bricks = append(bricks, s.Brick)
	}
	return marshal(struct {
		Type     string         `json:"type"`
		Volume   string         `json:"volume"`
		Host     string         `json:"host"`
		Bricks   []string       `json:"bricks"`
		Size     int64          `json:"size"`
		Free     int64          `json:"free"`
		Cold     outcome.Total  `json:"cold"`
		Copied   outcome.Total  `json:"copied"`
		Archived archivedRecord `json:"archived"`
		Runs     []runRecord    `json:"runs"`
		Recalls  []runRecord    `json:"recalls"`
	}{"volume", v.Volume, v.Host, bricks, sum.Size, sum.Free, sum.cold, sum.copied, sum.Archived.record(), runRecords(v.Nights), runRecords(v.Recalls)})
}
