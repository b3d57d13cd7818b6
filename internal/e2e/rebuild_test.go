//go:build e2e

package e2e

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/testkit"
	"github.com/coldbrick/coldbrick/internal/testkit/cluster"
)

// secretFile is the configuration of all hosts, and of those that come after them.
const secretFile = "/var/lib/coldbrick-secret.toml"

// TestALostVolumeIsRebuilt is the drill for the day on which a volume is gone: what the
// bucket has is enough for a new one, on other bricks, to show the same tree and to
// give back every byte. make soak has 2,000 files of it.
func TestALostVolumeIsRebuilt(t *testing.T) {
	g := newGround(t)
	for _, n := range g.Nodes {
		must(t, os.WriteFile(n.Path(secretFile), []byte("catalog-secret = \"kept where the volume is not\"\n"), 0o600))
	}
	config := []string{"--config", secretFile}
	begun := time.Now()
	done := func(what string) { t.Logf("%s: %v in all", what, time.Since(begun).Round(time.Second)) }

	must(t, g.store.MakeBucket("lost"))
	made, err := g.CreateVolume("lost", cluster.Replica3, 6, slices.Concat(archivable, g.store.Options("lost"))...)
	must(t, err)
	old := &volume{made, t, g}
	data := old.fill(drillFiles)
	mnt := g.Nodes[0].Path("/mnt/lost")
	oddities(t, mnt)
	for _, r := range g.everywhere(t, append([]string{"archive", "--volume", "lost"}, config...)...) {
		if r.code != 0 {
			t.Errorf("want exit 0: %s", r)
		}
	}
	done("filled and archived")
	must(t, os.Link(mnt+"/"+slices.Min(slices.Collect(maps.Keys(data))), mnt+"/a second name of a stub"))
	want := listing(t, g.Nodes[1].Path(old.mount(g.Nodes[1])))
	for _, r := range g.everywhere(t, append([]string{"catalog", "--volume", "lost"}, config...)...) {
		if r.code != 0 {
			t.Errorf("want exit 0: %s", r)
		}
	}
	for _, n := range g.Nodes[:2] {
		_, err := n.Run("umount", "/mnt/lost")
		must(t, err)
	}
	id := idOf(t, old)
	must(t, old.Delete())
	done("written down and destroyed")

	v := g.newVolume(t, "found", cluster.Replica3, 6, g.store.Options("lost")...)
	n := g.Nodes[2]
	v.mount(g.Nodes[1]) // without a plugin: it would take the new stubs for empty files
	if r := strict(t, n, 13, append([]string{"rebuild", "--volume", "found", "--from", id}, config...)...); !r.names("unguarded-clients") {
		t.Errorf("the client is not named: %s", r)
	}
	dry := run(t, n, 3, append([]string{"rebuild", "--volume", "found", "--from", id, "-n"}, config...)...)
	r := run(t, n, 3, append([]string{"rebuild", "--volume", "found", "--from", id}, config...)...)
	for _, r := range []result{dry, r} {
		if lost := failed(r); !slices.Equal(lost, []string{"and the second", "with data and two names"}) {
			t.Errorf("lost: %q: %s", lost, r)
		}
	}
	done("rebuilt, after a dry run")
	delete(want, "and the second")
	delete(want, "with data and two names")
	got := listing(t, g.Nodes[1].Path(v.mount(g.Nodes[1])))
	for path, w := range want {
		if got[path] != w {
			t.Errorf("%q\n is %s\nwas %s", path, got[path], w)
		}
	}
	for path := range got {
		if _, ok := want[path]; !ok {
			t.Errorf("%q was not there", path)
		}
	}
	for _, r := range g.everywhere(t, append([]string{"fsck", "--volume", "found"}, config...)...) {
		if r.code != 0 || r.names(`"finding"`) {
			t.Errorf("want nothing found: %s", r)
		}
	}
	done("compared and checked")
	run(t, g.Nodes[1], 0, append([]string{"recall", "-r", v.mount(g.Nodes[1])}, config...)...)
	done("recalled")
	n1 := g.Nodes[1]
	after := testkit.Snapshot(t, n1.Path(v.mount(n1)))
	for path := range after {
		if _, ok := data[path]; !ok { // names that came after the data was looked at
			delete(after, path)
		}
	}
	testkit.SameFiles(t, data, after)
	v.noneMarked()
}

