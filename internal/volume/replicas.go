package volume

import (
	"context"
	"errors"
	"fmt"
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
// All files of one brick are in one set. It is found by the first of them, for a
// brick's directory may have the same name on each host.
type Replicas struct {
	mount   *Mount
	mu      sync.Mutex
	members []*Private
}

// Replicas gives the replicas of the files of one brick; nil on a volume without
// replication. Nothing is mounted before a file is asked for.
func (m *Mount) Replicas() *Replicas {
	if !m.Graph.Has(gluster.TypeReplicate) {
		return nil
	}
	return &Replicas{mount: m}
}

// Pending reports whether any brick of the set waits for self-heal of the file
// that is open as file on a mount, at path there. A brick that cannot be asked is
// an error.
func (r *Replicas) Pending(ctx context.Context, file *os.File, path string) (bool, error) {
	members, err := r.mounted(ctx, file)
	if err != nil {
		return false, fmt.Errorf("replicas: %w", err)
	}
	st, err := StatAsOpened(file)
	if err != nil {
		return false, err
	}
	// Users may rename the file at any time, and a brick alone is asked by name.
	const tries = 5
	for range tries {
		pending, named, err := anyPending(members, path, st.Inode)
		if err != nil || named {
			return pending, err
		}
		now, err := Get(file, gluster.VirtualPath)
		switch {
		case Gone(err), errors.Is(err, unix.ENODATA):
			return false, nil // deleted: nothing is left to heal
		case err != nil:
			return false, fmt.Errorf("current name: %w", err)
		}
		path = strings.TrimLeft(strings.TrimRight(string(now), "\x00"), "/")
	}
	// Either its name changes all the time, or the replicas disagree about it.
	return true, nil
}

// anyPending is false in named if the path is not that file's on one of them.
func anyPending(members []*Private, path string, inode uint64) (pending, named bool, err error) {
	for _, m := range members {
		pending, named, err := m.pending(path, inode)
		if err != nil || !named || pending {
			return pending, named, err
		}
	}
	return false, true, nil
}

func (p *Private) pending(path string, inode uint64) (pending, named bool, err error) {
	file, err := p.OpenRegular(path)
	switch {
	case Gone(err):
		return false, false, nil
	case err != nil:
		return false, false, fmt.Errorf("replica: %w", err)
	}
	defer file.Close() // read only
	st, err := StatAsOpened(file)
	if err != nil || st.Inode != inode {
		return false, false, err
	}
	attrs, err := ReadAttrs(file)
	return attrs.HealPending, true, err
}

func (r *Replicas) mounted(ctx context.Context, file *os.File) ([]*Private, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.members != nil {
		return r.members, nil
	}
	set, err := r.setOf(file)
	if err != nil {
		return nil, err
	}
	members := make([]*Private, len(set))
	group, ctx := errgroup.WithContext(ctx)
	for i, brick := range set {
		group.Go(func() (err error) {
			members[i], err = r.mount.private(ctx, ForReplica, gluster.Graph{brick})
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, errors.Join(err, closeAll(members))
	}
	r.members = members
	return members, nil
}

// replicaSet finds the set's name in trusted.glusterfs.pathinfo.
var replicaSet = regexp.MustCompile(`<REPLICATE:([^> ]+)>`)

// setOf gives the bricks of the set that a file is on.
func (r *Replicas) setOf(file *os.File) ([]gluster.Xlator, error) {
	info, err := Get(file, gluster.VirtualPathinfo)
	if err != nil {
		return nil, err
	}
	name := replicaSet.FindSubmatch(info)
	if name == nil {
		return nil, fmt.Errorf("%s: %q names no replica set", gluster.VirtualPathinfo, info)
	}
	return r.mount.Graph.Bricks(string(name[1]))
}

// Close unmounts what Pending has mounted.
func (r *Replicas) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	members := r.members
	r.members = nil
	return closeAll(members)
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
