package recall

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/owner"
	"github.com/coldbrick/coldbrick/internal/sparse"
	"github.com/coldbrick/coldbrick/internal/stub"
	"github.com/coldbrick/coldbrick/internal/volume"
	"github.com/coldbrick/coldbrick/internal/workers"
)

// Mount opens regular files of the volume beneath its root, following no
// symlink.
type Mount interface {
	OpenRegular(path string) (*os.File, error)
	OpenRegularRDWR(path string) (*os.File, error)
}

// Replicas opens a file as each brick of its replica set has it, for reading.
type Replicas interface {
	Open(ctx context.Context, file *os.File, path string) ([]*os.File, error)
}

// Recaller recalls files one by one; it may be used by many goroutines.
type Recaller struct {
	// Files is a mount without cloudsync: stubs are empty files there, and
	// what is written is not intercepted.
	Files Mount
	// Barrier is a mount with cloudsync and without a store plugin: reading
	// there waits for the translator's lock and downloads nothing.
	Barrier Mount
	Plugin  Plugin
	Owner   owner.Owner
	// Volume is the id of the volume, empty if not known here.
	Volume string
	// Formerly are the ids of the volumes that this one was rebuilt from. Their
	// objects are its own.
	Formerly []string
	// Distributed says that a rebalance may move files between bricks in the meantime.
	Distributed bool
	// BarrierLimit bounds the wait for other clients' recalls of one file.
	BarrierLimit time.Duration
	// WORMOff reports whether the volume is known not to keep file-level WORM, so
	// that files with marks of it can be written to. It is asked about such files
	// only; nil: nobody knows.
	WORMOff func(context.Context) bool
	// Torn reports whether a brick keeps bytes of a file that is a stub on the mount,
	// which shows one replica's view: self-heal may spread them any time. Examine asks
	// about stubs; nil: nobody knows.
	Torn func(ctx context.Context, file *os.File, path string, gfid gluster.GFID) (bool, error)
	// Replicas opens the replicas of a file; nil on a volume without replication.
	Replicas Replicas
	// Copies are the bricks of this host. What the next archive or release of a file need
	// not read is noted there.
	Copies []Copies
	// Cold, unless nil, is set once the object of a file could not be read. From then
	// on the store is asked before a file is claimed.
	Cold *atomic.Bool
	// At is called before each step. Tests kill the process there, or return
	// an error in place of the step.
	At func(Step, string) error

	unasked bool // nobody wants the data here: it is recalled to fix the file
}

// Result says what became of one file.
type Result struct {
	Path    string
	GFID    gluster.GFID
	Size    int64
	Key     string
	Outcome outcome.Outcome
	Reason  outcome.Reason // unless recalled
	Err     error
}

// Recall makes the file at path, relative to the volume root, local. gfid is
// the file that is meant; if it is not zero, another file at that path is left
// alone. Unless the outcome is outcome.Recalled, the file is as it was, or half
// written and invisible until the next recall.
func (r *Recaller) Recall(ctx context.Context, path string, gfid gluster.GFID) Result {
	t := &transaction{Recaller: r, path: path, gfid: gfid}
	err := workers.Guard(func() error { return t.run(ctx) })
	res := Result{Path: path, GFID: t.gfid, Size: t.notes.Size, Key: t.notes.Key, Outcome: outcome.Recalled, Err: err}
	if err != nil {
		res.Outcome, res.Reason = classify(err)
	}
	if r.Cold != nil && res.Reason == outcome.ObjectCold {
		r.Cold.Store(true)
	}
	return res
}

// transaction is the recall of one file.
type transaction struct {
	*Recaller
	path string
	gfid gluster.GFID

	file    *os.File // on Files
	attrs   volume.Attrs
	stat    volume.Stat
	state   gluster.State
	pointer object.Pointer // zero if the file has none of its own
	notes   Notes
	unnoted []byte // the pointer as it was before it took the place of notes
	repoint bool   // the pointer on the file names another file's object
	busy    bool   // another run holds the lock; for Examine

	written *object.Proof // of the bytes that this run has written; nil if it has not
	shared  bool          // file is open for reading only, and shares the lock
	watched []*watched    // the file on bricks of this host, from before it is local
	spent   []byte        // the pointer that stays, and says that the data is back

	progress
}

