package run

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"time"

	"github.com/coldbrick/coldbrick/internal/catalog"
	"github.com/coldbrick/coldbrick/internal/gc"
	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/owner"
	"github.com/coldbrick/coldbrick/internal/price"
	"github.com/coldbrick/coldbrick/internal/record"
	"github.com/coldbrick/coldbrick/internal/report"
	"github.com/coldbrick/coldbrick/internal/volume"
)

// GC looks for objects that nothing refers to. With Apply it deletes them, once all
// bricks of all volumes with this key prefix have said that they do not refer to them
// either; with Answer the bricks of this host say so.
//
// With Erase it is about the files that named yields, as paths or gfids, and deletes all
// that was made from them.
func GC(ctx context.Context, s *Session, named iter.Seq2[string, error]) error {
	aim := outcome.Unreferenced
	switch {
	case s.Apply && s.Erase:
		aim = outcome.Erased
	case s.Apply:
		aim = outcome.Deleted
	case s.Answer, s.Forget != "":
		aim = ""
	}
	return s.Finish("gc", aim, collectGarbage(ctx, s, named))
}

// collection is one run of gc.
type collection struct {
	*Session
	scope *scope
	place gc.Place
	self  owner.Owner
}

func collectGarbage(ctx context.Context, s *Session, named iter.Seq2[string, error]) (err error) {
	ctx, stop := s.drains(ctx)
	defer stop()
	defer func() { err = causeOf(ctx, err) }()
	place, err := s.place("")
	if err != nil {
		return err
	}
	if !s.Answer && s.Forget == "" {
		s.about = ofVolume + s.Volume
	}
	switch {
	case s.Volume == "":
		return Usagef("no volume given: write --volume NAME")
	case s.Erase && (s.Answer || s.Forget != ""):
		return Usagef("--erase: goes with --apply alone; other hosts write gc --answer")
	case s.Apply && s.Answer, s.Forget != "" && (s.Apply || s.Answer):
		return Usagef("write one of --apply, --answer and --forget-volume")
	case s.Grace < gc.LeastGrace:
		return Usagef("--grace: must be at least %v: until half of it a run of archive may use an object that it finds", gc.LeastGrace)
	}
	s.UI.Doing(askingGlusterd)
	scope, err := s.look(ctx)
	if err != nil {
		return err
	}
	if err := s.Store.check(scope.mount, nil); err != nil {
		return err
	}
	s.UI.Doing(askingStore)
	store, err := s.openForCatalogs(ctx, scope.mount.Graph)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Fini()) }()
	dir, err := s.forCatalogs()
	if err != nil {
		return err
	}
	self, err := owner.Self(object.NewID())
	if err != nil {
		return err
	}
	c := &collection{s, scope, gc.NewPlace(store, place.Prefix, place.Secret, dir), self}
	if s.Apply || s.Answer || s.Forget != "" {
		if err := s.probes().prove(ctx, store); err != nil {
			return err
		}
	}
	switch {
	case s.Forget != "":
		return c.forget(ctx)
	case s.Answer:
		return c.answerOpen(ctx)
	case s.Erase:
		return c.erase(ctx, named)
	case s.Apply:
		return c.apply(ctx)
	}
	_, err = c.search(ctx)
	return err
}

// intend keeps gc from deleting while files begin to refer to objects that nothing may
// refer to now, until the Intent has ended.
func (s *Session) intend(ctx context.Context, place catalog.Place, purpose string) (gc.Intent, error) {
	self, err := owner.Self(object.NewID())
	if err != nil {
		return gc.Intent{}, err
	}
	return gc.NewPlace(place.Store, place.Prefix, place.Secret, "").Intend(ctx, purpose, self)
}

// search finds what nothing refers to, and tells of it.
func (c *collection) search(ctx context.Context) (found gc.Found, err error) {
	var list *bufio.Writer
	if c.ListFile != "" {
		f, err := os.OpenFile(c.ListFile, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return found, Usagef("--list: %w", err)
		}
		list = bufio.NewWriter(f)
		defer func() { err = errors.Join(err, list.Flush(), f.Close()) }()
	}
	prices, err := price.Load(c.Prices)
	if err != nil {
		return found, Usagef("--prices: %w", err)
	}
	told := report.NewGarbage(c.place.Prefix, prices)
	found, err = c.place.Search(ctx, gc.Search{Grace: c.Grace, Jobs: c.Jobs, Found: func(o gc.Candidate) error {
		told.Add(o.Size, o.Class, o.Modified)
		c.tally.Add(outcome.Unreferenced, "", o.Size)
		r := objectRecord(o, outcome.Unreferenced, "", nil)
		c.print(r)
		if list == nil {
			return nil
		}
		line, err := r.MarshalJSON()
		if err == nil {
			_, err = list.Write(append(line, '\n'))
		}
		return err
	}})
	if errors.Is(err, objstore.ErrNested) {
		err = fmt.Errorf("%w: %w", gc.ErrNotProven, err)
	}
	if err != nil {
		return found, err
	}
	told.Objects = found.List.Objects
	c.print(told)
	return found, c.tellUploads()
}

