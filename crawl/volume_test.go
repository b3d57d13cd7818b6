package crawl

import (
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/testkit"
)

// A brick that GlusterFS filled, with a life behind it.
func TestWalkOnARealBrick(t *testing.T) {
	v := testkit.NewVolume(t)
	long := strings.Repeat("n", 255)
	cold := []string{"f", "a/b/c/d/e/f/g/h/i/j/k/l/f", "with space/new\nline", "caf\xe9/-rf", long + "/" + long, "sub/.glusterfs/f"}
	for _, path := range append(cold, "warm", "stub", "linked", "renamed from", "unlinked", "pinned", "pinned directory/f") {
		v.Write(path, []byte(path), testkit.Old)
	}
	v.Write("empty", nil, testkit.Old)
	v.SetMtime("warm", time.Now())
	v.Stamp("stub")
	must(t, os.Link(v.Path("linked"), v.Path("sub/linked")))
	must(t, os.Rename(v.Path("renamed from"), v.Path("a/renamed to")))
	must(t, os.Remove(v.Path("unlinked")))
	must(t, os.Symlink("f", v.Path("symlink")))
	testkit.SetXattr(t, v.Path("pinned"), gluster.XattrPin, "1")
	testkit.SetXattr(t, v.Path("pinned directory"), gluster.XattrPin, "1")
	cold = append(cold, "a/renamed to")

	want := map[string]bool{}
	for _, path := range cold {
		want[path] = true
	}
	for name, attrs := range readers() {
		t.Run(name, func(t *testing.T) {
			opts := Options{Policy: monthly, Now: time.Now()}
			got, stats := walkAll(t, v.BrickDir(), opts, attrs)
			if !maps.Equal(got.paths(), want) {
				t.Errorf("got %q\nwant %q", sorted(got.paths()), sorted(want))
			}
			for path, f := range got.files {
				if f.GFID != v.GFID(path) || !f.Mtime.Equal(testkit.Old) || f.Size == 0 {
					t.Errorf("%q: %+v", path, f)
				}
			}
			// A fresh stub is one without data, and not a warm file.
			if want := map[outcome.Reason]int{outcome.TooWarm: 1, outcome.HardLinked: 2, outcome.Pinned: 2, outcome.NoData: 2}; !maps.Equal(reasons(stats), want) {
				t.Errorf("skipped %v, want %v", reasons(stats), want)
			}
			if len(got.unreadable) != 0 || stats.Others != 1 {
				t.Errorf("unreadable %v, %d others", got.unreadable, stats.Others)
			}

			opts.Now = opts.Now.Add(31 * day)
			_, stats = walkAll(t, v.BrickDir(), opts, attrs)
			if stats.Skipped[outcome.TooWarm].Files != 0 || stats.Skipped[outcome.NoData].Files != 2 {
				t.Errorf("a month later: %v", reasons(stats))
			}
		})
	}
}
