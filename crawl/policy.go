package crawl

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/outcome"
)

// AgeBy names the time that a file's age is counted from.
type AgeBy string

// What an age can be counted from. The zero value means ByMtime.
const (
	ByMtime  AgeBy = "mtime"
	ByCtime  AgeBy = "ctime"
	ByAtime  AgeBy = "atime"
	ByNewest AgeBy = "newest" // of the three
)

// Policy says which files are to be archived. The zero value archives every
// file that can be archived.
type Policy struct {
	ColdAfter   time.Duration // a file of exactly this age is cold
	AgeBy       AgeBy
	RecallGrace time.Duration // a recalled file is left alone for this long
	MinSize     int64         // bytes; a file of exactly this size is archived
	MaxSize     int64         // bytes; likewise. 0: no limit

	// Globs in doublestar's syntax, matched against the whole path relative to
	// the volume root: "*.tmp" matches in the root only, "**/*.tmp" everywhere.
	// With Include given, a file has to match one of them. Exclude wins.
	Include, Exclude []string
}

// Validate reports the first thing in p that cannot be meant. A glob that could
// never match is refused: an exclusion that silently excludes nothing would
// archive what the user wanted kept.
func (p *Policy) Validate() error {
	switch p.AgeBy {
	case "", ByMtime, ByCtime, ByAtime, ByNewest:
	default:
		return fmt.Errorf("age by %q: want mtime, ctime, atime or newest", p.AgeBy)
	}
	switch {
	case p.ColdAfter < 0:
		return fmt.Errorf("cold after %v: negative", p.ColdAfter)
	case p.RecallGrace < 0:
		return fmt.Errorf("recall grace %v: negative", p.RecallGrace)
	case p.MinSize < 0:
		return fmt.Errorf("min size %d: negative", p.MinSize)
	case p.MaxSize < 0:
		return fmt.Errorf("max size %d: negative", p.MaxSize)
	case p.MaxSize > 0 && p.MaxSize < p.MinSize:
		return fmt.Errorf("max size %d: less than min size %d", p.MaxSize, p.MinSize)
	}
	for _, globs := range [][]string{p.Include, p.Exclude} {
		for _, glob := range globs {
			if err := validateGlob(glob); err != nil {
				return fmt.Errorf("glob %q: %w", glob, err)
			}
		}
	}
	return nil
}

func validateGlob(glob string) error {
	switch {
	case glob == "":
		return errors.New("empty")
	case !utf8.ValidString(glob), strings.ContainsRune(glob, utf8.RuneError):
		// doublestar takes all bytes that are not UTF-8 for the same character.
		return errors.New("not UTF-8; ? stands for a byte that is not")
	case strings.HasPrefix(glob, "/"), strings.HasPrefix(glob, "./"):
		return errors.New("paths are relative to the volume root, without a leading slash")
	case strings.HasSuffix(glob, "/"):
		return errors.New("a path has no trailing slash; end it in /** to mean all below")
	case !doublestar.ValidatePattern(glob):
		return doublestar.ErrBadPattern
	}
	return nil
}

// Decide says why the file is left alone, or "" if it is to be archived. It
// gives the same answer for the same facts, policy and moment.
//
// Where several reasons hold, the first of this list is given. The order is that
// of rising cost, so that the walk need not ask the brick for more than what
// decides; within a step, what the file is comes before what was asked for.
//
//  1. From the directory entry and statx: no-data, too-warm, too-small,
//     too-large, excluded, pinned (by a directory above).
//  2. From the names of its attributes: archived-already or no-data, of a file
//     without data; what stub.Signs.Archivable says, then hard-linked, no-gfid,
//     pinned (by its own mark).
//  3. From their values: heal-pending, no-gfid, too-warm, mtime-out-of-range,
//     recently-recalled.
//
// Step 1 knows the brick's own times only. They may differ from those that
// clients see, and are trusted for a skip, never for an archive: stamp, heal and
// rebalance leave new times on the brick, which then age like any other. So a
// healed file is archived some nights later than it could be.
//
// A file without data is asked for its marks, which tell a stub from an empty file,
// only where they lie within its inode. Those of a stub mostly do not: then each stub
// would cost a nightly walk one more read of the disk, and most files are stubs in the
// end.
func (p *Policy) Decide(f Facts, now time.Time) outcome.Reason {
	return cmp.Or(p.byStat(&f, now), p.byMarks(&f), p.byValues(&f, now))
}

