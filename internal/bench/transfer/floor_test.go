//go:build bench

package transfer

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/testkit"
)

// runFloor is the process of ground.floor.
func runFloor() error {
	workers, err := strconv.Atoi(os.Getenv("FLOOR_WORKERS"))
	if err != nil {
		return err
	}
	list, err := os.ReadFile(os.Getenv("FLOOR_LIST"))
	if err != nil {
		return err
	}
	root := os.Getenv("FLOOR_MOUNT")
	var group errgroup.Group
	group.SetLimit(workers)
	var dir int
	var open string
	for path := range strings.SplitSeq(strings.Trim(string(list), "\x00"), "\x00") {
		if name := filepath.Dir(path); name != open { // a directory's files stand together
			dir, err = unix.Open(root+name, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			open = name
		}
		at := dir
		group.Go(func() error {
			if err := bareTransaction(at, filepath.Base(path)); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			return nil
		})
	}
	return group.Wait()
}

// bareTransaction is what coldbrick asks of a mount to archive one file of a
// directory that it knows.
func bareTransaction(dir int, name string) error {
	lookup := func() (int, error) {
		how := unix.OpenHow{Flags: unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS}
		return unix.Openat2(dir, name, &how)
	}
	at, err := lookup()
	if err != nil {
		return err
	}
	file, err := unix.Open("/proc/self/fd/"+strconv.Itoa(at), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	unix.Close(at)
	if err != nil {
		return err
	}
	defer unix.Close(file)
	pointer := make([]byte, 400)
	if err := unix.Fsetxattr(file, gluster.XattrPointer, pointer, 0); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(file, &st); err != nil {
		return err
	}
	if _, err := unix.Pread(file, make([]byte, st.Size), 0); err != nil {
		return err
	}
	if at, err = lookup(); err != nil {
		return err
	}
	err = unix.Fstat(at, &st)
	unix.Close(at)
	if err != nil {
		return err
	}
	if err := unix.Fsetxattr(file, gluster.XattrStamp, strconv.AppendInt(nil, testkit.Old.Unix(), 10), 0); err != nil {
		return err
	}
	if _, err := unix.Fgetxattr(file, gluster.XattrRemote, make([]byte, 4096)); err != nil {
		return err
	}
	blocks := gluster.NumBlocks(st.Size, (st.Size+511)/512)
	if err := unix.Fsetxattr(file, gluster.XattrNumBlocks, []byte(blocks), 0); err != nil {
		return err
	}
	return unix.Fsetxattr(file, gluster.XattrPointer, pointer, 0)
}
