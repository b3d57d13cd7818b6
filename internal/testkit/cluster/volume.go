package cluster

import (
	"encoding/xml"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
)

// Layout says how a volume spreads and copies its files, in the words of gluster
// volume create.
type Layout string

// The layouts of volumes. A volume with a multiple of their bricks is distributed
// over several such sets.
const (
	Distribute Layout = ""
	Replica3   Layout = "replica 3"
	Arbiter    Layout = "replica 2 arbiter 1"
	Disperse   Layout = "disperse 3 redundancy 1"
)

// Brick is a directory of one node that holds a part of a volume.
type Brick struct {
	Node *Node
	Dir  string
}

// String gives the brick as gluster's commands take it.
func (b Brick) String() string { return b.Node.Name + ":" + b.Dir }

// Volume is a started volume.
type Volume struct {
	Name   string
	Bricks []Brick // in volume order: the bricks of a set are neighbours

	node *Node // where its commands run
}

// CreateVolume creates and starts a volume with bricks spread over the nodes in
// turn. Options are given as "name=value"; the volume is started with them in
// place.
func (c *Cluster) CreateVolume(name string, layout Layout, bricks int, options ...string) (*Volume, error) {
	v := &Volume{Name: name, node: c.Nodes[0]}
	for i := range bricks {
		v.Bricks = append(v.Bricks, c.brick(name, i))
	}
	args := append([]string{"volume", "create", name}, strings.Fields(string(layout))...)
	for _, b := range v.Bricks {
		args = append(args, b.String())
	}
	// force: several bricks of a node are on one file system.
	if _, err := v.node.Gluster(append(args, "force")...); err != nil {
		return nil, err
	}
	if len(options) > 0 {
		var pairs []string
		for _, option := range options {
			name, value, _ := strings.Cut(option, "=")
			pairs = append(pairs, name, value)
		}
		if _, err := v.Gluster("set", pairs...); err != nil { // at once, which saves seconds
			return nil, err
		}
	}
	if _, err := v.node.Gluster("volume", "start", name); err != nil {
		return nil, err
	}
	return v, v.WaitUp()
}

// NewBrick returns a place for one more brick of v.
func (c *Cluster) NewBrick(v *Volume) Brick { return c.NewBricks(v, 1)[0] }

// NewBricks returns places for a set of n more bricks of v.
func (c *Cluster) NewBricks(v *Volume, n int) (bricks []Brick) {
	for i := range n {
		bricks = append(bricks, c.brick(v.Name, len(v.Bricks)+i))
	}
	return bricks
}

func (c *Cluster) brick(volume string, i int) Brick {
	return Brick{Node: c.Nodes[i%len(c.Nodes)], Dir: fmt.Sprintf("/srv/%s-%d", volume, i+1)}
}

// Path is where the host sees the brick.
func (b Brick) Path() string { return b.Node.Path(b.Dir) }

// Gluster runs gluster volume COMMAND NAME ARGS and returns its XML.
func (v *Volume) Gluster(command string, args ...string) ([]byte, error) {
	return v.node.Gluster(append([]string{"volume", command, v.Name}, args...)...)
}

// Set sets options, given as "name=value".
func (v *Volume) Set(options ...string) error {
	for _, option := range options {
		name, value, _ := strings.Cut(option, "=")
		if _, err := v.Gluster("set", name, value); err != nil {
			return err
		}
	}
	return nil
}

// Delete stops and deletes the volume and its bricks. It must not be mounted.
func (v *Volume) Delete() error {
	_, err := v.Gluster("stop", "force")
	if err == nil {
		_, err = v.Gluster("delete")
	}
	for _, b := range v.Bricks {
		_, rmErr := b.Node.Run("rm", "-rf", b.Dir)
		err = errors.Join(err, rmErr)
	}
	return err
}

// Mount mounts the volume on /mnt/NAME of a node, with mount options like
// "attribute-timeout=0", and returns that directory.
func (v *Volume) Mount(n *Node, options ...string) (string, error) {
	return v.MountAt(n, path.Join("/mnt", v.Name), options...)
}

// MountAt is Mount for a directory of one's choice below /mnt.
func (v *Volume) MountAt(n *Node, dir string, options ...string) (string, error) {
	if _, err := n.Run("mkdir", "-p", dir); err != nil {
		return "", err
	}
	options = append([]string{"log-level=WARNING"}, options...)
	_, err := n.Run("mount", "-t", "glusterfs", "-o", strings.Join(options, ","), n.Name+":/"+v.Name, dir)
	if err != nil {
		log := "/var/log/glusterfs/" + strings.ReplaceAll(strings.TrimPrefix(dir, "/"), "/", "-") + ".log"
		said, _ := n.Run("tail", "-n", "30", log) // else the error alone has to do
		err = fmt.Errorf("%w: %s", err, said)
	}
	return dir, err
}

// brickStatus is what gluster volume status tells of a brick.
type brickStatus struct {
	Hostname string `xml:"hostname"`
	Path     string `xml:"path"`
	Status   int    `xml:"status"`
	PID      int    `xml:"pid"`
}

