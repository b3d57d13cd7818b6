package volume

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/outcome"
)

// vouchPatience is how long a client that has just mounted may take to vouch, and
// one of Gluster's short commands to go.
const (
	vouchPatience = 10 * time.Second
	vouchPause    = 500 * time.Millisecond
)

// vouches are what clients have left on the root of the volume, by address.
type vouches map[netip.Addr]gluster.Vouch

// vouches reads what clients have left. What cannot be read vouches for nobody.
func (r *Root) vouches() (vouches, error) {
	names, err := List(r.fd)
	if err != nil {
		return nil, err
	}
	all := vouches{}
	for _, name := range names {
		client, ok := gluster.VouchedBy(name)
		if !ok {
			continue
		}
		value, err := Get(r.fd, name)
		if errors.Is(err, unix.ENODATA) { // removed just now
			continue
		}
		if err != nil {
			return nil, err
		}
		if v, err := gluster.ParseVouch(value); err == nil {
			all[client] = v
		}
	}
	return all, nil
}

// staleVouch is when a vouch is removed: nobody has taken it into account for days.
const staleVouch = 7 * 24 * time.Hour

// SweepVouches removes what clients have left that have long gone, or have another
// address now.
func (r *Root) SweepVouches(now time.Time) error {
	names, err := List(r.fd)
	if err != nil {
		return err
	}
	for _, name := range names {
		if _, ok := gluster.VouchedBy(name); !ok {
			continue
		}
		value, err := Get(r.fd, name)
		if err == nil {
			v, parseErr := gluster.ParseVouch(value)
			if parseErr == nil && now.Sub(v.Time) < staleVouch {
				continue
			}
			err = RemoveAny(r.fd, name)
		}
		if err != nil && !errors.Is(err, unix.ENODATA) {
			return err
		}
	}
	return nil
}

// connected is a host with connections to the bricks.
type connected struct {
	name    string
	server  string         // id of a host that has bricks, else ""
	to      map[string]int // connections, by brick
	vouch   gluster.Vouch
	vouched bool // and the vouch counts
	daemons bool // only Gluster's own and coldbrick's
}

// clients is what is known about who is connected.
type clients struct {
	bricks  []gluster.BrickClients
	named   string         // a brick of which the names are known
	names   map[string]int // of its connections
	servers map[netip.Addr]string
	daemons map[string]int // connections of each server's daemons to every brick
	vouches vouches
}

func brickKey(hostUUID, dir string) string { return hostUUID + ":" + dir }

// judge tells of each connected host whether its mounts are guarded. Nothing says
// which connection is whose. So of a host that has a vouch all count as guarded, of
// one without any none, unless the host is a server: those have Gluster's daemons, one
// connection each, and the private mounts of coldbrick and the like, of which a brick
// knows the number.
func (c clients) judge(now time.Time) []*connected {
	hosts := map[string]*connected{}
	for _, b := range c.bricks {
		key := brickKey(b.HostUUID, b.Dir)
		for _, from := range b.From {
			server := c.servers[from]
			if from.IsLoopback() {
				server = b.HostUUID
			}
			id := cmp.Or(server, from.String())
			h := hosts[id]
			if h == nil {
				h = &connected{name: from.String(), server: server, to: map[string]int{}}
				hosts[id] = h
			}
			h.to[key]++
		}
	}
	for from, v := range c.vouches { // a server may have several: one that counts is enough
		h, fresh := hosts[cmp.Or(c.servers[from], from.String())], v.Fresh(now)
		if h != nil && (fresh && !h.vouched || fresh == h.vouched && v.Time.After(h.vouch.Time)) {
			h.vouch, h.vouched = v, fresh
		}
	}
	sorted := slices.SortedFunc(maps.Values(hosts), func(a, b *connected) int { return strings.Compare(a.name, b.name) })
	c.excuse(sorted)
	return sorted
}

// excuse finds the servers that have no users' mounts.
func (c clients) excuse(hosts []*connected) {
	floating := c.names[gluster.ProcessColdbrick] + c.names[gluster.ProcessRebalance] + c.names[gluster.ProcessSnapd]
	more := func(h *connected, brick string) int { return max(0, h.to[brick]-c.daemons[h.server]) }
	all := 0
	for _, h := range hosts {
		if h.server != "" && !h.vouched {
			all += more(h, c.named)
		}
	}
	for _, h := range hosts {
		if h.server == "" || h.vouched {
			continue
		}
		if h.daemons = all <= floating; more(h, c.named) == 0 { // then it must be so on every brick
			h.daemons = true
			for brick := range h.to {
				h.daemons = h.daemons && more(h, brick) == 0
			}
		}
	}
}

