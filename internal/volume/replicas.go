package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
)

// Replicas asks each brick of a replica set about files. A brick does not know of
// a write that it has missed: it is blamed on the others (trusted.afr.*), and
// replicate shows these attributes to no mount. Its own word for a file's health,
// glusterfs.heal-info, never leaves FUSE: the answer carries another name (seen
// on 10.3). So each brick of the set gets a private mount of its own, without
// replicate.
//
// The set is asked of the file, for a brick's directory may have the same name on each
// host.
type Replicas struct {
	mount    *Mount
	oneBrick bool // all files are of one brick, and so in one set
	mu       sync.Mutex
	sets     map[string][]*Private // by the set's name
}

// Replicas gives the replicas of files; nil on a volume without replication. oneBrick
// says that all of them are on one brick, which saves a request for each. Nothing is
// mounted before a file is asked for.
func (m *Mount) Replicas(oneBrick bool) *Replicas {
	if !m.Graph.Has(gluster.TypeReplicate) {
		return nil
	}
	return &Replicas{mount: m, oneBrick: oneBrick, sets: map[string][]*Private{}}
}

// Pending reports whether any brick of the set waits for self-heal of the file
// that is open as file on a mount, at path there. A brick that cannot be asked is
// an error.
func (r *Replicas) Pending(ctx context.Context, file *os.File, path string) (bool, error) {
	return r.any(ctx, file, path, healPending)
}

// Torn reports whether any brick of the set has bytes beneath the marks of a stub, or
// waits for self-heal. A mount shows one brick's view: a heal that has come to one of
// them only is not seen there, and replicate notes nothing about it, since it is the
// size alone that tells it to go on.
func (r *Replicas) Torn(ctx context.Context, file *os.File, path string) (bool, error) {
	return r.any(ctx, file, path, func(at *os.File) (bool, error) {
		torn, err := bytesInStub(at)
		if err != nil || torn {
			return torn, err
		}
		return healPending(at)
	})
}

func healPending(at *os.File) (bool, error) {
	g, err := glanceAt(at)
	return g.HealPending, err
}

// Torn reports whether the brick has bytes of a file beneath the marks of a stub. A
// file that is gone is not torn.
func (b *Brick) Torn(gfid gluster.GFID) (bool, error) {
	at, err := b.Lookup(gfid.HandlePath())
	if Gone(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("brick: %w", err)
	}
	defer at.Close()
	return bytesInStub(at)
}

// bytesInStub looks at the marks before and after the size, which cannot be read at
// once: a file that is recalled or stamped in the meantime looks like that for a moment. It
// has just been looked up.
func bytesInStub(at *os.File) (bool, error) {
	st, err := StatAsOpened(at)
	for range 2 {
		if err != nil || st.Size == 0 {
			return false, err
		}
		var g glance
		g, err = glanceAt(at)
		if err != nil || !g.Remote || g.Downloading {
			return false, err
		}
		st, err = StatOf(at)
	}
	return st.Size > 0, err
}

// any reports whether the file is so on any brick of the set; also if the bricks
// disagree about its name.
func (r *Replicas) any(ctx context.Context, file *os.File, path string, so func(*os.File) (bool, error)) (found bool, err error) {
	replicas, err := r.find(ctx, file, path, (*Private).Lookup)
	switch {
	case errors.Is(err, errUnnamed):
		return true, nil
	case Gone(err): // never for want of a mount
		return false, nil // nothing is left to heal
	case err != nil:
		return false, err
	}
	defer closeFiles(replicas)
	for _, replica := range replicas {
		if found, err := so(replica); err != nil || found {
			return found, err
		}
	}
	return false, nil
}

// errUnnamed: a file's name changes all the time, the replicas disagree about it, or
// they cannot tell it.
var errUnnamed = errors.New("not all replicas have the file under one name")

// noMountError is why a replica was not mounted. Whatever was missing there, it was not
// the file.
type noMountError struct{ err error }

func (e noMountError) Error() string { return "replicas: " + e.err.Error() }

func (e noMountError) Is(target error) bool {
	return !Gone(target) && target != fs.ErrNotExist && errors.Is(e.err, target)
}

func (e noMountError) As(target any) bool { return errors.As(e.err, target) }

