package main_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/testkit"
	"github.com/coldbrick/coldbrick/recall"
)

// classes are what fsck has to say of a file.
func (g *ground) classes(e recall.Examined) (list []outcome.Class) {
	for _, f := range e.Findings {
		list = append(list, f.Class)
	}
	return list
}

func (g *ground) examine(r *recall.Recaller, path string) recall.Examined {
	g.t.Helper()
	e, err := r.Examine(g.t.Context(), path, g.GFID(path), recall.Head)
	if err != nil {
		g.t.Fatalf("examine %s: %v", path, err)
	}
	return e
}

// mustBeUnmarked checks that nothing of a stub is on a file that has its bytes.
func (g *ground) mustBeUnmarked(path string, data []byte) {
	g.t.Helper()
	g.mustRead(g.client(), path, data)
	if m := g.BrickMarks(path); !m.Clean() || g.BrickSize(path) != int64(len(data)) {
		g.t.Errorf("%s: %d bytes on the brick, %+v", path, g.BrickSize(path), m)
	}
	if e := g.examine(g.recaller(), path); len(e.Findings) > 0 {
		g.t.Errorf("%s: still %v", path, g.classes(e))
	}
}

// mustNotRead checks that a reader gets an error.
func (g *ground) mustNotRead(path string) {
	g.t.Helper()
	if got, err := g.read(g.client(), path); err == nil {
		g.t.Errorf("read %d bytes of %s", len(got), path)
	}
}

// Tools that copy attributes through a client with the plugin give the copy of a
// stub the marks of one. Nobody can read such a copy until coldbrick has fixed it,
// which never touches bytes that it has.
func TestACopyWithTheMarksOfAStubIsMended(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	data := random(1, 300_000)
	client := g.client()
	copyBy := func(tool, command string) (copied string) {
		t.Helper()
		stub, copied := tool+"-stub", tool+"-copy"
		g.archive(stub, stub, data)
		out, err := exec.Command("sh", "-c", command, "sh", filepath.Join(client, stub), filepath.Join(client, copied)).CombinedOutput()
		t.Logf("%s: %v %s: the copy has %d bytes and %+v", tool, err, out, g.BrickSize(copied), g.BrickMarks(copied))
		return copied
	}

	// rsync reads the attributes first: the bytes come with the marks of before.
	copied := copyBy("rsync", `rsync -aX "$1" "$2"`)
	g.mustNotRead(copied)
	r := g.recaller()
	e := g.examine(r, copied)
	if got := g.classes(e); !slices.Equal(got, []outcome.Class{outcome.ClassCopiedMarks}) {
		t.Errorf("found %v", got)
	}
	for _, f := range r.Repair(t.Context(), e) {
		if !f.Repaired {
			t.Errorf("%s: %s", f.Class, f.Detail)
		}
	}
	g.mustBeUnmarked(copied, data)
	if info, err := os.Stat(g.Path(copied)); err != nil || !info.ModTime().Equal(testkit.Old) {
		t.Errorf("mtime %v, %v", info.ModTime(), err)
	}

	// cp reads them last, when the file is no stub any more.
	g.mustBeUnmarked(copyBy("cp", `cp -a "$1" "$2"`), data)

	// tar sets them before it writes, and can then not write.
	copied = copyBy("tar", `tar -C "$(dirname "$1")" --xattrs --xattrs-include='*' --transform "s,.*,$(basename "$2")," -cf - "$(basename "$1")" |
		tar -C "$(dirname "$2")" --xattrs --xattrs-include='*' -xf -`)
	g.mustNotRead(copied)
	if got := g.classes(g.examine(r, copied)); !slices.Equal(got, []outcome.Class{outcome.ClassCopiedMarks}) {
		t.Errorf("found %v", got)
	}
	if res := r.Recall(t.Context(), copied, g.GFID(copied)); res.Outcome != outcome.Recalled {
		t.Errorf("recall: %s %s: %v", res.Outcome, res.Reason, res.Err)
	}
	g.mustBeUnmarked(copied, data)
}

// copyMarks makes copied a file with these bytes and all attributes of a stub, as
// a tool does that reads and writes where cloudsync is not loaded.
func (g *ground) copyMarks(plain, stub, copied string, data []byte) {
	g.t.Helper()
	if err := os.WriteFile(filepath.Join(plain, copied), data, 0o600); err != nil {
		g.t.Fatal(err)
	}
	for name, value := range g.BrickXattrs(stub) {
		switch name {
		case gluster.XattrRemote, gluster.XattrObjectSize, gluster.XattrBlockSize, gluster.XattrNumBlocks, gluster.XattrPointer:
			testkit.SetXattr(g.t, filepath.Join(plain, copied), name, value)
		}
	}
}

