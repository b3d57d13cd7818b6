package crawl

import (
	"sync/atomic"

	"github.com/coldbrick/coldbrick/internal/outcome"
)

// Count is a number of files and the sum of their sizes on the brick.
type Count struct{ Files, Bytes int64 }

func (c *Count) add(bytes int64) {
	c.Files++
	c.Bytes += bytes
}

func (c *Count) merge(other Count) {
	c.Files += other.Files
	c.Bytes += other.Bytes
}

// Stats says what a walk saw. Each file seen is either a candidate or has its
// reason in Skipped.
type Stats struct {
	Seen       Count
	Candidates Count
	Skipped    map[outcome.Reason]Count

	Directories int64 // read, at least in part
	Unreadable  int64 // directories that could not be read to their end
	Others      int64 // symlinks, devices, pipes, sockets
}

// Progress can be read while a walk goes on. It lags behind by some hundred
// entries of each crawler.
type Progress struct {
	Files, Bytes atomic.Int64
}

// tally is what one crawler counts, apart from the others.
type tally struct {
	Stats
	shown Count // the part of Seen that Progress has got already
}

func newTally() tally {
	return tally{Stats: Stats{Skipped: make(map[outcome.Reason]Count)}}
}

// skip counts a file that was seen and is left alone.
func (t *tally) skip(reason outcome.Reason, bytes int64) {
	count := t.Skipped[reason]
	count.add(bytes)
	t.Skipped[reason] = count
}

func (t *tally) show(p *Progress) {
	if p == nil {
		return
	}
	p.Files.Add(t.Seen.Files - t.shown.Files)
	p.Bytes.Add(t.Seen.Bytes - t.shown.Bytes)
	t.shown = t.Seen
}

func (s *Stats) merge(other *Stats) {
	s.Seen.merge(other.Seen)
	s.Candidates.merge(other.Candidates)
	for reason, count := range other.Skipped {
		sum := s.Skipped[reason]
		sum.merge(count)
		s.Skipped[reason] = sum
	}
	s.Directories += other.Directories
	s.Unreadable += other.Unreadable
	s.Others += other.Others
}
