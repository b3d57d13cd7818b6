package recall

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/owner"
	"github.com/coldbrick/coldbrick/internal/report"
	"github.com/coldbrick/coldbrick/internal/volume"
)

const notesVersion = 1

// Notes is the value of trusted.coldbrick.recall: what a later run needs to
// finish this recall or to make the file a stub again.
type Notes struct {
	Version int          `json:"v"`
	GFID    gluster.GFID `json:"gfid"`
	Key     string       `json:"key"`
	Size    int64        `json:"size"`
	Mtime   gluster.Time `json:"mtime"`
	Atime   gluster.Time `json:"atime"`
	Keep    bool         `json:"keep,omitempty"` // the bytes on the brick are to be checked, not replaced
	Attempt string       `json:"attempt"`
	Owner   owner.Owner  `json:"owner"`
}

func (n Notes) encode() []byte {
	n.Version = notesVersion
	b, err := json.Marshal(n)
	if err != nil {
		panic(err) // no field of Notes can fail to encode
	}
	return b
}

// DecodeNotes reads the value of trusted.coldbrick.recall.
func DecodeNotes(b []byte) (Notes, error) {
	var n Notes
	if err := json.Unmarshal(b, &n); err != nil {
		return Notes{}, fmt.Errorf("%s: %w", gluster.XattrRecall, err)
	}
	if n.Version != notesVersion {
		return Notes{}, fmt.Errorf("%s: version %d is unknown", gluster.XattrRecall, n.Version)
	}
	return n, nil
}

// idleLimit is how long a half written file of another host must have been
// still before its recall counts as dead. Every write of a recall moves the
// ctime, and a download that stands still ends itself much sooner.
const idleLimit = 15 * time.Minute

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
	t.local = t.state == gluster.Local
	same, err := t.same()
	if err != nil {
		return err
	}
	if !same {
		t.claimed, t.local = false, false
		return report.Leave(report.InProgress, "another run has just changed it")
	}
	if t.repoint {
		return volume.Replace(t.file, gluster.XattrPointer, t.pointer.Encode())
	}
	return nil
}

// same looks at the file again once the notes are on it, for from then on no
// archive begins with it: since the first look another recall may have ended,
// and the file been changed and archived anew.
func (t *transaction) same() (bool, error) {
	now, err := volume.ReadAttrs(t.file)
	return now.Remote == t.attrs.Remote && now.RemoteKey == t.attrs.RemoteKey &&
		now.Downloading == t.attrs.Downloading && bytes.Equal(now.Pointer, t.attrs.Pointer), err
}

// abandoned reports whether the recall that o began is dead.
func (t *transaction) abandoned(o owner.Owner) bool {
	return t.Owner.Dead(o) || o != t.Owner && time.Since(volume.Time(t.stat.Ctime)) > idleLimit
}

// own creates the notes, or takes over those of a run that died.
func (t *transaction) own() error {
	if t.attrs.Recall == nil {
		err := volume.Create(t.file, gluster.XattrRecall, t.notes.encode())
		if errors.Is(err, unix.EEXIST) {
			if !t.wrote(gluster.XattrRecall) {
				return report.Leave(report.InProgress, "another recall has just begun")
			}
			err = nil
		}
		t.noted = err == nil
		return err
	}
	return t.takeOver()
}

// wrote reports whether an attribute that is said to be there already is ours:
// DHT creates it on both bricks of a file that a rebalance moves, and answers for
// the one to which the rebalance may have copied it meanwhile.
func (t *transaction) wrote(name string) bool {
	value, err := volume.Get(t.file, name)
	return err == nil && bytes.Equal(value, t.notes.encode())
}

// takeOver makes the dead run's notes ours. There is no compare-and-swap for
// attributes, but of two runs only one can create an attribute named after the
// dead attempt. If that one dies as well, its own attempt is the next name.
func (t *transaction) takeOver() error {
	dead, err := DecodeNotes(t.attrs.Recall)
	if err != nil {
		return err
	}
	if !t.abandoned(dead.Owner) {
		return report.Leave(report.InProgress, "run "+dead.Owner.Run+" on "+dead.Owner.Host)
	}
	for after := dead.Attempt; ; {
		err := volume.Create(t.file, claimName(after), t.notes.encode())
		if err == nil || errors.Is(err, unix.EEXIST) && t.wrote(claimName(after)) {
			break
		}
		if !errors.Is(err, unix.EEXIST) {
			return err
		}
		value, err := volume.Get(t.file, claimName(after))
		if errors.Is(err, unix.ENODATA) {
			return report.Leave(report.InProgress, "another recall has just taken it over")
		}
		if err != nil {
			return err
		}
		claim, err := DecodeNotes(value)
		if err != nil {
			return err
		}
		if !t.abandoned(claim.Owner) || claim.Attempt == after {
			return report.Leave(report.InProgress, "run "+claim.Owner.Run+" on "+claim.Owner.Host)
		}
		after = claim.Attempt
	}
	// Another run may have taken over and tidied up between our look at the
	// notes and our claim.
	now, err := volume.Get(t.file, gluster.XattrRecall)
	if err != nil && !errors.Is(err, unix.ENODATA) {
		return err
	}
	if string(now) != string(t.attrs.Recall) {
		return errors.Join(report.Leave(report.InProgress, "another recall has just taken it over"), t.dropClaims())
	}
	if err := volume.Replace(t.file, gluster.XattrRecall, t.notes.encode()); err != nil {
		return err
	}
	t.noted = true
	return nil
}

func claimName(attempt string) string { return gluster.XattrRecall + "." + attempt }

// dropClaims removes the claims of this run and of those it followed.
func (t *transaction) dropClaims() error {
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
			continue // gone meanwhile
		}
		if err != nil {
			return err
		}
		if claim, err := DecodeNotes(value); err == nil && claim.Owner != t.Owner && !t.abandoned(claim.Owner) {
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
	if former, err := DecodeNotes(t.attrs.Recall); err == nil && former.GFID == t.gfid {
		n.Keep = former.Keep
	}
	return n
}

func (t *transaction) blankNotes(key string) Notes {
	return Notes{
		GFID: t.gfid, Key: key, Attempt: object.NewID(), Owner: t.Owner,
		Mtime: gluster.TimeOf(t.stat.Mtime), Atime: gluster.TimeOf(t.stat.Atime),
	}
}

// newNotes are the notes of this attempt on a file that carries none, or the
// former run's with this attempt as their owner.
func (t *transaction) newNotes(key string) error {
	t.notes = t.blankNotes(key)
	_, copied := t.original(key)
	t.notes.Keep = t.state == gluster.Repair && (!t.attrs.Downloading || copied)
	if t.attrs.Recall != nil {
		former, err := DecodeNotes(t.attrs.Recall)
		if err != nil {
			return err
		}
		if former.GFID == t.gfid {
			t.notes.Size, t.notes.Mtime, t.notes.Atime = former.Size, former.Mtime, former.Atime
			t.notes.Keep = former.Keep
			if t.state == gluster.Downloading {
				t.notes.Key = former.Key // the only record besides the pointer
			}
			return nil
		}
	}
	if proof := t.proof(key); proof != nil {
		t.notes.Size = proof.Size
		if t.attrs.Downloading { // half written: the times are those of the writer
			t.notes.Mtime = proof.Mtime
		}
		return nil
	}
	var err error
	t.notes.Size, err = t.objectSize()
	return err
}
