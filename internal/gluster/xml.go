package gluster

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// CLIError is an answer of the gluster command that says no.
type CLIError struct {
	Ret, Errno int
	Text       string
}

func (e *CLIError) Error() string { return fmt.Sprintf("gluster: %s (opErrno %d)", e.Text, e.Errno) }

// Numbers of glusterd-errno.h.
const (
	errnoBusy     = 30802 // EG_ANOTRANS
	errnoNoVolume = 30806 // EG_NOVOL: volume info about a volume that does not exist; other commands answer other numbers
)

// NoVolume reports whether volume info said that there is no such volume.
func (e *CLIError) NoVolume() bool { return e.Errno == errnoNoVolume }

// Busy reports whether the cluster was at another command, perhaps one that was
// given on another host; the same question may be answered a moment later.
func (e *CLIError) Busy() bool {
	return e.Errno == errnoBusy || strings.Contains(e.Text, "Another transaction is in progress") ||
		strings.Contains(e.Text, "Locking failed")
}

// VolumeInfo is what volume info tells.
type VolumeInfo struct {
	Name           string
	ID             string
	Started        bool
	TypeText       string // such as Distributed-Replicate
	SnapshotCount  int
	ReplicaCount   int // bricks of a replica set, arbiter included; 1: not replicated
	ArbiterCount   int
	DisperseCount  int
	Bricks         []BrickInfo // those of one replica set follow each other
	ChangedOptions Options     // only those that somebody has set
}

// BrickInfo is one brick as the cluster names it.
type BrickInfo struct {
	Host, Dir string
	HostUUID  string
	Arbiter   bool // holds names and attributes, but no data
}

// Name is HOST:DIR.
func (b BrickInfo) Name() string { return b.Host + ":" + b.Dir }

// Options are settings of a volume by name, such as features.cloudsync. No value
// prints itself: features.s3plugin-seckey is among them.
type Options map[string]Secret

// Get gives a value, "" if there is none. Do not print it.
func (o Options) Get(name string) string { return o[name].Reveal() }

// On reports whether a value is one of Gluster's words for true.
func (o Options) On(name string) bool { return IsOn(o.Get(name)) }

// VolumeStatus is what volume status tells.
type VolumeStatus struct {
	Nodes []NodeStatus // bricks, and daemons such as the self-heal daemon
	Tasks []Task
}

// The daemons of which each server has one, and which connect to every brick.
const (
	nodeSelfHeal = "Self-heal Daemon"
	nodeQuota    = "Quota Daemon"
)

// Daemons counts those of Gluster's own that run on a host and are connected to every
// brick.
func (s VolumeStatus) Daemons(hostUUID string) (n int) {
	for _, node := range s.Nodes {
		if node.HostUUID == hostUUID && node.Online && (node.Host == nodeSelfHeal || node.Host == nodeQuota) {
			n++
		}
	}
	return n
}

// NodeStatus says whether one process of the volume runs.
type NodeStatus struct {
	Host, Dir string // Dir is the brick's directory; of a daemon Host is its name and Dir a host
	HostUUID  string
	Online    bool
}

// Task is something that moves files in the whole volume.
type Task struct {
	ID     string // another for each time it is started
	Type   string // TaskRebalance, taskRemoveBrick
	Status TaskStatus
	Text   string // of the status
}

// What a task does.
const (
	TaskRebalance   = "Rebalance"
	taskRemoveBrick = "Remove brick"
)

// TaskStatus is gf_defrag_status_t of the source.
type TaskStatus int

// States of a task in which it moves files, or may begin to by itself.
const (
	taskStarted          TaskStatus = 1
	taskComplete         TaskStatus = 3
	taskLayoutFixStarted TaskStatus = 5
)

// Busy reports whether the task is under way. A remove-brick that has moved all
// files is so until it is committed: its brick still answers.
func (t Task) Busy() bool {
	return t.Status == taskStarted || t.Status == taskLayoutFixStarted ||
		t.Status == taskComplete && t.Type == taskRemoveBrick
}

// BrickHeal is the summary of volume heal for one brick: what that brick knows
// of that others still need.
type BrickHeal struct {
	Brick     string // HOST:DIR
	Connected bool
	Entries   int // the sum of the three below
	Pending   int
	SplitBrain,
	Healing int // or in use at this moment
}

