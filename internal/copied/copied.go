// Package copied remembers, beside a brick, what was proven of its copied files: the
// identity that a file had on the brick while its bytes were those of its object. A file
// that still has it need not be read again to be released.
//
// It is a hint that saves reading, and nothing more. What is lost, cut short, torn, of
// another brick, from before a step of the clock, a reboot or a mount of the brick's file
// system says nothing, and the file is read and compared. Nothing is synced to disk, and
// no error here ends a run.
//
// An index is a directory of up to 4096 files by the first 12 bits of the gfid, each a
// row of records of 80 bytes that are overwritten in place. docs/format.md has the layout.
package copied

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/volume"
)

const (
	recordSize = 80
	sumSize    = 16
	// mostBytes bounds one of the 4096 files. One that would grow past it, full of
	// files that are gone, is begun anew.
	mostBytes = 13_000 * recordSize
)

// Index is the index of one brick. It may be used by many goroutines and processes.
type Index struct {
	dir  string
	salt [sha256.Size]byte // what is of another brick has another
	now  func() (clock, error)

	mu     sync.Mutex
	last   clock // when it was last asked
	failed error // the first thing that went wrong; from then on it knows nothing
}

// Open opens the index of a brick below dir, or begins one.
func Open(dir string, brick *volume.Brick) (*Index, error) {
	salt, err := saltOf(brick)
	if err != nil {
		return nil, err
	}
	life, err := lifeOf(brick.Fd())
	if err != nil {
		return nil, fmt.Errorf("index of copies: brick %s: %w", brick.Dir(), err)
	}
	now := func() (clock, error) { return readClock(life) } // while the brick is open, it stays mounted
	return open(filepath.Join(dir, fmt.Sprintf("%x", salt[:8])), salt, now)
}

func open(dir string, salt [sha256.Size]byte, now func() (clock, error)) (*Index, error) {
	x := &Index{dir: dir, salt: salt, now: now}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("index: %w", err)
	}
	// A time of the file system says whether a file has changed as long as the clock
	// only ever went forward, and nothing of the file system was lost.
	previous, lost := loadClock(filepath.Join(dir, clockFile))
	var err error
	if x.last, err = now(); err != nil {
		return nil, fmt.Errorf("index: %w", err)
	}
	if lost != nil || x.last.life != previous.life || x.last.steppedBack(previous) {
		if err := x.empty(); err != nil {
			return nil, err
		}
	}
	return x, x.saveClock()
}

// saltOf makes records of one brick worth nothing beside another, also one that has its
// place.
func saltOf(brick *volume.Brick) (salt [sha256.Size]byte, err error) {
	var st unix.Statx_t
	if err := unix.Statx(brick.Fd(), "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &st); err != nil {
		return salt, fmt.Errorf("index of copies: brick %s: %w", brick.Dir(), err)
	}
	return sha256.Sum256(fmt.Appendf(nil, "%q %q %d %d.%09d", brick.VolumeID, brick.Dir(), st.Ino, st.Btime.Sec, st.Btime.Nsec)), nil
}

// empty forgets everything.
func (x *Index) empty() error {
	if err := os.RemoveAll(x.dir); err != nil {
		return fmt.Errorf("index: %w", err)
	}
	if err := os.Mkdir(x.dir, 0o700); err != nil {
		return fmt.Errorf("index: %w", err)
	}
	return nil
}

// Close notes the time, and returns the first thing that went wrong.
func (x *Index) Close() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.failed != nil {
		return x.failed
	}
	return x.saveClock()
}

// sound reports whether anything that is in the index may be believed.
func (x *Index) sound() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.failed != nil {
		return false
	}
	now, err := x.now()
	if err == nil && now.steppedBack(x.last) {
		err = errors.Join(errors.New("the clock was set back: copied files are read again"), x.empty())
	}
	x.last, x.failed = now, err
	return err == nil
}

func (x *Index) fail(err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.failed == nil {
		x.failed = fmt.Errorf("index: %w", err)
	}
}

