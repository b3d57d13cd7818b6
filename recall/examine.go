package recall

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"time"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/stub"
	"github.com/coldbrick/coldbrick/internal/volume"
	"github.com/coldbrick/coldbrick/internal/workers"
)

// Depth is how closely a file is held against its object.
type Depth int

// The depths.
const (
	Marks Depth = iota // what the file itself tells; the store is not asked
	Head               // what the store says about the object
	Read               // every byte of the object is read
)

// Examined is what is known of one file.
type Examined struct {
	Path     string
	GFID     gluster.GFID
	State    outcome.State
	Size     int64  // of the data, wherever it is, in bytes
	Key      string // of the object, empty if there is none or none can be told
	Remote   string // value of cs.remote
	Pointer  *object.Pointer
	Notes    *Notes
	Object   *Info // at depth Head and Read
	Findings []outcome.Finding
	// Busy says that another holds the lock of a file that has marks of work in progress:
	// what that will leave is not known yet.
	Busy bool

	// Candidate is the key of an object that may be the file's, though nothing
	// but its name and size speaks for that. Other files may have the same.
	Candidate string

	onBrick int64 // bytes
}

// Examine tells the state of a file and what is wrong with it. It changes
// nothing. An error means that the file or the store could not be asked.
func (r *Recaller) Examine(ctx context.Context, name string, gfid gluster.GFID, depth Depth) (e Examined, err error) {
	err = workers.Guard(func() error {
		e, err = r.examine(ctx, name, gfid, depth)
		return err
	})
	return e, err
}

func (r *Recaller) examine(ctx context.Context, name string, gfid gluster.GFID, depth Depth) (Examined, error) {
	t := &transaction{Recaller: r, path: name, gfid: gfid}
	var err error
	if t.file, err = r.Files.OpenRegular(name); err != nil {
		return Examined{}, err
	}
	defer t.file.Close() // read only
	if err := t.look(); err != nil {
		return Examined{}, err
	}
	e := Examined{Path: name, GFID: t.gfid, Size: t.stat.Size, Remote: t.attrs.RemoteKey, onBrick: t.stat.Size}
	if t.pointer.Key != "" {
		pointer := t.pointer // chooseKey may correct its own
		e.Pointer = &pointer
	}
	if notes, err := DecodeNotes(t.attrs.Recall, t.pointer.Key); err == nil {
		e.Notes = &notes
	}
	if t.noted() || t.attrs.Downloading || t.state == gluster.Local && t.attrs.AnySize() {
		switch err := volume.Locked(t.file); {
		case errors.Is(err, volume.ErrLocked):
			t.busy, e.Busy = true, true
		case err != nil && !errors.Is(err, volume.ErrLockedByUser):
			return Examined{}, err
		}
	}
	switch t.state {
	case gluster.Local:
		err = t.examineLocal(ctx, &e, depth)
	case gluster.Remote:
		err = t.examineStub(ctx, &e, depth)
	case gluster.Repair, gluster.Downloading:
		err = t.examineHalf(ctx, &e, depth)
	}
	for _, f := range e.Findings {
		if f.Severity != outcome.Remark && e.State != outcome.StateRecalling {
			e.State = outcome.StateBroken
		}
	}
	return e, err
}

func (e *Examined) find(class outcome.Class, detail string) {
	e.Findings = append(e.Findings, outcome.Finding{
		Class: class, Severity: class.Severity(), Path: e.Path, GFID: e.GFID, Key: e.Key, Detail: detail,
	})
}