// answer is what every output of gluster --xml has.
type answer struct {
	OpRet    *int   `xml:"opRet"`
	OpErrno  int    `xml:"opErrno"`
	OpErrstr string `xml:"opErrstr"`
}

func (a answer) check() error {
	if a.OpRet == nil {
		return errors.New("the answer of gluster does not say whether it succeeded")
	}
	if *a.OpRet != 0 {
		return &CLIError{Ret: *a.OpRet, Errno: a.OpErrno, Text: strings.TrimSpace(a.OpErrstr)}
	}
	return nil
}

// decode reads one answer. Elements that are not known are ignored; a text that
// ends early is an error and never a shorter answer.
func decode(text []byte, into interface{ check() error }) error {
	if err := xml.Unmarshal(text, into); err != nil {
		// Not with %w: an error of the decoder may quote the text, and that
		// may be a secret.
		var syntax *xml.SyntaxError
		if errors.As(err, &syntax) {
			return fmt.Errorf("answer of gluster is no complete XML: line %d", syntax.Line)
		}
		return errors.New("answer of gluster is no complete XML")
	}
	return into.check()
}

// ParseVolumeInfo reads gluster --xml volume info.
func ParseVolumeInfo(text []byte) ([]VolumeInfo, error) {
	var a struct {
		XMLName xml.Name `xml:"cliOutput"`
		answer
		Volumes []struct {
			Name           string     `xml:"name"`
			ID             string     `xml:"id"`
			Status         int        `xml:"status"`
			TypeStr        string     `xml:"typeStr"`
			SnapshotCount  int        `xml:"snapshotCount"`
			BrickCount     int        `xml:"brickCount"`
			ReplicaCount   int        `xml:"replicaCount"`
			ArbiterCount   int        `xml:"arbiterCount"`
			DisperseCount  int        `xml:"disperseCount"`
			OptionCount    int        `xml:"optCount"`
			Bricks         []xmlBrick `xml:"bricks>brick"`
			ChangedOptions []struct {
				Name  string `xml:"name"`
				Value string `xml:"value"`
			} `xml:"options>option"`
		} `xml:"volInfo>volumes>volume"`
		Count int `xml:"volInfo>volumes>count"`
	}
	if err := decode(text, &a); err != nil {
		return nil, err
	}
	if len(a.Volumes) != a.Count {
		return nil, fmt.Errorf("volume info names %d volumes but has %d", a.Count, len(a.Volumes))
	}
	var infos []VolumeInfo
	for _, v := range a.Volumes {
		if len(v.Bricks) != v.BrickCount || len(v.ChangedOptions) != v.OptionCount || v.Name == "" {
			return nil, fmt.Errorf("volume info of %q is incomplete", v.Name)
		}
		info := VolumeInfo{
			Name: v.Name, ID: v.ID, Started: v.Status == 1, TypeText: v.TypeStr, SnapshotCount: v.SnapshotCount,
			ReplicaCount: max(v.ReplicaCount, 1), ArbiterCount: v.ArbiterCount, DisperseCount: v.DisperseCount,
			ChangedOptions: make(Options, len(v.ChangedOptions)),
		}
		if len(v.Bricks) == 0 || len(v.Bricks)%info.ReplicaCount != 0 {
			return nil, fmt.Errorf("volume %s: %d bricks make no whole replica sets of %d", v.Name, len(v.Bricks), info.ReplicaCount)
		}
		for _, b := range v.Bricks {
			brick, err := b.info()
			if err != nil {
				return nil, fmt.Errorf("volume %s: %w", v.Name, err)
			}
			info.Bricks = append(info.Bricks, brick)
		}
		for _, o := range v.ChangedOptions {
			info.ChangedOptions[o.Name] = NewSecret(o.Value)
		}
		infos = append(infos, info)
	}
	return infos, nil
}

// xmlBrick also has its name as text beside its elements: that is not read.
type xmlBrick struct {
	Name     string `xml:"name"`
	HostUUID string `xml:"hostUuid"`
	Arbiter  int    `xml:"isArbiter"`
}

