package safety

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/catalog"
	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/objstore/dir"
	"github.com/coldbrick/coldbrick/internal/objstore/s3"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/rebuild"
	"github.com/coldbrick/coldbrick/internal/testkit"
	"github.com/coldbrick/coldbrick/internal/volume"
)

// rebuilding is an order to a process to rebuild a volume, or to bring back what was
// deleted in it, and to die before one of the system calls by which it changes files.
type rebuilding struct {
	Dir      string // a mount to rebuild on
	From     string
	Undelete bool
	Calls    int // that are made; negative: all
	Store    map[string]string
}

// creations are the system calls by which a rebuild changes a volume.
var creations = map[int]string{
	unix.SYS_MKDIRAT: "mkdirat", unix.SYS_SETXATTR: "setxattr", unix.SYS_FSETXATTR: "fsetxattr", unix.SYS_FCHOWNAT: "fchownat",
	unix.SYS_FCHMODAT: "fchmodat", unix.SYS_UTIMENSAT: "utimensat", unix.SYS_LINKAT: "linkat", unix.SYS_UNLINKAT: "unlinkat",
	unix.SYS_RENAMEAT: "renameat",
}

const secretOfCatalogs = "a secret of the tests"

// onMount is the volume of a rebuild, on a mount that outlives the process.
type onMount struct{ *volume.Root }

func (m onMount) Children() error { return nil }

func (m onMount) AddFormerly(ids ...string) error {
	root, err := m.Open(".", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer root.Close()
	return volume.Set(root, gluster.XattrFormerly, []byte(strings.Join(ids, " ")))
}

func (r *rebuilding) run(ctx context.Context) error {
	store := &s3.Store{}
	if err := store.Init(ctx, r.Store); err != nil {
		return err
	}
	place := catalog.Place{Store: store, Volume: r.From, Secret: secretOfCatalogs}
	all, err := place.Find(ctx, os.TempDir())
	if err != nil {
		return err
	}
	var trees []rebuild.Catalog
	for _, c := range all {
		tree, err := c.FetchTree(ctx)
		if err != nil {
			return err
		}
		trees = append(trees, tree)
	}
	root, err := volume.OpenRoot(r.Dir)
	if err != nil {
		return err
	}
	var failed error
	b := rebuild.Builder{Volume: onMount{root}, Store: store, From: r.From, Jobs: 1, Tell: func(r rebuild.Result) {
		if r.Outcome == outcome.Failed {
			failed = errors.Join(failed, fmt.Errorf("%q: %s: %w", r.Entry.Path, r.Reason, r.Err))
		}
	}}
	work := b.Run
	if r.Undelete {
		work = b.Undelete
	}
	if err := r.dieInTime(); err != nil {
		return err
	}
	if err := errors.Join(work(ctx, trees), failed); err != nil {
		return err
	}
	return errDone
}

// dieInTime has this process kill itself before a call that is one too many.
func (r *rebuilding) dieInTime() error {
	listener, err := filter(unix.SECCOMP_FILTER_FLAG_TSYNC|unix.SECCOMP_FILTER_FLAG_TSYNC_ESRCH|unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, creations)
	if err != nil {
		return err
	}
	never, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return err
	}
	left := r.Calls
	go func() {
		panic(supervise(listener, never, func(call) verdict {
			if left == 0 {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {}
			}
			left--
			return verdict{effect: true}
		}))
	}()
	return nil
}

var errDone = errors.New("the rebuild is complete")

// start runs a process with the order. It reports whether it was killed.
func (r rebuilding) start(t *testing.T, calls int) bool {
	t.Helper()
	r.Calls = calls
	text, err := json.Marshal(order{Rebuild: &r})
	check(t, err)
	self, err := os.Executable()
	check(t, err)
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), victimEnv+"="+string(text))
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == unix.SIGKILL {
		return true
	}
	if !strings.Contains(string(out), errDone.Error()) {
		t.Fatalf("after %d calls: %s", calls, out)
	}
	return false
}

// writeDown takes the catalog of a volume of one brick, and says what is in it.
func writeDown(t *testing.T, v *testkit.Volume, store catalog.Store) map[string]catalog.Entry {
	t.Helper()
	brick, err := volume.OpenBrick(v.BrickDir())
	check(t, err)
	defer brick.Close()
	place := catalog.Place{Store: store, Volume: v.ID, Secret: secretOfCatalogs}
	_, err = place.Take(t.Context(), catalog.Subject{
		Brick: v.BrickDir(), Ask: func(context.Context) (catalog.Cluster, error) { return catalog.Cluster{}, nil },
	}, catalog.Scan{Brick: brick, Dir: t.TempDir(), Workers: 1, Unreadable: func(path string, err error) { t.Errorf("%q: %v", path, err) }})
	check(t, err)
	all, err := place.Find(t.Context(), t.TempDir())
	check(t, err)
	tree, err := all[len(all)-1].FetchTree(t.Context())
	check(t, err)
	defer tree.Close()
	found := map[string]catalog.Entry{}
	check(t, tree.Tree(t.Context(), func(e catalog.Entry) error { found[string(e.Path)] = e; return nil }))
	return found
}

