package testkit

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// far is a byte that no data reaches.
const far = 1 << 62

func setLock(f *os.File, kind int16, start, length int64) error {
	return unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: kind, Start: start, Len: length})
}

func openRDWR(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func eventuallyLocks(t *testing.T, what string, f *os.File) {
	t.Helper()
	Eventually(t, 10*time.Second, what, func() bool { return setLock(f, unix.F_WRLCK, far, 1) == nil })
}

func TestTheBrickKeepsALockWhileItsClientIsStopped(t *testing.T) {
	v := NewVolume(t)
	v.Write("f", []byte("data"), Old)
	one, two := v.NewMount(t), v.NewMount(t)
	a, b := openRDWR(t, one+"/f"), openRDWR(t, two+"/f")
	wantErr(t, "lock", setLock(a, unix.F_WRLCK, far, 1), nil)
	wantErr(t, "lock of another client", setLock(b, unix.F_WRLCK, far, 1), unix.EAGAIN)

	other := unix.Flock_t{Type: unix.F_WRLCK, Start: far, Len: 1}
	wantErr(t, "look", unix.FcntlFlock(b.Fd(), unix.F_OFD_GETLK, &other), nil)
	if other.Type != unix.F_WRLCK || other.Start != far || other.Len != 1 {
		t.Errorf("a look tells %+v", other)
	}

	// Of the same process, and of the same mount.
	c := openRDWR(t, one+"/f")
	wantErr(t, "lock of another descriptor", setLock(c, unix.F_WRLCK, far, 1), unix.EAGAIN)
	c.Close()
	wantErr(t, "lock once that is closed", setLock(b, unix.F_WRLCK, far, 1), unix.EAGAIN)

	// The kernel wants a descriptor that writes for a lock alone, one that reads for a shared one.
	reader := open(t, two+"/f")
	wantErr(t, "lock alone, open for reading", setLock(reader, unix.F_WRLCK, far, 1), unix.EBADF)
	wantErr(t, "shared lock beside it", setLock(reader, unix.F_RDLCK, far, 1), unix.EAGAIN)

	pid := v.pid(filepath.Base(one))
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "lock while the client is stopped", setLock(b, unix.F_WRLCK, far, 1), unix.EAGAIN)
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventuallyLocks(t, "the lock of a killed client is free", b)
	b.Close()

	b = openRDWR(t, two+"/f")
	d := openRDWR(t, v.Path("f"))
	eventuallyLocks(t, "the lock of a closed descriptor is free", d)
	wantErr(t, "unlock", setLock(d, unix.F_UNLCK, far, 1), nil)
	wantErr(t, "lock right after", setLock(b, unix.F_WRLCK, far, 1), nil)
	wantErr(t, "a user's lock of the whole file", setLock(d, unix.F_WRLCK, 0, 0), unix.EAGAIN)
	wantErr(t, "unlock", setLock(b, unix.F_UNLCK, far, 1), nil)
	wantErr(t, "a user's lock of the whole file", setLock(d, unix.F_WRLCK, 0, 0), nil)
	wantErr(t, "lock beside it", setLock(b, unix.F_WRLCK, far, 1), unix.EAGAIN)
	other = unix.Flock_t{Type: unix.F_WRLCK, Start: far, Len: 1}
	wantErr(t, "look", unix.FcntlFlock(b.Fd(), unix.F_OFD_GETLK, &other), nil)
	if other.Type != unix.F_WRLCK || other.Start != 0 || other.Len != 0 {
		t.Errorf("a look at a user's lock tells %+v", other)
	}
}

// byDescriptor are the calls of a recall that go by the descriptor.
func byDescriptor(f *os.File) map[string]error {
	_, write := f.WriteAt([]byte("x"), 0)
	_, read := f.ReadAt(make([]byte, 1), 0)
	return map[string]error{
		"write": write, "read": read, "truncate": f.Truncate(3), "sync": f.Sync(), "lock": setLock(f, unix.F_WRLCK, far, 1),
	}
}

func TestWhatWasOpenWithALockIsDeadAfterTheConnectionWasCut(t *testing.T) {
	for _, replicas := range []int{1, 3} {
		for strict, want := range map[bool]error{false: nil, true: unix.EBADFD} {
			v := NewVolume(t, Replica(replicas))
			v.Write("f", []byte("data"), Old)
			options := []MountOption{WithoutCloudsync()}
			if strict {
				options = append(options, WithStrictLocks())
			}
			dir := v.NewMount(t, options...)
			f := openRDWR(t, dir+"/f")
			wantErr(t, "lock", setLock(f, unix.F_WRLCK, far, 1), nil)
			for brick := range replicas {
				v.StopBrick(brick)
				if brick == 0 && replicas > 1 {
					_, err := f.WriteAt([]byte("x"), 0)
					wantErr(t, "write while one of three bricks is down", err, nil)
				}
				v.StartBrick(brick)
				v.WaitConnected(dir)
				if brick == 0 && replicas > 1 {
					// Quorum: the lock is held on the other two.
					_, err := f.WriteAt([]byte("x"), 0)
					wantErr(t, "write once the first brick is back", err, nil)
				}
			}
			Eventually(t, 10*time.Second, "what is open answers as it will", func() bool {
				_, err := f.WriteAt([]byte("x"), 0)
				return errors.Is(err, want)
			})
			for call, err := range byDescriptor(f) {
				wantErr(t, call+" after all bricks were restarted", err, want)
			}
			// FUSE addresses these by inode: no lock keeps them off.
			self := "/proc/self/fd/" + strconv.Itoa(int(f.Fd()))
			wantErr(t, "set times", unix.UtimesNanoAt(unix.AT_FDCWD, self, make([]unix.Timespec, 2), 0), nil)
			wantErr(t, "set an attribute", unix.Fsetxattr(int(f.Fd()), "trusted.x", []byte("1"), 0), nil)
			// A stat of the inode goes by what is open, so the dead one must go first.
			f.Close()
			eventuallyLocks(t, "a new descriptor locks", openRDWR(t, dir+"/f"))
		}
	}
}
