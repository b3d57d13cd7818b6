package record

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/owner"
)

const (
	openSuffix    = ".jsonl"
	settledSuffix = ".settled" // behind openSuffix
)

// Unsettled is the record of a run that has ended or died and may have left
// something behind.
type Unsettled struct {
	File     string
	Owner    owner.Owner
	Brick    string
	Uploads  []Entry // multipart uploads that were begun and not seen to end
	Degraded []Entry // files stamped while a brick was down
	Proven   []Entry // files that may have been stamped, and are not known to be sound stubs
}

// Open reads the records in dir that are not settled, and leaves out those of
// runs that may still be alive.
func Open(dir string, self owner.Owner) ([]Unsettled, error) {
	files, err := filepath.Glob(filepath.Join(escape(dir), "*"+openSuffix))
	if err != nil {
		return nil, err
	}
	var list []Unsettled
	for _, file := range files {
		u, ended, err := readUnsettled(file)
		if err != nil {
			return nil, fmt.Errorf("run record %s: %w", file, err)
		}
		if ended || self.Dead(u.Owner) {
			list = append(list, u)
		}
	}
	return list, nil
}

func readUnsettled(file string) (u Unsettled, ended bool, err error) {
	f, err := os.Open(file)
	if err != nil {
		return u, false, err
	}
	defer f.Close()
	u.File = file
	uploads := map[string]Entry{} // by key
	proven := map[string]Entry{}  // by attempt
	err = Read(f, func(e Entry) error {
		switch e.Phase {
		case Begun:
			u.Brick = e.Brick
			if e.Owner != nil {
				u.Owner = *e.Owner
			}
		case Uploading:
			uploads[e.Key] = e
		case Proven:
			delete(uploads, e.Key)
			proven[e.Attempt] = e
		case Done:
			delete(proven, e.Attempt)
		case Degraded:
			u.Degraded = append(u.Degraded, e)
		case Ended:
			ended = true
		}
		return nil
	})
	for _, e := range uploads {
		u.Uploads = append(u.Uploads, e)
	}
	for _, e := range proven {
		u.Proven = append(u.Proven, e)
	}
	return u, ended, err
}

// Settle says that nothing is left of the run. Its record stays, for people and
// for Find.
func (u Unsettled) Settle() error { return os.Rename(u.File, u.File+settledSuffix) }

// Find returns all that the records in dir tell of one file, oldest run first.
func Find(dir string, gfid gluster.GFID) ([]Entry, error) {
	files, err := filepath.Glob(filepath.Join(escape(dir), "*"+openSuffix+"*"))
	if err != nil {
		return nil, err
	}
	var found []Entry
	for _, file := range files { // Glob sorts, and names begin with the time
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		err = Read(f, func(e Entry) error {
			if e.GFID != nil && *e.GFID == gfid {
				found = append(found, e)
			}
			return nil
		})
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, fmt.Errorf("run record %s: %w", file, err)
		}
	}
	return found, nil
}

// escape keeps Glob from reading a pattern in the name of a directory.
func escape(dir string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}
