package recall

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/owner"
	"github.com/coldbrick/coldbrick/internal/volume"
)

const notesVersion = 2

// Notes is the value of trusted.coldbrick.recall: what a later run needs to
// finish this recall or to make the file a stub again. Attributes must be small,
// so the value is one line of text: version, gfid, size, mtime, atime, "keep" or
// "-", run, host and key, which may hold spaces and is empty if the pointer
// names it.
type Notes struct {
	Version int          `json:"v"`
	GFID    gluster.GFID `json:"gfid"`
	Key     string       `json:"key"`
	Size    int64        `json:"size"`
	Mtime   gluster.Time `json:"mtime"`
	Atime   gluster.Time `json:"atime"`
	Keep    bool         `json:"keep,omitempty"` // the bytes on the brick are to be checked, not replaced
	Run     string       `json:"run"`            // for people, as is host: who holds the lock works on the file
	Host    string       `json:"host"`

	// Of version 1, whose runs hold no lock.
	attempt string
	owner   owner.Owner
}

const (
	noteFields = 9
	keepBytes  = "keep"
	loseBytes  = "-"
)

func (n Notes) bytes() string {
	if n.Keep {
		return keepBytes
	}
	return loseBytes
}

// encode is the value on a file whose pointer names the object pointed.
func (n Notes) encode(pointed string) []byte {
	key := n.Key
	if key == pointed {
		key = ""
	}
	return fmt.Appendf(nil, "%d %s %d %s %s %s %s %s %s", notesVersion, n.GFID, n.Size, n.Mtime, n.Atime, n.bytes(), n.Run, n.Host, key)
}

// DecodeNotes reads the value of trusted.coldbrick.recall on a file whose
// pointer names the object pointed.
func DecodeNotes(b []byte, pointed string) (n Notes, err error) {
	if bytes.HasPrefix(b, []byte("{")) {
		n, err = decodeNotes1(b)
	} else {
		n, err = decodeNotes2(string(b))
	}
	if err != nil {
		return Notes{}, fmt.Errorf("%s: %w", gluster.XattrRecall, err)
	}
	if n.Key == "" {
		n.Key = pointed
	}
	return n, nil
}

func decodeNotes2(text string) (n Notes, err error) {
	version, _, _ := strings.Cut(text, " ")
	if version != strconv.Itoa(notesVersion) {
		return n, fmt.Errorf("version %.10q is unknown", version)
	}
	f := strings.SplitN(text, " ", noteFields)
	if len(f) != noteFields || f[5] != keepBytes && f[5] != loseBytes {
		return n, fmt.Errorf("these are not the notes of a recall: %.100q", text)
	}
	n = Notes{Version: notesVersion, Keep: f[5] == keepBytes, Run: f[6], Host: f[7], Key: f[8]}
	var errs [4]error
	n.GFID, errs[0] = gluster.ParseGFID(f[1])
	n.Size, errs[1] = strconv.ParseInt(f[2], 10, 64)
	n.Mtime, errs[2] = gluster.ParseTime(f[3])
	n.Atime, errs[3] = gluster.ParseTime(f[4])
	if err := errors.Join(errs[:]...); err != nil {
		return n, err
	}
	if n.Size < 0 {
		return n, fmt.Errorf("size %d", n.Size)
	}
	return n, nil
}

// decodeNotes1 reads what the versions wrote that had no lock.
func decodeNotes1(b []byte) (Notes, error) {
	var old struct {
		Version int          `json:"v"`
		GFID    gluster.GFID `json:"gfid"`
		Key     string       `json:"key"`
		Size    int64        `json:"size"`
		Mtime   time.Time    `json:"mtime"`
		Atime   time.Time    `json:"atime"`
		Keep    bool         `json:"keep"`
		Attempt string       `json:"attempt"`
		Owner   owner.Owner  `json:"owner"`
	}
	if err := json.Unmarshal(b, &old); err != nil {
		return Notes{}, err
	}
	if old.Version != 1 {
		return Notes{}, fmt.Errorf("version %d is unknown", old.Version)
	}
	return Notes{
		Version: 1, GFID: old.GFID, Key: old.Key, Size: old.Size, Keep: old.Keep,
		Mtime: gluster.TimeAt(old.Mtime), Atime: gluster.TimeAt(old.Atime),
		Run: old.Owner.Run, Host: old.Owner.Host, attempt: old.Attempt, owner: old.Owner,
	}, nil
}

