package recall

import (
	"bytes"
	"errors"
	"os"
	"time"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/volume"
)

// Copies remember, beside a brick, which of its files have the bytes of their objects.
type Copies struct {
	Brick Brick
	Index Index
}

// Brick opens files of a brick of this host.
type Brick interface {
	OpenRegular(path string) (*os.File, error)
}

// Index remembers what was proven of the copied files of a brick, see internal/copied.
type Index interface {
	Note(gfid gluster.GFID, id volume.Identity, key string, crc32 uint32)
}

// worthEntering is the size from which on it is cheaper to enter a file in the index than
// to read it once, in bytes.
const worthEntering = 1 << 20

// watched is the file on a brick of this host. While the lease is unbroken, nobody has
// opened it for writing.
type watched struct {
	file  *os.File
	lease *volume.BriefLease
	index Index
}

// watch has the kernel of the brick tell whether anybody opens the file for writing, from
// before it is shown as local until its identity is taken by enter: what still has to be
// set on it moves its ctime, by which the index knows it. Without a watch the file is read
// once more. An error means that the lock is gone.
func (t *transaction) watch() error {
	if len(t.Copies) == 0 || t.written == nil || t.written.Size < worthEntering || !t.keepsPointer() {
		return nil
	}
	if t.onlyRead() {
		for _, c := range t.Copies {
			if w := t.watchOn(c); w != nil {
				t.watched = append(t.watched, w)
			}
		}
	}
	return t.held() // that may have lasted for a second
}

// onlyRead goes on with a descriptor that cannot write: the brick grants no lease while
// one that can is open.
func (t *transaction) onlyRead() bool {
	reader, err := t.reopen(t.Files)
	if err != nil {
		return false
	}
	// The second lock first makes two of one: nobody gets between them.
	if errors.Join(volume.LockShared(t.file), volume.LockShared(reader)) != nil {
		reader.Close() // read only
		return false
	}
	writer := t.file
	t.file, t.shared = reader, true
	return writer.Close() == nil // what it wrote was synced; held asks whether the lock is still there
}

// watchOn returns nil if the file is not on that brick, or cannot be watched. That it is
// this file, and no stale one that a rebalance has left, is proven by the notes of this
// run, which came there through the mount.
func (t *transaction) watchOn(c Copies) *watched {
	file, err := c.Brick.OpenRegular(t.gfid.HandlePath())
	if err != nil {
		return nil
	}
	w := &watched{file: file, index: c.Index}
	if w.lease, err = volume.TakeBriefLease(file); err == nil {
		var attrs volume.Attrs
		attrs, err = volume.ReadAttrs(file)
		if err == nil && attrs.Downloading && bytes.Equal(attrs.Recall, t.value()) {
			return w
		}
	}
	w.close()
	return nil
}

// enter notes in the indexes of this host's bricks that the file has the bytes of its
// object: that saves reading it when it is archived or released again.
func (t *transaction) enter() {
	if t.spent == nil {
		return
	}
	for _, w := range t.watched {
		if id, ok := t.standing(w); ok {
			w.index.Note(t.gfid, id, t.notes.Key, t.written.CRC32)
		}
	}
}

// standing takes the identity of a watched file once any further change must show, and
// all of this run's have come to the brick. ok is false if it may have other bytes by then.
func (t *transaction) standing(w *watched) (id volume.Identity, ok bool) {
	const pause = time.Millisecond
	for begun := time.Now(); time.Since(begun) < volume.LongestLease; {
		attrs, err := volume.ReadAttrs(w.file)
		if err != nil || !bytes.Equal(attrs.Pointer, t.spent) || attrs.Downloading || attrs.Remote || attrs.Recall != nil {
			return id, false
		}
		st, err := volume.StatOf(w.file)
		if err != nil || st.Size != t.written.Size {
			return id, false
		}
		now, err := volume.CoarseNow()
		if err != nil {
			return id, false
		}
		wait, _ := volume.Ripens(gluster.TimeOf(st.Ctime), now, volume.Tick(), 0)
		if wait <= 0 && !attrs.HealPending {
			unbroken, err := w.lease.End()
			return st.Identity, unbroken && err == nil
		}
		time.Sleep(max(wait, pause))
	}
	return id, false
}

func (t *transaction) unwatch() {
	for _, w := range t.watched {
		w.close()
	}
}

func (w *watched) close() {
	if w.lease != nil {
		_, _ = w.lease.End() // else it ends with the descriptor
	}
	w.file.Close() // read only
}
