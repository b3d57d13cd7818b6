package gc

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/coldbrick/coldbrick/internal/catalog"
	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore"
)

// Answer is what one brick has to say of a list: which of its candidates a file refers
// to after all.
type Answer struct {
	Kind   string          `json:"coldbrick"`
	Format int             `json:"format"`
	List   string          `json:"list"`
	Sum    string          `json:"sum"`             // of the list's text
	Volume string          `json:"volume"`          // id
	Brick  string          `json:"brick"`           // HOST:DIR
	Begin  catalog.Cluster `json:"begin"`           // what glusterd said before the look
	End    catalog.Cluster `json:"end"`             // and after it
	Refers []int           `json:"refers"`          // candidates, by their number in the list
	Lives  []gluster.GFID  `json:"lives,omitempty"` // of the files of an erasure
}

const answerKind = "gc-answer"

// Look is how a brick is looked at.
type Look struct {
	References func(ctx context.Context, visit func(catalog.Ref) error) error // in order by key
	Lives      func(gluster.GFID) (bool, error)
}

// Answer has a brick looked at, after the list was read, and publishes what it refers to.
func (p Place) Answer(ctx context.Context, l *List, volumeID string, subject catalog.Subject, look Look) (Answer, error) {
	a := Answer{Kind: answerKind, Format: format, List: l.ID, Sum: l.sum, Volume: volumeID, Brick: subject.Brick, Refers: []int{}}
	var err error
	if a.Begin, err = subject.Ask(ctx); err != nil {
		return a, err
	}
	next := 0
	err = look.References(ctx, func(r catalog.Ref) error {
		for next < len(l.Candidates) && l.Candidates[next].Key < r.Key {
			next++
		}
		for ; next < len(l.Candidates) && l.Candidates[next].Key == r.Key; next++ { // each version
			a.Refers = append(a.Refers, next)
		}
		return nil
	})
	if err != nil {
		return a, err
	}
	for _, gfid := range l.files() {
		lives, err := look.Lives(gfid)
		if err != nil {
			return a, err
		}
		if lives {
			a.Lives = append(a.Lives, gfid)
		}
	}
	if a.End, err = subject.Ask(ctx); err != nil {
		return a, err
	}
	text, err := json.Marshal(a)
	if err != nil {
		return a, err
	}
	return a, p.write(ctx, object.GarbageKey(p.Prefix, l.ID, answersPart+object.NewID()), append(text, '\n'))
}

// Answers reads what the bricks have said of a list: of each brick all answers, oldest
// first.
func (p Place) Answers(ctx context.Context, s Status) ([]Answer, error) {
	slices.SortFunc(s.answers, func(a, b objstore.Listed) int { return a.Modified.Compare(b.Modified) })
	var all []Answer
	for _, o := range s.answers {
		text, err := p.read(ctx, o.Key)
		if err != nil {
			return nil, err
		}
		var a Answer
		if err := json.Unmarshal(text, &a); err != nil {
			return nil, fmt.Errorf("%s: %w", o.Key, err)
		}
		all = append(all, a)
	}
	return all, nil
}

// Silent is a brick that has not answered.
type Silent struct{ Volume, Name, Brick string }

// Missing are the bricks of all volumes that have not answered yet.
func (l *List) Missing(answers []Answer) (missing []Silent) {
	for _, v := range l.Volumes {
		for _, brick := range v.Bricks {
			if !slices.ContainsFunc(answers, func(a Answer) bool { return a.Volume == v.ID && a.Brick == brick }) {
				missing = append(missing, Silent{v.ID, v.Name, brick})
			}
		}
	}
	return missing
}

// Kept is a candidate that is not deleted.
type Kept struct {
	Candidate
	Why error
}

// Garbage are the candidates to which no brick refers, and whose files do not live; the
// others are kept. It returns ErrNotProven unless every brick of every volume has answered, about this very
// list, while the volume was whole, nothing moved, and no snapshot kept what files had
// referred to.
func (l *List) Garbage(answers []Answer) (garbage []Candidate, kept []Kept, err error) {
	if missing := l.Missing(answers); missing != nil {
		var names []string
		for _, m := range missing {
			names = append(names, m.Brick+" of volume "+m.Name)
		}
		return nil, nil, fmt.Errorf("%w: these bricks have not answered: %s", ErrNotProven, strings.Join(names, ", "))
	}
	refers := map[int]bool{}
	for _, v := range l.Volumes {
		latest := map[string]Answer{}
		for _, a := range answers {
			if a.Volume != v.ID {
				continue
			}
			if a.Kind != answerKind || a.Format != format || a.List != l.ID || a.Sum != l.sum {
				return nil, nil, fmt.Errorf("%w: brick %s has answered about another list", ErrNotProven, a.Brick)
			}
			latest[a.Brick] = a
			for _, n := range a.Refers {
				refers[n] = true
			}
		}
		first := latest[v.Bricks[0]]
		for _, brick := range slices.Sorted(maps.Keys(latest)) {
			for _, c := range []catalog.Cluster{latest[brick].Begin, latest[brick].End} {
				err := still(first.Begin, c)
				if err == nil {
					err = l.whole(v, c)
				}
				if err != nil {
					return nil, nil, fmt.Errorf("%w: last look at brick %s: %w", ErrNotProven, brick, err)
				}
			}
		}
	}
	living := living(answers)
	for n, c := range l.Candidates {
		switch {
		case refers[n] && !c.Covered:
			kept = append(kept, Kept{c, ErrReferred})
		case slices.ContainsFunc(c.Of, func(gfid gluster.GFID) bool { return living[gfid] }):
			kept = append(kept, Kept{c, ErrLives})
		default:
			garbage = append(garbage, c)
		}
	}
	return garbage, kept, nil
}

// living are the files of an erasure that some brick has.
func living(answers []Answer) map[gluster.GFID]bool {
	found := map[gluster.GFID]bool{}
	for _, a := range answers {
		for _, gfid := range a.Lives {
			found[gfid] = true
		}
	}
	return found
}

// whole returns an error if files of a volume may refer to objects that no brick shows.
func (l *List) whole(v Shared, c catalog.Cluster) error {
	clones := slices.DeleteFunc(slices.Clone(c.Clones), func(id string) bool {
		return slices.ContainsFunc(l.Volumes, func(v Shared) bool { return v.ID == id })
	})
	switch {
	case !slices.Equal(withData(c), v.Bricks):
		return fmt.Errorf("the volume has other bricks than its catalogs")
	case len(c.Down) > 0:
		return fmt.Errorf("down: %s", strings.Join(c.Down, ", "))
	case c.Healing > 0:
		return fmt.Errorf("%d entries wait for a heal", c.Healing)
	case c.Snapshots > 0:
		return fmt.Errorf("%d snapshots may refer to any object: delete them first", c.Snapshots)
	case len(clones) > 0:
		return fmt.Errorf("%s may be clones of the volume: delete them, or archive and catalog them under the same key prefix", strings.Join(clones, ", "))
	}
	return nil
}