// previous are the notes on the file as it was looked at, if they are its own and
// not those of the file that it is a copy of.
func (t *transaction) previous() (n Notes, ok bool, err error) {
	if t.attrs.Recall == nil {
		return Notes{}, false, nil
	}
	n, err = DecodeNotes(t.attrs.Recall, t.pointer.Key)
	return n, err == nil && n.GFID == t.gfid, err
}

// told is what a previous recall has left word of about the bytes on the brick:
// whether they are to be kept. ok is false if none has.
func (t *transaction) told() (keep, ok bool) {
	if previous, ok, _ := t.previous(); ok { // those that cannot be read are refused by own
		return previous.Keep, true
	}
	return t.pointer.Recall == keepBytes, t.pointer.Recall != ""
}

// noted reports whether a recall has left notes, wherever they are.
func (t *transaction) noted() bool { return t.attrs.Recall != nil || t.pointer.Recall != "" }

// abandoned reports whether nobody works for these notes any more, on a file
// whose lock nobody else holds. Who writes notes of version 2 holds the lock.
//
// A process of an earlier version, which may still run on a host that has not
// been upgraded, holds none. It has ended if its host says so and that is this
// boot of this host; of all others nothing is known, neither by the machine id,
// which clones share, nor by a clock that may be minutes off. Only once the file
// has stood still for a week is it given up: such a process would have to be
// stopped for that long and then go on. A time in the future says nothing.
func (t *transaction) abandoned(n Notes) bool {
	return n.Version != 1 || t.Owner.Ended(n.owner) || time.Since(volume.Time(t.stat.Ctime)) > owner.UnlockedLife
}

// unattended refuses to tidy what an archive of an earlier version, which holds no
// lock, may be in the middle of: it has sent the stamp and looks at what came of it.
func (t *transaction) unattended() error {
	p := t.pointer
	if t.attrs.Recall != nil || !p.Unlocked() || t.Owner.Ended(p.Owner) && time.Since(p.Time) > owner.UnlockedLife {
		return nil
	}
	return outcome.Skip(outcome.InProgress, fmt.Sprintf("run %s on %s, of a version without lock, is not known to have ended %d days ago",
		p.Owner.Run, p.Owner.Host, owner.UnlockedLife/(24*time.Hour)))
}

// note makes this run the owner of the file's recall, and brings the pointer in
// line with the key: once cs.remote is gone, the pointer and the notes are all
// that tells it.
func (t *transaction) note() error {
	if err := t.own(); err != nil {
		return err
	}
	// With the notes of a run that died goes its claim; or, on a local file,
	// what is still to be tidied, which no rollback may forget.
	t.claimed = t.state == gluster.Downloading
	t.local = t.state == gluster.Local || t.late()
	same, err := t.same()
	if err != nil {
		return err
	}
	if !same {
		t.claimed, t.local = false, false
		return outcome.Skip(outcome.InProgress, "another run has just changed it")
	}
	if t.repoint {
		return volume.Replace(t.file, gluster.XattrPointer, t.pointer.Encode())
	}
	return nil
}

// same looks at the file again once the notes are on it, for from then on no
// archive begins with it: since the first look it may have been changed and
// archived anew.
func (t *transaction) same() (bool, error) {
	now, err := volume.ReadAttrs(t.file)
	return now.Remote == t.attrs.Remote && now.RemoteKey == t.attrs.RemoteKey &&
		now.Downloading == t.attrs.Downloading && bytes.Equal(now.Pointer, t.attrs.Pointer), err
}

// value is what our notes are on the file.
func (t *transaction) value() []byte {
	if t.repoint { // the pointer on the file names another object until note has replaced it
		return t.notes.encode("")
	}
	return t.notes.encode(t.pointer.Key)
}

