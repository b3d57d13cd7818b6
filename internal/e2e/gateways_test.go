//go:build e2e && qualify

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/testkit"
	"github.com/coldbrick/coldbrick/internal/testkit/cluster"
)

// gateway is a way to the volume that is not a mount: a server of files, as its
// clients see it.
type gateway struct {
	name string
	// session prepares a client that runs commands one after the other.
	session func(commands ...string) *exec.Cmd
	// read is the command that copies a file of the volume to a file of the node.
	read string
	// changes are commands that leave the content alone, by what people call them.
	// The file is then read by the second name, if there is one.
	changes map[string][2]string
	// writes are commands, and what they make of the content.
	writes  map[string]written
	failure string // what a client says if the gateway has refused
	locks   bool   // reads of a range that another client has locked are refused
}

type written struct {
	command string
	after   func(content []byte) []byte
}

func contentOf(name string) []byte { return bytes.Repeat([]byte(name+" has this line\n"), 300) }

func replaced([]byte) []byte { return []byte("new") }

func appended(content []byte) []byte { return append(content, "more"...) }

func resized(size int) func([]byte) []byte {
	return func(content []byte) []byte {
		after := make([]byte, size)
		copy(after, content)
		return after
	}
}

// samba is a share of testdata/smb.conf.
func samba(n *cluster.Node, share string) gateway {
	return gateway{
		name: "samba-" + share,
		session: func(commands ...string) *exec.Cmd {
			script := strings.Join(append([]string{"posix"}, commands...), ";")
			return n.Command("timeout", "100", "smbclient", "-s", "/run/smb.conf", "-m", "NT1", "-N", "//127.0.0.1/"+share, "-c", script)
		},
		read: "get %s %s",
		changes: map[string][2]string{
			"nothing":   {"stat %s"},
			"chmod":     {"chmod 0640 %s"},
			"chown":     {"chown 1 1 %s"},
			"utimes":    {"utimes %s -1 -1 2021:01:02-03:04:05 -1"},
			"read-only": {"setmode %s +r"},
			"link":      {"hardlink %[1]s %[1]s.link", "%s.link"},
			"rename":    {"rename %[1]s %[1]s.moved", "%s.moved"},
		},
		writes: map[string]written{
			"overwrite": {"put /srv/new %s", replaced},
		},
		failure: "NT_STATUS_ACCESS_DENIED",
		locks:   true,
	}
}

// nfs is an export of testdata/ganesha.conf.
func nfs(n *cluster.Node, version string) gateway {
	return gateway{
		name: "nfs" + version,
		session: func(commands ...string) *exec.Cmd {
			url := "nfs://127.0.0.1/gateways?version=" + version
			return n.Command("timeout", append([]string{"100", "nfs", url}, commands...)...)
		},
		read:    "cat %s %s",
		failure: "call failed",
		changes: map[string][2]string{
			"nothing": {"chmod %s 644"},
			"chmod":   {"chmod %s 640"},
			"chown":   {"chown %s 1"},
			"touch":   {"touch %s"},
			"fsync":   {"fsync %s"},
			"link":    {"ln %[1]s %[1]s.link", "%s.link"},
			"rename":  {"mv %[1]s %[1]s.moved", "%s.moved"},
		},
		writes: map[string]written{
			"overwrite": {"overwrite %s new", replaced},
			"append":    {"append %s more", appended},
			"empty":     {"truncate %s 0", resized(0)},
			"shorter":   {"truncate %s 100", resized(100)},
			"longer":    {"truncate %s 10000", resized(10000)},
		},
	}
}

// TestGatewaysKeepStubs: Samba, through libgfapi and over a mount, and NFS-Ganesha load
// the plugin, recall, and never take a stub for an empty file.
func TestGatewaysKeepStubs(t *testing.T) {
	g := newGround(t)
	v := g.newVolume(t, "gateways", cluster.Replica3, 3, "features.cloudsync-storetype="+gluster.StoreS3)
	n := g.Nodes[0]
	v.guard(n, plugin(t))
	mount := v.mount(n)
	v.serve(n)

	gateways := []gateway{samba(n, "gfapi"), samba(n, "mount"), nfs(n, "3"), nfs(n, "4")}
	for _, gw := range gateways {
		for name := range gw.changes {
			cold(t, n, mount+"/"+gw.name+"-"+name, contentOf(gw.name+"-"+name))
		}
		for name := range gw.writes {
			cold(t, n, mount+"/"+gw.name+"-"+name, contentOf(gw.name+"-"+name))
		}
		for _, name := range []string{"-locked", "-broken", "-broken2"} {
			cold(t, n, mount+"/"+gw.name+name, contentOf(gw.name+name))
		}
	}
	must(t, os.WriteFile(n.Path("/srv/new"), []byte("new"), 0o644))
	// Nobody has to allow the gateways: their guard vouches for them.
	strict(t, n, 0, "archive", "--volume", v.Name)
	v.allArchived()

	for _, gw := range gateways {
		t.Run(gw.name, func(t *testing.T) {
			v.mustKeep(t, n, gw)
			v.mustRespectLocks(t, n, gw, mount)
			v.mustFail(t, n, gw)
		})
	}
}

