// Package upload copies cold files to a store, proves each copy, and only then
// lets Gluster free the data.
//
// The way of one file is the table in (*transaction).steps: read it first.
package upload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/owner"
	"github.com/coldbrick/coldbrick/internal/record"
	"github.com/coldbrick/coldbrick/internal/volume"
	"github.com/coldbrick/coldbrick/internal/workers"
)

// Store takes objects and proves that it has them.
type Store interface {
	// Create stores size bytes of body under key if nothing is there yet. It
	// returns nil only after the store itself has confirmed the size and the
	// CRC-32 of the bytes that were read. fs.ErrExist means that the key is
	// taken, object.ErrKey that it is refused, object.ErrChanged that body
	// does not have size bytes, object.ErrStore that no object can be stored.
	Create(ctx context.Context, key string, body io.ReaderAt, size int64, metadata map[string]string) (object.Proof, error)
	// Head tells about an object; fs.ErrNotExist if there is none.
	Head(ctx context.Context, key string) (object.Info, error)
	// Conditional reports whether a Create of so many bytes is known to leave
	// a taken key alone. Where it is not, only nonce keys are used.
	Conditional(size int64) bool
}

// Mount is a mount of the volume that stamps: with cloudsync in its graph,
// without a store plugin, and caching neither entries nor attributes.
type Mount interface {
	Lookup(path string) (*os.File, error) // the regular file of that name, for nothing but its attributes
	OpenRegular(path string) (*os.File, error)
	Children() error // nil while every brick of the volume is connected
}

// Brick opens files of the brick that was crawled.
type Brick interface {
	OpenRegular(path string) (*os.File, error)
}

// Replicas tells what the other bricks of the file's replica set know.
type Replicas interface {
	// Pending reports whether any brick has changes that another one has missed.
	Pending(ctx context.Context, file *os.File, path string) (bool, error)
	// Torn reports so, too, and whether any brick has bytes beneath the marks of a stub.
	Torn(ctx context.Context, file *os.File, path string) (bool, error)
}

// Index remembers what was proven of the copied files of the brick. It is a hint that
// saves reading: see internal/copied.
type Index interface {
	// CRC32 is that of the object under key, whose bytes a file has that has this
	// identity on the brick now; false if nobody knows.
	CRC32(gfid gluster.GFID, id volume.Identity, key string) (uint32, bool)
	Note(gfid gluster.GFID, id volume.Identity, key string, crc32 uint32)
	Forget(gfid gluster.GFID)
}

// ErrDegraded ends a run: a brick is down or not healed, and a file that is
// stamped now becomes unreadable when the brick returns (the heal writes the
// data back under the stub).
var ErrDegraded = errors.New("the volume is degraded")

// headFirst is the size from which on it is cheaper to ask whether a previous run
// has left the object than to upload in vain, in bytes.
const headFirst = 64 << 20

// Archiver archives files one by one; Run does so with many workers. All fields
// but Formerly, Replicas, Index, At, StatBrick and Patience are required.
type Archiver struct {
	Mount Mount
	Brick Brick
	// Replicas is nil on a volume without replication.
	Replicas Replicas
	Store    Store
	// Index may be nil: then each copied file is read again.
	Index  Index
	Log    *record.Log
	Owner  owner.Owner
	Volume string // id of the volume
	// Formerly are the ids of the volumes that this one was rebuilt from. Their objects
	// are its own.
	Formerly []string
	Prefix   string // before every key
	// ColdBefore is the end of the past: a file that was modified later is
	// too warm. It must lie some seconds back, since Gluster compares whole
	// seconds.
	ColdBefore time.Time
	// Keep stops once the object is proven: the file is copied, and its data stays.
	Keep bool
	// Release makes stubs of copied files alone, and uploads nothing.
	Release bool
	// Patience is how long a file waits for a brick to come back.
	Patience time.Duration
	// At, which may be nil, is called before each step: there a run sees which files are in
	// work, and tests kill the process, or return an error in place of the step.
	At func(Step, gluster.File) error
	// StatBrick is volume.StatOf, unless tests give a brick the coarse times of
	// an older kernel.
	StatBrick func(*os.File) (volume.Stat, error)
}

// Result says what became of one file.
type Result struct {
	File    gluster.File
	Outcome outcome.Outcome
	Reason  outcome.Reason // unless archived
	Key     string
	Adopted bool  // the object was there already: of a run that died, a copy, a recall
	Freed   int64 // bytes that the brick had for it alone and has no longer, if archived
	// MayBeKept says that the brick does not tell whether a snapshot or a reflink has a
	// share in these bytes, and keeps them.
	MayBeKept bool
	Err       error // the cause of a failure; of an archived file: what could not be noted or watched
}

