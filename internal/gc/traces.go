package gc

import (
	"context"
	"fmt"
	"slices"

	"github.com/coldbrick/coldbrick/internal/catalog"
	"github.com/coldbrick/coldbrick/internal/gluster"
)

// traces are what catalogs may know files by.
type traces struct {
	files map[gluster.GFID]bool
	keys  map[string][]gluster.GFID // that they referred to; another file may by now
}

func newTraces() traces { return traces{map[gluster.GFID]bool{}, map[string][]gluster.GFID{}} }

// refer notes that a file referred to a key.
func (t traces) refer(gfid gluster.GFID, key string) {
	if !slices.Contains(t.keys[key], gfid) {
		t.keys[key] = append(t.keys[key], gfid)
	}
}

// find visits all by which a catalog knows some of the files: a name, or a key that it
// says the file refers to. A key that is referred to by it does not know which file may
// be that of any file that had it; one that another file refers to is that one's.
func (s Scan) find(ctx context.Context, of traces, visit func(gfid gluster.GFID, name, key catalog.Bytes)) error {
	err := s.Tree(ctx, func(e catalog.Entry) error {
		if of.files[e.GFID] {
			visit(e.GFID, e.Path, "")
		}
		return nil
	})
	if err == nil {
		err = s.Refs(ctx, func(r catalog.Ref) error {
			files := []gluster.GFID{r.GFID}
			if r.GFID.IsZero() {
				files = of.keys[string(r.Key)]
			}
			for _, gfid := range files {
				if of.files[gfid] {
					visit(gfid, "", r.Key)
				}
			}
			return nil
		})
	}
	if err != nil {
		return fmt.Errorf("catalog of brick %s: %w", s.Brick, err)
	}
	return nil
}