func (t *transaction) examineLocal(ctx context.Context, e *Examined, depth Depth) error {
	e.State = outcome.StateLocal
	if t.attrs.AnySize() && !t.busy { // an archive that is at it has sent the stamp
		e.find(outcome.ClassStaleSize, "")
	}
	if t.dead(e) {
		e.find(outcome.ClassStaleNotes, "")
	}
	header, ok := t.Plugin.(Header)
	if depth == Marks || !ok {
		return nil
	}
	key, readable := object.PathKey("", t.path)
	if e.Pointer != nil {
		key, readable = e.Pointer.Key, true
	}
	if !readable {
		return nil
	}
	info, err := header.Head(ctx, key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	own, mtime := t.origin(t.stat.Size), gluster.TimeOf(t.stat.Mtime)
	own.Mtime = &mtime
	if _, err := own.Made(info); err == nil {
		e.State, e.Key, e.Object = outcome.StateCopied, key, &info
	}
	return nil
}

// clientsIdle is how long the marks of a client's recall, which holds no lock
// and leaves no notes, must have stood still before they count as left over.
// Only the report leans on it: before anything is changed, the barrier waits for
// such a client.
const clientsIdle = 15 * time.Minute

// dead reports whether the run that has left its notes works no more.
func (t *transaction) dead(e *Examined) bool {
	if e.Notes != nil {
		return !t.busy && t.abandoned(*e.Notes)
	}
	return !t.busy && t.pointer.Recall != ""
}

func (t *transaction) examineHalf(ctx context.Context, e *Examined, depth Depth) error {
	if !t.attrs.Downloading {
		e.State = outcome.StateBroken
		if p, copied := t.original(e.Remote); copied {
			t.findCopied(e, p) // the pointer that came along vouches for its bytes, no object need do
			return nil
		}
		e.find(outcome.ClassBytesInStub, fmt.Sprintf("%d bytes on the brick", t.stat.Size))
		return t.examineObject(ctx, e, depth)
	}
	e.State = outcome.StateRecalling
	if t.late() && !t.busy {
		e.find(outcome.ClassInterrupted, "all its data is there")
		return nil
	}
	dead := !t.busy && time.Since(volume.Time(t.stat.Ctime)) > clientsIdle
	if e.Notes != nil || t.pointer.Recall != "" {
		dead = t.dead(e)
	}
	if dead {
		e.find(outcome.ClassInterrupted, "")
		return t.examineObject(ctx, e, depth)
	}
	return nil
}

func (t *transaction) examineStub(ctx context.Context, e *Examined, depth Depth) error {
	e.State = outcome.StateRemote
	size, err := t.objectSize()
	if err != nil {
		e.find(outcome.ClassNoSize, err.Error())
	}
	if err == nil && size == 0 {
		e.find(outcome.ClassEmptyStub, "")
	}
	e.Size = size
	if p, copied := t.original(e.Remote); copied {
		t.findCopied(e, p)
	}
	if t.Torn != nil {
		switch torn, err := t.Torn(ctx, t.file, t.path, t.gfid); {
		case err != nil && !volume.Gone(err):
			return err
		case torn:
			e.find(outcome.ClassBytesInStub, "on one of the bricks")
		}
	}
	if t.dead(e) {
		e.find(outcome.ClassStaleNotes, "")
	}
	if t.attrs.Pointer == nil {
		e.find(outcome.ClassNoPointer, "")
	}
	return t.examineObject(ctx, e, depth)
}

// examineObject finds the object of a file whose data is in the store, and
// holds the one against the other.
func (t *transaction) examineObject(ctx context.Context, e *Examined, depth Depth) error {
	e.Key, _ = stub.Keys(t.pointer.Key, e.Remote)
	if depth > Marks {
		key, err := t.chooseKey(ctx)
		var left *outcome.Left
		switch {
		case errors.As(err, &left):
			e.find(outcome.ClassKeyUnknown, left.Detail)
			return nil
		case err != nil:
			return err
		}
		e.Key = key
	}
	switch {
	case !t.attrs.Remote:
	case e.Remote == "":
		e.find(outcome.ClassKeyEmpty, "")
	case e.Pointer != nil && e.Remote != e.Pointer.Key:
		e.find(outcome.ClassKeyDiffers, fmt.Sprintf("cs.remote is %q, the pointer %q", e.Remote, e.Pointer.Key))
	}
	if depth == Marks {
		return nil
	}
	if err := t.newNotes(e.Key); err != nil {
		e.find(outcome.ClassNoSize, err.Error())
		return nil
	}
	return t.examineInfo(ctx, e, depth)
}

func (t *transaction) examineInfo(ctx context.Context, e *Examined, depth Depth) error {
	header, ok := t.Plugin.(Header)
	if !ok {
		return errors.New("this store cannot tell about objects")
	}
	info, err := header.Head(ctx, e.Key)
	switch {
	case errors.Is(err, fs.ErrNotExist) && t.notes.Size == 0:
		return nil // an empty file needs no object
	case errors.Is(err, fs.ErrNotExist):
		return t.examineMissing(ctx, e, header)
	}
	if err != nil {
		return err
	}
	e.Object = &info
	if info.Size != t.notes.Size {
		e.find(outcome.ClassObjectSize, fmt.Sprintf("object has %d bytes, the file had %d", info.Size, t.notes.Size))
		return nil
	}
	if err := t.accept(info); err != nil {
		e.find(outcome.ClassObjectForeign, err.Error())
		return nil
	}
	if info.Access == object.Thawing && e.State == outcome.StateRemote {
		e.State = outcome.StateThawing
	}
	proof := t.proof(e.Key)
	if proof != nil && info.HasCRC32 && info.CRC32 != proof.CRC32 {
		e.find(outcome.ClassObjectChecksum, fmt.Sprintf("crc32 %08x, %08x when it was archived", info.CRC32, proof.CRC32))
		return nil
	}
	if depth < Read {
		return nil
	}
	if info.Access != object.Readable {
		e.find(outcome.ClassObjectCold, "class "+info.Class)
		return nil
	}
	read, err := t.Plugin.Download(ctx, e.Key, discard{}, t.accept)
	switch {
	case errors.Is(err, object.ErrCorrupt):
		e.find(outcome.ClassObjectChecksum, err.Error())
	case errors.Is(err, object.ErrCold):
		e.find(outcome.ClassObjectCold, err.Error())
	case err != nil:
		return err
	case info.HasCRC32 && read.CRC32 != info.CRC32, proof != nil && read.CRC32 != proof.CRC32:
		e.find(outcome.ClassObjectChecksum, fmt.Sprintf("crc32 of its bytes is %08x", read.CRC32))
	}
	return nil
}

// examineMissing says of a stub without an object whether it may be one of the
// shell script's in Gluster's guide, which puts objects under base names: all files
// of one name have one object there, that of the last.
func (t *transaction) examineMissing(ctx context.Context, e *Examined, header Header) error {
	detail := ""
	if base := path.Base(e.Key); e.Pointer == nil && base != e.Key {
		info, err := header.Head(ctx, base)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		_, foreign := object.DecodeMetadata(info.Metadata)
		if err == nil && info.Size == t.notes.Size && errors.Is(foreign, object.ErrForeign) {
			e.Candidate = base
			detail = fmt.Sprintf("an object of its size stands under %q, where the guide's shell script puts those of all files of that name: only its content shows whose it is", base)
		}
	}
	e.find(outcome.ClassObjectMissing, detail)
	return nil
}

type discard struct{}

func (discard) WriteAt(b []byte, _ int64) (int, error) { return len(b), nil }

// Repair fixes what can be fixed without guessing, and says of each finding
// whether it was. Data is only ever given up for data that was proven: a file
// whose bytes are not those of its object is left for a person.
func (r *Recaller) Repair(ctx context.Context, e Examined) []outcome.Finding {
	findings := append([]outcome.Finding{}, e.Findings...)
	for _, f := range findings {
		if f.Severity == outcome.Grave {
			// Whatever else is wrong, the object is not there to lean on.
			return findings
		}
	}
	for i := range findings {
		f := &findings[i]
		var err error
		switch f.Class {
		case outcome.ClassKeyEmpty, outcome.ClassKeyDiffers:
			err = r.repoint(ctx, e)
		case outcome.ClassBytesInStub, outcome.ClassInterrupted, outcome.ClassStaleSize, outcome.ClassStaleNotes, outcome.ClassEmptyStub:
			err = r.finish(ctx, e)
		case outcome.ClassCopiedMarks:
			err = r.unmark(ctx, e)
		default:
			continue
		}
		if f.Repaired = err == nil; err != nil {
			f.Detail = "cannot: " + err.Error()
		}
	}
	return findings
}

// finish completes a recall that was cut short, or clears what one has left. A stub
// with bytes on one brick is recalled, since only bytes on all of them end a heal.
func (r *Recaller) finish(ctx context.Context, e Examined) error {
	mender := *r
	mender.unasked = slices.ContainsFunc(e.Findings, func(f outcome.Finding) bool { return f.Class == outcome.ClassBytesInStub })
	res := mender.Recall(ctx, e.Path, e.GFID)
	if res.Reason == outcome.AlreadyLocal {
		return nil
	}
	return res.Err
}

// repoint makes cs.remote and pointer name the object that was made from this
// file.
func (r *Recaller) repoint(ctx context.Context, e Examined) (err error) {
	t := &transaction{Recaller: r, path: e.Path, gfid: e.GFID}
	if t.file, err = r.Files.OpenRegularRDWR(e.Path); err != nil {
		return err
	}
	defer t.file.Close() // attributes are not buffered
	if err := volume.Lock(t.file); err != nil {
		return err
	}
	defer func() { _ = volume.Unlock(t.file) }() // it goes with the descriptor at the latest
	if err := t.look(); err != nil {
		return err
	}
	if t.state != gluster.Remote {
		return outcome.Fail(outcome.Changed, "")
	}
	key, err := t.chooseKey(ctx)
	if err != nil {
		return err
	}
	if err := t.newNotes(key); err != nil {
		return err
	}
	header, ok := r.Plugin.(Header)
	if !ok {
		return errors.New("this store cannot tell about objects")
	}
	info, err := header.Head(ctx, key)
	if err != nil {
		return err
	}
	if err := t.accept(info); err != nil {
		return err
	}
	if t.repoint {
		if err := volume.Replace(t.file, gluster.XattrPointer, t.pointer.Encode()); err != nil {
			return err
		}
	}
	// Replaced, never created: a recall may have claimed the file in the meantime.
	return volume.Replace(t.file, gluster.XattrRemote, []byte(key))
}
