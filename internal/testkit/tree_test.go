package testkit

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestTreeHoldsWhatItPromises(t *testing.T) {
	v := NewVolume(t)
	paths := Tree(t, v.MountDir())
	before := Snapshot(t, v.MountDir())
	if len(before) != 1000 || len(paths) != 1000 {
		t.Errorf("%d files, %d paths", len(before), len(paths))
	}
	for _, p := range paths {
		if before[p].Size < 1 {
			t.Errorf("%q: %+v", p, before[p])
		}
	}
	for what, is := range map[string]func(path string, f File) bool{
		"twelve directories": func(p string, _ File) bool { return strings.Count(p, "/") == 12 },
		"newline":            func(p string, _ File) bool { return strings.Contains(p, "\n") },
		"leading dash":       func(p string, _ File) bool { return strings.HasPrefix(p, "-") },
		"not UTF-8":          func(p string, _ File) bool { return !utf8.ValidString(p) },
		"no S3 key":          func(p string, _ File) bool { return len(p) > 1024 },
		"255 bytes":          func(p string, _ File) bool { return strings.HasSuffix(p, strings.Repeat("n", 255)) },
		"one byte":           func(_ string, f File) bool { return f.Size == 1 },
		"a part less one":    func(_ string, f File) bool { return f.Size == 5<<20-1 },
		"a part and one":     func(_ string, f File) bool { return f.Size == 5<<20+1 },
	} {
		if !slices.ContainsFunc(paths, func(p string) bool { return is(p, before[p]) }) {
			t.Errorf("no file with %s", what)
		}
	}
	// A second mount has cached nothing that the first one wrote.
	SameFiles(t, before, Snapshot(t, v.NewMount(t)))
}

func TestSnapshotSeesEveryChange(t *testing.T) {
	v := NewVolume(t)
	v.Write("f", []byte("data"), Old)
	before := Snapshot(t, v.MountDir())

	v.Write("f", []byte("Data"), Old)
	if maps.Equal(before, Snapshot(t, v.MountDir())) {
		t.Error("other bytes not seen")
	}
	v.Write("f", []byte("data"), Old.Add(1))
	if maps.Equal(before, Snapshot(t, v.MountDir())) {
		t.Error("a nanosecond not seen")
	}
	v.Write("f", []byte("data"), Old)
	SameFiles(t, before, Snapshot(t, v.MountDir()))
}