// Only one works on a file: who holds its lock (volume.Lock). Why a recall that
// loses it changes nothing that another, or a user, has made of the file since:
//
//   - While the process is stopped, or its client is, the brick keeps the lock.
//     Nobody takes over, however long that lasts, and the file is not local.
//   - The brick drops the lock when the connection is cut: the process or the
//     client has ended, or the host was away for too long. Then the descriptor
//     that had it is dead. Bytes are written, emptied and synced by no other,
//     so none of that reaches the brick any more, also not a rollback.
//   - Attributes and times are addressed by inode and would still get through.
//     The lock is looked at right before each step that sets any, also of a rollback. What is
//     left is the time between these two instructions: a process that is stopped
//     exactly there, loses its connection in the meantime and goes on, changes one more
//     attribute. As a rule that hides a local file behind an error, which fsck
//     --repair fixes (see Plan); it changes no byte. Right before downloading is
//     removed it shows the file, which a third recall may have half written by then.
//   - Before the file is shown, watch may close the descriptor that writes for one that
//     reads and shares the lock, since all bytes are written by then.
//   - What the client had sent before it was cut off may still be carried out. So
//     who wins the lock over notes waits until the file stands still.
//
// The lock is held until the notes are gone, a moment after the file was shown
// as local: if it went before, another run could take the whole file for half
// written and empty it just when downloading is removed. A user's program that
// does not wait for its own lock may be refused it for these milliseconds.

func (t *transaction) run(ctx context.Context) (err error) {
	if t.file, err = t.Files.OpenRegularRDWR(t.path); err != nil {
		return err
	}
	defer func() {
		if closeErr := t.file.Close(); err == nil {
			err = closeErr
		}
	}()
	defer t.unwatch()
	marks, err := volume.ReadMarks(t.file)
	if err != nil {
		return err
	}
	if !marks.Remote && !marks.Downloading { // else there is something to do, and the look behind the lock tells what
		if err := t.look(); err != nil {
			return err
		}
		if t.clean() {
			return outcome.Skip(outcome.AlreadyLocal, "")
		}
	}
	if err := volume.Lock(t.file); err != nil {
		return err
	}
	defer func() {
		// At once: the next run need not wait for the end of the descriptor. A
		// lock that was lost cannot be given back.
		if unlockErr := volume.Unlock(t.file); err == nil && !volume.Lost(unlockErr) {
			err = unlockErr
		}
	}()
	// Until now another run may have been at it.
	if err := t.look(); err != nil {
		return err
	}
	if t.noted() {
		if err := t.quiet(ctx); err != nil {
			return err
		}
	}
	if t.clean() {
		return outcome.Skip(outcome.AlreadyLocal, "")
	}
	if t.state == gluster.Local {
		if err := t.unattended(); err != nil {
			return err
		}
	}
	if t.state == gluster.Local || t.late() {
		t.notes = t.localNotes()
	} else if err := t.prepare(ctx); err != nil {
		return err
	}
	steps := t.plan()
	if t.Replicas != nil && (t.unasked || slices.Contains(steps, StepCheck)) {
		if err := t.checkReplicas(ctx); err != nil {
			return err
		}
		steps = t.plan()
	}
	if err := t.carryOut(ctx, steps); err != nil {
		return err
	}
	if t.state == gluster.Local {
		return outcome.Skip(outcome.AlreadyLocal, "finished a previous recall")
	}
	return nil
}

// carryOut does the steps, and goes back after one that fails.
func (t *transaction) carryOut(ctx context.Context, steps []Step) error {
	for _, step := range steps {
		var err error
		if !t.local {
			err = ctx.Err()
		}
		if err == nil {
			err = workers.Guard(func() error {
				if t.At != nil {
					if err := t.At(step, t.path); err != nil {
						return err
					}
				}
				if !step.fenced() {
					if err := t.held(); err != nil {
						return err
					}
				}
				return t.do(ctx, step)
			})
		}
		if err != nil {
			return errors.Join(fmt.Errorf("%s: %w", doing[step], err), t.rollBack())
		}
	}
	return nil
}