// tellUploads names the uploads of dead runs on this host of which parts may be left in
// the bucket. From the bucket alone nobody can tell whether an upload has died.
func (c *collection) tellUploads() error {
	left, err := record.Open(c.records(), c.self)
	if err != nil {
		return err
	}
	for _, u := range left {
		for _, e := range u.Uploads {
			c.UI.Say(fmt.Sprintf("parts of %s may be left of run %s, which died: the next archive of brick %s aborts that upload",
				report.Quote(e.Key), u.Owner.Run, u.Brick))
		}
	}
	return nil
}

func objectRecord(o gc.Candidate, became outcome.Outcome, why outcome.Reason, err error) report.Object {
	return report.Object{Key: string(o.Key), Size: o.Size, Modified: o.Modified, Volume: o.Volume, Version: o.Version, Outcome: became, Reason: why, Err: err}
}

// becameOf says what became of a candidate that was to be deleted.
func becameOf(err error) (outcome.Outcome, outcome.Reason) {
	switch {
	case err == nil:
		return outcome.Deleted, ""
	case errors.Is(err, gc.ErrReferred):
		return outcome.Skipped, outcome.Referred
	case errors.Is(err, fs.ErrNotExist):
		return outcome.Skipped, outcome.Vanished
	case errors.Is(err, object.ErrChanged):
		return outcome.Skipped, outcome.Changed
	case errors.Is(err, gc.ErrLives):
		return outcome.Skipped, outcome.NotDeleted
	case errors.As(err, new(gc.LockedError)), errors.Is(err, fs.ErrPermission):
		return outcome.Skipped, outcome.StoreKeeps
	}
	return outcome.Failed, outcome.StoreRefused
}

// publish makes a list the open one.
func (c *collection) publish(ctx context.Context, list *gc.List) (*gc.Status, error) {
	list.Owner = c.self
	if err := c.place.Publish(ctx, list); err != nil {
		return nil, err
	}
	status, err := c.place.Open(ctx)
	if err == nil && (status == nil || status.ID != list.ID) {
		err = fmt.Errorf("%w: list %s has gone", gc.ErrNotProven, list.ID)
	}
	return status, err
}

// apply deletes by the open list, or publishes one.
func (c *collection) apply(ctx context.Context) error {
	status, err := c.open(ctx)
	if err != nil {
		return err
	}
	if status == nil {
		found, err := c.search(ctx)
		if err != nil {
			return err
		}
		if len(found.List.Candidates) == 0 {
			return c.retire(ctx)
		}
		if status, err = c.publish(ctx, &found.List); err != nil {
			return err
		}
		if found.More {
			c.UI.Say("there is more than fits into one list: run this again afterwards")
		}
	}
	list, err := c.place.Read(ctx, *status)
	if err != nil {
		return err
	}
	if list.Erases() {
		return fmt.Errorf("%w: an erasure is under way, by list %s of %s: end it by gc --erase --apply, or wait two days",
			gc.ErrNotProven, list.ID, moment(list.Published))
	}
	if err := c.answerOwn(ctx, list, *status); err != nil {
		return err
	}
	if err := c.delete(ctx, list, nil); err != nil {
		return err
	}
	return c.retire(ctx)
}

// retire deletes the catalogs and the records of gc that are too old to be of use.
func (c *collection) retire(ctx context.Context) error {
	r, err := c.place.Retire(ctx, c.Grace)
	if r.Catalogs+r.Records > 0 {
		c.UI.Say(fmt.Sprintf("%s and %s that nobody needs any more were deleted",
			report.Count(int64(r.Catalogs), "old catalog"), report.Count(int64(r.Records), "record")))
	}
	return err
}

// open is the list that may still be gone by.
func (c *collection) open(ctx context.Context) (*gc.Status, error) {
	status, err := c.place.Open(ctx)
	if err != nil || status == nil {
		return nil, err
	}
	stale, err := c.place.Stale(ctx, *status)
	if err != nil || stale {
		return nil, err
	}
	return status, nil
}

// answers are those that a list has by now.
func (c *collection) answers(ctx context.Context, list *gc.List) ([]gc.Answer, error) {
	status, err := c.place.Open(ctx)
	if err != nil {
		return nil, err
	}
	if status == nil || status.ID != list.ID {
		return nil, fmt.Errorf("%w: list %s has ended", gc.ErrNotProven, list.ID)
	}
	return c.place.Answers(ctx, *status)
}

// answerOwn has the bricks of this host looked at, unless all is well with what they
// have said before.
func (c *collection) answerOwn(ctx context.Context, list *gc.List, status gc.Status) error {
	if err := list.KeepsFor(c.Backups); err != nil {
		return err
	}
	answers, err := c.place.Answers(ctx, status)
	if err != nil {
		return err
	}
	missing := map[string]bool{}
	for _, m := range list.Missing(answers) {
		missing[m.Brick] = m.Volume == c.scope.cluster.ID
	}
	if len(missing) == 0 {
		if _, _, err := list.Garbage(answers); err == nil {
			return nil
		}
	}
	for _, p := range c.scope.cluster.Places() {
		if p.Here && p.Role != volume.Arbiter && (len(missing) == 0 || missing[p.Name()]) {
			if err := c.answer(ctx, list, p.Dir); err != nil {
				return err
			}
		}
	}
	return nil
}