// Step is one step of a file's way.
type Step string

// The steps in their order. Nothing is given up before StepStamp; from there on
// the file is a stub and can only be made a better one.
const (
	StepOpen     Step = "open"
	StepPoint    Step = "point"
	StepIdentify Step = "identify"
	StepPut      Step = "put"
	StepRecord   Step = "record"
	StepRecheck  Step = "recheck"
	StepStamp    Step = "stamp"
	StepVerify   Step = "verify"
	StepBlocks   Step = "blocks"
	StepNote     Step = "note"
	StepEnter    Step = "enter" // with Keep, in place of all from the stamp on
)

// doing says in an error what was tried.
var doing = map[Step]string{
	StepOpen: "opening it", StepPoint: "marking it as in work", StepIdentify: "noting what must not change",
	StepPut: "copying it to the store", StepRecord: "writing the run record", StepRecheck: "looking at it again",
	StepStamp: "making it a stub", StepVerify: "checking the stub", StepBlocks: "setting the size of the stub",
	StepNote: "noting the proof on the stub", StepEnter: "entering it in the index of copies",
}

type step struct {
	name Step
	do   func(context.Context) error
}

func (t *transaction) steps() []step {
	all := []step{
		{StepOpen, t.open},         // the file by name on the mount, by gfid on the brick: the same, and local
		{StepPoint, t.point},       // the file is locked, and learns its key before anything depends on it
		{StepIdentify, t.identify}, // what must stay the same, taken before the first byte is read
		{StepPut, t.put},           // the store confirms size and checksum of the bytes read
		{StepRecord, t.record},     // the run record is on disk
		{StepRecheck, t.recheck},   // bricks up, name and file unchanged, local, still ours and locked, nobody writes
		{StepStamp, t.stamp},       // Gluster frees the data
		{StepVerify, t.verify},     // the stub is what it should be, on the brick and on the mount
		{StepBlocks, t.blocks},     // du shows the size of the data
		{StepNote, t.note},         // the stub learns its proof
	}
	if t.Keep { // its pointer stays, and names an object that was proven
		stamp := slices.IndexFunc(all, func(s step) bool { return s.name == StepStamp })
		return append(all[:stamp], step{StepEnter, t.enter})
	}
	return all
}

// Steps lists all steps in order, for tests that stop at each.
func Steps() []Step {
	var names []Step
	for _, s := range (&transaction{Archiver: &Archiver{}}).steps() {
		names = append(names, s.name)
	}
	return names
}

// Archive takes one file to the store and makes it a stub. The file is left as
// it was unless the outcome is outcome.Archived; in particular when ctx ends
// before the stamp. With Keep it never is a stub, and the outcome of success is
// outcome.Copied.
func (a *Archiver) Archive(ctx context.Context, f gluster.File) Result {
	key, readable := object.PathKey(a.Prefix, f.Path)
	if !readable || !a.Store.Conditional(f.Size) {
		key = object.NonceKey(a.Prefix, f.GFID)
	}
	t, err := a.attempt(ctx, f, key)
	if errors.Is(err, errKeyTaken) && !a.Release {
		// A new key means a new pointer, which moves the ctime: begin anew.
		t, err = a.attempt(ctx, f, object.NonceKey(a.Prefix, f.GFID))
	}
	res := Result{File: f, Outcome: outcome.Archived, Key: t.key, Adopted: t.adopted, Freed: t.freed, MayBeKept: t.mayBeKept, Err: err}
	if a.Keep {
		res.Outcome = outcome.Copied
	}
	if err != nil && !t.verified {
		res.Outcome, res.Reason = classify(err)
	}
	return res
}

func (a *Archiver) attempt(ctx context.Context, f gluster.File, key string) (_ *transaction, err error) {
	t := &transaction{Archiver: a, want: f, key: key}
	defer func() { err = errors.Join(err, t.close()) }()
	defer func() { err = errors.Join(err, t.done()) }()
	for _, s := range t.steps() {
		if t.recalled { // the stub is another's business now
			break
		}
		var err error
		if !t.sent { // a stub must be verified whoever is in a hurry
			err = ctx.Err()
		}
		if err == nil {
			err = workers.Guard(func() error {
				if a.At != nil {
					if err := a.At(s.name, f); err != nil {
						return err
					}
				}
				return s.do(ctx)
			})
		}
		if err != nil {
			return t, errors.Join(fmt.Errorf("%s: %w", doing[s.name], err), workers.Guard(t.withdraw))
		}
	}
	return t, t.unwatched
}

