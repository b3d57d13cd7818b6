package volume

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// ErrNoMount means that a path is not on a mount of a Gluster volume, or on
// one whose paths are not those of the volume.
var ErrNoMount = errors.New("not on a mount of a Gluster volume")

// mountEntry is a mount as this process sees it. The source of one of Gluster is
// HOST:/VOL or HOST:/VOL/sub.
type mountEntry mountinfo.Info

const mountType = "fuse.glusterfs"

// FindMount tells on which Gluster mount path is, and where: rel is relative to
// the mount, "." for the mount itself. If the last element of path is a symlink
// it is meant itself and not followed. Without such a mount the error is
// ErrNoMount; it is also when what is mounted is a subdirectory of the volume,
// whose paths are not those that Gluster records in stubs.
func FindMount(path string) (mountDir, rel string, err error) {
	for len(path) > 1 && strings.HasSuffix(path, "/") { // a slash would make the kernel follow the link
		path = path[:len(path)-1]
	}
	f, err := os.OpenFile(path, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return "", "", err
	}
	defer f.Close()
	m, err := mountOf(f)
	if err != nil {
		return "", "", fmt.Errorf("%s: %w", path, err)
	}
	full, err := os.Readlink(procPath(f))
	if err != nil {
		return "", "", fmt.Errorf("%s: %w", path, err)
	}
	rel, ok := strings.CutPrefix(full, m.Mountpoint)
	if !ok || rel != "" && rel[0] != '/' {
		return "", "", fmt.Errorf("%s: %w: it was unmounted or moved in the meantime", path, ErrNoMount)
	}
	if rel = strings.TrimPrefix(rel, "/"); rel == "" {
		rel = "."
	}
	return m.Mountpoint, rel, nil
}

// mountOf finds the mount that an open file is on. The kernel names it by
// number, so mounts stacked on one point or hidden under others do not confuse
// it.
func mountOf(f *os.File) (mountEntry, error) {
	var st unix.Statx_t
	err := unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_MNT_ID, &st)
	if err != nil {
		return mountEntry{}, err
	}
	if st.Mask&unix.STATX_MNT_ID == 0 {
		return mountEntry{}, kernelLacks("STATX_MNT_ID")
	}
	mounts, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) {
		found := uint64(m.ID) == st.Mnt_id
		return !found, found
	})
	if err != nil {
		return mountEntry{}, fmt.Errorf("mountinfo: %w", err)
	}
	if len(mounts) == 0 {
		return mountEntry{}, fmt.Errorf("%w: not in mountinfo", ErrNoMount)
	}
	e := mountEntry(*mounts[0])
	return e, e.check()
}

// check refuses what is no mount of a whole Gluster volume.
func (e mountEntry) check() error {
	switch {
	case e.FSType != mountType:
		return fmt.Errorf("%w: %s is of type %s", ErrNoMount, e.Mountpoint, e.FSType)
	case e.Root != "/":
		return fmt.Errorf("%w: %s shows only the directory %s of it: use a mount of the whole volume", ErrNoMount, e.Mountpoint, e.Root)
	case e.subdir() != "":
		return fmt.Errorf("%w: %s shows only the directory %s of the volume: use a mount of the whole volume", ErrNoMount, e.Mountpoint, e.subdir())
	}
	return nil
}

// volume is the volume's name in the source, "" if it names none.
func (e mountEntry) volume() string {
	name, _, _ := strings.Cut(e.spec(), "/")
	return name
}

// subdir is the mounted subdirectory, "" for the whole volume.
func (e mountEntry) subdir() string {
	_, sub, _ := strings.Cut(e.spec(), "/")
	return strings.Trim(sub, "/")
}

// spec is VOL or VOL/sub.
func (e mountEntry) spec() string {
	_, spec, ok := strings.Cut(e.Source, ":")
	if !ok || spec == "(null)" { // started with a volume file
		return ""
	}
	return strings.TrimPrefix(spec, "/")
}