func (b xmlBrick) info() (BrickInfo, error) {
	host, dir, ok := cutBrick(b.Name)
	if !ok || b.HostUUID == "" {
		return BrickInfo{}, fmt.Errorf("brick %q is not of the form HOST:DIR, or has no host", b.Name)
	}
	return BrickInfo{Host: host, Dir: dir, HostUUID: b.HostUUID, Arbiter: b.Arbiter == 1}, nil
}

// cutBrick splits HOST:DIR; an IPv6 address has colons too, but no slash.
func cutBrick(name string) (host, dir string, ok bool) {
	host, dir, ok = strings.Cut(name, ":/")
	return host, "/" + dir, ok && host != ""
}

// Sets groups the bricks by replica set, in the volume's order. Without
// replication each brick is a set of its own.
func (v VolumeInfo) Sets() [][]BrickInfo {
	var sets [][]BrickInfo
	for i := 0; i < len(v.Bricks); i += v.ReplicaCount {
		sets = append(sets, v.Bricks[i:i+v.ReplicaCount])
	}
	return sets
}

// ParseVolumeStatus reads gluster --xml volume status VOLUME, also that of its
// tasks alone.
func ParseVolumeStatus(text []byte) (VolumeStatus, error) {
	var a struct {
		XMLName xml.Name `xml:"cliOutput"`
		answer
		Volumes []struct {
			NodeCount int `xml:"nodeCount"`
			Nodes     []struct {
				Hostname string `xml:"hostname"`
				Path     string `xml:"path"`
				PeerID   string `xml:"peerid"`
				Status   int    `xml:"status"`
			} `xml:"node"`
			Tasks []struct {
				ID        string     `xml:"id"`
				Type      string     `xml:"type"`
				Status    TaskStatus `xml:"status"`
				StatusStr string     `xml:"statusStr"`
			} `xml:"tasks>task"`
		} `xml:"volStatus>volumes>volume"`
	}
	if err := decode(text, &a); err != nil {
		return VolumeStatus{}, err
	}
	if len(a.Volumes) != 1 || len(a.Volumes[0].Nodes) != a.Volumes[0].NodeCount {
		return VolumeStatus{}, errors.New("volume status is not that of one whole volume")
	}
	var s VolumeStatus
	for _, n := range a.Volumes[0].Nodes {
		s.Nodes = append(s.Nodes, NodeStatus{Host: n.Hostname, Dir: n.Path, HostUUID: n.PeerID, Online: n.Status == 1})
	}
	for _, t := range a.Volumes[0].Tasks {
		s.Tasks = append(s.Tasks, Task{ID: t.ID, Type: t.Type, Status: t.Status, Text: t.StatusStr})
	}
	return s, nil
}

// Online reports whether the process of a brick runs.
func (s VolumeStatus) Online(b BrickInfo) bool {
	for _, n := range s.Nodes {
		if n.HostUUID == b.HostUUID && n.Dir == b.Dir {
			return n.Online
		}
	}
	return false
}

// ParseRebalanceStatus reads gluster --xml volume rebalance VOLUME status: how far
// each host is. A task of volume status tells that of one host only. About a volume
// that was never rebalanced it is a CLIError.
func ParseRebalanceStatus(text []byte) ([]Task, error) {
	var a struct {
		XMLName xml.Name `xml:"cliOutput"`
		answer
		Rebalance struct {
			ID    string `xml:"task-id"`
			Count int    `xml:"nodeCount"`
			Hosts []struct {
				Status    TaskStatus `xml:"status"`
				StatusStr string     `xml:"statusStr"`
			} `xml:"node"`
		} `xml:"volRebalance"`
	}
	if err := decode(text, &a); err != nil {
		return nil, err
	}
	if len(a.Rebalance.Hosts) == 0 || len(a.Rebalance.Hosts) != a.Rebalance.Count {
		return nil, errors.New("rebalance status is not that of all hosts")
	}
	var tasks []Task
	for _, h := range a.Rebalance.Hosts {
		tasks = append(tasks, Task{ID: a.Rebalance.ID, Type: TaskRebalance, Status: h.Status, Text: h.StatusStr})
	}
	return tasks, nil
}

// BrickClients are the connections of one brick.
type BrickClients struct {
	HostUUID, Dir string
	From          []netip.Addr // of each connection; Gluster's own daemons have some too
}