// own creates the notes, or replaces those of a run that died. The lock keeps
// others off; only of runs of an earlier version, which know none, there may be
// one that begins at this moment.
func (t *transaction) own() error {
	if t.attrs.Recall == nil && t.pointer.Recall != "" {
		return t.notePointer(unix.ENOSPC) // with notes besides, cs.remote might not fit any more
	}
	if t.attrs.Recall == nil {
		err := volume.Create(t.file, gluster.XattrRecall, t.value())
		if errors.Is(err, unix.EEXIST) {
			if !t.wrote(gluster.XattrRecall) {
				return outcome.Skip(outcome.InProgress, "another recall has just begun")
			}
			err = nil
		}
		t.owned = err == nil
		if errors.Is(err, unix.ENOSPC) {
			return t.notePointer(err)
		}
		return err
	}
	dead, err := DecodeNotes(t.attrs.Recall, t.pointer.Key)
	if err != nil {
		return err
	}
	if !t.abandoned(dead) {
		return outcome.Skip(outcome.InProgress, "run "+dead.Run+" on "+dead.Host)
	}
	if dead.Version == 1 {
		if err := t.follow(dead.attempt); err != nil {
			return err
		}
	}
	err = volume.Replace(t.file, gluster.XattrRecall, t.value())
	if said := t.notes; errors.Is(err, unix.ENOSPC) {
		// Those of the dead run do if they differ in its name alone.
		said.Version, said.Run, said.Host = dead.Version, dead.Run, dead.Host
		if said == dead {
			err = nil
		}
	}
	t.owned = err == nil
	return err
}

// notePointer makes the pointer tell what cannot be told without notes, on a file
// that has no room for these: whether the bytes on the brick are to be kept. The
// size is the object's and the mtime that of the proof; the atime, and an mtime that
// a user gave the stub, are known to this run alone. To the pointer comes less than
// goes: who made it, and when, no recall asks. full is why there are no notes.
func (t *transaction) notePointer(full error) error {
	if t.pointer.Key == "" || t.pointer.Key != t.notes.Key {
		return full
	}
	p := t.pointer
	p.Recall, p.Attempt, p.Owner, p.Time = t.notes.bytes(), "", owner.Owner{}, time.Time{}
	if err := volume.Replace(t.file, gluster.XattrPointer, p.Encode()); err != nil {
		return err
	}
	if t.pointer.Recall == "" && !t.repoint {
		t.unnoted = t.attrs.Pointer
	}
	t.pointer, t.attrs.Pointer = p, p.Encode()
	t.owned = true
	return nil
}

// unnotePointer takes back what notePointer has done, in this run or one that died.
func (t *transaction) unnotePointer() error {
	if t.pointer.Recall == "" {
		return nil
	}
	now, err := volume.Get(t.file, gluster.XattrPointer)
	if err != nil || !bytes.Equal(now, t.pointer.Encode()) {
		return err // a client's by now, which recalls the stub again
	}
	value := t.unnoted
	if value == nil {
		p := t.pointer
		p.Recall = ""
		value = p.Encode()
	}
	return volume.Replace(t.file, gluster.XattrPointer, value)
}

// wrote reports whether an attribute that is said to be there already is ours:
// DHT creates it on both bricks of a file that a rebalance moves, and answers for
// the one to which the rebalance may have copied it in the meantime.
func (t *transaction) wrote(name string) bool {
	value, err := volume.Get(t.file, name)
	return err == nil && bytes.Equal(value, t.value())
}

// follow claims the notes of a dead run of version 1 against others of that
// version: of those that find it dead, only one can create an attribute named
// after its attempt. If that one dies as well, its own attempt is the next name.
func (t *transaction) follow(attempt string) error {
	for {
		name := claimName(attempt)
		err := volume.Create(t.file, name, t.value())
		if err == nil || errors.Is(err, unix.ENOSPC) {
			break // where there is no room for this claim, none is for one of that version, which is longer
		}
		if !errors.Is(err, unix.EEXIST) {
			return err
		}
		value, err := volume.Get(t.file, name)
		if errors.Is(err, unix.ENODATA) {
			return outcome.Skip(outcome.InProgress, "another recall has just taken it over")
		}
		if err != nil {
			return err
		}
		claim, err := DecodeNotes(value, t.pointer.Key)
		if err != nil {
			return err
		}
		if claim.Version != 1 {
			break // of a run that held the lock, and died before it had replaced the notes
		}
		if !t.abandoned(claim) || claim.attempt == attempt {
			return outcome.Skip(outcome.InProgress, "run "+claim.Run+" on "+claim.Host)
		}
		attempt = claim.attempt
	}
	// One of them may have taken over and tidied up between our look at the
	// notes and our claim.
	now, err := volume.Get(t.file, gluster.XattrRecall)
	if err != nil && !errors.Is(err, unix.ENODATA) {
		return err
	}
	if !bytes.Equal(now, t.attrs.Recall) {
		return errors.Join(outcome.Skip(outcome.InProgress, "another recall has just taken it over"), t.dropClaims())
	}
	return nil
}

