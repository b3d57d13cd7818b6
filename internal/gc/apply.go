package gc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore"
	"github.com/coldbrick/coldbrick/internal/owner"
	"github.com/coldbrick/coldbrick/internal/workers"
)

// ErrReferred means that a file refers to a candidate after all.
var ErrReferred = errors.New("a file refers to it")

// Deletion is one run that deletes by a list.
type Deletion struct {
	Place Place
	List  *List
	Owner owner.Owner
	Jobs  int
	Most  int64 // objects; no more are deleted

	// Record is called before each delete, and is on disk when it returns.
	Record func(Candidate) error
	// Tell is told what became of each. Calls do not overlap. ErrReferred, ErrLives,
	// fs.ErrNotExist and object.ErrChanged mean that it is no garbage, LockedError and
	// fs.ErrPermission that the store keeps it.
	Tell func(Candidate, error)
	// Erased is told of each target of an erasure, in the end: nil means that nothing is
	// left of it that could be found.
	Erased func(Target, error)

	claimed time.Duration          // of the host's uptime
	late    time.Duration          // by then, how old the list was
	unclear atomic.Bool            // a request to delete had no clear answer
	left    map[gluster.GFID]error // why a target is not erased; guarded as Tell is
	keeper  objstore.Versioner     // of an erasure from a store that keeps versions
}

// Run deletes what no brick refers to. Nothing is deleted before all that is to be
// deleted was looked at once more; one request is sent for each object.
//
// One run alone deletes by a list, since it claims it: a second DELETE of one key could
// meet an object that was created since the first.
func (d *Deletion) Run(ctx context.Context) error {
	deleter, ok := d.Place.Store.(objstore.Deleter)
	if !ok {
		return fmt.Errorf("%w: the store cannot delete", ErrNotProven)
	}
	if err := d.claim(ctx); err != nil {
		return err
	}
	err := d.work(ctx, deleter)
	if !d.unclear.Load() { // else the list stays open: a request may still be on its way
		err = errors.Join(err, d.Place.Finish(context.WithoutCancel(ctx), d.List.ID))
	}
	if err == nil && d.List.Erases() {
		err = d.dropLists(ctx, deleter)
	}
	for _, t := range d.List.Targets {
		why := d.left[t.GFID]
		if why == nil {
			why = err
		}
		d.Erased(t, why)
	}
	return err
}

func (d *Deletion) work(ctx context.Context, deleter objstore.Deleter) error {
	d.left = map[gluster.GFID]error{}
	garbage, err := d.garbage(ctx)
	if err == nil {
		garbage, err = d.lookAgain(ctx, garbage)
	}
	switch {
	case err != nil:
		return err
	case d.List.Erases():
		return d.erase(ctx, deleter, garbage)
	}
	return d.delete(ctx, deleter, garbage)
}

// claim makes this the only run that deletes by the list.
func (d *Deletion) claim(ctx context.Context) error {
	text, err := json.Marshal(d.Owner)
	if err != nil {
		return err
	}
	text = append(text, '\n')
	if c, ok := d.Place.Store.(interface{ Conditional(size int64) bool }); !ok || !c.Conditional(int64(len(text))) {
		return fmt.Errorf("%w: the store overwrites taken keys: two runs could delete at once", ErrNotProven)
	}
	d.claimed, err = uptime()
	if err != nil {
		return err
	}
	err = d.Place.write(ctx, object.GarbageKey(d.Place.Prefix, d.List.ID, claimPart), text)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: another run deletes by list %s", ErrNotProven, d.List.ID)
	}
	return err
}

// garbage is what the bricks have left of the list.
func (d *Deletion) garbage(ctx context.Context) ([]Candidate, error) {
	status, err := d.status(ctx)
	if err != nil {
		return nil, err
	}
	d.late = status.ClaimedAt.Sub(d.List.Published)
	answers, err := d.Place.Answers(ctx, status)
	if err != nil {
		return nil, err
	}
	garbage, kept, err := d.List.Garbage(answers)
	if err != nil {
		return nil, err
	}
	living := living(answers)
	for _, t := range d.List.Targets {
		if living[t.GFID] {
			d.left[t.GFID] = ErrLives
		}
	}
	for _, c := range kept {
		d.keep(c.Candidate, c.Why)
	}
	if int64(len(garbage)) > d.Most {
		slices.SortFunc(garbage, func(a, b Candidate) int { return a.Modified.Compare(b.Modified) }) // oldest first
		garbage = garbage[:d.Most]
	}
	return garbage, nil
}

// keep notes that a candidate stays, and so its files are not erased.
func (d *Deletion) keep(c Candidate, why error) {
	for _, gfid := range c.Of {
		if d.left[gfid] == nil {
			d.left[gfid] = why
		}
	}
	d.Tell(c, why)
}

