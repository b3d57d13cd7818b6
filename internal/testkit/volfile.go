package testkit

import (
	"fmt"
	"strings"
)

// volfile writes a graph of translators in GlusterFS's own language, from the
// bottom up.
type volfile struct{ strings.Builder }

// add appends one translator. options are "name value" each.
func (f *volfile) add(name, kind string, options []string, subvolumes ...string) string {
	fmt.Fprintf(f, "volume %s\n    type %s\n", name, kind)
	for _, o := range options {
		fmt.Fprintf(f, "    option %s\n", o)
	}
	if len(subvolumes) > 0 {
		fmt.Fprintf(f, "    subvolumes %s\n", strings.Join(subvolumes, " "))
	}
	f.WriteString("end-volume\n\n")
	return name
}

// brickGraph is what glusterd would write for a brick, less what plays no part
// here (changelog, quota, threads, barriers).
func (v *Volume) brickGraph(b *brick) string {
	ctime := "on"
	if v.ctimeOff {
		ctime = "off"
	}
	var f volfile
	top := f.add(v.name+"-posix", "storage/posix", []string{
		"directory " + b.dir,
		"volume-id " + v.ID,
		"ctime " + ctime,
		"gfid2path on",
	})
	top = f.add(v.name+"-locks", "features/locks", nil, top)
	if !b.keeps {
		top = f.add(v.name+"-arbiter", "features/arbiter", nil, top)
	}
	if v.replica > 1 {
		index := b.dir + "/.glusterfs/indices"
		top = f.add(v.name+"-index", "features/index", []string{
			"index-base " + index,
			"xattrop64-watchlist trusted.afr.dirty,trusted.afr." + v.name + "-",
			"xattrop-dirty-watchlist trusted.afr.dirty",
			"xattrop-pending-watchlist trusted.afr." + v.name + "-",
		}, top)
	}
	top = f.add(b.dir, "debug/io-stats", nil, top)
	f.add(v.name+"-server", "protocol/server", []string{
		"transport-type socket",
		"transport.address-family unix",
		"transport.socket.listen-path " + b.socket,
		"auth.addr." + b.dir + ".allow *",
	}, top)
	return f.String()
}

// clientGraph is what glusterd would write for a mount, less the performance
// translators that were not asked for.
func (v *Volume) clientGraph(m *mountConfig) string {
	var f volfile
	var clients []string
	for i, b := range v.bricks {
		socket := b.socket
		if m.without[i] {
			socket += ".away"
		}
		options := []string{
			"transport-type socket",
			"transport.address-family unix",
			"transport.socket.connect-path " + socket,
			"remote-host localhost",
			"remote-subvolume " + b.dir,
			"ping-timeout 42",
		}
		if m.strictLocks {
			options = append(options, "strict-locks on")
		}
		clients = append(clients, f.add(b.client, "protocol/client", options))
	}
	sets := clients
	if v.replica > 1 {
		sets = nil
		for i := 0; i < len(clients); i += v.replica {
			set := clients[i : i+v.replica]
			options := []string{"volume-id " + v.ID, "afr-pending-xattr " + strings.Join(set, ",")}
			if v.arbiter {
				options = append(options, "arbiter-count 1")
			}
			if m.selfHeal {
				options = append(options, "iam-self-heal-daemon yes", "self-heal-daemon enable", "heal-timeout 5",
					"data-self-heal on", "metadata-self-heal on", "entry-self-heal on")
			}
			sets = append(sets, f.add(fmt.Sprintf("%s-replicate-%d", v.name, len(sets)), "cluster/replicate", options, set...))
		}
	}
	if m.selfHeal {
		f.add("glustershd", "debug/io-stats", nil, sets...)
		return f.String()
	}
	if m.parallelReaddir {
		for i, set := range sets {
			sets[i] = f.add(fmt.Sprintf("%s-readdir-ahead-%d", v.name, i), "performance/readdir-ahead", nil, set)
		}
	}
	top := f.add(v.name+"-dht", "cluster/distribute", []string{"lock-migration off"}, sets...)
	if !m.noCloudsync {
		top = f.add(v.name+"-cloudsync", "features/cloudsync", append([]string{"cloudsync on"}, m.cloudsync...), top)
	}
	if !v.ctimeOff {
		noatime := "on"
		if v.atime {
			noatime = "off"
		}
		top = f.add(v.name+"-utime", "features/utime", []string{"noatime " + noatime}, top)
	}
	if m.performance {
		for _, name := range []string{"write-behind", "open-behind", "md-cache", "io-threads"} {
			top = f.add(v.name+"-"+name, "performance/"+name, nil, top)
		}
	}
	if m.quickRead {
		top = f.add(v.name+"-quick-read", "performance/quick-read", nil, top)
	}
	f.add(v.name, "debug/io-stats", nil, top)
	return f.String()
}