func (v *Volume) status() (map[string]brickStatus, error) {
	out, err := v.Gluster("status")
	if err != nil {
		return nil, err
	}
	var answer struct {
		Nodes []brickStatus `xml:"volStatus>volumes>volume>node"`
	}
	if err := xml.Unmarshal(out, &answer); err != nil {
		return nil, err
	}
	status := map[string]brickStatus{}
	for _, n := range answer.Nodes {
		status[n.Hostname+":"+n.Path] = n
	}
	return status, nil
}

// WaitUp waits until the process of every brick is up.
func (v *Volume) WaitUp() error {
	return eventually(time.Minute, func() error {
		status, err := v.status()
		if err != nil {
			return err
		}
		for _, b := range v.Bricks {
			if status[b.String()].Status != 1 {
				return fmt.Errorf("brick %s is down", b)
			}
		}
		return nil
	})
}

// KillBrick kills the process of brick i, as a crash would.
func (v *Volume) KillBrick(i int) error {
	b := v.Bricks[i]
	status, err := v.status()
	if err != nil {
		return err
	}
	pid := status[b.String()].PID
	if pid <= 0 {
		return fmt.Errorf("brick %s has no process", b)
	}
	if _, err := b.Node.Run("kill", "-KILL", fmt.Sprint(pid)); err != nil {
		return err
	}
	return eventually(time.Minute, func() error {
		status, err := v.status()
		if err == nil && status[b.String()].Status == 1 {
			err = fmt.Errorf("brick %s is still up", b)
		}
		return err
	})
}

// StartBricks starts the bricks that are down.
func (v *Volume) StartBricks() error {
	if _, err := v.Gluster("start", "force"); err != nil {
		return err
	}
	return v.WaitUp()
}

// Heal asks for a heal ("" of what is known to need it, or "full") and waits until
// nothing is left to heal.
func (v *Volume) Heal(args ...string) error {
	return eventually(3*time.Minute, func() error {
		// Its answer is text even where XML is asked for. It is refused until the
		// daemon is connected to all bricks.
		if _, err := v.node.Run("gluster", append([]string{"--mode=script", "volume", "heal", v.Name}, args...)...); err != nil {
			return err
		}
		pending, err := v.pendingHeals()
		if err == nil && pending > 0 {
			err = fmt.Errorf("volume %s: %d entries to heal", v.Name, pending)
		}
		return err
	})
}

func (v *Volume) pendingHeals() (int, error) {
	out, err := v.Gluster("heal", "info", "summary")
	if err != nil {
		return 0, err
	}
	var answer struct {
		Bricks []struct {
			Name    string `xml:"name"`
			Status  string `xml:"status"`
			Entries int    `xml:"totalNumberOfEntries"`
		} `xml:"healInfo>bricks>brick"`
	}
	if err := xml.Unmarshal(out, &answer); err != nil {
		return 0, err
	}
	pending := 0
	for _, b := range answer.Bricks {
		if b.Status != "Connected" {
			return 0, fmt.Errorf("brick %s is not connected", b.Name)
		}
		pending += b.Entries
	}
	return pending, nil
}

// AddBricks adds one brick set and distributes nothing yet: see Rebalance.
func (v *Volume) AddBricks(bricks ...Brick) error {
	args := []string{}
	for _, b := range bricks {
		args = append(args, b.String())
	}
	if _, err := v.Gluster("add-brick", append(args, "force")...); err != nil {
		return err
	}
	v.Bricks = append(v.Bricks, bricks...)
	return v.WaitUp()
}

// ReplaceBrick puts an empty brick in the place of brick i; Heal fills it.
func (v *Volume) ReplaceBrick(i int, brick Brick) error {
	if _, err := v.Gluster("replace-brick", v.Bricks[i].String(), brick.String(), "commit", "force"); err != nil {
		return err
	}
	v.Bricks[i] = brick
	return v.WaitUp()
}

// Rebalance moves files to where the present bricks want them, and returns when
// that is done.
func (v *Volume) Rebalance() error {
	if _, err := v.Gluster("rebalance", "start", "force"); err != nil {
		return err
	}
	return v.WaitRebalanced()
}

// WaitRebalanced waits until a rebalance under way has completed.
func (v *Volume) WaitRebalanced() error {
	return eventually(5*time.Minute, func() error {
		out, err := v.Gluster("rebalance", "status")
		if err != nil {
			return err
		}
		var answer struct {
			Status string   `xml:"volRebalance>aggregate>statusStr"`
			Nodes  []string `xml:"volRebalance>node>statusStr"`
		}
		if err := xml.Unmarshal(out, &answer); err != nil {
			return err
		}
		// The aggregate is that of some nodes while others are still at it.
		if slices.ContainsFunc(append(answer.Nodes, answer.Status), func(s string) bool { return s != "completed" }) {
			return fmt.Errorf("rebalance of %s: %s, nodes %q", v.Name, answer.Status, answer.Nodes)
		}
		return nil
	})
}
