package gc

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/coldbrick/coldbrick/internal/catalog"
	"github.com/coldbrick/coldbrick/internal/extsort"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore"
)

// Values by which listing and references meet in a sort by key: the object comes first.
const (
	listedMark = "l" // and size and time
	referred   = "r"
)

// Unreferenced visits, in order by key, the objects that are older than before and that
// none of the catalogs refers to. It tells how many objects there are. Memory does not
// depend on their number. The visits count only if the error is nil.
func (p Place) Unreferenced(ctx context.Context, scans []Scan, before time.Time, visit func(objstore.Listed) error) (objects int64, err error) {
	sorter := extsort.Sorter{Dir: p.Dir}
	defer sorter.Close()
	for _, s := range scans {
		if err := s.Refs(ctx, func(r catalog.Ref) error { return sorter.Add(string(r.Key), referred) }); err != nil {
			return 0, fmt.Errorf("references of brick %s: %w", s.Brick, err)
		}
	}
	err = p.Store.List(ctx, p.Prefix, func(o objstore.Listed) error {
		if !object.IsData(p.Prefix, o.Key) {
			return p.notNested(o.Key)
		}
		objects++
		return sorter.Add(o.Key, listedMark+encode(o))
	})
	if err != nil {
		return 0, err
	}
	var last *objstore.Listed // no reference to it so far
	settle := func() error {
		if last == nil || !last.Modified.Before(before) {
			return nil
		}
		return visit(*last)
	}
	err = sorter.Each(func(key, value string) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if encoded, ok := strings.CutPrefix(value, listedMark); ok {
			if err := settle(); err != nil {
				return err
			}
			o := decode(key, encoded)
			last = &o
			return nil
		}
		if last != nil && last.Key == key {
			last = nil
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return objects, settle()
}

// notNested refuses a listing in which another volume keeps its objects below this
// prefix: its catalogs are not looked for.
func (p Place) notNested(key string) error {
	rest := strings.TrimPrefix(key, p.Prefix)
	own := object.ReservedPrefix + "volumes/"
	if i := strings.Index(rest, own); i > 0 {
		return fmt.Errorf("%w: %w: a volume has registered below %q", ErrNotProven, objstore.ErrNested, p.Prefix+rest[:i])
	}
	return nil
}

func encode(o objstore.Listed) string {
	b := binary.BigEndian.AppendUint64(nil, uint64(o.Size))
	b = binary.BigEndian.AppendUint64(b, uint64(o.Modified.Unix()))
	return string(binary.BigEndian.AppendUint32(b, uint32(o.Modified.Nanosecond())))
}

func decode(key, value string) objstore.Listed {
	b := []byte(value)
	return objstore.Listed{
		Key: key, Size: int64(binary.BigEndian.Uint64(b)),
		Modified: time.Unix(int64(binary.BigEndian.Uint64(b[8:])), int64(binary.BigEndian.Uint32(b[16:]))),
	}
}
