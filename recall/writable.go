package recall

import (
	"context"

	"github.com/coldbrick/coldbrick/internal/outcome"
)

// writable refuses a file that takes no bytes, before anything is set on it: while
// the volume keeps file-level WORM, attributes can be changed, writes and truncations
// fail, so a recall could neither end nor be taken back. A whole volume that is
// read-only or WORM has refused to open the file.
func (t *transaction) writable(ctx context.Context) error {
	if !t.attrs.WORM || t.WORMOff != nil && t.WORMOff(ctx) {
		return nil
	}
	return outcome.Fail(outcome.Retained, "writes to it fail while features.worm-file-level is on; "+
		"recall --to or --stdout copies its data elsewhere")
}