func claimName(attempt string) string { return gluster.XattrRecall + "." + attempt }

// dropClaims removes the claims that runs of version 1 have left, and ours on
// their notes. None is on a file that had no notes when this run took the lock: a claim
// is one to notes, and goes before them.
func (t *transaction) dropClaims() error {
	if t.attrs.Recall == nil {
		return nil
	}
	names, err := volume.List(t.file)
	if err != nil {
		return err
	}
	for _, name := range names {
		if !strings.HasPrefix(name, claimName("")) {
			continue
		}
		value, err := volume.Get(t.file, name)
		if errors.Is(err, unix.ENODATA) {
			continue // gone in the meantime
		}
		if err != nil {
			return err
		}
		if claim, err := DecodeNotes(value, t.pointer.Key); err == nil && !t.abandoned(claim) {
			continue
		}
		if err := volume.RemoveAny(t.file, name); err != nil {
			return err
		}
	}
	return nil
}

// dropNotes gives the file up. It is the last thing that a recall does to it.
func (t *transaction) dropNotes() error {
	// The claims first: nobody looks for them once the notes are gone.
	if err := t.dropClaims(); err != nil {
		return err
	}
	return volume.RemoveAny(t.file, gluster.XattrRecall)
}

// localNotes are the notes while a local file is tidied. Whatever comes of it,
// its bytes are never to be replaced.
func (t *transaction) localNotes() Notes {
	n := t.blankNotes(t.pointer.Key)
	n.Size, n.Keep = t.stat.Size, true
	if keep, ok := t.told(); ok {
		n.Keep = keep
	}
	return n
}

// Run and host are for people, and need not be whole.
const (
	runShown  = 8
	hostShown = 24
)

func (t *transaction) blankNotes(key string) Notes {
	return Notes{
		GFID: t.gfid, Key: key, Run: word(t.Owner.Run, runShown), Host: word(t.Owner.Host, hostShown),
		Mtime: gluster.TimeOf(t.stat.Mtime), Atime: gluster.TimeOf(t.stat.Atime),
	}
}

func word(s string, length int) string {
	return strings.ReplaceAll(s[:min(len(s), length)], " ", "_")
}

// newNotes are the notes of this run on a file that carries none, or the previous
// run's with this run as their owner.
func (t *transaction) newNotes(key string) error {
	t.notes = t.blankNotes(key)
	_, copied := t.original(key)
	// Nobody was downloading, or whoever was had written all: nobody knows what is
	// in the bytes now.
	t.notes.Keep = t.state == gluster.Repair && (!t.attrs.Downloading || copied) || t.state == gluster.Downloading
	// What came into a stub by itself came after the notes of a recall that had
	// not even marked it.
	if keep, ok := t.told(); ok && (t.attrs.Downloading || t.state != gluster.Repair) {
		t.notes.Keep = keep
	}
	previous, ok, err := t.previous()
	if err != nil {
		return err
	}
	if ok {
		t.notes.Size, t.notes.Mtime, t.notes.Atime = previous.Size, previous.Mtime, previous.Atime
		if t.state == gluster.Downloading && previous.Key != "" {
			t.notes.Key = previous.Key // the only record besides the pointer
		}
		return nil
	}
	if proof := t.proof(key); proof != nil {
		t.notes.Size = proof.Size
		if t.attrs.Downloading { // half written: the times are those of the writer
			t.notes.Mtime = proof.Mtime
		}
		return nil
	}
	t.notes.Size, err = t.objectSize()
	return err
}

// What a dead run's client had sent may still be under way on the brick when it
// drops the lock.
const (
	quietLook = 20 * time.Millisecond
	quietTime = 5 * quietLook
)

// quiet waits until a file whose lock was won from a dead run stands still.
func (t *transaction) quiet(ctx context.Context) error {
	for still := time.Duration(0); still < quietTime; still += quietLook {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(quietLook):
		}
		previous := t.stat
		if err := t.look(); err != nil {
			return err
		}
		if t.stat.Size != previous.Size || t.stat.Ctime != previous.Ctime || t.stat.Mtime != previous.Mtime {
			still = 0
		}
	}
	return nil
}