// answerOpen has all bricks of this host looked at for the list that is open.
func (c *collection) answerOpen(ctx context.Context) error {
	status, err := c.place.Open(ctx)
	if err != nil {
		return err
	}
	if status == nil || status.Claimed {
		c.UI.Say("no list of gc waits for an answer")
		return nil
	}
	list, err := c.place.Read(ctx, *status)
	if err != nil {
		return err
	}
	return c.answerOwn(ctx, list, *status)
}

// answer looks at one brick.
func (c *collection) answer(ctx context.Context, list *gc.List, dir string) error {
	brick, err := openBrick(dir)
	if err != nil {
		return err
	}
	defer brick.Close()
	if brick.VolumeID != c.scope.cluster.ID {
		return fmt.Errorf("%w: brick %s is of another volume", ErrUnsafe, dir)
	}
	subject, err := c.scope.subject(dir)
	if err != nil {
		return err
	}
	var g Gauge
	g.Total.Store(c.filesOf([]string{dir}))
	c.UI.ShowBar("looking for references", ByFiles, &g)
	defer c.UI.HideBar()
	a, err := c.place.Answer(ctx, list, brick.VolumeID, subject, gc.Look{
		References: func(ctx context.Context, visit func(catalog.Ref) error) error {
			return catalog.References(ctx, catalog.Scan{
				Brick: brick, Dir: c.place.Dir, Workers: c.Crawlers, Notes: recalling, Seen: &g.Seen.Files,
				Unreadable: func(path string, err error) { c.failed(path, outcome.Unreadable, err) },
			}, visit)
		},
		Lives: func(gfid gluster.GFID) (bool, error) { return catalog.Lives(brick, gfid) },
	})
	if errors.Is(err, catalog.ErrIncomplete) {
		return fmt.Errorf("%w: brick %s could not be read whole", gc.ErrNotProven, dir)
	}
	if err == nil {
		c.UI.Say(fmt.Sprintf("brick %s refers to %d of the %s of list %s", dir, len(a.Refers), report.Count(int64(len(list.Candidates)), "candidate"), list.ID))
	}
	return err
}

// delete deletes what no brick refers to. Of an erasure, erased is told of each file.
func (c *collection) delete(ctx context.Context, list *gc.List, p *report.Protocol) (err error) {
	answers, err := c.answers(ctx, list)
	if err != nil {
		return err
	}
	if _, _, err := list.Garbage(answers); err != nil {
		if len(list.Missing(answers)) > 0 {
			err = fmt.Errorf("%w; run coldbrick gc --answer on their hosts (or let its timer do so), then this again, before %s",
				err, moment(list.Published.Add(24*time.Hour)))
		}
		return err
	}
	log, err := record.Create(filepath.Join(c.StateDir, "gc"), c.self, "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	most := c.MaxDelete.Of(list.Objects)
	if c.MaxDelete.IsZero() || list.Erases() { // what is named is meant
		most = list.Objects
	}
	d := gc.Deletion{
		Place: c.place, List: list, Owner: c.self, Jobs: c.Jobs, Most: most,
		Record: func(o gc.Candidate) error {
			return log.Append(record.Entry{Phase: record.Deleting, Key: string(o.Key), Attempt: o.Attempt, Size: o.Size})
		},
		Tell: func(o gc.Candidate, err error) {
			became, why := becameOf(err)
			c.tally.Add(became, why, o.Size)
			r := objectRecord(o, became, why, err)
			c.print(r)
			if p != nil {
				p.Objects = append(p.Objects, r)
			}
		},
		Erased: func(t gc.Target, err error) { p.Files = append(p.Files, c.toldErasure(t, err)) },
	}
	return d.Run(ctx)
}

// forget notes that a volume is gone for good.
func (c *collection) forget(ctx context.Context) error {
	id, err := gluster.ParseGFID(c.Forget)
	switch {
	case err != nil:
		return Usagef("--forget-volume: %q is not the id of a volume", c.Forget)
	case id.String() == c.scope.cluster.ID:
		return Usagef("--forget-volume: %s is this volume itself", id)
	}
	known, err := volume.Known(ctx, id.String())
	if err != nil {
		return ofCluster(ctx, err)
	}
	if known {
		return Usagef("--forget-volume: this cluster has volume %s", id)
	}
	wait, err := c.place.Forget(ctx, id.String(), c.Grace)
	if err != nil {
		return err
	}
	if wait > 0 {
		c.UI.Say(fmt.Sprintf("volume %s has never been written down: it counts as gone if it does not archive for another %d days", id, wait/(24*time.Hour)))
	} else {
		c.UI.Say(fmt.Sprintf("volume %s is forgotten", id))
	}
	return nil
}
