package safety

import (
	"errors"
	"fmt"

	"runtime"

	"unsafe"

	"golang.org/x/sys/unix"
)

// call is a system call that an interposed function is about to make.
type call struct {
	number int
	args   [6]uint64
}

// changes are the system calls by which archive and recall change a file or its
// attributes, and reads those by which they look at one. The bytes of a download
// are written by other threads, and fail by the store's faults.
var (
	changes = map[int]string{
		unix.SYS_FSETXATTR: "fsetxattr", unix.SYS_FREMOVEXATTR: "fremovexattr",
		unix.SYS_FTRUNCATE: "ftruncate", unix.SYS_UTIMENSAT: "utimensat", unix.SYS_FSYNC: "fsync",
	}
	reads = map[int]string{
		unix.SYS_FGETXATTR: "fgetxattr", unix.SYS_FLISTXATTR: "flistxattr", unix.SYS_FSTAT: "fstat",
		unix.SYS_FSTATFS: "fstatfs", unix.SYS_STATX: "statx", unix.SYS_OPENAT2: "openat2",
		unix.SYS_OPENAT: "openat", unix.SYS_PREAD64: "pread64",
		// Not inotify_init1: Go lets go of no processor for it, and who answers needs one.
		unix.SYS_INOTIFY_ADD_WATCH: "inotify_add_watch",
	}
)

func (c call) String() string {
	if name, ok := changes[c.number]; ok {
		return name
	}
	return reads[c.number]
}

// verdict says what becomes of a system call.
type verdict struct {
	effect bool       // the kernel does it
	errno  unix.Errno // what the caller hears; 0: what the kernel said
}

// interpose runs work, and asks judge about each of its system calls of the
// kinds above. So a change can be made whose answer is lost, which no hook
// between the steps can do. work runs on a thread of its own with a seccomp
// filter; judge runs on another one while work waits.
func interpose(work func(), judge func(call) verdict) error {
	started := make(chan error)
	listener := -1
	ended, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("eventfd: %w", err)
	}
	defer unix.Close(ended)
	done := make(chan struct{}) // for the race detector, which knows no eventfd
	go func() {
		defer close(done)
		// Not unlocked: the thread ends with the goroutine, and the filter
		// with it.
		runtime.LockOSThread()
		defer func() {
			one := [8]byte{1}
			_, _ = unix.Write(ended, one[:]) // an eventfd below its maximum takes it
		}()
		var err error
		// A signal of the Go runtime must not make the call be asked about twice.
		listener, err = filter(unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, changes, reads)
		started <- err
		if err == nil {
			work()
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	defer unix.Close(listener)
	if err := supervise(listener, ended, judge); err != nil {
		return err
	}
	<-done
	return nil
}

// filter makes the kernel ask before each of the watched system calls of this thread,
// or with SECCOMP_FILTER_FLAG_TSYNC of the whole process.
func filter(flags uintptr, watched ...map[int]string) (listener int, err error) {
	stmt := func(code uint16, k uint32) unix.SockFilter { return unix.SockFilter{Code: code, K: k} }
	program := []unix.SockFilter{stmt(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, 0)} // the number
	for _, set := range watched {
		for number := range set {
			program = append(program,
				unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(number), Jf: 1},
				stmt(unix.BPF_RET|unix.BPF_K, unix.SECCOMP_RET_USER_NOTIF))
		}
	}
	program = append(program, stmt(unix.BPF_RET|unix.BPF_K, unix.SECCOMP_RET_ALLOW))
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	fd, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags|unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return -1, fmt.Errorf("seccomp: %w", errno)
	}
	return int(fd), nil
}

// The structures of seccomp_unotify(2).
type notification struct {
	id         uint64
	pid, flags uint32
	number     int32
	arch       uint32
	ip         uint64
	args       [6]uint64
}

type response struct {
	id    uint64
	value int64
	errno int32
	flags uint32
}

func supervise(listener, ended int, judge func(call) verdict) error {
	for {
		fds := []unix.PollFd{{Fd: int32(listener), Events: unix.POLLIN}, {Fd: int32(ended), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, -1); err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("poll: %w", err)
		}
		if fds[0].Revents&unix.POLLIN == 0 {
			if fds[1].Revents != 0 {
				return nil
			}
			continue
		}
		var n notification
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&n))); errno != 0 {
			if errno == unix.EINTR || errno == unix.ENOENT {
				continue
			}
			return fmt.Errorf("receive notification: %w", errno)
		}
		c := call{int(n.number), n.args}
		v := judge(c)
		r := response{id: n.id}
		switch {
		case v.effect && v.errno == 0:
			r.flags = unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE
		case v.effect:
			// The caller is of this process: descriptors and addresses mean
			// the same here, and it waits.
			_, _, errno := unix.Syscall6(uintptr(n.number), uintptr(n.args[0]), uintptr(n.args[1]), uintptr(n.args[2]),
				uintptr(n.args[3]), uintptr(n.args[4]), uintptr(n.args[5]))
			if r.errno = -int32(v.errno); errno != 0 {
				r.errno = -int32(errno) // nothing has happened: no answer to lose
			}
		default:
			r.errno = -int32(v.errno)
		}
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&r))); errno != 0 {
			return fmt.Errorf("answer notification: %w", errno)
		}
	}
}
