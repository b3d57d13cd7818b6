package run

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/testkit"
)

// A new file has its name once it is published, replaces nothing, and leaves
// nothing if it is not: also where files without names are refused, as on a mount
// of Gluster.
func TestANewFileAppearsWhenItIsPublished(t *testing.T) {
	for name, dir := range map[string]string{
		"files without names": t.TempDir(), "named ones": testkit.NewVolume(t).MountDir(),
	} {
		t.Run(name, func(t *testing.T) {
			root, err := os.OpenRoot(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer root.Close()
			create := func() *newFile {
				t.Helper()
				n, err := newFileAt(root, "a/b/f")
				if err != nil {
					t.Fatal(err)
				}
				if (n.temp != "") != (name == "named ones") {
					t.Fatalf("its name is %q", n.temp)
				}
				if _, err := n.WriteString("data"); err != nil {
					t.Fatal(err)
				}
				return n
			}
			create().discard()
			if left := testkit.Below(t, dir); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
			published, late := create(), create()
			year2400 := unix.Timespec{Sec: 13569465600, Nsec: 123456789}
			if err := published.publish(year2400); err != nil {
				t.Fatal(err)
			}
			published.discard()
			if err := late.publish(year2400); !errors.Is(err, fs.ErrExist) {
				t.Errorf("the second of a name: %v", err)
			}
			late.discard()
			if _, err := newFileAt(root, "a/b/f"); !errors.Is(err, fs.ErrExist) {
				t.Errorf("a name that is taken: %v", err)
			}
			if got := testkit.Below(t, dir); !slices.Equal(got, []string{"a", "a/b", "a/b/f"}) {
				t.Errorf("found %q", got)
			}
			if got, err := os.ReadFile(dir + "/a/b/f"); err != nil || string(got) != "data" {
				t.Errorf("%q, %v", got, err)
			}
			var st unix.Stat_t
			if err := unix.Stat(dir+"/a/b/f", &st); err != nil || st.Mtim != year2400 || st.Nlink != 1 {
				t.Errorf("mtime %v, %d links, %v", st.Mtim, st.Nlink, err)
			}
		})
	}
}