// serve starts the gateways until the end of the test.
func (v *volume) serve(n *cluster.Node) {
	v.t.Helper()
	program := filepath.Join(v.t.TempDir(), "nfs")
	build := exec.Command("gcc", "-D_FILE_OFFSET_BITS=64", "-Wall", "-Werror", "-o", program, "testdata/nfs.c", "-lnfs")
	if out, err := build.CombinedOutput(); err != nil {
		v.t.Fatalf("%v\n%s", err, out)
	}
	must(v.t, n.Install(program))
	for _, name := range []string{"smb.conf", "ganesha.conf"} {
		text, err := os.ReadFile(filepath.Join("testdata", name))
		must(v.t, err)
		must(v.t, os.WriteFile(n.Path("/run/"+name), text, 0o644))
	}
	_, err := n.Run("sh", "-euc", `mkdir -p /run/samba /run/ganesha
rpcbind
smbd -D -s /run/smb.conf
ganesha.nfsd -f /run/ganesha.conf -L /run/ganesha.log -p /run/ganesha.pid`)
	must(v.t, err)
	v.t.Cleanup(func() {
		if _, err := n.Run("sh", "-c", "kill $(cat /run/samba/smbd.pid) $(cat /run/ganesha.pid)"); err != nil {
			v.t.Errorf("a gateway has died: %v", err)
		}
	})
	testkit.Eventually(v.t, time.Minute, "the gateways serve", func() bool {
		_, err := n.Run("bash", "-c", "</dev/tcp/127.0.0.1/445 && timeout 10 nfs 'nfs://127.0.0.1/gateways?version=3'")
		return err == nil
	})
}

// mustKeep changes stubs and then reads them, all in one session.
func (v *volume) mustKeep(t *testing.T, n *cluster.Node, gw gateway) {
	t.Helper()
	var commands []string
	want := map[string][]byte{}
	add := func(name, command, reads string, content []byte) {
		name = gw.name + "-" + name
		want["/srv/out-"+name] = content
		if reads == "" {
			reads = "%s"
		}
		commands = append(commands, fmt.Sprintf(command, name), fmt.Sprintf(gw.read, fmt.Sprintf(reads, name), "/srv/out-"+name))
	}
	for name, change := range gw.changes {
		add(name, change[0], change[1], contentOf(gw.name+"-"+name))
	}
	for name, w := range gw.writes {
		add(name, w.command, "", w.after(contentOf(gw.name+"-"+name)))
	}
	out, err := gw.session(commands...).CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
	for name, content := range want {
		if got, err := os.ReadFile(n.Path(name)); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: %d bytes, and not %d: %v\n%s", name, len(got), len(content), err, out)
		}
	}
}

// mustRespectLocks reads a stub of which a client of Gluster has locked a range.
func (v *volume) mustRespectLocks(t *testing.T, n *cluster.Node, gw gateway, mount string) {
	t.Helper()
	name, to := gw.name+"-locked", "/srv/out-"+gw.name+"-locked"
	read := fmt.Sprintf(gw.read, name, to)
	f, err := os.OpenFile(n.Path(mount+"/"+name), os.O_RDWR, 0)
	must(t, err)
	must(t, unix.FcntlFlock(f.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Len: 10}))
	if gw.locks {
		out, _ := gw.session(read).CombinedOutput()
		if got, err := os.ReadFile(n.Path(to)); len(got) > 0 || !strings.Contains(string(out), "LOCK_CONFLICT") {
			t.Errorf("%d bytes of a locked range were read: %v: %s", len(got), err, out)
		}
	}
	if gw.name == "nfs4" { // libnfs has no locks for version 3
		if out, _ := gw.session("lock " + name).CombinedOutput(); !bytes.Contains(out, []byte("DENIED")) {
			t.Errorf("locked twice: %s", out)
		}
	}
	must(t, f.Close())
	if gw.name == "nfs4" {
		nfs := "nfs 'nfs://127.0.0.1/gateways?version=4' "
		meanwhile := nfs + "'lock " + name + "'; " + nfs + "'" + read + "'"
		if out, err := gw.session("lock "+name, "while "+name+" "+meanwhile).CombinedOutput(); err != nil || !bytes.Contains(out, []byte("DENIED")) {
			t.Errorf("locked twice: %v: %s", err, out)
		}
	}
	out, err := gw.session(read).CombinedOutput()
	if got, readErr := os.ReadFile(n.Path(to)); err != nil || !bytes.Equal(got, contentOf(name)) {
		t.Errorf("%d bytes, %v, %v: %s", len(got), err, readErr, out)
	}
}

// mustFail reads and overwrites stubs whose objects are not theirs any more.
func (v *volume) mustFail(t *testing.T, n *cluster.Node, gw gateway) {
	t.Helper()
	for name, command := range map[string]string{
		gw.name + "-broken":  fmt.Sprintf(gw.read, gw.name+"-broken", "/srv/out-broken"),
		gw.name + "-broken2": fmt.Sprintf(gw.writes["overwrite"].command, gw.name+"-broken2"),
	} {
		must(t, v.g.store.Put(v.Name, name, []byte("not its object")))
		if out, _ := gw.session(command).CombinedOutput(); !bytes.Contains(out, []byte(gw.failure)) {
			t.Errorf("%s: want an error: %s", command, out)
		}
	}
	files, _ := v.entries()
	for _, e := range files {
		if strings.HasPrefix(e.path, gw.name+"-broken") && (!e.stub() || e.size > 0) {
			t.Errorf("%s has %d bytes and the marks %q", e.path, e.size, e.marked())
		}
	}
}
