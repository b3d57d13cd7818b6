package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
)

// ErrInside means that a directory is part of the volume.
var ErrInside = errors.New("is inside the volume")

// CheckOutside refuses, with ErrInside, a directory that is on a mount of the
// volume or below one of its bricks on this host: those named, and those that the
// graph knows. What decides is the identity of the directory and of its parents;
// its name may lead there through a symlink.
func (m *Mount) CheckOutside(dir string, bricks []string) error {
	at, err := os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer at.Close()
	if on, err := m.showsItself(at); on || err != nil {
		return refuseInside(err, dir, "it is on a mount of it")
	}
	for _, x := range m.Graph.Of(gluster.TypeClient) {
		if brick := x.Option("remote-subvolume"); filepath.IsAbs(brick) {
			bricks = append(bricks[:len(bricks):len(bricks)], brick)
		}
	}
	for _, brick := range bricks {
		root, err := brickRoot(brick)
		if err != nil {
			return err
		}
		if root == nil { // of another host
			continue
		}
		if below, err := isBelow(at, root); below || err != nil {
			return refuseInside(err, dir, "it is below the brick "+brick)
		}
	}
	return nil
}

// brickRoot identifies the brick at dir, nil if there is none on this host.
func brickRoot(dir string) (fs.FileInfo, error) {
	brick, err := OpenBrick(dir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, ErrNoBrick) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer brick.Close()
	return os.Stat(procPath(brick.fd))
}

func refuseInside(err error, dir, why string) error {
	if err != nil {
		return err
	}
	return fmt.Errorf("%s %w: %s", dir, ErrInside, why)
}

// showsItself reports whether a directory is on a mount of the volume: the one
// that was inspected, or any other of the same name.
func (m *Mount) showsItself(at *os.File) (bool, error) {
	entry, err := mountOf(at)
	if entry.FSType != mountType { // else a mount of a subdirectory is one too
		if errors.Is(err, ErrNoMount) {
			err = nil
		}
		return false, err
	}
	if name := entry.volume(); name != "" && name == m.Volume {
		return true, nil
	}
	if m.Dir == "" {
		return false, nil
	}
	// A FUSE mount has a device of its own, wherever else parts of it are bound.
	var here, there unix.Stat_t
	if err := unix.Fstat(int(at.Fd()), &here); err != nil {
		return false, err
	}
	if err := unix.Stat(m.Dir, &there); err != nil {
		return false, err
	}
	return here.Dev == there.Dev, nil
}

// isBelow reports whether a directory is root or below it.
func isBelow(at *os.File, root fs.FileInfo) (bool, error) {
	here, err := at.Stat()
	if err != nil {
		return false, err
	}
	for path := procPath(at); ; {
		if os.SameFile(here, root) {
			return true, nil
		}
		path += "/.."
		above, err := os.Stat(path)
		if err != nil {
			return false, err
		}
		if os.SameFile(above, here) { // the root of all
			return false, nil
		}
		here = above
	}
}
