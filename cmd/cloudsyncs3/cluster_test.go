package main_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coldbrick/coldbrick/internal/testkit"
	"github.com/coldbrick/coldbrick/internal/testkit/cluster"
)

// member is a volume of glusterd on one node.
type member struct {
	*cluster.Volume
	t     *testing.T
	node  *cluster.Node
	store *cluster.Store
	mount string // as the node sees it
}

func newMember(t *testing.T, c *cluster.Cluster, store *cluster.Store, name string, options ...string) *member {
	t.Helper()
	v, err := c.CreateVolume(name, cluster.Distribute, 1, append([]string{
		"performance.quick-read=off", "features.cloudsync=on",
	}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	m := &member{Volume: v, t: t, node: c.Nodes[0], store: store}
	if m.mount, err = v.Mount(m.node, "attribute-timeout=0,entry-timeout=0"); err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *member) set(options ...string) {
	m.t.Helper()
	if err := m.Set(options...); err != nil {
		m.t.Fatal(err)
	}
}

// archive makes a stub of a new file.
func (m *member) archive(name string, data []byte) {
	m.t.Helper()
	m.write(name, data)
	if err := m.store.Put(m.Name, name, data); err != nil {
		m.t.Fatal(err)
	}
	m.stamp(name)
}

func (m *member) write(name string, data []byte) {
	m.t.Helper()
	full := m.node.Path(path.Join(m.mount, name))
	if err := os.WriteFile(full, data, 0o644); err != nil {
		m.t.Fatal(err)
	}
	if err := os.Chtimes(full, testkit.Old, testkit.Old); err != nil {
		m.t.Fatal(err)
	}
}

// stamp makes a stub by hand, whose object is under the file's path.
func (m *member) stamp(name string) {
	m.t.Helper()
	full := m.node.Path(path.Join(m.mount, name))
	testkit.DropPages(m.t, full)
	if err := testkit.StampValue(full, strconv.FormatInt(testkit.Old.Unix(), 10)); err != nil {
		m.t.Fatal(err)
	}
}

func (m *member) read(name string) (string, error) {
	return m.node.Run("timeout", "60", "cat", path.Join(m.mount, name))
}

func (m *member) mustRead(name string, want []byte) {
	m.t.Helper()
	got, err := m.read(name)
	if err != nil || got != string(want) {
		m.t.Fatalf("read %s: %d bytes, %v\n%s", name, len(got), err, m.log())
	}
}

func (m *member) log() string {
	text, _ := os.ReadFile(m.node.Path("/var/log/glusterfs/mnt-" + m.Name + ".log"))
	return string(text)
}

// footprint is what the client process takes: resident KiB, threads and open
// descriptors.
func (m *member) footprint() (rss, threads, fds int) {
	m.t.Helper()
	out, err := m.node.Run("sh", "-c", fmt.Sprintf(`for p in /proc/[0-9]*; do
		case $(tr '\0' ' ' <$p/cmdline) in *glusterfs*--volfile-id=/%s\ *) ;; *) continue ;; esac
		awk '/^VmRSS|^Threads/ { print $2 }' $p/status; ls $p/fd | wc -l; exit; done`, m.Name))
	if _, scanErr := fmt.Sscan(out, &rss, &threads, &fds); err != nil || scanErr != nil {
		m.t.Fatalf("client of %s: %v, %v: %q", m.Name, err, scanErr, out)
	}
	return rss, threads, fds
}

func startCluster(t *testing.T) (*cluster.Cluster, *cluster.Store) {
	t.Helper()
	c := cluster.New(t, 1)
	store, err := c.StartStore(testkit.Versitygw(t))
	if err != nil {
		t.Fatal(err)
	}
	return c, store
}

func (m *member) makeBucket() {
	m.t.Helper()
	if err := m.store.MakeBucket(m.Name); err != nil {
		m.t.Fatal(err)
	}
}

func TestOptionsChangeWhileMounted(t *testing.T) {
	t.Parallel()
	c, store := startCluster(t)
	options := append(store.Options("vol"), "features.cloudsync-storetype=cloudsyncs3")
	m := newMember(t, c, store, "vol", options...)
	m.makeBucket()
	data := []byte("data")

	m.set("features.s3plugin-seckey=wrong")
	m.archive("f", data)
	if got, err := m.read("f"); err == nil {
		t.Errorf("read %q with a wrong secret", got)
	}
	m.set("features.s3plugin-seckey=" + store.SecretKey)
	m.mustRead("f", data)
	if strings.Contains(m.log(), store.SecretKey+`"`) {
		t.Error("the secret is in the log")
	}

	// cloudsync itself looks for the method of remote reads when a client mounts, and at
	// no other time.
	m.set("features.cloudsync-remote-read=on")
	reads := 0
	testkit.Eventually(t, time.Minute, "a read leaves the file a stub", func() bool {
		reads++
		name := fmt.Sprint("remote", reads) // what came before the option has recalled one
		m.write(name, data)
		m.upload(name)
		m.stamp(name)
		m.mustRead(name, data)
		return m.isStub(name)
	})
}

// isStub tells by the brick, which has no byte of a stub.
func (m *member) isStub(name string) bool {
	m.t.Helper()
	info, err := os.Stat(m.Bricks[0].Path() + "/" + name)
	if err != nil {
		m.t.Fatal(err)
	}
	return info.Size() == 0
}

// Gluster never ends the instances of previous graphs. What the plugin adds to what
// Gluster itself loses with each graph must not grow.
func TestGraphSwitchesLeakNothing(t *testing.T) {
	t.Parallel()
	c, store := startCluster(t)
	with := newMember(t, c, store, "with", append(store.Options("with"), "features.cloudsync-storetype=cloudsyncs3")...)
	without := newMember(t, c, store, "without")
	with.makeBucket()
	data := bytes.Repeat([]byte("data"), 1024)
	recall := func(i int) {
		name := fmt.Sprint("f", i)
		with.archive(name, data)
		with.mustRead(name, data)
	}
	recall(0)
	rss0, threads0, fds0 := with.footprint()
	bare0, _, bareFDs0 := without.footprint()
	const switches = 50
	for i := range switches {
		value := []string{"on", "off"}[i%2]
		var both sync.WaitGroup
		for _, m := range []*member{with, without} {
			both.Go(func() {
				if err := m.Set("performance.read-ahead=" + value); err != nil {
					t.Error(err)
				}
			})
		}
		both.Wait()
		if i%10 == 9 {
			recall(i + 1)
		}
	}
	rss, threads, fds := with.footprint()
	bare, _, bareFDs := without.footprint()
	t.Logf("after %d graph switches: RSS %d to %d KiB with the plugin, %d to %d without; %d to %d threads, %d to %d descriptors",
		switches, rss0, rss, bare0, bare, threads0, threads, fds0, fds)
	if more := (rss - rss0) - (bare - bare0); more > 16<<10 {
		t.Errorf("the plugin adds %d KiB", more)
	}
	if threads > threads0+16 {
		t.Errorf("%d threads became %d", threads0, threads)
	}
	if more := (fds - fds0) - (bareFDs - bareFDs0); more > 8 {
		t.Errorf("the plugin adds %d descriptors", more)
	}
}

// With open-behind, which is on by default, the brick does not know of a file that a
// client has open and has not written to. What such a client writes after the stamp
// goes to a stub: it is recalled first.
func TestAnIdleClientWritesToAStub(t *testing.T) {
	t.Parallel()
	c, store := startCluster(t)
	m := newMember(t, c, store, "idle", append(store.Options("idle"), "features.cloudsync-storetype=cloudsyncs3")...)
	m.makeBucket()
	data := bytes.Repeat([]byte("data"), 1000)
	for name, flags := range map[string]int{"over": os.O_RDWR, "append": os.O_RDWR | os.O_APPEND} {
		m.write(name, data)
		f, err := os.OpenFile(m.node.Path(path.Join(m.mount, name)), flags, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.store.Put(m.Name, name, data); err != nil {
			t.Fatal(err)
		}
		m.stamp(name)
		_, err = f.Write([]byte("NEW!"))
		if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
			t.Errorf("%s: %v\n%s", name, err, m.log())
		}
		want := append([]byte("NEW!"), data[4:]...)
		if name == "append" {
			want = append(bytes.Clone(data), "NEW!"...)
		}
		// The brick itself: a mount may show what the kernel has kept.
		got, err := os.ReadFile(m.Bricks[0].Path() + "/" + name)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: the brick has %d bytes, other than the %d that it must have: %v", name, len(got), len(want), err)
		}
	}
}
