package volume

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrNoMount means that a path is not on a mount of a Gluster volume, or on
// one whose paths are not those of the volume.
var ErrNoMount = errors.New("not on a mount of a Gluster volume")

// mountEntry is one line of /proc/self/mountinfo.
type mountEntry struct {
	id     uint64
	root   string // what of the file system is mounted: "/" unless a bind mount
	dir    string // mount point
	fsType string
	source string // of Gluster: HOST:/VOL or HOST:/VOL/sub
}

const mountType = "fuse.glusterfs"

// parseMountinfo reads the format of proc_pid_mountinfo(5).
func parseMountinfo(r io.Reader) ([]mountEntry, error) {
	var entries []mountEntry
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20) // overlay mounts have long options
	for lines.Scan() {
		before, after, ok := strings.Cut(lines.Text(), " - ")
		left, right := strings.Fields(before), strings.Split(after, " ")
		if !ok || len(left) < 6 || len(right) < 2 {
			return nil, fmt.Errorf("mountinfo: unknown line %q", lines.Text())
		}
		id, err := strconv.ParseUint(left[0], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("mountinfo: unknown line %q", lines.Text())
		}
		entries = append(entries, mountEntry{
			id: id, root: unescape(left[3]), dir: unescape(left[4]), fsType: right[0], source: unescape(right[1]),
		})
	}
	return entries, lines.Err()
}

// unescape undoes the kernel's \ooo for space, tab, newline, backslash and '#'.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

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
	rel, ok := strings.CutPrefix(full, m.dir)
	if !ok || rel != "" && rel[0] != '/' {
		return "", "", fmt.Errorf("%s: %w: it was unmounted or moved meanwhile", path, ErrNoMount)
	}
	if rel = strings.TrimPrefix(rel, "/"); rel == "" {
		rel = "."
	}
	return m.dir, rel, nil
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
	info, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return mountEntry{}, err
	}
	defer info.Close()
	entries, err := parseMountinfo(info)
	if err != nil {
		return mountEntry{}, err
	}
	for _, e := range entries {
		if e.id == st.Mnt_id {
			return e, e.check()
		}
	}
	return mountEntry{}, fmt.Errorf("%w: not in mountinfo", ErrNoMount)
}

// check refuses what is no mount of a whole Gluster volume.
func (e mountEntry) check() error {
	switch {
	case e.fsType != mountType:
		return fmt.Errorf("%w: %s is of type %s", ErrNoMount, e.dir, e.fsType)
	case e.root != "/":
		return fmt.Errorf("%w: %s shows only the directory %s of it: use a mount of the whole volume", ErrNoMount, e.dir, e.root)
	case e.subdir() != "":
		return fmt.Errorf("%w: %s shows only the directory %s of the volume: use a mount of the whole volume", ErrNoMount, e.dir, e.subdir())
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
	_, spec, ok := strings.Cut(e.source, ":")
	if !ok || spec == "(null)" { // started with a volume file
		return ""
	}
	return strings.TrimPrefix(spec, "/")
}