// oddities adds what is no cold file of one name.
func oddities(t *testing.T, dir string) {
	t.Helper()
	deep := dir + "/deep" + strings.Repeat("/er", 40)
	must(t, os.MkdirAll(deep, 0o751))
	must(t, os.WriteFile(deep+"/empty\n\xff", nil, 0o640))
	must(t, os.WriteFile(dir+"/empty with two names", nil, 0o644))
	must(t, os.Link(dir+"/empty with two names", dir+"/deep/empty too"))
	must(t, os.WriteFile(dir+"/with data and two names", []byte("lost"), 0o644))
	must(t, os.Link(dir+"/with data and two names", dir+"/and the second"))
	must(t, os.Symlink("/etc/\xffpasswd", dir+"/deep/link"))
	must(t, os.Lchown(dir+"/deep/link", 12, 13))
	must(t, unix.Mkfifo(dir+"/deep/pipe", 0o604))
	must(t, os.Mkdir(dir+"/hollow", 0o700))
	must(t, os.Chown(dir+"/hollow", 1234, 4321))
	must(t, unix.Chmod(dir+"/hollow", 0o3771))
	must(t, unix.Setxattr(dir+"/hollow", "user.of a directory", []byte("\x00\xff"), 0))
	must(t, unix.Setxattr(deep+"/empty\n\xff", "user.\xff", []byte("x"), 0))
	must(t, unix.UtimesNanoAt(unix.AT_FDCWD, dir+"/hollow", []unix.Timespec{{Sec: 1, Nsec: 2}, {Sec: 1 << 33, Nsec: 3}}, 0))
}

// listing is what stat and attributes tell of each name of a mount. Directories are
// read for it, so the times of access are not theirs any more.
func listing(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	must(t, filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(name, &st); err != nil {
			return err
		}
		text := fmt.Sprintf("inode %d mode %o owner %d:%d names %d mtime %v", st.Ino, st.Mode, st.Uid, st.Gid, st.Nlink, st.Mtim)
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			text += fmt.Sprintf(" size %d blocks %d atime %v", st.Size, st.Blocks, st.Atim)
		case unix.S_IFDIR:
			text = strings.Replace(text, fmt.Sprintf("names %d ", st.Nlink), "", 1)
		case unix.S_IFLNK:
			target, err := os.Readlink(name)
			if err != nil {
				return err
			}
			text += " to " + target
		}
		if st.Mode&unix.S_IFMT != unix.S_IFLNK {
			x := testkit.Xattrs(t, name)
			var names []string
			for attr := range x {
				if strings.HasPrefix(attr, "user.") || strings.HasPrefix(attr, "system.posix_acl") {
					names = append(names, attr)
				}
			}
			slices.Sort(names)
			for _, attr := range names {
				text += fmt.Sprintf(" %q=%q", attr, x[attr])
			}
		}
		path, _ := strings.CutPrefix(strings.TrimPrefix(name, dir), "/")
		all[path] = text
		return nil
	}))
	return all
}

func idOf(t *testing.T, v *volume) string {
	t.Helper()
	out, err := v.Bricks[0].Node.Run("bash", "-euc", "gluster volume info "+v.Name+" | sed -n 's/^Volume ID: //p'")
	must(t, err)
	return strings.TrimSpace(out)
}

// failed are the paths of files that failed.
func failed(r result) (paths []string) {
	for _, rec := range r.records {
		if rec.Type == "file" && rec.Outcome == "failed" {
			paths = append(paths, rec.Path)
		}
	}
	slices.Sort(paths)
	return paths
}
