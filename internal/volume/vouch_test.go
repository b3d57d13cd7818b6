package volume

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/testkit"
)

// Two servers, s1 and s2, have a brick each; what has an address from .100 is a client.
func TestWhoIsGuarded(t *testing.T) {
	const s1, s2, c1, c2 = "10.0.0.1", "10.0.0.2", "10.0.0.101", "10.0.0.102"
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	type names = map[string]int
	for what, tt := range map[string]struct {
		first, second string // connections to each brick
		names         names  // of those to the first
		daemons       int    // of each server
		vouches       map[string]time.Duration
		want          string // the hosts that are not guarded
	}{
		"nobody":                                        {},
		"a client without a vouch":                      {c1, c1, names{"fuse": 1}, 0, nil, c1},
		"a client with one":                             {c1, c1, names{"fuse": 1}, 0, map[string]time.Duration{c1: 0}, ""},
		"with one of long ago":                          {c1, c1, names{"fuse": 1}, 0, map[string]time.Duration{c1: -37 * time.Hour}, c1},
		"with one of the future":                        {c1, c1, names{"fuse": 1}, 0, map[string]time.Duration{c1: 13 * time.Hour}, c1},
		"one of two":                                    {c1 + " " + c2, c1 + " " + c2, names{"fuse": 2}, 0, map[string]time.Duration{c1: 0}, c2},
		"connected to one brick alone":                  {"", c2, nil, 0, nil, c2},
		"the vouch of another host":                     {c1, c1, names{"fuse": 1}, 0, map[string]time.Duration{c2: 0}, c1},
		"a client that says that it is a private mount": {c1, c1, names{"coldbrick": 1}, 0, nil, c1},

		"self-heal daemons":              {s1 + " " + s2, s1 + " " + s2, names{"glustershd": 2}, 1, nil, ""},
		"a mount on a server":            {s1 + " " + s2 + " " + s2, s1 + " " + s2 + " " + s2, names{"glustershd": 2, "fuse": 1}, 1, nil, s2},
		"a private mount on a server":    {s1 + " " + s2 + " " + s2, s1 + " " + s2 + " " + s2, names{"glustershd": 2, "coldbrick": 1}, 1, nil, ""},
		"a rebalance":                    {s1 + " " + s2, s1 + " " + s2, names{"rebalance": 2}, 0, nil, ""},
		"both kinds of mounts":           {s1 + " " + s2 + " " + s2, "", names{"coldbrick": 1, "fuse": 2}, 0, nil, s1 + " " + s2},
		"names are not known":            {s1 + " " + s2, "", nil, 0, nil, s1 + " " + s2},
		"a guarded mount on a server":    {s1 + " " + s1 + " " + s2, "", names{"glustershd": 2, "fuse": 1}, 1, map[string]time.Duration{s1: 0}, ""},
		"a server that is not mounted":   {s2 + " " + s2, "", names{"fuse": 1, "glustershd": 1}, 1, map[string]time.Duration{s1: 0}, s2},
		"loopback is the brick's server": {"127.0.0.1", "127.0.0.1", names{"fuse": 1}, 0, map[string]time.Duration{s1: 0}, "127.0.0.1"},
	} {
		c := clients{
			named: brickKey("id1", "/b1"), names: tt.names, vouches: vouches{},
			servers: map[netip.Addr]string{netip.MustParseAddr(s1): "id1", netip.MustParseAddr(s2): "id2"},
			daemons: map[string]int{"id1": tt.daemons, "id2": tt.daemons},
		}
		for i, from := range []string{tt.first, tt.second} {
			b := gluster.BrickClients{HostUUID: fmt.Sprint("id", i+1), Dir: fmt.Sprint("/b", i+1)}
			for _, text := range strings.Fields(from) {
				b.From = append(b.From, netip.MustParseAddr(text))
			}
			c.bricks = append(c.bricks, b)
		}
		for from, at := range tt.vouches {
			c.vouches[netip.MustParseAddr(from)] = gluster.Vouch{Time: now.Add(at), Guard: "1", Glusterfs: "10.3"}
		}
		var unguarded []string
		for _, h := range c.judge(now) {
			if !h.vouched && !h.daemons {
				unguarded = append(unguarded, h.name)
			}
		}
		if got := strings.Join(unguarded, " "); got != tt.want {
			t.Errorf("%s: %q are not guarded, want %q", what, got, tt.want)
		}
	}
}

// Vouches are read from the brick, and removed through a mount when they are old.
func TestVouchesOfClientsThatHaveGoneAreRemoved(t *testing.T) {
	v := testkit.NewVolume(t)
	now := time.Now()
	for client, at := range map[string]time.Time{
		"10.0.0.1": now, "10.0.0.2": now.Add(-6 * 24 * time.Hour), "10.0.0.3": now.Add(-8 * 24 * time.Hour), "fe80::7": now,
	} {
		vouch := gluster.Vouch{Time: at, Guard: "1", Glusterfs: "10.3"}
		testkit.SetXattr(t, v.MountDir(), gluster.VouchName(netip.MustParseAddr(client)), string(vouch.Encode()))
	}
	testkit.SetXattr(t, v.MountDir(), gluster.XattrVouch+"10.0.0.4", "nonsense")
	testkit.SetXattr(t, v.MountDir(), gluster.XattrVouch+"nobody", "not an address: not ours")

	mounted, err := OpenRoot(v.MountDir())
	if err != nil {
		t.Fatal(err)
	}
	defer mounted.Close()
	if err := mounted.SweepVouches(now); err != nil {
		t.Fatal(err)
	}
	brick, err := OpenBrick(v.BrickDir())
	if err != nil {
		t.Fatal(err)
	}
	defer brick.Close()
	left, err := brick.vouches()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for client := range left {
		got = append(got, client.String())
	}
	slices.Sort(got)
	if want := []string{"10.0.0.1", "10.0.0.2", "fe80::7"}; !slices.Equal(got, want) {
		t.Errorf("left are %v, want %v", got, want)
	}
	if _, ok := testkit.Xattrs(t, v.BrickDir())[gluster.XattrVouch+"nobody"]; !ok {
		t.Error("an attribute that is no vouch was removed")
	}
}

// A brick that glusterd knows has clients that only glusterd can tell of.
func TestWithoutGlusterdNoClientIsKnown(t *testing.T) {
	b := stateless(t)
	if c, err := b.CheckClients(os.ErrNotExist); err != nil || c.Verdict != outcome.Warning || c.Name != CheckUnguarded {
		t.Errorf("a brick without glusterd: %+v, %v", c, err)
	}
}

func stateless(t *testing.T) *Brick {
	t.Helper()
	b, err := OpenBrick(testkit.NewVolume(t).BrickDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}