func (t *transaction) plan() []Step {
	return Plan(t.state, t.stat.Size, t.attrs.Downloading, t.notes.Keep, t.late())
}

// clean says that the file is local and nothing of a recall is left on it.
func (t *transaction) clean() bool {
	return t.state == gluster.Local && !t.attrs.AnySize() && !t.noted()
}

// late says that nothing but downloading is left of a recall, see Plan.
func (t *transaction) late() bool {
	keep, _ := t.told()
	return t.state == gluster.Downloading && t.stat.Size > 0 && !t.attrs.AnySize() && !keep
}

// held looks whether the lock is still ours, before attributes or times are
// changed: these are not fenced by the descriptor.
func (t *transaction) held() error {
	lock := volume.Lock
	if t.shared {
		lock = volume.LockShared
	}
	if err := lock(t.file); err != nil {
		return fmt.Errorf("the lock was lost: %w", err)
	}
	return nil
}

// look reads what the file is, and refuses another file at its path.
func (t *transaction) look() (err error) {
	gfid, err := volume.GFIDOf(t.file)
	if err != nil {
		return err
	}
	if !t.gfid.IsZero() && gfid != t.gfid {
		return outcome.Skip(outcome.Vanished, "another file has its name now")
	}
	t.gfid = gfid
	if t.attrs, err = volume.ReadAttrs(t.file); err != nil {
		return err
	}
	if t.stat, err = volume.StatOf(t.file); err != nil {
		return err
	}
	t.state, t.pointer = t.attrs.State(t.stat.Size), object.Pointer{}
	pointer, ok, err := t.attrs.PointerOf(gfid)
	if ok {
		t.pointer = pointer
	}
	return err
}

// worthAsking is the size from which on the volume is asked for free space
// before a recall, in bytes. A smaller file is soon rolled back.
const worthAsking = 1 << 20

// prepare finds the object and makes room for it, before anything is changed.
func (t *transaction) prepare(ctx context.Context) error {
	if err := t.writable(ctx); err != nil {
		return err
	}
	header, asks := t.Plugin.(Header)
	if t.Cold != nil && t.Cold.Load() && asks {
		switch info, err := t.ask(ctx, header); {
		case err != nil:
			return err
		case info.Access != object.Readable:
			return object.ErrCold
		}
	} else {
		key, err := t.chooseKey(ctx)
		if err != nil {
			return err
		}
		if err := t.newNotes(key); err != nil {
			return err
		}
	}
	if t.notes.Size < worthAsking {
		return nil
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(t.file.Fd()), &fs); err != nil {
		return fmt.Errorf("free space: %w", err)
	}
	if free := int64(fs.Bavail) * fs.Bsize; free < t.notes.Size-t.stat.Size {
		return outcome.Fail(outcome.NoSpace, fmt.Sprintf("%d bytes free, %d needed", free, t.notes.Size))
	}
	return nil
}

func (t *transaction) do(ctx context.Context, step Step) error {
	switch step {
	case StepNote:
		return t.noRoom(t.note())
	case StepMark:
		return t.noRoom(t.mark())
	case StepClaim:
		return t.claim()
	case StepBarrier:
		return t.barrier(ctx)
	case StepTruncate:
		return t.truncate()
	case StepDownload:
		return t.download(ctx)
	case StepCheck:
		return t.check(ctx)
	case StepTimes:
		return t.times()
	case StepSizes:
		return t.sizes()
	case StepRelease:
		return t.release()
	case StepTidy:
		return t.tidy()
	}
	panic("recall: unknown step " + step)
}

// noRoom tells a file that has no room for one more attribute from a full volume.
func (t *transaction) noRoom(err error) error {
	var fs unix.Statfs_t
	if !errors.Is(err, unix.ENOSPC) || unix.Fstatfs(int(t.file.Fd()), &fs) != nil || fs.Bavail == 0 {
		return err
	}
	return outcome.Fail(outcome.NoAttributeRoom, err.Error())
}

