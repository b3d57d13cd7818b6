// Package record keeps the record of a run: one JSON line for each step that
// must be known after a crash. A line is on disk before Append returns, and the
// stamp it speaks of comes later: whatever was truncated has its proof here.
package record

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/owner"
)

// Phase says how far a file had come.
type Phase string

const (
	// Begun is the first line of a record: who runs, on which brick.
	Begun Phase = "begun"
	// Uploading: a multipart upload was begun and may be left behind.
	Uploading Phase = "uploading"
	// Proven: the store has confirmed the object; a stamp may follow.
	Proven Phase = "proven"
	// Done: a proven file is known to be a sound stub, or never to have been asked
	// to become one.
	Done Phase = "done"
	// Degraded: the file was stamped while a brick that holds it was down.
	Degraded Phase = "degraded"
	// Deleting: an object that nothing refers to is about to be deleted.
	Deleting Phase = "deleting"
	// Ended is the last line of a run that came to its end.
	Ended Phase = "ended"
)

// Entry is one line. Path is the file's name as bytes, base64 in JSON.
type Entry struct {
	Phase   Phase         `json:"phase"`
	Time    time.Time     `json:"time"`
	Owner   *owner.Owner  `json:"owner,omitempty"`
	Brick   string        `json:"brick,omitempty"`
	Path    []byte        `json:"path,omitempty"`
	GFID    *gluster.GFID `json:"gfid,omitempty"`
	Key     string        `json:"key,omitempty"`
	Attempt string        `json:"attempt,omitempty"`
	Upload  string        `json:"upload,omitempty"` // id of a multipart upload
	Size    int64         `json:"size,omitempty"`
	Mtime   *gluster.Time `json:"mtime,omitempty"`
	Ctime   *gluster.Time `json:"ctime,omitempty"`
	CRC32   uint32        `json:"crc32,omitempty"`
	Adopted bool          `json:"adopted,omitempty"`
}

// Log is the record of a run under way. Its methods may be called by many
// goroutines at once.
type Log struct {
	file    *os.File
	mu      sync.Mutex
	synced  *sync.Cond
	written int64 // lines written
	durable int64 // lines known to be on disk
	syncing bool
	err     error // the first failure: after it nothing is believed
}

// Create begins the record of a run in dir. Its first line tells the owner.
func Create(dir string, self owner.Owner, brick string) (*Log, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("run record: %w", err)
	}
	now := time.Now().UTC()
	name := filepath.Join(dir, now.Format("20060102T150405Z")+"-"+self.Run+".jsonl")
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("run record: %w", err)
	}
	l := &Log{file: file}
	l.synced = sync.NewCond(&l.mu)
	err = l.Append(Entry{Phase: Begun, Owner: &self, Brick: brick})
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close(), os.Remove(name))
	}
	return l, nil
}

// Append adds a line and returns when it is on disk. Lines that arrive during a
// sync share the next one.
func (l *Log) Append(e Entry) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.write(e); err != nil {
		return err
	}
	for mine := l.written; l.durable < mine && l.err == nil; {
		if l.syncing {
			l.synced.Wait()
			continue
		}
		l.syncing = true
		covers := l.written
		l.mu.Unlock()
		err := l.file.Sync()
		l.mu.Lock()
		l.syncing = false
		if err != nil { // the kernel forgets what it could not write: a second sync would lie
			l.err = fmt.Errorf("run record: %w", err)
		} else {
			l.durable = covers
		}
		l.synced.Broadcast()
	}
	return l.err
}

// Note adds a line that may be lost in a crash.
func (l *Log) Note(e Entry) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.write(e)
}

// write is called with the lock held.
func (l *Log) write(e Entry) error {
	e.Time = time.Now().UTC()
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("run record: %w", err)
	}
	if l.err != nil {
		return l.err
	}
	if _, err := l.file.Write(append(line, '\n')); err != nil {
		l.err = fmt.Errorf("run record: %w", err)
		return l.err
	}
	l.written++
	return nil
}

// Close ends the record of a run that came to its end.
func (l *Log) Close() error {
	return errors.Join(l.Append(Entry{Phase: Ended}), l.file.Close())
}

// Read calls each for every whole line. A last line that a crash has cut is
// left out: nothing that depends on it has happened.
func Read(r io.Reader, each func(Entry) error) error {
	lines := bufio.NewReader(r)
	for n := 1; ; n++ {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		var e Entry
		if err := json.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		if err := each(e); err != nil {
			return err
		}
	}
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