// ParseVolumeClients reads gluster --xml volume status VOLUME clients. Whether all bricks
// are there is for who knows them: nodeCount counts some twice, from two bricks of a host on.
func ParseVolumeClients(text []byte) ([]BrickClients, error) {
	var a struct {
		XMLName xml.Name `xml:"cliOutput"`
		answer
		Volumes []struct {
			Nodes []struct {
				Hostname string `xml:"hostname"`
				Path     string `xml:"path"`
				PeerID   string `xml:"peerid"`
				Count    int    `xml:"clientsStatus>clientCount"`
				Clients  []struct {
					Hostname string `xml:"hostname"` // ADDRESS:PORT
				} `xml:"clientsStatus>client"`
			} `xml:"node"`
		} `xml:"volStatus>volumes>volume"`
	}
	if err := decode(text, &a); err != nil {
		return nil, err
	}
	if len(a.Volumes) != 1 {
		return nil, errors.New("the status of clients is not that of one volume")
	}
	var bricks []BrickClients
	for _, n := range a.Volumes[0].Nodes {
		if len(n.Clients) != n.Count {
			return nil, fmt.Errorf("a brick of %s has %d clients but names %d", n.Hostname, n.Count, len(n.Clients))
		}
		b := BrickClients{HostUUID: n.PeerID, Dir: n.Path}
		for _, c := range n.Clients {
			host := c.Hostname
			if port := strings.LastIndex(host, ":"); port >= 0 { // an IPv6 address has colons too
				host = host[:port]
			}
			addr, err := netip.ParseAddr(host)
			if err != nil {
				return nil, fmt.Errorf("a client of a brick of %s: %w", n.Hostname, err)
			}
			b.From = append(b.From, addr.Unmap().WithZone(""))
		}
		bricks = append(bricks, b)
	}
	return bricks, nil
}

// Names of programs as their connections give them to a brick. Users' programs have
// others: fuse, gfapi, or none.
const (
	ProcessColdbrick = "coldbrick" // a private mount
	ProcessRebalance = "rebalance"
	ProcessSnapd     = "snapd"
)

// ParseClientNames reads gluster volume status VOLUME BRICK client-list: how many
// connections of each name a brick has. There is no XML of it.
func ParseClientNames(text []byte) (map[string]int, error) {
	const begin, end = "Client connections for volume", "total clients for volume"
	if !bytes.HasPrefix(text, []byte(begin)) || !bytes.Contains(text, []byte("\n"+end)) {
		return nil, fmt.Errorf("%.200q is no list of clients", text)
	}
	names := map[string]int{}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) != 2 {
			continue
		}
		count, err := strconv.Atoi(fields[1])
		switch {
		case err != nil: // the head of the table
		case fields[0] == ProcessColdbrick: // one line for each: it counts only what it knows, and repeats another count
			names[fields[0]]++
		default:
			names[fields[0]] = count
		}
	}
	return names, nil
}

// ParseHealSummary reads gluster --xml volume heal VOLUME info summary. About a
// volume that is not replicated it is a CLIError.
func ParseHealSummary(text []byte) ([]BrickHeal, error) {
	var a struct {
		XMLName xml.Name `xml:"cliOutput"`
		answer
		Bricks []struct {
			Name       string `xml:"name"`
			Status     string `xml:"status"`
			Total      string `xml:"totalNumberOfEntries"`
			Pending    string `xml:"numberOfEntriesInHealPending"`
			SplitBrain string `xml:"numberOfEntriesInSplitBrain"`
			Healing    string `xml:"numberOfEntriesPossiblyHealing"`
		} `xml:"healInfo>bricks>brick"`
	}
	if err := decode(text, &a); err != nil {
		return nil, err
	}
	var heals []BrickHeal
	for _, b := range a.Bricks {
		h := BrickHeal{Brick: b.Name, Connected: b.Status == "Connected"}
		if h.Connected { // of others the numbers are missing, or "-"
			var errs [4]error
			h.Entries, errs[0] = strconv.Atoi(b.Total)
			h.Pending, errs[1] = strconv.Atoi(b.Pending)
			h.SplitBrain, errs[2] = strconv.Atoi(b.SplitBrain)
			h.Healing, errs[3] = strconv.Atoi(b.Healing)
			if errors.Join(errs[:]...) != nil {
				return nil, fmt.Errorf("heal summary of brick %s has no numbers", b.Name)
			}
		}
		heals = append(heals, h)
	}
	if heals == nil {
		return nil, errors.New("heal summary has no bricks")
	}
	return heals, nil
}

