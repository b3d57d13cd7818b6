package volume

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/outcome"
)

// CheckClient judges the mount at m.Dir, one of users, not by what it should be but
// by what it tells of a stub: after a chmod Gluster's own caches take a stub for an
// empty file. That is tried on a scratch file in the root of the volume, for which
// the mount must be of the whole volume and this process root.
func (m *Mount) CheckClient(ctx context.Context) ([]outcome.Check, error) {
	root, err := OpenRoot(m.Dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	set := "gluster volume set " + orVolume(m.Volume) + " "
	checks := []outcome.Check{
		m.checkCloudsync(set + "features.cloudsync on"),
		m.checkQuickRead(set + "performance.quick-read off"),
		m.checkReaddir(set + "performance.parallel-readdir off"),
		m.checkPlugin(),
		m.checkCaches(guardOf(root)),
	}
	if checks[0].Verdict == outcome.Bad || checks[1].Verdict == outcome.Bad {
		return checks, nil // a stub would not be one there, or reading it ends the client
	}
	probed, err := checkProbe(ctx, root)
	if err != nil {
		return checks, err
	}
	return append(checks, probed), nil
}

// guardOf is the version of the guard that keeps a client from taking a stub for
// empty, "" if it has none.
func guardOf(root *Root) string {
	value := make([]byte, 64)
	n, err := unix.Getxattr(procPath(root.fd), gluster.VirtualGuard, value)
	if err != nil {
		return ""
	}
	return string(value[:n])
}

// checkCaches goes by what was measured: without the guard both caches have to be
// off, and with one of them alone most reads were wrong.
func (m *Mount) checkCaches(guard string) outcome.Check {
	if guard != "" {
		return outcome.Check{Name: CheckClientCaches, Verdict: outcome.OK, Reason: "coldbrick's guard, version " + guard + ", keeps the caches right"}
	}
	var caches []string
	if m.Graph.Has(gluster.TypeMDCache) {
		caches = append(caches, "performance.stat-prefetch is on")
	}
	if m.AttributeTimeout > 0 || m.EntryTimeout > 0 {
		caches = append(caches, fmt.Sprintf("the kernel keeps attributes for %v and entries for %v", m.AttributeTimeout, m.EntryTimeout))
	}
	return verdict(CheckClientCaches, outcome.Bad, caches != nil, "nothing caches attributes, so no guard is needed",
		"no guard of coldbrick's, and "+strings.Join(caches, ", ")+": after a chmod a stub looks empty, and what copies or rewrites it then loses its data",
		"install the package coldbrick-gluster-plugin here and mount anew; without it: gluster volume set "+orVolume(m.Volume)+
			" performance.stat-prefetch off, and mount with -o attribute-timeout=0,entry-timeout=0 (it takes both)")
}

func checkProbe(ctx context.Context, root *Root) (outcome.Check, error) {
	told, err := probe(ctx, root)
	var empty *emptyStubError
	switch {
	case ctx.Err() != nil && err != nil:
		return outcome.Check{}, err
	case errors.As(err, &empty):
		return outcome.Check{Name: CheckClientProbe, Verdict: outcome.Bad, Reason: err.Error(), Fix: "the log of the mount shows whether the plugin is loaded and its guard is on"}, nil
	case err != nil:
		return outcome.Check{Name: CheckClientProbe, Verdict: outcome.Bad, Reason: fmt.Sprintf("what this mount says of a stub could not be tried: %v", err)}, nil
	}
	return outcome.Check{Name: CheckClientProbe, Verdict: outcome.OK, Reason: "a stub keeps its size after a chmod; reading it: " + told}, nil
}

// emptyStubError means that a mount lies about a stub.
type emptyStubError struct {
	what string
	got  int64
}

func (e *emptyStubError) Error() string {
	return fmt.Sprintf("after a chmod of a stub, %s reports %d bytes where there are %d", e.what, e.got, len(scratch))
}

// What a scratch file has: data, and a pointer that no plugin of ours can read, which
// makes it refuse the recall before it asks the store.
const (
	scratch        = "coldbrick tries here whether this mount is safe for stubs\n"
	scratchPointer = "scratch file of coldbrick doctor"
)

// probe makes a stub of a scratch file and returns how reading it ended. Users may be
// able to swap names in the root of the volume, so but for making and removing the
// file all is done by a handle.
func probe(ctx context.Context, root *Root) (told string, err error) {
	if err := sweepProbes(root, time.Now().Add(-probeAge)); err != nil {
		return "", fmt.Errorf("left-overs of earlier runs: %w", err)
	}
	name := gluster.ProbePrefix + rand.Text()
	fd, err := unix.Openat(root.Fd(), name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return "", fmt.Errorf("make the scratch file %s: %w", name, err)
	}
	defer func() {
		if removeErr := unix.Unlinkat(root.Fd(), name, 0); removeErr != nil && removeErr != unix.ENOENT {
			err = errors.Join(err, fmt.Errorf("remove the scratch file %s: %w", name, removeErr))
		}
	}()
	f := os.NewFile(uintptr(fd), name)
	at, err := os.OpenFile(procPath(f), unix.O_PATH, 0)
	if err != nil {
		return "", errors.Join(err, f.Close())
	}
	if err := errors.Join(fill(f), f.Close()); err != nil {
		return "", errors.Join(err, at.Close())
	}
	type answer struct {
		told string
		err  error
	}
	ended := make(chan answer, 1)
	go func() { // a plugin that is not ours may wait for its store
		told, err := tryStub(at)
		ended <- answer{told, errors.Join(err, at.Close())}
	}()
	var a answer
	select {
	case <-ctx.Done():
	case a = <-ended:
	}
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	return a.told, a.err
}

func fill(f *os.File) error {
	if err := Set(f, gluster.XattrPointer, []byte(scratchPointer)); err != nil { // first: by it a left-over is known
		return err
	}
	if _, err := f.WriteString(scratch); err != nil {
		return err
	}
	return f.Sync()
}

// tryStub stamps the file, changes its mode, and looks at it by the same handle: a
// name would be looked up again, which corrects what the kernel was told.
func tryStub(at *os.File) (told string, err error) {
	path, now := procPath(at), time.Now().Unix()
	if err := unix.UtimesNano(path, []unix.Timespec{{Sec: now}, {Sec: now}}); err != nil {
		return "", fmt.Errorf("set the times of the scratch file: %w", err)
	}
	if err := unix.Setxattr(path, gluster.XattrStamp, strconv.AppendInt(nil, now, 10), 0); err != nil {
		return "", fmt.Errorf("stamp the scratch file: %w", err)
	}
	if _, err := unix.Getxattr(path, gluster.XattrRemote, nil); err != nil {
		return "", fmt.Errorf("stamp the scratch file: it is no stub: %w", err)
	}
	if err := unix.Chmod(path, 0o400); err != nil {
		return "", fmt.Errorf("chmod the scratch file: %w", err)
	}
	st, err := StatOf(at)
	if err != nil {
		return "", err
	}
	if st.Size != int64(len(scratch)) {
		return "", &emptyStubError{"stat", st.Size}
	}
	data, err := os.ReadFile(path)
	var no syscall.Errno
	switch {
	case errors.As(err, &no): // any error is better than a wrong answer
		return no.Error(), nil
	case err != nil:
		return "", err
	case string(data) != scratch:
		return "", &emptyStubError{"a read", int64(len(data))}
	}
	return "its bytes, which this host had in memory", nil
}

// probeAge is how old a scratch file must be to count as left over.
const probeAge = time.Hour

// sweepProbes removes the scratch files of runs that were killed before a time. Only
// root can have given a file their pointer.
func sweepProbes(root *Root, before time.Time) error {
	dir, err := root.Open(".", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		if !strings.HasPrefix(name, gluster.ProbePrefix) {
			continue
		}
		var st unix.Stat_t
		value := make([]byte, len(scratchPointer)+1)
		err := unix.Fstatat(root.Fd(), name, &st, unix.AT_SYMLINK_NOFOLLOW)
		var n int
		if err == nil {
			n, err = unix.Lgetxattr(procPath(root.fd)+"/"+name, gluster.XattrPointer, value)
		}
		ours := err == nil && string(value[:n]) == scratchPointer
		if !ours || st.Mode&unix.S_IFMT != unix.S_IFREG || st.Mtim.Sec >= before.Unix() {
			continue // a user's, or one of a run that goes on
		}
		if err := unix.Unlinkat(root.Fd(), name, 0); err != nil && err != unix.ENOENT {
			return fmt.Errorf("remove %s: %w", name, err)
		}
	}
	return nil
}
