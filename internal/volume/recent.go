package volume

import (
	"errors"
	"os"
	"path"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// recentAge is how long a directory is used without being looked up anew:
	// as long as a mount with Gluster's defaults caches its name.
	recentAge = time.Second
	// recentDirs is how many are kept; a crawl is in a few at a time.
	recentDirs = 64
)

// recent keeps the directories open in which files were opened last. Each
// component of a path costs a mount that caches no names two round trips, and
// neighbours come one after the other. A directory that was renamed in the meantime
// leads to the same files under another name, so callers that go by identity
// lose nothing; and it cannot have left the root, since no rename leaves a file
// system.
type recent struct {
	mu   sync.Mutex
	dirs map[string]recentDir
}

type recentDir struct {
	file  *os.File // O_PATH
	since time.Time
}

// lookup gives an O_PATH handle of a file, by way of its directory.
func (c *recent) lookup(r *Root, name string) (*os.File, error) {
	dirName, base := path.Split(name)
	if dirName == "" || base == "" || base == "." || base == ".." {
		return r.Open(name, unix.O_PATH|unix.O_NOFOLLOW)
	}
	dir, err := c.get(r, dirName)
	if err != nil {
		return nil, err
	}
	file, err := openBeneath(dir, name, base, unix.O_PATH|unix.O_NOFOLLOW)
	if Gone(err) || errors.Is(err, os.ErrClosed) { // or its directory is not the one of that name any more
		return r.Open(name, unix.O_PATH|unix.O_NOFOLLOW)
	}
	return file, err
}

// get gives a directory, which may be closed by others at any time.
func (c *recent) get(r *Root, name string) (*os.File, error) {
	now := time.Now()
	c.mu.Lock()
	kept, ok := c.dirs[name]
	c.mu.Unlock()
	if ok && now.Sub(kept.since) < recentAge {
		return kept.file, nil
	}
	dir, err := r.Open(name, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for other, d := range c.dirs { // in any order: what is needed again is soon back
		if other == name || now.Sub(d.since) >= recentAge || len(c.dirs) >= recentDirs {
			d.file.Close()
			delete(c.dirs, other)
		}
	}
	c.dirs[name] = recentDir{dir, now}
	return dir, nil
}

func (c *recent) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, d := range c.dirs {
		d.file.Close()
		delete(c.dirs, name)
	}
}