// ParseVolumeOptions reads gluster --xml volume get VOLUME all: every option
// with the value in force, the default where nobody has set one. An option that
// has no value is left out.
func ParseVolumeOptions(text []byte) (Options, error) {
	var a struct {
		XMLName xml.Name `xml:"cliOutput"`
		answer
		Count int `xml:"volGetopts>count"`
		Opts  []struct {
			Option string `xml:"Option"`
			Value  string `xml:"Value"`
		} `xml:"volGetopts>Opt"`
	}
	if err := decode(text, &a); err != nil {
		return nil, err
	}
	if len(a.Opts) == 0 || len(a.Opts) != a.Count {
		return nil, fmt.Errorf("volume get names %d options but has %d", a.Count, len(a.Opts))
	}
	options := make(Options, len(a.Opts))
	for _, o := range a.Opts {
		value, isDefault := strings.CutSuffix(o.Value, " (DEFAULT)")
		if value == "(null)" || value == "" {
			continue
		}
		// Some options are listed twice, once as set and once as default.
		if _, known := options[o.Option]; !known || !isDefault {
			options[o.Option] = NewSecret(value)
		}
	}
	return options, nil
}

// ParseUUID reads gluster --xml system:: uuid get: the identity of this host.
func ParseUUID(text []byte) (string, error) {
	var a struct {
		XMLName xml.Name `xml:"cliOutput"`
		answer
		UUID string `xml:"uuidGenerate>uuid"`
	}
	if err := decode(text, &a); err != nil {
		return "", err
	}
	if a.UUID == "" {
		return "", errors.New("this host has no uuid")
	}
	return a.UUID, nil
}

// GeoSession is a geo-replication session of a volume.
type GeoSession struct {
	Secondary string // as gluster's commands take it: [USER@]HOST::VOLUME
	// KeepsXattrs says that the session's option sync-xattrs is off: what is set on
	// files here stays here.
	KeepsXattrs bool
}

// ParseGeoSessions reads gluster --xml volume geo-replication VOLUME status.
// KeepsXattrs is in none of its answers. About a volume without a session gluster
// answers no XML at all.
func ParseGeoSessions(text []byte) ([]GeoSession, error) {
	var a struct {
		XMLName xml.Name `xml:"cliOutput"`
		answer
		Names []string `xml:"geoRep>volume>sessions>session>session_secondary"`
	}
	if err := decode(text, &a); err != nil {
		return nil, err
	}
	if len(a.Names) == 0 {
		return nil, errors.New("geo-replication status has no session")
	}
	var sessions []GeoSession
	for _, name := range a.Names { // HOST-UUID:ssh://[USER@]HOST::VOLUME:VOLUME-ID
		_, secondary, ok := strings.Cut(name, "://")
		end := strings.LastIndex(secondary, ":")
		if !ok || end < 0 || !strings.Contains(secondary[:end], "::") {
			return nil, fmt.Errorf("geo-replication session %q is of an unknown form", name)
		}
		sessions = append(sessions, GeoSession{Secondary: secondary[:end]})
	}
	return sessions, nil
}

// ParseGeoSyncXattrs reads gluster --xml volume geo-replication VOLUME SECONDARY
// config sync-xattrs.
func ParseGeoSyncXattrs(text []byte) (string, error) {
	var a struct {
		XMLName xml.Name `xml:"cliOutput"`
		answer
		Value string `xml:"geoRep>config>sync-xattrs"`
	}
	err := decode(text, &a)
	return a.Value, err
}

// ParseDone reads the answer to a command that changes something: nothing, or a
// CLIError.
func ParseDone(text []byte) (struct{}, error) {
	var a struct {
		XMLName xml.Name `xml:"cliOutput"`
		answer
	}
	return struct{}{}, decode(text, &a)
}