// transaction is one attempt to archive one file under one key.
type transaction struct {
	*Archiver
	want gluster.File
	key  string

	file, brick *os.File // the same inode, on the mount and on the brick
	locked      bool     // by us; it can be lost, see held
	attempt     string   // what this one creates has it in its metadata, and the pointer beforehand
	pointer     object.Pointer
	encoded     []byte             // the pointer as it stands on the file; nil before it does
	inherited   bool               // the key was in the pointer before: of a run that died, or has copied the file
	before      volume.Stat        // what the mount shows
	onBrick     int64              // bytes that the brick has for it alone, before anything is done
	freed       int64              // those of them that it has given back
	mayBeKept   bool               // some may be shared, for all that the brick tells
	witness     volume.Identity    // of the brick's own file: no clock and no client can put it back
	lease       *volume.BriefLease // of it, from the index's look to the witness; nil if the index knows nothing
	known       *uint32            // CRC-32 of its bytes, as the index and an unbroken lease tell; nil: they must be read
	recorded    bool               // the run record has the proof, and waits for word of the end
	looked      time.Time          // when recheck had looked at everything
	watch       *volume.Watch      // of the brick's own file since before recheck's last look; nil if there can be none
	unwatched   error              // why there is none
	changes     int                // what it has seen when the stamp had been answered
	proof       object.Proof
	adopted     bool
	sent        bool // the stamp is on its way: the file may be a stub
	answered    bool // and the brick has said how it ended
	verified    bool // the file is a sound stub
	recalled    bool // somebody recalls the stub already
}

func (t *transaction) close() (err error) {
	if t.lease != nil {
		_, _ = t.lease.End() // else it ends with the descriptor
	}
	if t.locked {
		// At once: the next run need not wait for the end of the descriptor. A
		// lock that was lost cannot be given back.
		if err = volume.Unlock(t.file); volume.Lost(err) {
			err = nil
		}
	}
	for _, f := range []*os.File{t.file, t.brick} {
		if f != nil {
			f.Close() // read-only: nothing is lost by an error
		}
	}
	if t.watch != nil {
		t.watch.Close()
	}
	return err
}

func (t *transaction) open(context.Context) (err error) {
	if t.file, err = t.Mount.OpenRegular(t.want.Path); err != nil {
		return err
	}
	// The inode number is half of the gfid. That this is the file on the brick
	// is proven before the stamp: recheck finds there what point sets here.
	st, err := volume.StatAsOpened(t.file)
	if err != nil {
		return err
	}
	if st.Inode != t.want.GFID.Inode() {
		return outcome.Skip(outcome.Vanished, "another file has its name now")
	}
	if t.brick, err = t.Brick.OpenRegular(t.want.GFID.HandlePath()); err != nil {
		return fmt.Errorf("brick: %w", err)
	}
	attrs, err := t.local()
	if err != nil {
		return err
	}
	onBrick, err := t.statBrick()
	switch {
	case err != nil:
		return err
	case t.Keep && t.alreadyCopied(attrs, onBrick.Identity):
		return outcome.Skip(outcome.AlreadyCopied, "")
	}
	t.onBrick, t.mayBeKept = onBrick.Blocks*statBlock, true
	if t.Release {
		switch own, shared, err := volume.OwnBytes(t.brick); {
		case errors.Is(err, volume.ErrUntold):
		case err != nil:
			return err
		case own == 0:
			return outcome.Skip(outcome.FreesNothing, "")
		default:
			t.onBrick, t.mayBeKept = t.onBrick-shared, false
		}
	}
	return t.notInUse() // or it would be uploaded in vain, perhaps every night
}

func (t *transaction) notInUse() error { return inUse(volume.NotInUse(t.brick)) }

func inUse(err error) error {
	if errors.Is(err, volume.ErrInUse) {
		return outcome.Skip(outcome.InUse, "")
	}
	return err
}

// local reads the file's attributes on the brick, and returns an error unless
// they allow to archive it. The brick is asked because it decides: what a mount
// shows can be a cached or another replica's view.
func (t *transaction) local() (volume.Attrs, error) {
	attrs, st, err := consistent(t.brick)
	if err != nil {
		return attrs, err
	}
	reason := attrs.Archivable(st.Size, st.Mode)
	switch {
	case reason == outcome.Broken:
		return attrs, outcome.Fail(reason, "")
	case reason != "":
		return attrs, outcome.Skip(reason, "")
	case attrs.Pinned: // since the crawl
		return attrs, outcome.Skip(outcome.Pinned, "")
	case attrs.HealPending:
		return attrs, outcome.Skip(outcome.HealPending, "")
	}
	return attrs, nil
}

