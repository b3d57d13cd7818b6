package run

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/volume"
)

// Target is the volume that a run is about, as far as it can be known before
// anything else is.
type Target struct {
	Volume string        // name; "" if nothing tells it
	dir    string        // the mount that was asked; "" if none was
	mount  *volume.Mount // what it told, or
	err    error         // why nothing
}

// TargetOf finds out which volume is meant: the one named, or else that of the
// mount that mountOf names, if it is given. That a mount does not tell is for the
// run to say, when it comes to use it.
func TargetOf(named string, mountOf func() (dir string, err error)) Target {
	t := Target{Volume: named}
	if named != "" || mountOf == nil {
		return t
	}
	if t.dir, t.err = mountOf(); t.err == nil && t.dir != "" {
		if t.mount, t.err = volume.Inspect(t.dir); t.err == nil {
			t.Volume = t.mount.Volume
		}
	}
	return t
}

// inspect reads what the mount at dir says of itself. It must be of the volume
// that the settings are of.
func (t Target) inspect(dir string) (*volume.Mount, error) {
	mount, err := t.mount, t.err
	if dir != t.dir {
		mount, err = volume.Inspect(dir)
	}
	switch {
	case isMissing(err):
		return nil, UsageError{err}
	case errors.Is(err, volume.ErrNoMount):
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrNoVolume, err)
	case t.Volume != "" && mount.Volume != "" && mount.Volume != t.Volume:
		return nil, fmt.Errorf("%w: %s is a mount of volume %s, not of %s", ErrUnsafe, dir, mount.Volume, t.Volume)
	}
	return mount, nil
}

// VolumeNames are the volumes that a user may mean.
func VolumeNames() []string { return volume.Names() }

// openBrick tells a directory that is not there from one that is no brick.
func openBrick(dir string) (*volume.Brick, error) {
	brick, err := volume.OpenBrick(dir)
	switch {
	case isMissing(err):
		return nil, UsageError{err}
	case errors.Is(err, volume.ErrNoBrick):
		if mount, mountErr := volume.Inspect(dir); mountErr == nil {
			return nil, fmt.Errorf("%w: it is a mount of volume %s, whose bricks are %s", err, mount.Volume, strings.Join(mount.BrickNames(), ", "))
		}
	}
	return brick, err
}

// isMissing reports whether a directory that the user named is not there.
func isMissing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR)
}
