package safety

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/recall"
)

// A rebalance copies the attributes of a file at one moment. What a recall removes
// right then may be on the file again once it has been moved; and while it moves,
// it carries the name of the brick that it goes to.
func TestAFileThatARebalanceMovesIsRecalledNextTime(t *testing.T) {
	t.Parallel()
	p := newProving(t)
	for name, value := range map[string]string{
		gluster.XattrDownload:   "1",
		gluster.XattrRemote:     "", // the key
		gluster.XattrObjectSize: "70001",
		gluster.XattrLinkto:     "other-client-1\x00",
	} {
		t.Run(name, func(t *testing.T) {
			s, err := p.subject(single)
			check(t, err)
			check(t, s.archived())
			if value == "" {
				value = s.BrickXattrs(s.path)[name]
			}
			res := s.recall(func(r *recall.Recaller) {
				r.Distributed = true
				r.At = func(step recall.Step, _ string) error {
					if step == recall.StepTidy {
						return unix.Lsetxattr(s.BrickPath(s.path), name, []byte(value), 0)
					}
					return nil
				}
			})
			check(t, s.neverWrong())
			if res.Outcome != outcome.Failed || res.Reason != outcome.Migrating {
				t.Errorf("%s %s: %v", res.Outcome, res.Reason, res.Err)
			}
			// What it is, fsck says; a copy of another file it is not.
			e, err := p.recaller().Examine(t.Context(), s.path, gluster.GFID{}, recall.Head)
			check(t, err)
			for _, f := range e.Findings {
				if f.Class == outcome.ClassCopiedMarks {
					t.Errorf("fsck says %s: %s", f.Class, f.Detail)
				}
			}
			if name == gluster.XattrLinkto {
				check(t, unix.Lremovexattr(s.BrickPath(s.path), name))
			}
			check(t, s.recallSettles())
		})
	}
}