// consistent reads attributes and size, which cannot be read at once: what looks
// like a stub with bytes may be a file that was recalled or stamped in between.
// Only what stays so is broken.
func consistent(brick *os.File) (attrs volume.Attrs, st volume.Stat, err error) {
	const tries, pause = 5, 10 * time.Millisecond
	for range tries {
		if attrs, err = settled(brick); err != nil {
			return attrs, st, err
		}
		st, err = volume.StatOf(brick)
		if err != nil || attrs.State(st.Size) != gluster.Repair || attrs.Downloading {
			return attrs, st, err
		}
		time.Sleep(pause)
	}
	return attrs, st, nil
}

// settled reads the attributes of a file on the brick. Replicate marks a file
// as pending while a change of ours is under way and clears the mark a moment
// after it has answered; only a mark that stays means a heal.
func settled(brick *os.File) (volume.Attrs, error) {
	for waited := time.Duration(0); ; waited += settlePause {
		attrs, err := volume.ReadAttrs(brick)
		if err != nil || !attrs.HealPending || waited >= settlePatience {
			return attrs, err
		}
		time.Sleep(settlePause)
	}
}

// How long, and how often, it is looked whether a pending mark goes by itself.
const (
	settlePatience = time.Second
	settlePause    = 10 * time.Millisecond
)

// healPending asks all replicas whether one of them has missed a change of the
// file.
func (t *transaction) healPending(ctx context.Context) (bool, error) {
	if t.Replicas == nil {
		return false, nil
	}
	return t.stays(ctx, t.Replicas.Pending)
}

// torn asks all replicas of a stub whether one of them has kept its bytes, or missed
// the stamp: self-heal would bring the data back under it.
func (t *transaction) torn(ctx context.Context) (bool, error) {
	if t.Replicas == nil {
		return false, nil
	}
	return t.stays(ctx, t.Replicas.Torn)
}

// stays asks until it is not so any more. As with settled, a mark that goes within a
// moment is our own change's.
func (t *transaction) stays(ctx context.Context, so func(context.Context, *os.File, string) (bool, error)) (bool, error) {
	for waited := time.Duration(0); ; waited += settlePause {
		is, err := so(ctx, t.file, t.want.Path)
		if err != nil || !is || waited >= settlePatience {
			return is, err
		}
		time.Sleep(settlePause)
	}
}

// lock keeps recalls and repairs off until the stub has its proof. The file is open
// for reading only, so other archives could share the lock: where one may be at work,
// a look tells whether it is. Two that begin at once may both be refused.
func (t *transaction) lock() error {
	if err := volume.LockShared(t.file); err != nil {
		return err
	}
	t.locked = true
	return nil
}

// held looks whether the lock is still ours. It goes when the connection to the
// brick is cut, and another run may have the file since.
func (t *transaction) held() error {
	if err := volume.LockShared(t.file); err != nil {
		return fmt.Errorf("the lock was lost: %w", err)
	}
	return nil
}

// alone refuses a file with the pointer of a run that may be at work. Of this
// version, one that is holds the lock. One of an earlier version, which may still
// run on a host that has not been upgraded, holds none, see owner.UnlockedLife.
func (t *transaction) alone(previous object.Pointer, valid bool) error {
	if valid && previous.Unlocked() && !t.Owner.Ended(previous.Owner) && time.Since(previous.Time) < owner.UnlockedLife {
		return outcome.Skip(outcome.InProgress, "run "+previous.Owner.Run+" on "+previous.Owner.Host)
	}
	return volume.Locked(t.file)
}

func (t *transaction) point(context.Context) error {
	if err := t.lock(); err != nil {
		return err
	}
	// Until now a recall may have been at it: what it needs is not ours to replace.
	attrs, err := t.local()
	if err != nil {
		return err
	}
	previous, valid, err := attrs.PointerOf(t.want.GFID)
	if err != nil {
		return err
	}
	set := volume.Create
	if attrs.Pointer != nil {
		set = volume.Replace
		if err := t.alone(previous, valid); err != nil {
			return err
		}
	}
	if valid && previous.Owner != t.Owner {
		// A run that died may have uploaded already: its key may hold the
		// object that this run needs.
		t.key, t.inherited = previous.Key, true
	}
	if t.Release && !t.inherited {
		return outcome.Skip(outcome.NotCopied, "")
	}
	t.attempt = object.NewID()
	if t.inherited && previous.Attempt != "" {
		t.attempt = previous.Attempt // see adopt
	}
	of := t.Volume
	if t.inherited && slices.Contains(t.Formerly, previous.Volume) {
		of = previous.Volume // the pointer tells clients whose object they may take
	}
	t.pointer = object.Pointer{
		GFID: t.want.GFID, Volume: of, Key: t.key, Attempt: t.attempt,
		Owner: t.Owner, Time: time.Now().UTC(), Locks: true,
	}
	if err := t.vouch(); err != nil {
		return err
	}
	encoded := t.pointer.Encode()
	if err := t.room(len(encoded)); err != nil {
		return err
	}
	if err := set(t.file, gluster.XattrPointer, encoded); err != nil {
		if errors.Is(err, unix.EEXIST) || errors.Is(err, unix.ENODATA) {
			return outcome.Skip(outcome.InProgress, "")
		}
		return err
	}
	t.encoded = encoded
	return nil
}

