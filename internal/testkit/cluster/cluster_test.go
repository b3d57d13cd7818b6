package cluster

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// asChild makes this test binary start a cluster and wait: see
// TestNothingIsLeftOfAKilledTest.
const asChild = "COLDBRICK_TEST_CLUSTER_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(asChild) != "" {
		os.Exit(child())
	}
	os.Exit(m.Run())
}

func child() int {
	c, err := Start(1)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	if _, err := c.CreateVolume("vol", Distribute, 1); err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println(strings.Join(c.traces(), " "))
	select {}
}

// traces lists what of the cluster can be seen on the host: its namespaces and the
// backing files of its disks.
func (c *Cluster) traces() []string {
	var traces []string
	for _, n := range c.Nodes {
		for _, ns := range []string{"mnt", "net", "pid"} {
			link, err := os.Readlink("/proc/" + n.ns.pid() + "/ns/" + ns)
			if err != nil {
				panic(err)
			}
			traces = append(traces, link)
		}
		source, err := n.Run("findmnt", "--noheadings", "--output", "SOURCE", "/srv")
		if err != nil {
			panic(err)
		}
		traces = append(traces, backingFile(filepath.Base(strings.TrimSpace(source))))
	}
	return traces
}

func backingFile(loop string) string {
	file, err := os.ReadFile("/sys/block/" + loop + "/loop/backing_file")
	if err != nil {
		return ""
	}
	return strings.Fields(string(file))[0]
}

// left lists which traces are still there.
func left(t *testing.T, traces []string) []string {
	t.Helper()
	namespaces, err := filepath.Glob("/proc/[0-9]*/ns/*")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, ns := range namespaces {
		if link, err := os.Readlink(ns); err == nil {
			found[link] = true
		}
	}
	loops, err := filepath.Glob("/sys/block/loop*")
	if err != nil {
		t.Fatal(err)
	}
	for _, loop := range loops {
		found[backingFile(filepath.Base(loop))] = true
	}
	return slices.DeleteFunc(slices.Clone(traces), func(trace string) bool { return !found[trace] })
}

func TestNothingIsLeftOfAKilledTest(t *testing.T) {
	self := exec.Command(os.Args[0])
	self.Env = append(os.Environ(), asChild+"=1")
	out, err := self.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := self.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	traces := strings.Fields(line)
	if err != nil || len(traces) != 4 {
		t.Fatalf("the child said %q: %v", line, err)
	}
	if got := left(t, traces); len(got) != len(traces) {
		t.Fatalf("of %q only %q are seen while the cluster is up", traces, got)
	}
	if err := self.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := self.Wait(); err == nil {
		t.Fatal("the child ended by itself")
	}
	deadline := time.Now().Add(time.Minute)
	for len(left(t, traces)) > 0 {
		if time.Now().After(deadline) {
			t.Fatalf("still there: %q", left(t, traces))
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func TestNodesShareVolumesAndNothingElse(t *testing.T) {
	host := func() (names []string) {
		for _, dir := range []string{"/run", "/run/gluster", "/var/lib/glusterd", "/var/log/glusterfs", "/etc", "/etc/glusterfs", "/srv", "/mnt"} {
			entries, err := os.ReadDir(dir)
			if err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			for _, e := range entries {
				names = append(names, filepath.Join(dir, e.Name()))
			}
		}
		return names
	}
	before := host()
	c, err := Start(2)
	if err != nil {
		t.Fatal(err)
	}
	traces := c.traces()
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if got := left(t, traces); len(got) > 0 {
			t.Errorf("left after Close: %q", got)
		}
		if after := host(); !slices.Equal(before, after) {
			t.Errorf("the host had %q and has %q", before, after)
		}
	})
	v, err := c.CreateVolume("vol", Distribute, 2, "performance.quick-read=off")
	if err != nil {
		t.Fatal(err)
	}
	var dirs []string
	for _, n := range c.Nodes {
		dir, err := v.Mount(n)
		if err != nil {
			t.Fatal(err)
		}
		dirs = append(dirs, dir)
	}
	if _, err := c.Nodes[0].Run("sh", "-c", "echo shared >"+dirs[0]+"/file"); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Nodes[1].Run("cat", dirs[1]+"/file"); err != nil || got != "shared\n" {
		t.Errorf("the other node reads %q: %v", got, err)
	}
	if _, err := c.Nodes[0].Run("touch", "/etc/coldbrick-test"); err == nil {
		t.Error("a node could write to the host's /etc")
	}
}