func (t *transaction) mark() error {
	err := volume.Create(t.file, gluster.XattrDownload, []byte("1"))
	if errors.Is(err, unix.ENOSPC) && t.pointer.Key != "" {
		// The notes may have taken the last room. Without any it is a stub again.
		if err = t.dropNotes(); err == nil {
			err = t.notePointer(unix.ENOSPC)
		}
		if err == nil {
			err = volume.Create(t.file, gluster.XattrDownload, []byte("1"))
		}
	}
	if errors.Is(err, unix.EEXIST) {
		return nil // a transparent recall has just begun: the barrier waits for it
	}
	t.marked = err == nil
	return err
}

// claim removes cs.remote. Of all that want to recall the file only one can.
func (t *transaction) claim() error {
	err := volume.Remove(t.file, gluster.XattrRemote)
	t.claimed = true // also on an error: it may be the answer that was lost
	if errors.Is(err, unix.ENODATA) {
		err = t.claimable()
	}
	if err != nil {
		return err
	}
	marks, err := volume.ReadMarks(t.file)
	if err == nil && !marks.Downloading { // removed by the repair of a stamp
		err = volume.Set(t.file, gluster.XattrDownload, []byte("1"))
	}
	return err
}

// claimable tells who has removed cs.remote. DHT removes it from both bricks of a
// file that a rebalance moves, and answers for the one that may not have it yet:
// then it was this run, and nobody has written to the file.
func (t *transaction) claimable() error {
	now, err := volume.StatOf(t.file)
	if err != nil {
		return err
	}
	if now.Size == t.stat.Size && now.Mtime == t.stat.Mtime {
		return nil
	}
	// A client has recalled it in the meantime, and says that the data is whole:
	// nothing of ours may hide it.
	t.claimed = false
	return outcome.Skip(outcome.AlreadyLocal, "recalled by a client in the meantime")
}

