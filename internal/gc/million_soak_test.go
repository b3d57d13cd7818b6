//go:build soak

package gc

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/coldbrick/coldbrick/internal/catalog"
	"github.com/coldbrick/coldbrick/internal/objstore"
)

// many is a bucket of so many objects.
type many struct {
	Store
	objects int
}

func (m many) key(n int) string {
	return fmt.Sprintf("%sdirectory %d/a file of a usual name %d", prefix, n%1000, n)
}

// List lists one of the thousand directories: a bucket with more is listed as a whole.
func (m many) List(_ context.Context, under string, visit func(objstore.Listed) error) error {
	var directory int
	if _, err := fmt.Sscanf(strings.TrimPrefix(under, prefix), "directory %d/", &directory); err != nil {
		return err
	}
	for n := directory; n < m.objects; n += 1000 {
		if err := visit(objstore.Listed{Key: m.key(n), Size: 1, Modified: time.Unix(1, 0)}); err != nil {
			return err
		}
	}
	return nil
}

func (m many) Split(context.Context, string) (objects []objstore.Listed, below []string, whole bool, err error) {
	for n := range 1000 {
		below = append(below, fmt.Sprintf("%sdirectory %d/", prefix, n))
	}
	return nil, below, true, nil
}

func TestAMillionKeysFitInto128MiB(t *testing.T) {
	m := many{objects: 1_000_000}
	scan := Scan{Refs: func(_ context.Context, visit func(catalog.Ref) error) error {
		for n := range m.objects {
			if n%100 == 0 {
				continue // garbage
			}
			if err := visit(catalog.Ref{Key: catalog.Bytes(m.key(n))}); err != nil {
				return err
			}
		}
		return nil
	}}
	p := Place{Store: m, Prefix: prefix, Dir: t.TempDir(), Listers: 8}
	began, found := time.Now(), 0
	objects, err := p.Unreferenced(t.Context(), []Scan{scan, scan}, time.Unix(2, 0), func(objstore.Listed) error { found++; return nil })
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	t.Logf("%v, %d MiB", time.Since(began), mem.Sys>>20)
	if err != nil || objects != 1_000_000 || found != 10_000 || mem.Sys > 128<<20 {
		t.Errorf("%d objects, %d unreferenced, %d MiB: %v", objects, found, mem.Sys>>20, err)
	}
}
