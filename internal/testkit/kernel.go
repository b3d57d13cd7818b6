package testkit

import (
	"os"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// AnsweringCalls runs work on a thread of its own. There, and in the processes that
// work starts from it, the kernel does not do the system calls of these numbers, but
// answers each with the errno that stands for it: ENOSYS as an older one, 0 as if it
// had been done.
func AnsweringCalls(t testing.TB, answers map[int]unix.Errno, work func()) {
	t.Helper()
	ended := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good: the filter ends with the thread
		err := filterCalls(answers)
		defer func() { ended <- err }()
		if err == nil {
			work()
		}
	}()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

func filterCalls(answers map[int]unix.Errno) error {
	program := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}} // the number
	for number, errno := range answers {
		program = append(program,
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(number), Jf: 1},
			unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(errno)})
	}
	program = append(program, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW})
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	_, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return os.NewSyscallError("seccomp", errno)
	}
	return nil
}
