package volume

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/outcome"
)

// ErrNoCLI means that glusterd cannot be asked on this host: there is no gluster
// command, or no glusterd behind it.
var ErrNoCLI = errors.New("glusterd cannot be asked")

// ErrNoVolume means that the cluster has no volume of that name.
var ErrNoVolume = errors.New("no such volume")

// askTimeout is how long glusterd may take: it waits for other nodes for up to
// two minutes itself.
const askTimeout = 2 * time.Minute

// ask runs the gluster command. Its output may hold secrets, so no error quotes
// it; what is said beside an answer, on stderr, is quoted.
func ask(ctx context.Context, args ...string) ([]byte, error) {
	program, err := exec.LookPath("gluster")
	if err != nil {
		if program, err = exec.LookPath("/usr/sbin/gluster"); err != nil { // cron's PATH has no sbin
			return nil, fmt.Errorf("%w: there is no gluster command", ErrNoCLI)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, append([]string{"--mode=script"}, args...)...)
	cmd.Env = []string{"LC_ALL=C", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	if !slices.Contains(args, "geo-replication") {
		// Each gluster command runs gsyncd --version, to see whether geo-replication is
		// installed: a Python program, which takes most of the time. Only its name in the
		// answer counts, so echo does as its interpreter. Those about geo-replication may
		// run gsyncd in earnest.
		cmd.Env = append(cmd.Env, "PYTHON=/bin/echo")
	}
	cmd.WaitDelay = time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("gluster %s: %w", args[0], context.Cause(ctx))
	case bytes.Contains(stdout.Bytes(), notRunning), bytes.Contains(stderr.Bytes(), notRunning):
		return nil, fmt.Errorf("%w: it does not run", ErrNoCLI)
	case stdout.Len() > 0: // with --xml a refusal is an answer like others
		return stdout.Bytes(), nil
	}
	said, _, _ := strings.Cut(strings.TrimSpace(stderr.String()), "\n")
	if err == nil {
		err = errors.New("no answer")
	}
	return nil, fmt.Errorf("gluster: %w: %.200s", err, said)
}

// notRunning begins what gluster says without glusterd, in place of XML.
var notRunning = []byte("Connection failed. Please check if gluster daemon is operational")

// askXML asks again while the cluster is busy: glusterd answers one command at a
// time, and every host runs the same timer.
func askXML[T any](ctx context.Context, parse func([]byte) (T, error), args ...string) (T, error) {
	var none T
	for tries := 0; ; tries++ {
		text, err := ask(ctx, append([]string{"--xml"}, args...)...)
		if err != nil {
			return none, err
		}
		answer, err := parse(text)
		var cli *gluster.CLIError
		if !errors.As(err, &cli) || !cli.Busy() || tries == busyTries {
			return answer, err
		}
		select {
		case <-ctx.Done():
			return none, fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-time.After(busyPause/2 + rand.N(busyPause)): // hosts must not meet again
		}
	}
}

// How often, and at what mean distance, a busy cluster is asked again.
const (
	busyTries = 30
	busyPause = 500 * time.Millisecond
)

// volumeName is what glusterd accepts. Nothing else is passed to a command.
var volumeName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_-]{0,255}$`)

// FromVolume describes the volume as glusterd of this host gives it to clients,
// without a mount. What it returns has no Dir.
func FromVolume(ctx context.Context, name string) (*Mount, error) {
	m, err := fromVolume(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("volume %s: %w", name, err)
	}
	return m, nil
}

func fromVolume(ctx context.Context, name string) (*Mount, error) {
	if !volumeName.MatchString(name) {
		return nil, ErrNoVolume
	}
	m := &Mount{Volume: name}
	var asking sync.WaitGroup
	asking.Go(func() { m.Version = installedVersion(ctx) })
	text, err := ask(ctx, "system::", "getspec", name)
	if err == nil {
		m.Graph, err = gluster.ParseVolfile(text)
	}
	asking.Wait()
	if err != nil {
		// getspec has no words for what is wrong.
		_, unknown := volumeInfo(ctx, name)
		return nil, cmp.Or(unknown, err)
	}
	return m, nil
}

// installedVersion is that of the client which a private mount would start, ""
// if it does not tell.
func installedVersion(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, glusterfsProgram(), "--version").Output()
	if err != nil {
		return ""
	}
	fields := strings.Fields(string(out))
	if len(fields) < 2 {
		return ""
	}
	return fields[1] // "glusterfs 10.3"
}

// Volume is what only the cluster knows, at one moment.
type Volume struct {
	gluster.VolumeInfo
	Options gluster.Options // all, with defaults
	Status  gluster.VolumeStatus
	Heals   []gluster.BrickHeal // nil if it is not replicated
	Host    string              // uuid of this host

	GeoSessions []gluster.GeoSession // nil if there is none, or glusterd does not tell
}

// Discover asks glusterd of this host about a volume. ErrNoVolume, ErrNoCLI.
func Discover(ctx context.Context, name string) (*Volume, error) {
	v, err := discover(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("volume %s: %w", name, err)
	}
	return v, nil
}

func discover(ctx context.Context, name string) (*Volume, error) {
	if !volumeName.MatchString(name) {
		return nil, ErrNoVolume
	}
	v := &Volume{}
	var unknown, stopped error // of info, which has the words for it; of status, which a stopped volume has none
	var asking errgroup.Group
	asking.Go(func() (err error) {
		if v.VolumeInfo, unknown = volumeInfo(ctx, name); unknown == nil && v.Started && v.ReplicaCount > 1 {
			v.Heals, err = askXML(ctx, gluster.ParseHealSummary, "volume", "heal", name, "info", "summary")
		}
		return err
	})
	asking.Go(func() error {
		v.Status, stopped = askXML(ctx, gluster.ParseVolumeStatus, "volume", "status", name)
		return nil
	})
	asking.Go(func() (err error) {
		v.Host, err = askXML(ctx, gluster.ParseUUID, "system::", "uuid", "get")
		return err
	})
	asking.Go(func() (err error) {
		if v.Options, err = askXML(ctx, gluster.ParseVolumeOptions, "volume", "get", name, "all"); err == nil &&
			notOff(v.Options.Get("geo-replication.indexing")) {
			v.GeoSessions, err = geoSessions(ctx, name)
		}
		return err
	})
	err := asking.Wait()
	if err = cmp.Or(unknown, err); err != nil {
		return nil, err
	}
	if !v.Started {
		v.Status = gluster.VolumeStatus{}
		return v, nil
	}
	return v, stopped
}

// AskVolumeID is VolumeID, or what glusterd of this host tells where the graph does
// not know it: "" if that has no such volume, or another one of the same name.
func (m *Mount) AskVolumeID(ctx context.Context) (string, error) {
	if id := m.VolumeID(); id != "" || m.Volume == "" {
		return id, nil
	}
	info, err := volumeInfo(ctx, m.Volume)
	if errors.Is(err, ErrNoCLI) || errors.Is(err, ErrNoVolume) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("volume %s: %w", m.Volume, err)
	}
	clients := m.Graph.Of(gluster.TypeClient)
	for _, x := range clients {
		name := x.Option("remote-host") + ":" + x.Option("remote-subvolume")
		if !slices.ContainsFunc(info.Bricks, func(b gluster.BrickInfo) bool { return b.Name() == name }) {
			return "", nil
		}
	}
	if len(clients) == 0 {
		return "", nil
	}
	return info.ID, nil
}

// Moves asks glusterd of this host about what moves files from brick to brick: each
// rebalance and remove-brick has an id, and is told until the next one. It takes a
// tenth of a second, or two. ErrNoVolume, ErrNoCLI.
func Moves(ctx context.Context, name string) ([]gluster.Task, error) {
	tasks, err := moves(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("volume %s: %w", name, err)
	}
	return tasks, nil
}

func moves(ctx context.Context, name string) ([]gluster.Task, error) {
	if !volumeName.MatchString(name) {
		return nil, ErrNoVolume
	}
	status, err := askXML(ctx, gluster.ParseVolumeStatus, "volume", "status", name, "tasks")
	if err != nil {
		return nil, err
	}
	tasks := status.Tasks
	if slices.ContainsFunc(tasks, func(t gluster.Task) bool { return t.Type == gluster.TaskRebalance }) {
		// Its status is that of this host; others may still be at it.
		hosts, err := askXML(ctx, gluster.ParseRebalanceStatus, "volume", "rebalance", name, "status")
		if err != nil {
			return nil, err
		}
		tasks = append(tasks, hosts...)
	}
	return tasks, nil
}

// Clones asks glusterd of this host for the ids of those volumes of the cluster that were
// made from snapshots: their bricks are where glusterd mounts these.
func Clones(ctx context.Context) (ids []string, err error) {
	infos, err := askXML(ctx, gluster.ParseVolumeInfo, "volume", "info")
	for _, v := range infos {
		if slices.ContainsFunc(v.Bricks, func(b gluster.BrickInfo) bool { return strings.Contains(b.Dir, "/run/gluster/snaps/") }) {
			ids = append(ids, v.ID)
		}
	}
	return ids, err
}

// Known asks glusterd of this host whether the cluster has a volume with this id.
func Known(ctx context.Context, id string) (bool, error) {
	infos, err := askXML(ctx, gluster.ParseVolumeInfo, "volume", "info")
	return slices.ContainsFunc(infos, func(v gluster.VolumeInfo) bool { return v.ID == id }), err
}

func volumeInfo(ctx context.Context, name string) (gluster.VolumeInfo, error) {
	if !volumeName.MatchString(name) {
		return gluster.VolumeInfo{}, ErrNoVolume
	}
	infos, err := askXML(ctx, gluster.ParseVolumeInfo, "volume", "info", name)
	var cli *gluster.CLIError
	if errors.As(err, &cli) && cli.NoVolume() {
		return gluster.VolumeInfo{}, ErrNoVolume
	}
	if err != nil {
		return gluster.VolumeInfo{}, err
	}
	if len(infos) != 1 || infos[0].Name != name {
		return gluster.VolumeInfo{}, fmt.Errorf("%w: glusterd answered about another", ErrNoVolume)
	}
	return infos[0], nil
}

// Role says what a brick does in archiving.
type Role string

// The roles. Of each replica set one brick at most is active; any number of
// hosts find the same one without talking to each other, and a wrong guess only
// does work twice.
const (
	Active  Role = "active"  // is crawled
	Passive Role = "passive" // another of its set is active
	Arbiter Role = "arbiter" // has no data
	Down    Role = "down"
	Behind  Role = "behind" // takes part in a heal
)

// Place is a brick and its role.
type Place struct {
	gluster.BrickInfo
	Set  int // number of its replica set, from 0
	Here bool
	Role Role
}

// Places gives every brick its role: of each set, the first that is not an
// arbiter, is up, and has nothing to heal is active.
func (v *Volume) Places() []Place {
	var places []Place
	for n, set := range v.Sets() {
		found := false
		for _, b := range set {
			p := Place{BrickInfo: b, Set: n, Here: b.HostUUID == v.Host, Role: v.fitness(b)}
			if p.Role == Active {
				if found {
					p.Role = Passive
				}
				found = true
			}
			places = append(places, p)
		}
	}
	return places
}

func (v *Volume) fitness(b gluster.BrickInfo) Role {
	switch {
	case b.Arbiter:
		return Arbiter
	case !v.Status.Online(b):
		return Down
	}
	for _, h := range v.Heals {
		if h.Brick == b.Name() && (!h.Connected || h.Pending+h.SplitBrain > 0) {
			return Behind
		}
	}
	return Active
}

// Reserve is storage.reserve in percent, for CheckFreeSpace.
func (v *Volume) Reserve() float64 {
	text := strings.TrimSpace(strings.TrimSuffix(v.Options.Get("storage.reserve"), "%"))
	if n, err := strconv.ParseFloat(text, 64); err == nil && n >= 0 && n <= 100 {
		return n
	}
	return DefaultReserve
}

// Checks judges what the cluster knows.
func (v *Volume) Checks() []outcome.Check {
	return append([]outcome.Check{
		verdict(CheckStarted, outcome.Bad, !v.Started, "the volume is started", "the volume is stopped", "gluster volume start "+v.Name),
		v.checkOnline(),
		v.checkHeals(),
		v.checkSplitBrain(),
		v.checkTasks(),
		v.checkUntested(),
	}, v.checkFeatures()...)
}

func (v *Volume) checkOnline() outcome.Check {
	var down []string
	for _, b := range v.Bricks {
		if !v.Status.Online(b) {
			down = append(down, b.Name())
		}
	}
	return verdict(CheckBricks, outcome.Bad, down != nil, fmt.Sprintf("all %d bricks run", len(v.Bricks)),
		"down: "+strings.Join(down, ", ")+"; when it returns, the heal would write the data back into stubs",
		v.startBricks())
}

// startBricks starts those that are down, and no others.
func (v *Volume) startBricks() string {
	return "gluster volume start " + v.Name + " force; then wait for the heal"
}

func (v *Volume) checkHeals() outcome.Check {
	pending, healing := 0, 0
	var silent []string
	for _, h := range v.Heals {
		pending, healing = pending+h.Pending, healing+h.Healing
		if !h.Connected {
			silent = append(silent, h.Brick)
		}
	}
	fix := "gluster volume heal " + v.Name + "; then wait until gluster volume heal " + v.Name + " info summary counts nothing"
	switch {
	case silent != nil:
		return outcome.Check{Name: CheckHeals, Verdict: outcome.Bad, Reason: "what is to heal cannot be told by " + strings.Join(silent, ", "), Fix: v.startBricks()}
	case pending > 0:
		return outcome.Check{Name: CheckHeals, Verdict: outcome.Bad, Reason: fmt.Sprintf("%d entries wait for a heal", pending), Fix: fix}
	}
	// Also what is only being written shows up there; each file is looked at
	// again before it is stamped.
	return verdict(CheckHeals, outcome.Warning, healing > 0, "nothing to heal", fmt.Sprintf("%d entries are in use or being healed", healing), fix)
}

func (v *Volume) checkSplitBrain() outcome.Check {
	n := 0
	for _, h := range v.Heals {
		n += h.SplitBrain
	}
	return verdict(CheckSplitBrain, outcome.Bad, n > 0, "no split-brain", fmt.Sprintf("%d entries are in split-brain", n),
		"gluster volume heal "+v.Name+" info split-brain; then choose the good copy of each")
}

func (v *Volume) checkTasks() outcome.Check {
	var busy []string
	for _, t := range v.Status.Tasks {
		if t.Busy() {
			busy = append(busy, t.Type+" ("+t.Text+")")
		}
	}
	return verdict(CheckRebalance, outcome.Bad, busy != nil, "no rebalance or remove-brick is under way",
		"under way: "+strings.Join(busy, ", ")+": files move between bricks", "wait until it is completed; commit or stop a remove-brick")
}

func (v *Volume) checkUntested() outcome.Check {
	return verdict(CheckUntested, outcome.Warning, v.SnapshotCount > 0, "no snapshots",
		fmt.Sprintf("%d snapshots keep the space of what is archived", v.SnapshotCount), "")
}

// NotAsked is the check to show in place of a Volume's when Discover has failed
// with cause: it says what is not known then.
func NotAsked(cause error) outcome.Check {
	return outcome.Check{Name: CheckCluster, Verdict: outcome.Warning, Reason: fmt.Sprintf("%v: heals, split-brain, rebalance, remove-brick and the bricks of this host are not known", cause),
		Fix: "run it on a server of the volume, where glusterd runs"}
}
