package crawl

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/outcome"
)

// One operation is one file: allocs/op must round to 0 but for candidates, whose
// path is made.
func BenchmarkWalk(b *testing.B) {
	const perKind = 2000
	for kind, n := range map[string]node{
		"warm":      {age: day},
		"stub":      {size: empty, xattrs: map[string]string{gluster.XattrRemote: "k", gluster.XattrObjectSize: "1"}},
		"candidate": {mdata: 99 * day},
	} {
		files := map[string]node{}
		for i := range perKind {
			files[fmt.Sprintf("d%d/f%d", i/50, i)] = n
		}
		root := brick(b, files)
		for name, attrs := range readers() {
			b.Run(kind+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				for left := b.N; left > 0; left -= perKind {
					_, err := walkWith(b, b.Context(), root, Options{Policy: monthly}, attrs, func(context.Context, gluster.File) error { return nil })
					must(b, err)
				}
			})
		}
	}
}

func BenchmarkDecide(b *testing.B) {
	f := atLimits()
	for b.Loop() {
		if limits.Decide(f, now) != "" {
			b.Fatal("not archived")
		}
	}
}

func BenchmarkDirents(b *testing.B) {
	var batch []byte
	for i := range 100 {
		batch = slices.Concat(batch, direntBytes(fmt.Sprintf("sample-%05d.dat", i), unix.DT_REG))
	}
	b.SetBytes(int64(len(batch)))
	for b.Loop() {
		for entry, rest, ok := nextDirent(batch); ok; entry, rest, ok = nextDirent(rest) {
			if entry.kind() != unix.DT_REG {
				b.Fatal(entry)
			}
		}
	}
}

func BenchmarkAttributeNames(b *testing.B) {
	list := []byte(strings.Join([]string{
		gluster.XattrGFID, gluster.XattrGFID2Path + "0123456789abcdef", gluster.XattrMdata, "trusted.afr.dirty",
		gluster.XattrRemote, gluster.XattrObjectSize, gluster.XattrBlockSize, gluster.XattrNumBlocks, "security.selinux", "",
	}, "\x00"))
	var p Policy
	for b.Loop() {
		f := Facts{Size: 1}
		if f.readNames(list); p.byMarks(&f) != outcome.Broken {
			b.Fatal(f)
		}
	}
}