func (p *Policy) byStat(f *Facts, now time.Time) outcome.Reason {
	switch {
	case f.Size == 0: // before its age: a stub's is that of its stamp, and says nothing
		if f.InInode {
			return "" // its marks say whether it is a stub
		}
		return outcome.NoData
	case p.warmOnBrick(f, now):
		return outcome.TooWarm
	case f.Size < p.MinSize:
		return outcome.TooSmall
	case p.MaxSize > 0 && f.Size > p.MaxSize:
		return outcome.TooLarge
	case !p.selects(f.Path):
		return outcome.Excluded
	case f.PinnedAbove:
		return outcome.Pinned
	}
	return ""
}

func (p *Policy) byMarks(f *Facts) outcome.Reason {
	if f.Size == 0 {
		if !f.Linkto && f.State(0) == gluster.Remote {
			return outcome.ArchivedAlready
		}
		return outcome.NoData
	}
	if reason := f.Archivable(f.Size, f.Mode); reason != "" {
		return reason
	}
	switch {
	case f.Links > 2: // its name and its handle in .glusterfs make two
		return outcome.HardLinked
	case f.Links < 2, !f.HasGFID:
		return outcome.NoGFID
	case f.Pinned:
		return outcome.Pinned
	}
	return ""
}

func (p *Policy) byValues(f *Facts, now time.Time) outcome.Reason {
	times := f.clientTimes()
	switch {
	case f.HealPending:
		return outcome.HealPending
	case f.GFID.IsZero():
		return outcome.NoGFID
	case p.isWarm(p.ageFrom(times), now), times.Mtime.After(now):
		return outcome.TooWarm
	case !gluster.Stampable(times.Mtime):
		return outcome.MtimeOutOfRange
	case !f.Recalled.IsZero() && now.Sub(f.Recalled) < p.RecallGrace:
		return outcome.RecentlyRecalled
	}
	return ""
}

// warmOnBrick reports whether the brick's own times already say warm. Access
// times are not asked: scrubbers and backups read bricks every few days, and a
// file that only they read would never be archived.
func (p *Policy) warmOnBrick(f *Facts, now time.Time) bool {
	switch p.AgeBy {
	case ByAtime:
		return false
	case ByCtime:
		return p.isWarm(f.Brick.Ctime, now)
	case ByNewest:
		return p.isWarm(f.Brick.Mtime, now) || p.isWarm(f.Brick.Ctime, now)
	}
	return p.isWarm(f.Brick.Mtime, now)
}

// isWarm is true of any time in the future: its age is negative, the limit not.
func (p *Policy) isWarm(t, now time.Time) bool {
	return now.Sub(t) < p.ColdAfter
}

func (p *Policy) ageFrom(times gluster.Mdata) time.Time {
	switch p.AgeBy {
	case ByCtime:
		return times.Ctime
	case ByAtime:
		return times.Atime
	case ByNewest:
		newest := times.Mtime
		for _, t := range [...]time.Time{times.Ctime, times.Atime} {
			if t.After(newest) {
				newest = t
			}
		}
		return newest
	}
	return times.Mtime
}

func (p *Policy) selects(path string) bool {
	return (len(p.Include) == 0 || matchesAny(p.Include, path)) && !matchesAny(p.Exclude, path)
}

func matchesAny(globs []string, path string) bool {
	for _, glob := range globs {
		if doublestar.MatchUnvalidated(glob, path) {
			return true
		}
	}
	return false
}
