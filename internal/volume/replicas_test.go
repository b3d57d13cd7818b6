package volume

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/testkit"
)

// Nothing is left to heal of a file that is gone. Of one that cannot be asked about, or
// whose name the replicas do not know, nobody may say so.
func TestReplicasTellAFileThatIsGoneFromOneThatTheyCannotTellOf(t *testing.T) {
	v := testkit.NewVolume(t, testkit.Replica(2))
	for _, name := range []string{"f", "unnamed", "deleted"} {
		v.Write(name, []byte("data"), testkit.Old)
	}
	mount := mustInspect(t, v.MountDir())
	mount.RunDir = v.Dir() + "/run/coldbrick"
	p, err := mount.Private(t.Context(), ForStamping)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	pending := func(m *Mount, name, path string, before func()) (bool, error) {
		t.Helper()
		file, err := p.OpenRegular(name)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		before()
		r := m.Replicas(false)
		defer r.Close()
		return r.Pending(t.Context(), file, path)
	}
	nothing := func() {}

	if is, err := pending(mount, "f", strings.Repeat("long/", 1000), nothing); is || err != nil {
		t.Errorf("a name that is too long: %v, %v", is, err)
	}
	elsewhere := *mount
	elsewhere.RunDir = v.BrickDir() + "/f"
	if is, err := pending(&elsewhere, "f", "f", nothing); err == nil || Gone(err) {
		t.Errorf("no mount of the replicas: %v, %v", is, err)
	}
	is, err := pending(mount, "deleted", "deleted", func() {
		if err := os.Remove(v.Path("deleted")); err != nil {
			t.Fatal(err)
		}
	})
	if is || err != nil {
		t.Errorf("deleted: %v, %v", is, err)
	}
	is, err = pending(mount, "unnamed", "another name", func() {
		for _, dir := range v.BrickDirs() { // as of a time when bricks noted no names
			f, err := os.Open(dir + "/unnamed")
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			names, err := List(f)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range names {
				if strings.HasPrefix(name, "trusted.gfid2path.") {
					if err := unix.Fremovexattr(int(f.Fd()), name); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	})
	if !is || err != nil {
		t.Errorf("under another name, which no replica knows: %v, %v", is, err)
	}
}
