package upload

import (
	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/stub"
)

// aftermath is what an attempt that failed finds on the brick's own file, whose lock
// it still holds.
type aftermath struct {
	own       bool       // the pointer is this attempt's, and not another run's
	inherited bool       // its object is the one that the file had before: copied, or recalled
	sent      bool       // the stamp was
	answered  bool       // and the brick has said how it ended
	signs     stub.Signs // of the file
	pending   bool       // a replica blames another for having missed something
	linked    bool       // it has a name: no rebalance has moved it away
	bytes     int64      // there now
	size      int64      // when its identity was taken
}

// refusedHere reports whether a stamp that was sent has made no stub on this brick,
// and that for good: the brick has answered and has all bytes and no cs.remote. posix
// sets the sizes first and cs.remote next, and may find no room for one of them; or
// it cannot truncate, takes cs.remote away again, and answers that all is well. The
// sizes that it leaves would hide from readers what users append.
func (a aftermath) refusedHere() bool {
	return a.own && a.sent && a.answered && a.linked && a.bytes >= a.size &&
		!a.signs.Remote && !a.signs.Downloading && !a.signs.Linkto && !a.pending
}

// undo lists the attributes to remove, in this order. A file that
// had a pointer keeps it: the next run may need no upload. Once the stamp was sent the
// pointer stays, since it may be all that a stub has; unless it is certain that
// there is none on any brick. It goes last: as long as it is there, the next run
// knows that this one was at it.
func (a aftermath) undo() []string {
	switch {
	case !a.own:
		return nil
	case !a.sent && a.inherited:
		return nil
	case !a.sent:
		return []string{gluster.XattrPointer}
	case a.refusedHere():
		return []string{gluster.XattrObjectSize, gluster.XattrNumBlocks, gluster.XattrBlockSize, gluster.XattrPointer}
	}
	return nil
}