// identify takes what must stay the same. The brick is the witness: a hole that is
// punched, and a write by a client whose clock is behind and that puts the mtime
// back, move nothing that a mount shows; but nobody can set the ctime of the
// brick's own file.
func (t *transaction) identify(ctx context.Context) (err error) {
	if t.witness, err = t.standing(ctx); err != nil {
		return err
	}
	if err := t.vouched(); err != nil {
		return err
	}
	if t.before, err = volume.StatOf(t.file); err != nil {
		return err
	}
	mtime := volume.Time(t.before.Mtime)
	switch {
	case t.before.Links != 1:
		return outcome.Skip(outcome.HardLinked, "")
	case t.before.Size == 0:
		return outcome.Skip(outcome.NoData, "")
	case t.before.Size != t.want.Size, t.before.Size != t.witness.Size:
		return outcome.Skip(outcome.Changed, "size")
	case !mtime.Before(t.ColdBefore):
		return outcome.Skip(outcome.TooWarm, "")
	case !gluster.Stampable(mtime):
		return outcome.Skip(outcome.MtimeOutOfRange, "")
	}
	return nil
}

// standing takes the identity of the brick's own file once it can bear witness:
// any change from now on, also one that the kernel stamps by a coarse clock, gives
// the file another ctime. The pointer has just moved it to now; and replicate,
// with what it clears a moment after its answer, moves it once more.
func (t *transaction) standing(ctx context.Context) (volume.Identity, error) {
	const patience = 2 * time.Second
	tick := volume.Tick()
	for begun := time.Now(); ; {
		if _, err := t.local(); err != nil {
			return volume.Identity{}, err
		}
		st, err := t.statBrick()
		if err != nil {
			return volume.Identity{}, err
		}
		now, err := volume.CoarseNow()
		if err != nil {
			return volume.Identity{}, err
		}
		wait, ok := volume.Ripens(gluster.TimeOf(st.Ctime), now, tick, patience)
		switch {
		case ok && wait <= 0:
			return st.Identity, nil
		case !ok:
			return volume.Identity{}, outcome.Skip(outcome.Changed, fmt.Sprintf("its ctime on the brick is %v, in the future", gluster.TimeOf(st.Ctime)))
		case time.Since(begun) > patience+tick:
			return volume.Identity{}, outcome.Skip(outcome.Changed, "its ctime on the brick does not stand still")
		}
		select {
		case <-ctx.Done():
			return volume.Identity{}, ctx.Err()
		case <-time.After(wait):
		}
	}
}

func (t *transaction) statBrick() (volume.Stat, error) {
	if t.StatBrick != nil {
		return t.StatBrick(t.brick)
	}
	return volume.StatOf(t.brick)
}

func (t *transaction) record(context.Context) error {
	mtime, ctime := gluster.TimeOf(t.before.Mtime), gluster.TimeOf(t.before.Ctime)
	err := t.Log.Append(record.Entry{
		Phase: record.Proven, Path: []byte(t.want.Path), GFID: &t.want.GFID, Key: t.key,
		Attempt: t.attempt, Size: t.proof.Size, Mtime: &mtime, Ctime: &ctime,
		CRC32: t.proof.CRC32, Adopted: t.adopted,
	})
	if err != nil {
		return fmt.Errorf("%w: %w", errRecord, err)
	}
	t.recorded = true
	return nil
}

// done notes that the next run need not look at the file again. Where that is not
// known, because the stamp went wrong or the process died, it does.
func (t *transaction) done() error {
	if !t.recorded || t.sent && !t.verified && !t.recalled {
		return nil
	}
	if err := t.Log.Note(record.Entry{Phase: record.Done, GFID: &t.want.GFID, Attempt: t.attempt}); err != nil {
		return fmt.Errorf("%w: %w", errRecord, err)
	}
	return nil
}