// What is not whole keeps marks and bytes: also the zeros that tar, on a mount
// without the plugin, puts into its archive in place of a stub's data. The data can
// be had elsewhere.
func TestACopyThatIsNotWholeIsLeftAlone(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	plain := g.NewMount(t, testkit.WithoutCloudsync())
	data := random(1, 300_000)
	other := bytes.Clone(data)
	other[1000] ^= 1
	r := g.recaller()
	for name, bytes := range map[string][]byte{"cut": data[:200_000], "longer": append(data, 0), "changed": other, "zeros": make([]byte, len(data))} {
		t.Run(name, func(t *testing.T) {
			g := g.in(t)
			g.archive("stub-"+name, "stub-"+name, data)
			g.copyMarks(plain, "stub-"+name, name, bytes)
			before := g.BrickXattrs(name)
			e := g.examine(r, name)
			if got := g.classes(e); !slices.Equal(got, []outcome.Class{outcome.ClassCopiedMarks}) {
				t.Errorf("found %v", got)
			}
			if f := r.Repair(t.Context(), e); f[0].Repaired || f[0].Severity != outcome.Problem {
				t.Errorf("%+v", f[0])
			}
			if res := r.Recall(t.Context(), name, g.GFID(name)); res.Outcome != outcome.Failed || res.Reason != outcome.Broken {
				t.Errorf("recall: %s %s: %v", res.Outcome, res.Reason, res.Err)
			}
			elsewhere, err := os.Create(filepath.Join(t.TempDir(), "f"))
			if err != nil {
				t.Fatal(err)
			}
			defer elsewhere.Close()
			res := r.Fetch(t.Context(), name, g.GFID(name), elsewhere)
			if got, err := os.ReadFile(elsewhere.Name()); res.Outcome != outcome.Recalled || err != nil || !slices.Equal(got, data) {
				t.Errorf("elsewhere: %s %s: %v; %d bytes, %v", res.Outcome, res.Reason, res.Err, len(got), err)
			}
			if got, err := os.ReadFile(g.BrickPath(name)); err != nil || !slices.Equal(got, bytes) {
				t.Errorf("its bytes were touched: %d, %v", len(got), err)
			}
			for _, attr := range []string{gluster.XattrRemote, gluster.XattrObjectSize, gluster.XattrPointer} {
				if g.BrickXattrs(name)[attr] != before[attr] {
					t.Errorf("%s is %q", attr, g.BrickXattrs(name)[attr])
				}
			}
		})
	}
}

// A stub that was restored without bytes is brought back by coldbrick recall if its
// object is provably that of the file it was copied from. What a reader gets
// in the meantime is an error.
func TestACopyWithoutBytesIsRecalledOrSaidToBeLost(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	plain := g.NewMount(t, testkit.WithoutCloudsync())
	data := random(1, 300_000)
	r := g.recaller()
	g.archive("stub", "stub", data)
	g.copyMarks(plain, "stub", "copy", nil)
	if err := os.Remove(g.Path("stub")); err != nil { // as after a restore
		t.Fatal(err)
	}
	g.mustFail(g.client(), "copy")
	e := g.examine(r, "copy")
	if got := g.classes(e); !slices.Equal(got, []outcome.Class{outcome.ClassCopiedMarks}) {
		t.Errorf("found %v", got)
	}
	if f := r.Repair(t.Context(), e); f[0].Repaired {
		t.Errorf("fsck brought the data: %+v", f[0]) // that may be more than the volume has room for
	}
	if res := r.Recall(t.Context(), "copy", g.GFID("copy")); res.Outcome != outcome.Recalled {
		t.Errorf("recall: %s %s: %v", res.Outcome, res.Reason, res.Err)
	}
	g.mustBeUnmarked("copy", data)

	for _, tt := range []struct {
		name   string
		damage func(path string)
		class  outcome.Class
	}{
		{"no object", func(path string) {
			if err := os.Remove(g.server.ObjectFile("of-" + path)); err != nil {
				t.Fatal(err)
			}
		}, outcome.ClassObjectMissing},
		{"another file's object", func(path string) {
			other := g.metadata(path, len(data)) // of the copy's own gfid; then of a third
			other.GFID[3] ^= 1
			if err := os.Remove(g.server.ObjectFile("of-" + path)); err != nil {
				t.Fatal(err)
			}
			g.put("of-"+path, data, other.Encode())
		}, outcome.ClassObjectForeign},
		{"other bytes", func(path string) {
			made := g.metadata("of-"+path, len(data))
			if err := os.Remove(g.server.ObjectFile("of-" + path)); err != nil {
				t.Fatal(err)
			}
			g.put("of-"+path, random(2, len(data)), made.Encode())
		}, outcome.ClassObjectForeign},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := g.in(t)
			path := tt.name
			g.archive("of-"+path, "of-"+path, data)
			g.copyMarks(plain, "of-"+path, path, nil)
			tt.damage(path)
			e := g.examine(r, path)
			if got := g.classes(e); !slices.Contains(got, tt.class) {
				t.Errorf("found %v", got)
			}
			if res := r.Recall(t.Context(), path, g.GFID(path)); res.Outcome != outcome.Failed {
				t.Errorf("recall: %s %s: %v", res.Outcome, res.Reason, res.Err)
			}
			if m := g.BrickMarks(path); m.State(g.BrickSize(path)) != gluster.Remote {
				t.Errorf("%d bytes, %+v", g.BrickSize(path), m)
			}
		})
	}
}
