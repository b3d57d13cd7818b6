package cluster

import (
	"encoding/xml"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Node is a host of the cluster.
type Node struct {
	Name string // its host name, as bricks are given
	ns   *namespace
}

// Command prepares a program to run on the node. What it needs from the
// environment must be added to Env.
func (n *Node) Command(name string, args ...string) *exec.Cmd {
	return n.ns.command(name, args...)
}

// Run runs a program on the node and returns its standard output.
func (n *Node) Run(name string, args ...string) (string, error) {
	return run(n.Command(name, args...))
}

// Gluster runs the gluster command line and returns its XML. An operation that
// glusterd refused is an error: the exit code of the CLI does not always tell.
func (n *Node) Gluster(args ...string) ([]byte, error) {
	out, runErr := n.Run("gluster", append([]string{"--mode=script", "--xml"}, args...)...)
	var answer struct {
		OpRet    int    `xml:"opRet"`
		OpErrno  int    `xml:"opErrno"`
		OpErrstr string `xml:"opErrstr"`
	}
	if err := xml.Unmarshal([]byte(out), &answer); err != nil {
		return nil, fmt.Errorf("gluster %q on %s: %w: %s", args, n.Name, errors.Join(err, runErr), out)
	}
	if answer.OpRet != 0 {
		return []byte(out), fmt.Errorf("gluster %q on %s: %s (%d)", args, n.Name, answer.OpErrstr, answer.OpErrno)
	}
	return []byte(out), nil
}

// Path is where the host sees a file of the node: its bricks, its mounts, its
// /var/lib. Every byte of path is kept.
func (n *Node) Path(path string) string { return "/proc/" + n.ns.pid() + "/root" + path }

// Install puts a program of the host into the node's PATH.
func (n *Node) Install(program string) error {
	f, err := os.Open(program)
	if err != nil {
		return err
	}
	defer f.Close()
	cmd := n.Command("install", "-m", "755", "/dev/stdin", "/usr/local/bin/"+filepath.Base(program))
	cmd.Stdin = f
	_, err = run(cmd)
	return err
}

// InstallPlugin puts a plugin of cloudsync, in a file of the host, where the clients of
// the node look for it, in place of all others. They load it when they mount. The
// returned function removes it: no client may have it by then.
func (n *Node) InstallPlugin(library string) (remove func() error, err error) {
	f, err := os.Open(library)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	const script = `to=$(dirname "$(glusterfs --print-xlatordir)")/cloudsync-plugins
mkdir -p /run/cloudsync-plugins
install -m 644 /dev/stdin "/run/cloudsync-plugins/$1"
mount --bind /run/cloudsync-plugins "$to"
echo "$to"`
	cmd := n.Command("bash", "-euc", script, "bash", filepath.Base(library))
	cmd.Stdin = f
	at, err := run(cmd)
	if err != nil {
		return nil, err
	}
	return func() error {
		_, err := n.Run("umount", strings.TrimSpace(at))
		return err
	}, nil
}

// Disconnect cuts the node off from all others, as a pulled cable would: nobody is
// told, and clients wait for their ping-timeout.
func (n *Node) Disconnect() error { return n.ns.ip("link set eth0 down") }

// Connect ends what Disconnect began.
func (n *Node) Connect() error { return n.ns.ip("link set eth0 up") }

// knows returns nil if the node sees a pool of size connected nodes.
func (n *Node) knows(size int) error {
	out, err := n.Gluster("pool", "list")
	if err != nil {
		return err
	}
	var pool struct {
		Peers []struct {
			Hostname  string `xml:"hostname"`
			Connected int    `xml:"connected"`
			State     int    `xml:"state"`
		} `xml:"peerStatus>peer"`
	}
	if err := xml.Unmarshal(out, &pool); err != nil {
		return err
	}
	connected := 0
	for _, p := range pool.Peers {
		const inCluster = 3 // the node itself is listed as localhost, without a state
		if p.Connected == 1 && (p.State == inCluster || p.Hostname == "localhost") {
			connected++
		}
	}
	if connected != size {
		return fmt.Errorf("%s sees %d of %d nodes in the pool", n.Name, connected, size)
	}
	return nil
}