func (d *Deletion) status(ctx context.Context) (Status, error) {
	all, err := d.Place.Lists(ctx)
	if err != nil {
		return Status{}, err
	}
	for _, s := range all {
		if s.ID == d.List.ID && s.Claimed && !s.Done {
			return s, nil
		}
	}
	return Status{}, fmt.Errorf("%w: list %s was ended", ErrNotProven, d.List.ID)
}

// lookAgain asks the store about each object: all are still what the list says. What the
// store keeps is left out.
func (d *Deletion) lookAgain(ctx context.Context, garbage []Candidate) ([]Candidate, error) {
	known, err := d.known(ctx)
	if err != nil {
		return nil, err
	}
	locks := make([]objstore.Lock, len(garbage))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(max(d.Jobs, 1))
	for n, c := range garbage {
		if c.Marker {
			continue
		}
		group.Go(func() error {
			return workers.Guard(func() error {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				now, err := d.Place.identify(ctx, objstore.Version{
					Listed: objstore.Listed{Key: string(c.Key), Size: c.Size, Modified: c.Modified}, ID: c.Version,
				}, known)
				if now != nil {
					locks[n] = now.lock
				}
				return err
			})
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var free []Candidate
	for n, c := range garbage {
		if locks[n].Holds(time.Now()) {
			d.keep(c, LockedError{locks[n]})
		} else {
			free = append(free, c)
		}
	}
	return free, nil
}

// known are the volumes of the list. One that has come since may refer to anything.
func (d *Deletion) known(ctx context.Context) (Known, error) {
	known, err := d.Place.Volumes(ctx)
	if err != nil {
		return known, err
	}
	for _, id := range known.Living {
		if !slices.ContainsFunc(d.List.Volumes, func(v Shared) bool { return v.ID == id }) {
			return known, fmt.Errorf("%w: volume %s has come since the list was published", ErrNotProven, id)
		}
	}
	return known, nil
}

// delete deletes in batches, each after a look whether it still may.
func (d *Deletion) delete(ctx context.Context, deleter objstore.Deleter, garbage []Candidate) error {
	var mu sync.Mutex
	for len(garbage) > 0 {
		if err := d.may(ctx); err != nil {
			return err
		}
		began := time.Now()
		const batch = 1000
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(max(d.Jobs, 1))
		n := 0
		for n < min(batch, len(garbage)) && time.Since(began) < intentsReadEach && ctx.Err() == nil {
			c := garbage[n]
			n++
			group.Go(func() error {
				return workers.Guard(func() error {
					err := d.one(ctx, deleter, c)
					mu.Lock()
					defer mu.Unlock()
					return d.told(c, err)
				})
			})
		}
		if err := group.Wait(); err != nil {
			return err
		}
		garbage = garbage[n:]
	}
	return nil
}

// may returns an error unless more may be deleted now.
func (d *Deletion) may(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := d.young(); err != nil {
		return err
	}
	if _, err := d.known(ctx); err != nil {
		return err
	}
	if _, err := d.status(ctx); err != nil {
		return err
	}
	return d.Place.noIntents(ctx)
}

// young refuses a list whose answers may be older than a day. No clock is asked: the
// store has told when the list was claimed, and the uptime counts from there, also
// while the host was suspended.
func (d *Deletion) young() error {
	now, err := uptime()
	if err == nil && (d.late < 0 || d.late+now-d.claimed > listFor) {
		err = fmt.Errorf("%w: the last look was more than a day ago", ErrNotProven)
	}
	return err
}

func (d *Deletion) one(ctx context.Context, deleter objstore.Deleter, c Candidate) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := d.young(); err != nil {
		return err
	}
	if err := d.Record(c); err != nil {
		return err
	}
	var err error
	if c.Version != "" {
		err = d.keeper.DeleteVersion(ctx, string(c.Key), c.Version)
	} else {
		err = deleter.Delete(ctx, string(c.Key), object.Info{
			Size: c.Size, ETag: c.ETag, Modified: c.Modified, Metadata: map[string]string{object.MetaAttempt: c.Attempt},
		})
	}
	refused := c.Version != "" && errors.Is(err, fs.ErrPermission) // a late request could hit that version alone
	if err != nil && !noGarbage(err) && !refused {
		d.unclear.Store(true)
	}
	return err
}

// noGarbage reports that an object was deleted or replaced by somebody else.
func noGarbage(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, object.ErrChanged)
}

// told reports what became of a candidate; any error but that it is no garbage any more
// ends the run. What has come to its key in the meantime may be of the same file.
func (d *Deletion) told(c Candidate, err error) error {
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		d.Tell(c, err)
		return nil
	}
	d.keep(c, err)
	if noGarbage(err) || d.List.Erases() && errors.Is(err, fs.ErrPermission) {
		return nil // of this one
	}
	return err
}

// uptime counts on while the host is suspended.
func uptime() (time.Duration, error) {
	var t unix.Timespec
	err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t)
	return time.Duration(t.Nano()), err
}
