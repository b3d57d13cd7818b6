package upload

import (
	"strconv"
	"strings"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/volume"
)

// room makes sure that the file has room for the attributes of its life as a
// stub: a stamp that finds none ends half way, and a recall fails for ever. A
// shorter key may do where a readable one does not.
func (t *transaction) room(pointer int) error {
	const (
		decimal  = 20           // digits of the largest size
		notes    = 96           // what those of a recall have more than the pointer
		name     = 36 + 1 + 255 // the longest, behind its directory's gfid
		linkto   = 64           // name of a subvolume of DHT
		changes  = 12           // counters of replicate
		replicas = 4            // with that for the file itself
	)
	more := map[string]int{
		gluster.XattrPointer: pointer, gluster.XattrRemote: len(t.key), gluster.XattrDownload: 1,
		gluster.XattrObjectSize: decimal, gluster.XattrBlockSize: decimal, gluster.XattrNumBlocks: decimal,
		gluster.XattrRecall: pointer + notes, gluster.XattrRecalled: decimal,
		// Gluster may add another name, the mark of a rebalance, and those of
		// replicas that are down.
		gluster.XattrGFID2Path + "0123456789abcdef": name, gluster.XattrLinkto: linkto,
	}
	for n := range replicas {
		more[gluster.XattrAFR+strings.Repeat("v", 32)+strconv.Itoa(n)] = changes
	}
	fit, err := volume.AttributesFit(t.brick, more)
	switch {
	case err != nil || fit:
		return err
	case !t.inherited && len(t.key) > len(object.NonceKey(t.Prefix, t.want.GFID)):
		return errKeyTaken
	}
	return outcome.Skip(outcome.NoAttributeRoom, "")
}