func (t *transaction) recheck(ctx context.Context) error {
	if err := t.awaitChildren(ctx); err != nil {
		return err
	}
	attrs, err := t.local()
	if err != nil {
		return err
	}
	if !bytes.Equal(attrs.Pointer, t.encoded) {
		return outcome.Skip(outcome.InProgress, "another run took it over")
	}
	switch pending, err := t.healPending(ctx); {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("%w: %w", ErrDegraded, err)
	case pending:
		return outcome.Skip(outcome.HealPending, "")
	}
	// The name is looked up afresh, on every brick: one that has forgotten the
	// inode (restart, eviction) would else record an empty key. If it has
	// forgotten a directory within the last second, verify puts that right. The
	// answer tells what the file is now.
	named, err := t.Mount.Lookup(t.want.Path)
	if err != nil {
		return err
	}
	defer named.Close()
	now, err := volume.StatAsOpened(named)
	if err != nil {
		return err
	}
	switch {
	case now.Inode != t.before.Inode:
		return outcome.Skip(outcome.Vanished, "another file has its name now")
	case now.Identity != t.before.Identity:
		return outcome.Skip(outcome.Changed, "")
	}
	if err := t.held(); err != nil {
		return err
	}
	// What was under way when the name was looked up has come to its end, since
	// nobody has the file open for writing now; and what came of it would show
	// on the brick.
	if err := t.notInUse(); err != nil {
		return err
	}
	t.beginWatch()
	t.looked = time.Now()
	last, err := t.statBrick()
	if err == nil && last.Identity != t.witness {
		err = outcome.Skip(outcome.Changed, "on the brick")
	}
	return err
}

// beginWatch has the kernel count changes of the brick's file from before the last
// look, since no look can be the last: a hole that is punched on the stamp's way,
// and a write by a slow clock, get past Gluster's check, and after it nothing else
// shows them. The watch proves nothing that the looks have not, it narrows what
// they leave. So a file for which there is none, since the host has no more of
// them, is archived, and the result says that.
func (t *transaction) beginWatch() {
	if t.watch == nil && !t.Keep { // else no stamp follows
		t.watch, t.unwatched = volume.WatchBytes(t.brick)
	}
}

// seen tells how often the bytes on the brick have changed since it was last
// asked, or since the last look.
func (t *transaction) seen() int {
	if t.watch == nil {
		return 0
	}
	changes, err := t.watch.Changes()
	if err != nil {
		t.unwatched = err
	}
	return changes
}

// longestStall is how old the last look may be at the stamp. A process can be
// stopped between any two instructions; what then remains, verify finds.
const longestStall = 100 * time.Millisecond

// lookAgain repeats the last look until it is recent enough to be followed by the
// stamp.
func (t *transaction) lookAgain(ctx context.Context) error {
	const tries = 50 // a host that is as slow as that for so long is in no state to stamp
	for range tries {
		if time.Since(t.looked) <= longestStall {
			return nil
		}
		if err := t.recheck(ctx); err != nil {
			return err
		}
	}
	return outcome.Skip(outcome.Interrupted, "this host stalls between the last look and the stamp")
}

