package catalog

import (
	"github.com/coldbrick/coldbrick/internal/extsort"
	"github.com/coldbrick/coldbrick/internal/gluster"
)

// sorter brings references in order by key.
type sorter struct{ extsort.Sorter }

func (s *sorter) add(r Ref) error { return s.Add(string(r.Key), string(r.GFID[:])) }

// each visits what was added, in order, every key once.
func (s *sorter) each(visit func(Ref) error) error {
	first, last := true, ""
	return s.Each(func(key, gfid string) error {
		if !first && key == last {
			return nil
		}
		first, last = false, key
		return visit(Ref{Bytes(key), gluster.GFID([]byte(gfid))})
	})
}
