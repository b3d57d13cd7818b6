//go:build e2e

package e2e

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/testkit"
	"github.com/coldbrick/coldbrick/internal/testkit/cluster"
)

// cold writes a cold file through a mount of node n and waits for nothing: the
// file is closed.
func cold(t *testing.T, n *cluster.Node, path string, data []byte) {
	t.Helper()
	must(t, os.WriteFile(n.Path(path), data, 0o644))
	must(t, os.Chtimes(n.Path(path), testkit.Old, testkit.Old))
}

// xattrs are those of a file on the only brick.
func (v *volume) xattrs(path string) map[string]string {
	v.t.Helper()
	return testkit.Xattrs(v.t, v.Bricks[0].Path()+"/"+path)
}

// TestFeaturesThatBreakStubsAreRefused turns on one feature after the other on a
// volume that has a stub and a file to archive: archive refuses, names it, says what
// to do and marks nothing; what only reads goes on; and where nothing can be written,
// a recall sets nothing on the stub.
func TestFeaturesThatBreakStubsAreRefused(t *testing.T) {
	g := newGround(t)
	// Booleans have five words each: cloudsync is on.
	v := g.newVolume(t, "features", cluster.Distribute, 1, "features.cloudsync=Enable")
	secondary := g.newVolume(t, "secondary", cluster.Distribute, 1)
	n := v.Bricks[0].Node
	dir := v.mount(n)
	data := []byte("archived before the feature was turned on")
	cold(t, n, dir+"/stub", data)
	cold(t, n, dir+"/marked", data)
	run(t, n, 0, "archive", "--volume", v.Name)
	cold(t, n, dir+"/local", data)
	// As a file that was made under WORM, and archived by a release that let it be.
	for name, value := range map[string]string{gluster.XattrWORM: "1", "trusted.start_time": "1600000000"} {
		must(t, unix.Setxattr(n.Path(dir+"/marked"), name, []byte(value), 0))
	}
	volumeCommand := func(args ...string) func() {
		return func() {
			t.Helper()
			if _, err := n.Run("gluster", append([]string{"--mode=script", "volume"}, args...)...); err != nil {
				t.Fatal(err)
			}
		}
	}
	set := func(option, value string) func() { return volumeCommand("set", v.Name, option, value) }
	attributes := func(file string) map[string]string {
		all := v.xattrs(file)
		// Bit-rot detection signs a file two minutes after it was written.
		maps.DeleteFunc(all, func(name, _ string) bool { return strings.HasPrefix(name, "trusted.bit-rot.") })
		return all
	}
	session := func(args ...string) func() {
		return volumeCommand(append([]string{"geo-replication", v.Name, n.Name + "::" + secondary.Name}, args...)...)
	}

	for _, tt := range []struct {
		check   string
		on, off func()
		fix     string
		recall  string // why stub is not recalled; "" if it could be
		marked  string // and marked
	}{
		{"bit-rot", volumeCommand("bitrot", v.Name, "enable"), volumeCommand("bitrot", v.Name, "disable"), "bitrot features disable", "", "-"},
		{"worm", set("features.worm", "Yes"), set("features.worm", "no"), "features.worm off", "read-only", "read-only"},
		{"worm-file-level", set("features.worm-file-level", "1"), set("features.worm-file-level", "0"), "features.worm-file-level off", "", "retained"},
		{"read-only", set("features.read-only", "enable"), set("features.read-only", "disable"), "features.read-only off", "read-only", "read-only"},
		{"geo-replication", session("create", "no-verify"), session("config", "sync-xattrs", "false"), "config sync-xattrs false", "", "-"},
		{"mandatory-locking", set("locks.mandatory-locking", "forced"), set("locks.mandatory-locking", "off"), "locks.mandatory-locking off", "", "-"},
	} {
		tt.on()
		before := map[string]map[string]string{"stub": attributes("stub"), "marked": attributes("marked"), "local": attributes("local")}
		for _, command := range []string{"doctor", "archive"} {
			r := run(t, n, 13, command, "--volume", v.Name)
			if !r.names(tt.check) || !r.names(tt.fix) {
				t.Errorf("want the check %q and its fix: %s", tt.check, r)
			}
		}
		silently(t, n, func() {
			if r := run(t, n, 13, "archive", v.Bricks[0].Dir, "--mount", dir); !r.names(tt.check) {
				t.Errorf("want the check %q, though glusterd does not answer: %s", tt.check, r)
			}
		})
		run(t, n, 0, "status", dir+"/stub")
		if got, err := n.Run("coldbrick", "recall", "--stdout", dir+"/stub"); err != nil || got != string(data) {
			t.Errorf("%s: recall --stdout gives %q, %v", tt.check, got, err)
		}
		if tt.check == "mandatory-locking" {
			if r := run(t, n, 13, "recall", dir+"/stub"); !r.names(tt.check) || !r.names(tt.fix) {
				t.Errorf("want the check %q and its fix: %s", tt.check, r)
			}
		}
		for file, reason := range map[string]string{"stub": tt.recall, "marked": tt.marked} {
			if reason == "" || reason == "-" { // not tried: it would be a stub no more
				continue
			}
			if r := run(t, n, 3, "recall", dir+"/"+file); !r.names(reason) {
				t.Errorf("want %q: %s", reason, r)
			}
		}
		for file, want := range before {
			if got := attributes(file); !maps.Equal(got, want) {
				t.Errorf("%s: %s had %v and has %v", tt.check, file, want, got)
			}
		}
		tt.off()
	}

	// All are off again, but for a session that keeps attributes to itself.
	run(t, n, 0, "recall", dir+"/marked")
	cold(t, n, dir+"/marked", data)
	r := run(t, n, 0, "archive", "--volume", v.Name, "--recall-grace", "0")
	if r.archived() != 1 || r.skipped("retained") != 1 {
		t.Errorf("want local archived and marked left alone: %s", r)
	}
	run(t, n, 0, "recall", dir+"/stub", dir+"/local")
	session("delete")()
}

