//go:build soak

package gc

import (
	"context"
	"fmt"
	"runtime"
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

func (m many) List(_ context.Context, _ string, visit func(objstore.Listed) error) error {
	for n := range m.objects {
		if err := visit(objstore.Listed{Key: m.key(n), Size: 1, Modified: time.Unix(1, 0)}); err != nil {
			return err
		}
	}
	return nil
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
	p := Place{Store: m, Prefix: prefix, Dir: t.TempDir()}
	began, found := time.Now(), 0
	objects, err := p.Unreferenced(t.Context(), []Scan{scan, scan}, time.Unix(2, 0), func(objstore.Listed) error { found++; return nil })
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	t.Logf("%v, %d MiB", time.Since(began), mem.Sys>>20)
	if err != nil || objects != 1_000_000 || found != 10_000 || mem.Sys > 128<<20 {
		t.Errorf("%d objects, %d unreferenced, %d MiB: %v", objects, found, mem.Sys>>20, err)
	}
}
