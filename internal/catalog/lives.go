package catalog

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/volume"
)

// Lives reports whether a brick has a file or directory of a gfid, whatever its names
// are: also one in the trash, and one that was unlinked and that somebody has open.
func Lives(brick *volume.Brick, gfid gluster.GFID) (bool, error) {
	// In this order: what is unlinked while it is open moves from the first to the second.
	for _, handle := range []string{gfid.HandlePath(), internalDir + "/unlink/" + gfid.String()} {
		f, err := brick.Open(handle, unix.O_PATH|unix.O_NOFOLLOW)
		if err == nil {
			return true, f.Close()
		}
		if !errors.Is(err, unix.ENOENT) {
			return false, fmt.Errorf("handle of %s: %w", gfid, err)
		}
	}
	return false, nil
}