// barrier waits until no client that had found the file remote before the claim
// is still at it. In this state a read takes the translator's lock, which such
// a client holds, and then fails.
func (t *transaction) barrier(ctx context.Context) error {
	file, err := t.reopen(t.Barrier)
	if err != nil {
		return err
	}
	passed := make(chan error, 1)
	go func() {
		_, err := file.ReadAt(make([]byte, 1), 0)
		file.Close()
		passed <- err
	}()
	limit := time.NewTimer(t.BarrierLimit)
	defer limit.Stop()
	select {
	case err := <-passed:
		// EREMOTE is the answer of a half written file. Whatever else the
		// client has seen, truncate looks for itself.
		if errors.Is(err, unix.ENOTCONN) || errors.Is(err, unix.ETIMEDOUT) {
			return err
		}
		t.touched = true
		return nil
	case <-limit.C:
		return outcome.Skip(outcome.InProgress, "a client's recall is still under way")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// reopen opens the same file once more, on either mount. Users may rename it at
// any time, so the volume is asked for its name.
func (t *transaction) reopen(mount Mount) (*os.File, error) {
	path := t.path
	for range 5 {
		file, err := mount.OpenRegular(path)
		if err == nil {
			// Both mounts derive inode numbers from gfids.
			st, err := volume.StatAsOpened(file)
			if err == nil && st.Inode == t.gfid.Inode() {
				return file, nil
			}
			file.Close()
		} else if !volume.Gone(err) {
			return nil, err
		}
		named, err := volume.Get(t.file, gluster.VirtualPath)
		if err != nil {
			return nil, fmt.Errorf("current name: %w", err)
		}
		path = strings.TrimLeft(strings.TrimRight(string(named), "\x00"), "/")
	}
	return nil, outcome.Skip(outcome.Vanished, "its name changes all the time")
}

// unchanged looks at the file behind the barrier: it must still be half written
// and ours. mayBeEmpty says that a translator that failed late may have emptied
// it and removed our mark; then the mark is set again. size is what it has, in
// bytes.
func (t *transaction) unchanged(mayBeEmpty bool) (marks gluster.Marks, size int64, err error) {
	if marks, err = volume.ReadMarks(t.file); err != nil {
		return marks, 0, err
	}
	st, err := volume.StatOf(t.file)
	if err != nil {
		return marks, 0, err
	}
	if marks.Remote || !marks.Downloading && (st.Size > 0 || !mayBeEmpty) {
		t.claimed = false // whatever it is now, it is not ours
		return marks, 0, outcome.Fail(outcome.Changed, "somebody else changed its cloudsync marks")
	}
	if !marks.Downloading {
		err = volume.Set(t.file, gluster.XattrDownload, []byte("1"))
	}
	return marks, st.Size, err
}

func (t *transaction) truncate() error {
	marks, size, err := t.unchanged(true)
	if err != nil {
		return err
	}
	if size == 0 && marks.ObjectSize && marks.BlockSize && marks.NumBlocks {
		return nil
	}
	return t.empty()
}

// empty removes what bytes there are. The attributes that show the size of the
// data come first: of a file that looks empty, readers get nothing and no error.
func (t *transaction) empty() error {
	if err := t.restoreSizes(); err != nil {
		return err
	}
	return t.file.Truncate(0)
}

// fetch makes the object the content of dst and proves it against what was noted
// when the file was archived. Zeros become holes.
func (t *transaction) fetch(ctx context.Context, dst sparse.File) (object.Proof, error) {
	filling, err := sparse.Empty(dst)
	if err != nil {
		return object.Proof{}, err
	}
	proof, err := t.Plugin.Download(ctx, t.notes.Key, filling, t.accept)
	if t.notes.Size == 0 && errors.Is(err, fs.ErrNotExist) {
		return object.Proof{}, nil // an empty file needs no object
	}
	if err != nil {
		return object.Proof{}, err
	}
	if proof.Size != t.notes.Size {
		return object.Proof{}, fmt.Errorf("%w: %d bytes, %d when it was archived", object.ErrCorrupt, proof.Size, t.notes.Size)
	}
	if want := t.proof(t.notes.Key); want != nil && proof.CRC32 != want.CRC32 {
		return object.Proof{}, fmt.Errorf("%w: crc32 %08x, %08x when it was archived", object.ErrCorrupt, proof.CRC32, want.CRC32)
	}
	return proof, filling.Finish(proof.Size)
}

func (t *transaction) download(ctx context.Context) error {
	proof, err := t.fetch(ctx, t.file)
	if err != nil {
		return err
	}
	t.written = &proof
	if err := t.file.Sync(); err != nil {
		return err
	}
	st, err := volume.StatOf(t.file)
	if err == nil && st.Size != t.notes.Size {
		err = fmt.Errorf("%w: %d of %d bytes on the volume", object.ErrCorrupt, st.Size, t.notes.Size)
	}
	return err
}

// accept refuses an object that was made neither from this file nor from the one
// that it is a copy of. An object without metadata, put there by another tool, is
// taken by its size.
func (t *transaction) accept(info Info) error {
	made, err := t.origin(t.notes.Size).Made(info)
	switch {
	case errors.Is(err, object.ErrForeign) && (t.pointer.Key == "" || t.pointer.Recalled):
		return nil
	case errors.Is(err, stub.ErrOtherFile) && t.copiedFrom(made, info):
		return nil
	case errors.Is(err, stub.ErrOtherFile):
		return outcome.Fail(outcome.ObjectForeign, fmt.Sprintf("made from %s of volume %s", made.GFID, made.Volume))
	}
	return err
}

// origin is what the object of this file was made from.
func (t *transaction) origin(size int64) stub.Origin {
	o := stub.Origin{GFID: t.gfid, Size: size}
	if t.Volume != "" {
		o.Volumes = append([]string{t.Volume}, t.Formerly...)
	}
	return o
}

// check proves that the bytes on the brick are the object's.
func (t *transaction) check(ctx context.Context) error {
	if _, _, err := t.unchanged(false); err != nil {
		return err
	}
	want, err := t.wantCRC(ctx)
	if err != nil {
		return err
	}
	return t.sameBytes(t.file, t.stat.Size, want)
}

// checkReplicas looks at what a mount cannot show: it reads from one replica, and
// self-heal may have brought the bytes back to that one alone. A file that is local
// with other bytes on each brick gives its readers either. So where a replica has no
// bytes, and all others have the object's, they are replaced like those of a stub. They
// may be all that is left: so before anything is noted, the whole object is read. An
// arbiter never has any bytes, which costs these two downloads.
func (t *transaction) checkReplicas(ctx context.Context) error {
	replicas, err := t.Replicas.Open(ctx, t.file, t.path)
	if err != nil {
		return err
	}
	defer func() {
		for _, f := range replicas {
			f.Close() // read only
		}
	}()
	want, err := t.wantCRC(ctx)
	if err != nil {
		return err
	}
	filled := 0
	for _, f := range replicas {
		st, err := volume.StatOf(f)
		if err != nil {
			return fmt.Errorf("replica: %w", err)
		}
		if st.Size == 0 {
			continue
		}
		if err := t.sameBytes(f, st.Size, want); err != nil {
			return err
		}
		filled++
	}
	if filled == 0 || filled == len(replicas) {
		return nil
	}
	read, err := t.Plugin.Download(ctx, t.notes.Key, discard{}, t.accept)
	if err == nil && (read.Size != t.notes.Size || read.CRC32 != want) {
		err = fmt.Errorf("%w: %d bytes with crc32 %08x, not %d with %08x", object.ErrCorrupt, read.Size, read.CRC32, t.notes.Size, want)
	}
	if err != nil {
		return fmt.Errorf("the object, before replicas that have its bytes are emptied: %w", err)
	}
	t.notes.Keep = false
	if t.state == gluster.Repair && !t.attrs.Downloading {
		t.state = gluster.Remote
	}
	return nil
}

// sameBytes refuses a file of so many bytes whose content is not the object's.
func (t *transaction) sameBytes(f *os.File, size int64, want uint32) error {
	sum := crc32.NewIEEE()
	n, err := io.Copy(sum, io.NewSectionReader(f, 0, size))
	if err != nil {
		return err
	}
	if n != t.notes.Size || sum.Sum32() != want {
		return outcome.Fail(outcome.Broken, "bytes on the brick are not those of the object; somebody must decide")
	}
	return nil
}

func (t *transaction) wantCRC(ctx context.Context) (uint32, error) {
	if p := t.proof(t.notes.Key); p != nil {
		return p.CRC32, nil
	}
	header, ok := t.Plugin.(Header)
	if !ok {
		return 0, outcome.Fail(outcome.Broken, "no checksum is known")
	}
	info, err := header.Head(ctx, t.notes.Key)
	if err != nil {
		return 0, err
	}
	if err := t.accept(info); err != nil {
		return 0, err
	}
	if !info.HasCRC32 {
		return 0, outcome.Fail(outcome.Broken, "no checksum is known")
	}
	return info.CRC32, nil
}

func (t *transaction) times() error {
	// Our own descriptor, so the link in /proc is safe to follow.
	err := unix.UtimesNanoAt(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(int(t.file.Fd())), []unix.Timespec{t.notes.Atime.Timespec(), t.notes.Mtime.Timespec()}, 0)
	if err != nil {
		return fmt.Errorf("set times: %w", err)
	}
	return nil
}

func (t *transaction) sizes() error {
	for _, name := range []string{gluster.XattrObjectSize, gluster.XattrBlockSize, gluster.XattrNumBlocks} {
		if err := volume.RemoveAny(t.file, name); err != nil {
			return err
		}
	}
	return nil
}

// release makes the file local. Whatever the answer is, users may have it from
// here on, and nothing is rolled back.
func (t *transaction) release() error {
	if err := t.watch(); err != nil {
		return err
	}
	t.local = true
	// DHT may answer that there was none, see claimable. tidy looks again.
	return volume.RemoveAny(t.file, gluster.XattrDownload)
}

// settled looks whether a rebalance has moved the file in the meantime, or is about to:
// it copies the attributes of a file at one moment, and what a recall removes right
// then is on the file again once it has been moved. The file is opened by its name
// anew, for only then does DHT ask again on which brick it is; while it moves, it
// carries the name of the brick that it goes to.
func (t *transaction) settled() error {
	if !t.Distributed {
		return nil
	}
	file, err := t.reopen(t.Files)
	if err != nil {
		if _, reason := classify(err); volume.Gone(err) || reason == outcome.Vanished { // users may delete it by now
			return nil
		}
		return err
	}
	defer file.Close() // read only
	now, err := volume.ReadAttrs(file)
	switch {
	case err != nil:
		return err
	case now.Linkto:
		return outcome.Fail(outcome.Migrating, "")
	case t.state != gluster.Local && (now.Remote || now.Downloading || now.AnySize()):
		return outcome.Fail(outcome.Migrating, "a rebalance has brought its marks back")
	}
	return nil
}

func (t *transaction) tidy() error {
	// If not, pointer and notes stay: they tell the next recall what to do.
	if err := t.settled(); err != nil {
		return err
	}
	if t.state != gluster.Local {
		st, err := volume.StatOf(t.file)
		if err != nil {
			return err
		}
		if st.Size == 0 && t.notes.Size > 0 {
			// A user may do that; so may a stock plugin whose recall began
			// before ours and failed after it. The pointer stays.
			return outcome.Fail(outcome.Broken, "it was emptied right after the recall")
		}
	}
	// The grace after a recall is for people who asked for the data. Bytes that
	// a self-heal had brought back may be archived again at once.
	if !t.notes.Keep && !t.unasked && (t.state != gluster.Local || t.noted()) {
		now := []byte(strconv.FormatInt(time.Now().Unix(), 10))
		if err := volume.Set(t.file, gluster.XattrRecalled, now); err != nil {
			return err
		}
	}
	if err := t.spend(); err != nil {
		return err
	}
	// While the notes stand, no archive begins with this file, and the next recall does
	// what this one could not.
	if err := t.dropNotes(); err != nil {
		return err
	}
	t.enter()
	return nil
}

// keepsPointer reports whether the pointer names the object that was recalled, by a
// recall that the file has behind it.
func (t *transaction) keepsPointer() bool {
	return t.pointer.Key != "" && t.pointer.Key == t.notes.Key && (t.state != gluster.Local || t.noted())
}

// spend makes the pointer say that the data is back: the next archive uses the object
// again if the bytes are still the same by then. A file that has no recall behind it, or
// an object that was not made from it, needs none.
func (t *transaction) spend() error {
	if !t.keepsPointer() {
		return volume.RemoveAny(t.file, gluster.XattrPointer)
	}
	p := t.pointer
	p.Recalled, p.Recall, p.Owner, p.Time, p.Locks = true, "", owner.Owner{}, time.Time{}, false
	t.spent = p.Encode()
	err := volume.Replace(t.file, gluster.XattrPointer, t.spent)
	if errors.Is(err, unix.ENOSPC) { // it only saves an upload
		return volume.RemoveAny(t.file, gluster.XattrPointer)
	}
	if errors.Is(err, unix.ENODATA) {
		return nil
	}
	return err
}

// A brick that was full takes no attributes until it has noticed that there is
// room again, as there is once the file is emptied: it looks every five seconds.
const (
	fullPatience = 6 * time.Second
	fullPause    = 500 * time.Millisecond
)

// rollBack makes the file a stub again. What it cannot do now, the next recall
// does: the notes stay until all is done.
func (t *transaction) rollBack() error {
	if !t.owned || t.local {
		return nil
	}
	marks, err := volume.ReadMarks(t.file)
	if err != nil {
		return fmt.Errorf("roll back: %w", err)
	}
	steps := t.undo(t.notes.Keep, marks.Downloading)
	waited := time.Duration(0)
	for len(steps) > 0 {
		// Without the lock the file is another run's, or a user's by now.
		err := t.held()
		if err == nil {
			err = t.undoStep(steps[0])
		}
		switch {
		case err == nil:
			steps = steps[1:]
		case errors.Is(err, unix.ENOSPC) && waited < fullPatience:
			time.Sleep(fullPause)
			waited += fullPause
		default:
			return fmt.Errorf("roll back: %s: %w", steps[0], err)
		}
	}
	return nil
}

func (t *transaction) undoStep(step undoStep) error {
	switch step {
	case undoEmpty:
		return t.empty()
	case undoTimes:
		return t.times()
	case undoSizes:
		return t.restoreSizes()
	case undoClaim:
		err := volume.Create(t.file, gluster.XattrRemote, []byte(t.notes.Key))
		if errors.Is(err, unix.EEXIST) { // the claim did not come to pass
			return nil
		}
		return err
	case undoMark:
		return volume.RemoveAny(t.file, gluster.XattrDownload)
	case undoNotes:
		// The notes may stand where the pointer had room.
		return errors.Join(t.dropNotes(), t.unnotePointer())
	}
	panic("recall: unknown step back " + step)
}

// restoreSizes brings back the attributes that make a stub show the size of its
// data, where the recall had come so far as to remove them.
func (t *transaction) restoreSizes() error {
	// A full brick takes no attributes, not even those that it has.
	marks, err := volume.ReadMarks(t.file)
	if err != nil {
		return err
	}
	const blockSize = 512
	blocks := (t.notes.Size + blockSize - 1) / blockSize
	for _, a := range []struct {
		name, value string
		there       bool
	}{
		{gluster.XattrObjectSize, strconv.FormatInt(t.notes.Size, 10), marks.ObjectSize},
		{gluster.XattrBlockSize, "4096", marks.BlockSize},
		{gluster.XattrNumBlocks, gluster.NumBlocks(t.notes.Size, blocks), marks.NumBlocks},
	} {
		if a.there {
			continue
		}
		if err := volume.Create(t.file, a.name, []byte(a.value)); err != nil && !errors.Is(err, unix.EEXIST) {
			return err
		}
	}
	return nil
}

func (t *transaction) objectSize() (int64, error) {
	b, err := volume.Get(t.file, gluster.XattrObjectSize)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", gluster.XattrObjectSize, err)
	}
	size, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil || size < 0 {
		return 0, outcome.Fail(outcome.Broken, fmt.Sprintf("%s is %q", gluster.XattrObjectSize, b))
	}
	return size, nil
}

// chooseKey finds the object of the file. The pointer and cs.remote may
// disagree: between stamp and rewrite, or if a crash came there. Then the one
// whose object was made from this file is right.
func (t *transaction) chooseKey(ctx context.Context) (string, error) {
	pointed, remote := stub.Keys(t.pointer.Key, t.attrs.RemoteKey)
	switch {
	case pointed == "":
		if previous, ok, _ := t.previous(); ok && previous.Key != "" {
			return previous.Key, nil
		}
		return "", outcome.Fail(outcome.Broken, "nothing shows its key")
	case remote == "":
		return pointed, nil
	}
	header, ok := t.Plugin.(Header)
	if !ok {
		return "", outcome.Fail(outcome.Broken, "pointer and cs.remote disagree, and the store cannot tell")
	}
	var mine []string
	var asOld []bool // as the stub, for each of mine
	for _, key := range []string{pointed, remote} {
		info, err := header.Head(ctx, key)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, object.ErrKey) && key == remote {
			continue // a path that is no key has no object either
		}
		if err != nil {
			return "", err
		}
		size, err := t.objectSize()
		if err != nil {
			return "", err
		}
		if made, err := t.origin(size).Made(info); err == nil {
			mine = append(mine, key)
			asOld = append(asOld, made.Mtime == gluster.TimeOf(t.stat.Mtime))
		}
	}
	switch {
	case len(mine) == 0:
		return "", outcome.Fail(outcome.Broken, fmt.Sprintf("pointer %q and cs.remote %q disagree, and neither object is its own", pointed, remote))
	case mine[0] == pointed && (len(mine) == 1 || asOld[0] || !asOld[1]):
		return pointed, nil
	}
	t.pointer.Key, t.pointer.Proof = remote, nil
	t.repoint = true
	return remote, nil
}