// Open opens the file that is open as file on a mount, at path there, on each brick of
// its set, for reading. An arbiter's has no bytes. The error is Gone if the file is
// deleted.
func (r *Replicas) Open(ctx context.Context, file *os.File, path string) ([]*os.File, error) {
	return r.find(ctx, file, path, (*Private).OpenRegular)
}

// find takes the file on each brick of its set by open.
func (r *Replicas) find(ctx context.Context, file *os.File, path string, open func(*Private, string) (*os.File, error)) ([]*os.File, error) {
	members, err := r.mounted(ctx, file)
	if err != nil {
		return nil, err
	}
	st, err := StatAsOpened(file)
	if err != nil {
		return nil, err
	}
	// Users may rename the file at any time, and a brick alone is asked by name.
	const tries = 5
	for range tries {
		replicas, err := openAll(members, path, st.Inode, open)
		if err != nil || replicas != nil {
			return replicas, err
		}
		if path, err = nameOf(file); err != nil {
			return nil, err
		}
	}
	return nil, errUnnamed
}

// nameOf is the current name of an open file.
func nameOf(file *os.File) (string, error) {
	now, err := Get(file, gluster.VirtualPath)
	if errors.Is(err, unix.ENODATA) { // deleted, though open; or of a time when bricks did not note names
		var st Stat
		if st, err = StatOf(file); err == nil && st.Links > 0 {
			return "", errUnnamed
		}
		if err == nil {
			err = unix.ENOENT
		}
	}
	if err != nil {
		return "", fmt.Errorf("current name: %w", err)
	}
	return strings.TrimLeft(strings.TrimRight(string(now), "\x00"), "/"), nil
}

// openAll returns nil if the path is not that file's on one of them.
func openAll(members []*Private, path string, inode uint64, open func(*Private, string) (*os.File, error)) (replicas []*os.File, err error) {
	for _, m := range members {
		replica, err := open(m, path)
		if err == nil {
			replicas = append(replicas, replica)
			var st Stat
			if st, err = StatAsOpened(replica); err == nil && st.Inode == inode {
				continue
			}
		}
		closeFiles(replicas)
		if err != nil && !Gone(err) && !errors.Is(err, unix.ENAMETOOLONG) { // what cannot be looked up is no name either
			return nil, fmt.Errorf("replica: %w", err)
		}
		return nil, nil
	}
	return replicas, nil
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		f.Close() // read only
	}
}

func (r *Replicas) mounted(ctx context.Context, file *os.File) ([]*Private, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.oneBrick {
		for _, members := range r.sets {
			return members, nil
		}
	}
	set, err := setOf(file)
	if err != nil {
		return nil, err
	}
	if members, ok := r.sets[set]; ok {
		return members, nil
	}
	bricks, err := r.mount.Graph.Bricks(set)
	if err != nil {
		return nil, err
	}
	members := make([]*Private, len(bricks))
	group, ctx := errgroup.WithContext(ctx)
	for i, brick := range bricks {
		group.Go(func() (err error) {
			members[i], err = r.mount.private(ctx, ForReplica, gluster.Graph{brick})
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, noMountError{errors.Join(err, closeAll(members))}
	}
	r.sets[set] = members
	return members, nil
}

// replicaSet finds the set's name in trusted.glusterfs.pathinfo.
var replicaSet = regexp.MustCompile(`<REPLICATE:([^> ]+)>`)

// setOf names the replica set that a file is on.
func setOf(file *os.File) (string, error) {
	info, err := Get(file, gluster.VirtualPathinfo)
	if err != nil {
		return "", err
	}
	name := replicaSet.FindSubmatch(info)
	if name == nil {
		return "", fmt.Errorf("%s: %q names no replica set", gluster.VirtualPathinfo, info)
	}
	return string(name[1]), nil
}

// Close unmounts what was mounted.
func (r *Replicas) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	for _, members := range r.sets {
		errs = append(errs, closeAll(members))
	}
	clear(r.sets)
	return errors.Join(errs...)
}

func closeAll(all []*Private) error {
	var errs []error
	for _, p := range all {
		if p != nil {
			errs = append(errs, p.Close())
		}
	}
	return errors.Join(errs...)
}
