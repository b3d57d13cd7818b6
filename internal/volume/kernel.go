package volume

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// ErrKernel means that the kernel is older than Linux 5.8.
var ErrKernel = errors.New("the kernel is too old")

// kernelLacks names the kernel and what it has not.
func kernelLacks(what string) error {
	release := "an unknown release"
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		release = unix.ByteSliceToString(u.Release[:])
	}
	return fmt.Errorf("%w: Linux %s has no %s, and coldbrick needs Linux 5.8 or later", ErrKernel, release, what)
}
