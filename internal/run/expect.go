package run

import (
	"fmt"

	"github.com/coldbrick/coldbrick/crawl"
	"github.com/coldbrick/coldbrick/internal/outcome"
)

// cold is what was cold on a brick when all of it was looked at, less what was archived
// since.
type cold struct {
	outcome.Total
	Policy string `json:"policy"` // by which it was
}

// less takes what was archived.
func (c *cold) less(n outcome.Total) {
	c.Total = c.Minus(n)
	c.Files, c.Bytes = max(0, c.Files), max(0, c.Bytes)
}

func nameOf(p crawl.Policy) string { return fmt.Sprintf("%+v", p) }

// rememberCold remembers what a look at all of a brick has found, for the bars of later
// runs.
func (s *Session) rememberCold(dir string, files int64, p crawl.Policy, found outcome.Total) {
	s.remember(dir, func(h *history) { h.Files, h.Cold = files, &cold{found, nameOf(p)} })
}

// rememberFiles remembers how many files a look at all of a brick has found.
func (s *Session) rememberFiles(dir string, files int64) {
	s.remember(dir, func(h *history) { h.Files = files })
}

// filesOf is how many files the bricks had when they were last looked at; 0 if that is not
// known of each, or if not all of them are looked at now.
func (s *Session) filesOf(bricks []string) (sum int64) {
	for _, dir := range bricks {
		h, err := s.readHistory(dir)
		if err != nil || h.Files == 0 || s.Under != "" {
			return 0
		}
		sum += h.Files
	}
	return sum
}

// expected is what the gauge of the run will come to, as far as anything tells: in bytes,
// or for a dry run in files.
func (a *archiving) expected() int64 {
	if a.DryRun {
		return a.filesOf(a.scope.bricks)
	}
	var sum int64
	for _, dir := range a.scope.bricks {
		n, known := a.expectedOf(dir)
		if !known {
			return a.MaxBytes
		}
		sum += n
	}
	if a.MaxBytes > 0 {
		sum = min(sum, a.MaxBytes)
	}
	return sum
}

// expectedOf is how many bytes the run will archive on a brick: what was cold there when
// it was last looked at, or what is missing to the room that it is to make.
func (a *archiving) expectedOf(dir string) (n int64, known bool) {
	h, err := a.readHistory(dir)
	if err == nil && h.Cold != nil && h.Cold.Policy == nameOf(a.policy) && !a.copied && !a.Keep && a.Under == "" {
		n, known = h.Cold.Bytes, true
		if a.MaxFiles > 0 && a.MaxFiles < h.Cold.Files {
			n = int64(float64(n) * float64(a.MaxFiles) / float64(h.Cold.Files))
		}
	}
	if room, err := spaceOf(dir); err == nil && !a.UntilFree.IsZero() {
		if missing := max(0, a.UntilFree.Of(room.size)-room.free); !known || missing < n {
			n, known = missing, true
		}
	}
	return n, known
}