// silently calls do while the gluster command of the node finds no glusterd. Clients
// find it: they need it to mount.
func silently(t *testing.T, n *cluster.Node, do func()) {
	t.Helper()
	const silent = "/usr/local/bin/silent"
	script := "#!/bin/sh\necho Connection failed. Please check if gluster daemon is operational. >&2\nexit 1\n"
	must(t, os.WriteFile(n.Path(silent), []byte(script), 0o755))
	_, err := n.Run("mount", "--bind", silent, "/usr/sbin/gluster")
	must(t, err)
	defer func() {
		_, err := n.Run("umount", "/usr/sbin/gluster")
		must(t, err)
	}()
	do()
}

// TestAnIdleClientLosesNothingThatItWasPromised: with open-behind, which is on by
// default, the brick does not know of a file that a client has open and has not
// written to, so it is archived. Without a plugin, what such a client writes then is
// refused when it wants to be sure of it, and the archived bytes stay.
func TestAnIdleClientLosesNothingThatItWasPromised(t *testing.T) {
	g := newGround(t)
	v := g.newVolume(t, "idle", cluster.Distribute, 1)
	n := v.Bricks[0].Node
	dir := v.mount(n)
	data := bytes.Repeat([]byte("data"), 1000)
	cold(t, n, dir+"/f", data)
	f, err := os.OpenFile(n.Path(dir+"/f"), os.O_RDWR, 0)
	must(t, err)
	if r := run(t, n, 0, "archive", "--volume", v.Name); r.archived() != 1 {
		t.Fatalf("an idle file is not seen, and archived: %s", r)
	}
	_, err = f.WriteAt([]byte("NEW!"), 0)
	if err == nil {
		err = f.Sync()
	}
	if !errors.Is(err, unix.EREMOTE) {
		t.Errorf("a write to the stub: %v, want EREMOTE", err)
	}
	f.Close() // has nothing more to say
	if r := run(t, n, 0, "doctor", "-v", "--volume", v.Name); !r.names("open-behind") {
		t.Errorf("doctor does not tell: %s", r)
	}
	run(t, n, 0, "recall", dir+"/f")
	got, err := os.ReadFile(n.Path(v.mount(n) + "/f"))
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes that differ from the %d archived, %v", len(got), len(data), err)
	}
}
