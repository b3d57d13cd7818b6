// Package cluster runs real Gluster clusters on one machine, for tests.
//
// A node is a set of Linux namespaces with a glusterd of its own: private /run,
// /tmp, /mnt, /var/lib and /var/log, and a private XFS disk on /srv; the rest of the
// host's tree is there read-only. The nodes meet on a bridge in a
// namespace that has no way to the host's network. Nothing of a cluster has a name
// on the host, so nothing is left there, even if the test process is killed: the
// kernel takes the namespaces, their processes, mounts, interfaces and disks away.
//
// It needs root, and the Debian packages glusterfs-server, xfsprogs, iproute2 and
// util-linux.
package cluster

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// Cluster is a trusted storage pool.
type Cluster struct {
	Nodes []*Node
	hub   *Node // holds the bridge, and the store; it has no glusterd
}

// Start starts n nodes, named node1 to node<n>, and joins them to one pool.
func Start(n int) (*Cluster, error) {
	c := &Cluster{}
	if err := c.start(n); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// New is Start for one test, which ends the cluster.
func New(t testing.TB, n int) *Cluster {
	t.Helper()
	c, err := Start(n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// Close ends all processes of the cluster and waits for them.
func (c *Cluster) Close() error {
	var errs []error
	for _, n := range c.Nodes {
		errs = append(errs, n.ns.close())
	}
	if c.hub != nil {
		errs = append(errs, c.hub.ns.close())
	}
	return errors.Join(errs...)
}

// The addresses exist in the cluster's own network only, so that clusters side by
// side do not meet.
const hubAddress = "10.66.0.254"

func nodeAddress(i int) string { return fmt.Sprintf("10.66.0.%d", i+1) }

func (c *Cluster) start(n int) error {
	hosts := []string{"127.0.0.1 localhost", hubAddress + " store"}
	for i := range n {
		hosts = append(hosts, nodeAddress(i)+" "+nodeName(i))
	}
	hostsFile := strings.Join(hosts, "\n")

	ns, err := startNamespace("store", hostsFile)
	if err != nil {
		return err
	}
	c.hub = &Node{Name: "store", ns: ns}
	if err := ns.ip(
		"link add name bridge type bridge",
		"addr add "+hubAddress+"/24 dev bridge",
		"link set bridge up",
	); err != nil {
		return err
	}
	for i := range n {
		ns, err := startNamespace(nodeName(i), hostsFile)
		if err != nil {
			return err
		}
		c.Nodes = append(c.Nodes, &Node{Name: nodeName(i), ns: ns})
		port := fmt.Sprintf("port%d", i+1)
		if err := c.hub.ns.ip(
			"link add "+port+" type veth peer name eth0 netns "+ns.pid(),
			"link set "+port+" master bridge up",
		); err != nil {
			return err
		}
		if err := ns.ip(
			"addr add "+nodeAddress(i)+"/24 dev eth0",
			"link set eth0 up",
		); err != nil {
			return err
		}
		if _, err := run(ns.command("glusterd")); err != nil {
			log, _ := run(ns.command("tail", "-n", "30", "/var/log/glusterfs/glusterd.log"))
			return fmt.Errorf("%w\n%s", err, log)
		}
	}
	return c.joinPool()
}

func (c *Cluster) joinPool() error {
	first := c.Nodes[0]
	for _, n := range c.Nodes[1:] {
		if err := eventually(time.Minute, func() error {
			_, err := first.Gluster("peer", "probe", n.Name)
			return err
		}); err != nil {
			return err
		}
	}
	return c.WaitPool()
}

// WaitPool waits until every node sees all others.
func (c *Cluster) WaitPool() error {
	for _, n := range c.Nodes {
		if err := eventually(time.Minute, func() error { return n.knows(len(c.Nodes)) }); err != nil {
			return err
		}
	}
	return nil
}

// ip runs commands of ip(8) in the network of the namespace, with the host's
// process ids.
func (ns *namespace) ip(commands ...string) error {
	for _, command := range commands {
		cmd := exec.Command("nsenter", append([]string{"--target", ns.pid(), "--net", "ip"}, strings.Fields(command)...)...)
		if _, err := run(cmd); err != nil {
			return err
		}
	}
	return nil
}

func nodeName(i int) string { return fmt.Sprintf("node%d", i+1) }

// eventually tries until it succeeds and returns the last error after timeout.
func eventually(timeout time.Duration, try func() error) error {
	for deadline := time.Now().Add(timeout); ; time.Sleep(100 * time.Millisecond) {
		err := try()
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}
