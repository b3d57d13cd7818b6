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
	return p.join(ctx, scans, p.listed, func(found []objstore.Version, refers bool) error {
		if refers || !found[0].Modified.Before(before) {
			return nil
		}
		return visit(found[0].Listed)
	})
}

// listed lists the objects of a store that keeps no versions, or the latest ones.
func (p Place) listed(ctx context.Context, prefix string, visit func(objstore.Version) error) error {
	return objstore.ListAll(ctx, p.Store, prefix, p.Listers, func(o objstore.Listed) error { return visit(objstore.Version{Listed: o}) })
}

// join visits, in order by key, what is listed under each key, and whether one of the
// catalogs refers to it. It tells how much was listed.
func (p Place) join(ctx context.Context, scans []Scan,
	list func(ctx context.Context, prefix string, visit func(objstore.Version) error) error,
	visit func(found []objstore.Version, refers bool) error) (objects int64, err error) {
	sorter := extsort.Sorter{Dir: p.Dir}
	defer sorter.Close()
	for _, s := range scans {
		if err := s.Refs(ctx, func(r catalog.Ref) error { return sorter.Add(string(r.Key), referred) }); err != nil {
			return 0, fmt.Errorf("references of brick %s: %w", s.Brick, err)
		}
	}
	err = list(ctx, p.Prefix, func(o objstore.Version) error {
		if !object.IsData(p.Prefix, o.Key) {
			return p.notNested(o.Key)
		}
		objects++
		return sorter.Add(o.Key, listedMark+encode(o))
	})
	if err != nil {
		return 0, err
	}
	var found []objstore.Version // under one key
	refers := false
	settle := func() error {
		if len(found) == 0 {
			return nil
		}
		return visit(found, refers)
	}
	err = sorter.Each(func(key, value string) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if len(found) > 0 && found[0].Key != key {
			if err := settle(); err != nil {
				return err
			}
			found = found[:0]
		}
		if encoded, ok := strings.CutPrefix(value, listedMark); ok {
			refers = len(found) > 0 && refers
			found = append(found, decode(key, encoded))
		} else if len(found) > 0 {
			refers = true
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

func encode(o objstore.Version) string {
	b := binary.BigEndian.AppendUint64(nil, uint64(o.Size))
	b = binary.BigEndian.AppendUint64(b, uint64(o.Modified.Unix()))
	b = binary.BigEndian.AppendUint32(b, uint32(o.Modified.Nanosecond()))
	if o.ID == "" {
		return string(b)
	}
	flags := byte(0)
	if o.Latest {
		flags |= isLatest
	}
	if o.Marker {
		flags |= isMarker
	}
	return string(append(append(b, flags), o.ID...))
}

// Flags of a version.
const (
	isLatest = 1 << iota
	isMarker
)

func decode(key, value string) (v objstore.Version) {
	b := []byte(value)
	v.Key, v.Size = key, int64(binary.BigEndian.Uint64(b))
	v.Modified = time.Unix(int64(binary.BigEndian.Uint64(b[8:])), int64(binary.BigEndian.Uint32(b[16:])))
	if b = b[20:]; len(b) > 0 {
		v.Latest, v.Marker, v.ID = b[0]&isLatest != 0, b[0]&isMarker != 0, string(b[1:])
	}
	return v
}