// aStore is one for a single catalog.
func aStore(t *testing.T) catalog.Store {
	t.Helper()
	store := &dir.Store{}
	check(t, store.Init(t.Context(), map[string]string{"store-dir": t.TempDir()}))
	return store
}

// whole returns an error unless an entry is as it was. A directory into which something
// was put since has other times.
func whole(path string, was, is catalog.Entry) error {
	if is.GFID == was.GFID && is.Kind == was.Kind && is.Mode == was.Mode && is.UID == was.UID && is.GID == was.GID &&
		is.Key == was.Key && is.Size == was.Size && fmt.Sprint(is.Xattrs) == fmt.Sprint(was.Xattrs) &&
		(is.Kind == catalog.Directory || is.Mtime == was.Mtime && is.Atime == was.Atime) {
		return nil
	}
	return fmt.Errorf("%q is %+v, was %+v", path, is, was)
}

// A rebuild, and the undelete of a directory, are killed before the system calls by
// which they change the volume: before each of them in make soak. What users see right then is whole, the next run
// completes it, leaves nothing behind, and touches nothing else.
func TestARebuildThatWasKilledGoesOn(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	data := map[string][]byte{}
	for _, path := range []string{"d/stub\xff", "d/in/with two names"} {
		data[path] = randomBytes(1000)
		g.Write(path, data[path], longAgo)
		check(t, os.Chown(g.Path(path), 1234, 4321))
		g.mustArchive(path)
	}
	check(t, os.Link(g.Path("d/in/with two names"), g.Path("d/second name")))
	testkit.SetXattr(t, g.Path("d/stub\xff"), "user.x", "\x00")
	testkit.SetXattr(t, g.BrickPath("d/in"), "system.posix_acl_default", string(acl)) // as a mount with --acl does
	testkit.SetXattr(t, g.BrickPath("d/in/with two names"), "system.posix_acl_access", string(acl))
	check(t, unix.Chmod(g.Path("d/in"), 0o2751))
	want := writeDown(t, g.Volume, g.Store)

	next := testkit.NewVolume(t)
	for name, tt := range map[string]struct {
		onto     *testkit.Volume
		undelete bool
		before   func() // each run
	}{
		"rebuild": {next, false, func() {
			check(t, os.RemoveAll(next.Path("d")))
		}},
		"undelete": {g.Volume, true, func() {
			g.Write("a bystander", []byte("of another file"), longAgo)
			check(t, os.RemoveAll(g.Path("d")))
		}},
	} {
		mount, err := volume.Inspect(tt.onto.MountDir())
		check(t, err)
		mount.RunDir = filepath.Join(tt.onto.Dir(), "run", "coldbrick")
		private, err := mount.Private(t.Context(), volume.ForRebuild)
		check(t, err)
		t.Cleanup(func() { check(t, private.Close()) })
		run := rebuilding{Dir: private.Dir(), From: g.ID, Undelete: tt.undelete, Store: (&proving{ground: g}).storeOptions()}
		kills := 0 // after how many calls
		for ; ; kills += killEvery {
			tt.before()
			killed := run.start(t, kills)
			for path, e := range writeDown(t, tt.onto, aStore(t)) {
				if was, ok := want[path]; ok && path != "." {
					if err := whole(path, was, e); err != nil {
						t.Errorf("%s, killed after %d calls: %v", name, kills, err)
					}
				}
			}
			if !killed {
				break
			}
			run.start(t, -1)
			got := writeDown(t, tt.onto, aStore(t))
			for path, was := range want {
				if path == "." {
					continue
				}
				if err := whole(path, was, got[path]); err != nil {
					t.Errorf("%s, killed after %d calls, and run again: %v", name, kills, err)
				}
			}
			names, err := os.ReadDir(tt.onto.BrickDir())
			check(t, err)
			for _, e := range names {
				if strings.HasPrefix(e.Name(), gluster.RebuildPrefix) {
					t.Errorf("%s, killed after %d calls: %s is left", name, kills, e.Name())
				}
			}
			if t.Failed() {
				return
			}
		}
		if kills < 30 {
			t.Errorf("%s: %d calls only", name, kills)
		}
	}
	g.mustRead("a bystander", []byte("of another file"))
	for _, path := range slices.Sorted(maps.Keys(data)) {
		g.mustRecall(path)
		g.mustRead(path, data[path])
	}
}

// acl is a default ACL that grants user 1234 something.
var acl = []byte{2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 2, 0, 5, 0, 210, 4, 0, 0, 4, 0, 5, 0, 255, 255, 255, 255, 16, 0, 7, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255}