// Note remembers that the file had the bytes of the object under key, with this CRC-32,
// while the brick's own file had this identity. The caller has made sure that any change
// since it was taken shows (volume.Ripens).
func (x *Index) Note(gfid gluster.GFID, id volume.Identity, key string, crc uint32) {
	if x.sound() {
		x.write(gfid, x.encode(gfid, id, key, crc))
	}
}

// Forget makes room for others.
func (x *Index) Forget(gfid gluster.GFID) {
	if x.sound() {
		x.write(gfid, nil)
	}
}

// CRC32 is the checksum of the bytes of a file whose pointer names the object under key,
// and whose own file on the brick has this identity now. ok is false if nobody knows.
func (x *Index) CRC32(gfid gluster.GFID, id volume.Identity, key string) (crc uint32, ok bool) {
	if !x.sound() {
		return 0, false
	}
	now, err := volume.CoarseNow()
	if err != nil {
		return 0, false
	}
	if wait, ok := volume.Ripens(gluster.TimeOf(id.Ctime), now, volume.Tick(), 0); !ok || wait > 0 {
		return 0, false // of a clock that was ahead of this one
	}
	records, err := os.ReadFile(x.file(gfid))
	if err != nil {
		if !errors.Is(err, os.ErrNotExist) {
			x.fail(err)
		}
		return 0, false
	}
	at := find(records, gfid[:])
	if at < 0 {
		return 0, false
	}
	record := records[at : at+recordSize]
	crc = binary.BigEndian.Uint32(record[crcAt:])
	return crc, bytes.Equal(record, x.encode(gfid, id, key, crc))
}

const crcAt = 56 // of the CRC-32 in a record

func (x *Index) encode(gfid gluster.GFID, id volume.Identity, key string, crc uint32) []byte {
	b := make([]byte, 0, recordSize)
	b = append(b, gfid[:]...)
	b = binary.BigEndian.AppendUint64(b, id.Inode)
	b = binary.BigEndian.AppendUint64(b, uint64(id.Size))
	for _, t := range []unix.Timespec{id.Mtime, id.Ctime} {
		b = binary.BigEndian.AppendUint64(b, uint64(t.Sec))
		b = binary.BigEndian.AppendUint32(b, uint32(t.Nsec))
	}
	b = binary.BigEndian.AppendUint32(b, crc)
	b = binary.BigEndian.AppendUint32(b, 0)
	sum := sha256.New()
	sum.Write(x.salt[:])
	sum.Write(b)
	sum.Write([]byte(key))
	return append(b, sum.Sum(nil)[:sumSize]...)
}

func (x *Index) file(gfid gluster.GFID) string {
	const hexDigits = 3
	return filepath.Join(x.dir, fmt.Sprintf("%x", gfid[:2])[:hexDigits])
}

// find is where the record of a gfid begins, -1 if there is none. What is left of one
// that was cut short is none.
func find(records, gfid []byte) int {
	for at := 0; at+recordSize <= len(records); at += recordSize {
		if bytes.Equal(records[at:at+len(gfid)], gfid) {
			return at
		}
	}
	return -1
}

// write replaces the record of a file; nil removes it.
func (x *Index) write(gfid gluster.GFID, record []byte) {
	flags := os.O_RDWR | unix.O_NOFOLLOW
	if record != nil {
		flags |= os.O_CREATE
	}
	f, err := os.OpenFile(x.file(gfid), flags, 0o600)
	if errors.Is(err, os.ErrNotExist) && record == nil {
		return
	}
	if err == nil {
		err = errors.Join(rewrite(f, gfid, record), f.Close())
	}
	if err != nil {
		x.fail(err)
	}
}

func rewrite(f *os.File, gfid gluster.GFID, record []byte) error {
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	records, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	none := make([]byte, len(gfid))
	at := find(records, gfid[:])
	switch {
	case at < 0 && record == nil:
		return nil
	case record == nil:
		record = make([]byte, recordSize)
	case at < 0:
		at = find(records, none)
	}
	if at < 0 {
		at = len(records) / recordSize * recordSize
	}
	if at >= mostBytes {
		at = 0
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = f.WriteAt(record, int64(at))
	}
	return err
}