func (t *transaction) awaitChildren(ctx context.Context) error {
	const pause = 500 * time.Millisecond
	for waited := time.Duration(0); ; waited += pause {
		err := t.Mount.Children()
		if err == nil {
			return nil
		}
		if waited >= t.Patience {
			return fmt.Errorf("%w: %w", ErrDegraded, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// stamp asks for the release. An error does not mean that nothing happened: the
// answer may be lost. So the brick is looked at before the error is believed.
func (t *transaction) stamp(ctx context.Context) error {
	if err := t.lookAgain(ctx); err != nil {
		return err
	}
	if t.seen() > 0 {
		return outcome.Skip(outcome.Changed, "right before the stamp")
	}
	t.sent = true
	// Exactly the decimal seconds: the brick compares strings, and passes
	// every prefix.
	stampErr := volume.Set(t.file, gluster.XattrStamp, []byte(strconv.FormatInt(t.before.Mtime.Sec, 10)))
	t.answered = !errors.Is(stampErr, unix.ENOTCONN) && !errors.Is(stampErr, unix.ETIMEDOUT) && !errors.Is(stampErr, unix.EINTR)
	t.changes = t.seen()
	if stampErr == nil {
		return nil
	}
	attrs, err := volume.ReadAttrs(t.brick)
	switch {
	case err != nil:
		return errors.Join(stampErr, fmt.Errorf("brick: %w", err))
	case attrs.Remote:
		return nil // whoever stamped it, verify tells whether it is ours
	case errors.Is(stampErr, unix.EINVAL):
		t.sent = false
		if attrs.Downloading {
			return outcome.Skip(outcome.Recalling, "")
		}
		return outcome.Skip(outcome.Changed, "mtime")
	case errors.Is(stampErr, unix.ESTALE), errors.Is(stampErr, unix.ENOENT):
		t.sent = false
	}
	return stampErr
}

// verify looks at what the stamp has made, and at the bricks once more: a brick
// that missed the stamp brings the data back under the stub when it returns, so
// the next run has to fix the file, whatever else is wrong with it.
func (t *transaction) verify(ctx context.Context) error {
	children := t.Mount.Children()
	attrs, err := settled(t.brick)
	if err == nil {
		err = t.sound(attrs)
	}
	if children == nil {
		torn, healErr := t.torn(context.WithoutCancel(ctx)) // a stub must be verified whoever is in a hurry
		if children = healErr; torn || attrs.HealPending {
			children = errors.New("the stub waits for self-heal, or a brick has not freed its data")
		}
	}
	if children != nil && !t.recalled {
		noted := t.Log.Append(record.Entry{Phase: record.Degraded, Path: []byte(t.want.Path), GFID: &t.want.GFID, Key: t.key})
		return errors.Join(fmt.Errorf("%w: %w", ErrDegraded, children), noted, err)
	}
	if err != nil {
		return err
	}
	t.verified = true
	t.forget()
	return nil
}

// sound believes nothing that the stamp has answered. Gluster answers 0 when the
// truncation failed, and records an empty or another key if the file was renamed
// or the brick did not know its path. attrs are of the brick.
func (t *transaction) sound(attrs volume.Attrs) error {
	if !attrs.Remote {
		return t.noStub(attrs)
	}
	if !bytes.Equal(attrs.Pointer, t.encoded) {
		return outcome.Skip(outcome.AlreadyRemote, "stamped by another run")
	}
	if attrs.RemoteKey != t.key {
		// Only ever replaced: a stub whose recall has begun in the meantime has no
		// remote any more, and must not get it back.
		err := volume.Replace(t.file, gluster.XattrRemote, []byte(t.key))
		if errors.Is(err, unix.ENODATA) {
			t.recalled = true
			return nil
		}
		if err != nil {
			return fmt.Errorf("rewrite %s: %w", gluster.XattrRemote, err)
		}
	}
	st, err := volume.StatOf(t.brick)
	if err != nil {
		return err
	}
	for _, side := range []*os.File{t.brick, t.file} {
		key, err := volume.Get(side, gluster.XattrRemote)
		switch {
		case errors.Is(err, unix.ENODATA):
			t.recalled = true
			return nil
		case err != nil:
			return err
		case string(key) != t.key:
			return outcome.Fail(outcome.Broken, fmt.Sprintf("%s is %q on %s", gluster.XattrRemote, key, side.Name()))
		}
	}
	if st.Size != 0 {
		if now, err := volume.ReadAttrs(t.brick); err == nil && (now.Downloading || !now.Remote) {
			t.recalled = true
			return nil
		}
		// A write that the brick had let pass when it was asked for the stamp;
		// or the data, which it failed to free.
		return outcome.Fail(outcome.Broken, fmt.Sprintf("written to at the instant of the stamp, or not freed: the brick has %d bytes", st.Size))
	}
	// The stamp truncates, once, after it has set attributes. What a recall writes
	// comes after its mark.
	if t.changes > 1 && !attrs.Downloading && attrs.Recall == nil {
		return outcome.Fail(outcome.Broken, "written to at the instant of the stamp: its bytes on the brick have changed by more than the stamp")
	}
	return t.asUploaded()
}

// noStub explains a stamp that was answered with success and has left no stub on
// this brick. Either it is recalled by now; or a rebalance has moved the file
// since the last look: then the stub is on another brick, complete as far as the
// mount can tell.
func (t *transaction) noStub(attrs volume.Attrs) error {
	// The pointer of a file that is recalled says so before the file is local.
	spent := attrs.Pointer == nil
	if p, valid, err := attrs.PointerOf(t.want.GFID); err == nil && valid {
		spent = p.Recalled
	}
	if attrs.Recall != nil || attrs.Downloading || spent {
		t.recalled = true
		return nil
	}
	st, err := volume.StatOf(t.brick)
	if err != nil {
		return err
	}
	if !attrs.Linkto && st.Links > 0 {
		return outcome.Fail(outcome.Degraded, "this brick has not made it a stub and others have: it may have been away for a moment")
	}
	key, err := volume.Get(t.file, gluster.XattrRemote)
	if err == nil && string(key) == t.key {
		return nil
	}
	return errors.Join(outcome.Skip(outcome.Migrating, "moved by a rebalance while it was stamped"), err)
}

// asUploaded finds out whether somebody wrote at the very instant of the stamp.
// A brick changes the bytes first and the mtime a moment later (posix_writev,
// posix_ftruncate), and a stamp that comes in between is not refused. It notes
// the size that it gave up, and leaves the mtime, which then moves after all.
func (t *transaction) asUploaded() error {
	size, err := volume.Get(t.brick, gluster.XattrObjectSize)
	if errors.Is(err, unix.ENODATA) {
		return nil // somebody recalls it already
	}
	if err != nil {
		return err
	}
	if want := strconv.FormatInt(t.before.Size, 10); string(size) != want {
		return outcome.Fail(outcome.Broken, fmt.Sprintf("written to at the instant of the stamp: it had %s bytes then, its object has %s", size, want))
	}
	value, err := volume.Get(t.brick, gluster.XattrMdata)
	if errors.Is(err, unix.ENODATA) {
		return nil // from before features.ctime was on
	}
	if err != nil {
		return err
	}
	mdata, err := gluster.ParseMdata(value)
	if err != nil {
		return err
	}
	if !mdata.Mtime.Equal(volume.Time(t.before.Mtime)) {
		return outcome.Fail(outcome.Broken, fmt.Sprintf("written to at the instant of the stamp: its mtime is %v, that of its object %v",
			mdata.Mtime.UTC(), volume.Time(t.before.Mtime).UTC()))
	}
	return nil
}

func (t *transaction) blocks(context.Context) error {
	blocks := (t.before.Size + statBlock - 1) / statBlock
	return t.better(gluster.XattrNumBlocks, []byte(gluster.NumBlocks(t.before.Size, blocks)))
}

func (t *transaction) note(context.Context) error {
	// A recall that has come in between has left word in the pointer. The lock keeps it
	// off, unless that was lost.
	now, err := volume.Get(t.brick, gluster.XattrPointer)
	if err != nil && !errors.Is(err, unix.ENODATA) {
		return err
	}
	if !bytes.Equal(now, t.encoded) {
		t.recalled = true
		return nil
	}
	t.pointer.Owner, t.pointer.Time, t.pointer.Locks = owner.Owner{}, time.Time{}, false
	t.pointer.Proof = &object.Stamped{Size: t.proof.Size, Mtime: gluster.TimeOf(t.before.Mtime), CRC32: t.proof.CRC32}
	if err := t.better(gluster.XattrPointer, t.pointer.Encode()); err != nil || t.recalled {
		return err
	}
	t.measure()
	return nil
}

// statBlock is the unit of st_blocks, in bytes, on every file system.
const statBlock = 512

// measure finds out what the brick has given back: the stub itself takes room too, for
// its attributes. Where it cannot be seen, nothing is claimed.
func (t *transaction) measure() {
	if st, err := volume.StatOf(t.brick); err == nil && st.Size == 0 {
		t.freed = max(0, t.onBrick-st.Blocks*statBlock)
	}
}

// better replaces an attribute of the stub, unless a recall has removed it.
func (t *transaction) better(name string, value []byte) error {
	err := volume.Replace(t.file, name, value)
	if errors.Is(err, unix.ENODATA) {
		t.recalled = true
		return nil
	}
	return err
}

// withdraw takes back what this run has set on a file that stays local, so that a
// failed run leaves nothing behind; undo says what that is.
func (t *transaction) withdraw() error {
	if t.encoded == nil {
		return nil
	}
	if err := t.held(); err != nil {
		return nil //nolint:nilerr // the file may be another run's by now; if not, the next one takes it over
	}
	attrs, err := volume.ReadAttrs(t.brick)
	if volume.Gone(err) {
		return nil
	}
	left := aftermath{own: bytes.Equal(attrs.Pointer, t.encoded), inherited: t.inherited, sent: t.sent, answered: t.answered, signs: attrs.Signs, pending: attrs.HealPending, size: t.witness.Size}
	if err == nil && left.own && left.sent {
		var st volume.Stat
		st, err = volume.StatOf(t.brick)
		left.bytes, left.linked = st.Size, st.Links > 0
	}
	if err == nil && left.refusedHere() {
		left.pending, err = t.healPending(context.Background())
	}
	if err != nil {
		return fmt.Errorf("withdraw: %w", err)
	}
	for _, name := range left.undo() {
		if err := volume.RemoveAny(t.file, name); err != nil && !volume.Gone(err) { // what stays, the next run takes over
			return fmt.Errorf("withdraw %s: %w", name, err)
		}
	}
	return nil
}
