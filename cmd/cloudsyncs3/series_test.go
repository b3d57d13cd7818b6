//go:build qualify

package main_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/coldbrick/coldbrick/internal/testkit/cluster"
)

// A client of one series of GlusterFS with the library of the other: it recalls nothing,
// says why, and lives through changes of options. A client with no library does not.
// make test-11 builds both libraries, and runs this on both.
func TestTheLibraryOfTheOtherSeries(t *testing.T) {
	plugins, err := pluginDir()
	if err != nil {
		t.Fatal(err)
	}
	own, _, _ := strings.Cut(filepath.Base(filepath.Dir(plugins)), ".")
	libraries, err := filepath.Glob("../../.cache/series/*/cloudsyncs3.so")
	libraries = slices.DeleteFunc(libraries, func(l string) bool { return strings.HasPrefix(filepath.Base(filepath.Dir(l)), own+".") })
	if err != nil || len(libraries) != 1 {
		t.Fatalf("libraries of the other series: %q, %v", libraries, err)
	}
	library, version := libraries[0], filepath.Base(filepath.Dir(libraries[0]))
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Dir(library))); err != nil {
		t.Fatal(err)
	}
	t.Run("by hand", func(t *testing.T) { mustRefuse(t, dir, version) })

	c, store := startCluster(t)
	s := newShared(t, c, store, "vol", cluster.Replica3, store.Options("vol")...)
	s.makeBucket()
	s.archive(true, "f")
	if _, err := s.node.InstallPlugin(library); err != nil {
		t.Fatal(err)
	}
	const bad = "/mnt/vol-bad"
	if _, err := s.MountAt(s.node, bad); err != nil {
		t.Fatal(err)
	}
	for _, change := range []string{"off", "on", "off"} {
		if out, err := s.sh(bad, "cat f 2>&1"); err == nil || !strings.Contains(out, "Object is remote") {
			t.Fatalf("%v: %s\n%s", err, out, s.log(bad))
		}
		if err := s.Set("performance.read-ahead="+change, "features.s3plugin-hostname=s3."+change+".example.org"); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := s.sh(bad, "stat f 2>&1"); err != nil {
		t.Errorf("%v: %s\n%s", err, out, s.log(bad))
	}
	if !strings.Contains(s.log(bad), "built for glusterfs "+version+":") { // once in each graph
		t.Error(s.log(bad))
	}
	if err := s.Set(store.Options("vol")...); err != nil {
		t.Fatal(err)
	}
	if out, err := s.sh(s.second, "cat f"); err != nil || out != string(contentOf("f")) {
		t.Errorf("%d bytes, %v\n%s", len(out), err, s.log(s.second))
	}
}
