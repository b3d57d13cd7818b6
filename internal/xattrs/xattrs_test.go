package xattrs

import (
	"bytes"
	"maps"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/testkit"
)

// An older kernel has no getxattrat, and a sandbox may not know it.
func TestAttributesAreReadWithoutGetxattrat(t *testing.T) {
	for _, answer := range []unix.Errno{unix.ENOSYS, unix.EPERM} {
		answers := map[int]unix.Errno{unix.SYS_GETXATTRAT: answer, unix.SYS_LISTXATTRAT: answer}
		testkit.AnsweringCalls(t, answers, func() {
			if ways := slices.Collect(maps.Keys(Ways(unix.AT_FDCWD))); !slices.Equal(ways, []string{"cwd"}) {
				t.Errorf("%v: %q", answer, ways)
			}
			if r, err := Best(unix.AT_FDCWD)(); err != nil {
				t.Errorf("%v: %T, %v", answer, r, err)
			}
		})
	}
}

func TestGetxattratIsRecognised(t *testing.T) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		t.Fatal(err)
	}
	major, rest, _ := bytes.Cut(name.Release[:], []byte("."))
	minor, _, _ := bytes.Cut(rest, []byte("."))
	since := len(major) > 1 || major[0] > '6' || major[0] == '6' && len(minor) > 1 && string(minor[:2]) >= "13"
	if Ways(unix.AT_FDCWD)["getxattrat"] == nil && since {
		t.Errorf("%s", name.Release[:])
	}
}