// CheckClients tells of each host that is connected whether its mounts are guarded,
// and then, as unguarded-clients, whether all are. bricks are some of this host's. A
// *gluster.CLIError may mean that nothing at all is connected to some brick.
func (v *Volume) CheckClients(ctx context.Context, bricks []*Brick) (checks []outcome.Check, err error) {
	hosts, err := v.guarded(ctx, bricks)
	if err != nil {
		return nil, err
	}
	var unguarded []string
	for _, h := range hosts {
		switch {
		case h.vouched:
			checks = append(checks, outcome.Check{Name: CheckClients, Verdict: outcome.OK, Reason: fmt.Sprintf("%s is guarded: version %s of the guard in glusterfs %s, as of %s",
				h.name, h.vouch.Guard, h.vouch.Glusterfs, h.vouch.Time.UTC().Format(time.RFC3339))})
		case h.daemons:
			checks = append(checks, outcome.Check{Name: CheckClients, Verdict: outcome.OK, Reason: h.name + " is a server without mounts of users"})
		default:
			what := h.name + " has no guard"
			if !h.vouch.Time.IsZero() {
				what = fmt.Sprintf("%s had the guard last at %s by its own clock", h.name, h.vouch.Time.UTC().Format(time.RFC3339))
			}
			unguarded = append(unguarded, h.name)
			checks = append(checks, outcome.Check{Name: CheckClients, Verdict: outcome.Warning, Reason: what + ": a stub may look empty there",
				Fix: "on " + h.name + ": install the package coldbrick-gluster-plugin and mount anew; then coldbrick doctor --client DIR there"})
		}
	}
	fix := "install the package coldbrick-gluster-plugin on them and mount anew"
	if v.Options.Get("features.cloudsync-storetype") != gluster.StoreS3 {
		fix = "install the package coldbrick-gluster-plugin on every client, then gluster volume set " + v.Name +
			" features.cloudsync-storetype " + gluster.StoreS3
	}
	return append(checks, verdict(CheckUnguarded, outcome.Bad, unguarded != nil, "every client is guarded",
		"no guard is known of in "+strings.Join(unguarded, ", ")+": after a chmod a stub looks empty there, and what copies or rewrites it then loses its data",
		fix+"; or set allow-unguarded-clients if you know that stubs are safe there")), nil
}

// NoClientsKnown is the check to show in place of those of CheckClients when that has
// failed with cause.
func NoClientsKnown(cause error) outcome.Check {
	return outcome.Check{Name: CheckUnguarded, Verdict: outcome.Bad, Reason: fmt.Sprintf("which clients are connected is not known: %v", cause),
		Fix: "start glusterd on this host, or set allow-unguarded-clients if you know that stubs are safe in every client"}
}

// CheckClients is for a brick about which glusterd cannot be asked, with the cause.
// Then only a brick that was made without glusterd can be one that nobody knows the
// clients of.
func (b *Brick) CheckClients(cause error) (outcome.Check, error) {
	graph, err := b.graph(glusterdVolumes)
	if err != nil || graph != nil {
		return outcome.Check{}, errors.Join(cause, err)
	}
	return outcome.Check{Name: CheckUnguarded, Verdict: outcome.Warning, Reason: "glusterd has no volume with the brick " + b.Dir() + ": which clients are connected is not known",
		Fix: "make sure that coldbrick's plugin is in each of them"}, nil
}

// guarded asks until every host is, or no more can be hoped for.
func (v *Volume) guarded(ctx context.Context, bricks []*Brick) ([]*connected, error) {
	for end := time.Now().Add(vouchPatience); ; {
		c, err := v.clients(ctx, bricks)
		if err != nil {
			return nil, err
		}
		hosts := c.judge(time.Now())
		safe := !slices.ContainsFunc(hosts, func(h *connected) bool { return !h.vouched && !h.daemons })
		if safe || time.Now().After(end) {
			return hosts, nil
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(vouchPause):
		}
	}
}

func (v *Volume) clients(ctx context.Context, bricks []*Brick) (c clients, err error) {
	if c.bricks, err = askXML(ctx, gluster.ParseVolumeClients, "volume", "status", v.Name, "clients"); err != nil {
		return c, err
	}
	for _, b := range v.Bricks {
		if v.Status.Online(b) && !slices.ContainsFunc(c.bricks, func(told gluster.BrickClients) bool {
			return told.HostUUID == b.HostUUID && told.Dir == b.Dir
		}) {
			return c, fmt.Errorf("glusterd does not tell the clients of brick %s", b.Name())
		}
	}
	c.vouches = vouches{}
	for _, b := range bricks {
		left, err := b.vouches()
		if err != nil {
			return c, fmt.Errorf("brick %s: %w", b.Dir(), err)
		}
		for from, vouch := range left {
			if vouch.Time.After(c.vouches[from].Time) {
				c.vouches[from] = vouch
			}
		}
	}
	c.servers, c.daemons = v.serverAddresses(ctx), map[string]int{}
	for _, b := range v.Bricks {
		c.daemons[b.HostUUID] = v.Status.Daemons(b.HostUUID)
		if c.named == "" && v.Status.Online(b) {
			c.named = brickKey(b.HostUUID, b.Dir)
			// Without an answer the servers have only the daemons that status names.
			if text, err := ask(ctx, "volume", "status", v.Name, b.Name(), "client-list"); err == nil {
				c.names, _ = gluster.ParseClientNames(text)
			}
		}
	}
	return c, nil
}

// serverAddresses are the addresses of hosts with bricks, as far as their names
// resolve here.
func (v *Volume) serverAddresses(ctx context.Context) map[netip.Addr]string {
	servers := map[netip.Addr]string{}
	for _, b := range v.Bricks {
		addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", b.Host)
		if err != nil {
			continue // one that is not known is taken for a client
		}
		for _, addr := range addrs {
			if addr = addr.Unmap().WithZone(""); !addr.IsLoopback() {
				servers[addr] = b.HostUUID
			}
		}
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		return servers
	}
	for _, a := range own {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil && !prefix.Addr().IsLoopback() {
			servers[prefix.Addr().Unmap().WithZone("")] = v.Host
		}
	}
	return servers
}
