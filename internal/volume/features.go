package volume

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/outcome"
)

// feature is one of Gluster's that does not go together with stubs, or not well.
// All of them are translators of the bricks: a client's graph shows none (measured
// on 10.3), so only servers can tell.
type feature struct {
	check   string
	option  string            // of the volume, where glusterd is asked
	xlator  string            // in the volume file of a brick, where it is not
	key     string            // of that translator's options
	on      func(string) bool // whether a value turns the feature on; "" is what is not set
	verdict outcome.Verdict
	reason  string // what is wrong
	fix     string // what to do; %s is the volume
}

var features = []feature{
	{CheckBitrot, "features.bitrot", "features/bitrot-stub", "bitrot", notOff, outcome.Bad,
		"features.bitrot is on: archiving does not renew a file's signature, so the next scrub marks every archived file " +
			"as damaged, and nobody can read or recall it",
		"gluster volume bitrot %s disable"},
	{CheckWORM, "features.worm", "features/worm", "worm", notOff, outcome.Bad,
		"features.worm is on: the volume accepts no writes to existing files, so no archived file could be recalled",
		"gluster volume set %s features.worm off"},
	{CheckWORMFiles, "features.worm-file-level", "features/worm", "worm-file-level", notOff, outcome.Bad,
		"features.worm-file-level is on: the volume accepts no writes to files that have not changed for a while, so no archived file could be recalled",
		"gluster volume set %s features.worm-file-level off"},
	{CheckReadOnly, "features.read-only", "features/read-only", "read-only", notOff, outcome.Bad,
		"features.read-only is on: the volume accepts no writes",
		"gluster volume set %s features.read-only off"},
	{CheckSimpleQuota, "feature.simple-quota-pass-through", "features/simple-quota", "pass-through", gluster.IsOff, outcome.Bad,
		"simple-quota is on: it never sees the space that archiving frees, and counts it again with each recall, until nobody can write",
		"gluster volume set %s feature.simple-quota-pass-through true"},
	{CheckQuota, "features.quota", "features/quota", "server-quota", notOff, outcome.Warning,
		"features.quota is on: an archived file may still count with its full size, and a recall fails where the limit leaves no room for it",
		"raise the limits, or exclude the directories that have one"},
	{CheckGeoReplication, "geo-replication.indexing", "features/marker", "xtime", notOff, outcome.Bad,
		geoReason, geoMend},
	mandatoryLocking,
}

// mandatoryLocking is measured for "forced" only; nobody has tried "file".
var mandatoryLocking = feature{CheckMandatoryLocking, "locks.mandatory-locking", "features/locks", "mandatory-locking",
	func(value string) bool { return notOff(value) && value != "optimal" }, outcome.Bad,
	"locks.mandatory-locking is neither off nor optimal: a recall would wait for the lock that it holds itself, for ever",
	"gluster volume set %s locks.mandatory-locking off"}

const (
	geoReason = "geo-replication is on: it copies the marks of an archived file onto the whole file of the secondary, which nobody can read then"
	geoMend   = "gluster volume geo-replication %s SECONDARY config sync-xattrs false; " +
		"or, without any session, gluster volume set %[1]s geo-replication.indexing off"
)

// notOff takes a word that nobody knows for "on".
func notOff(value string) bool { return value != "" && !gluster.IsOff(value) }

// judgeFeatures judges all features by one source of values.
func judgeFeatures(volume string, value func(feature) string) []outcome.Check {
	var checks []outcome.Check
	for _, f := range features {
		checks = append(checks, f.judge(volume, value(f)))
	}
	return checks
}

func (f feature) judge(volume, value string) outcome.Check {
	fix := f.fix
	if strings.Contains(fix, "%") {
		fix = fmt.Sprintf(fix, orVolume(volume))
	}
	return verdict(f.check, f.verdict, f.on(value), string(f.check)+" is off", f.reason, fix)
}

// checkFeatures judges by the volume's options, and each geo-replication session by
// its own.
func (v *Volume) checkFeatures() []outcome.Check {
	checks := judgeFeatures(v.Name, func(f feature) string { return v.Options.Get(f.option) })
	for i, c := range checks {
		if c.Name == CheckGeoReplication && c.Verdict == outcome.Bad {
			checks[i] = v.checkGeoReplication(c)
		}
	}
	return checks
}

// checkGeoReplication makes a warning of the failed check if every session is known
// to leave attributes alone.
func (v *Volume) checkGeoReplication(failed outcome.Check) outcome.Check {
	if v.GeoSessions == nil {
		return failed
	}
	var fixes []string
	for _, s := range v.GeoSessions {
		if !s.KeepsXattrs {
			fixes = append(fixes, fmt.Sprintf("gluster volume geo-replication %s %s config sync-xattrs false", v.Name, s.Secondary))
		}
	}
	if fixes != nil {
		failed.Fix = strings.Join(fixes, "; ")
		return failed
	}
	return outcome.Check{Name: CheckGeoReplication, Verdict: outcome.Warning, Reason: "geo-replication is on, with sync-xattrs off: a file that is archived before it was " +
		"replicated reaches the secondary only after its recall", Fix: "archive only what the secondary has: let --older-than be longer than it is ever behind"}
}

// geoSessions asks about the sessions of a volume that may have some. nil: none is
// known, since glusterd answers alike whether there is none or it cannot tell.
func geoSessions(ctx context.Context, name string) ([]gluster.GeoSession, error) {
	sessions, err := askGeo(ctx, gluster.ParseGeoSessions, name, "status")
	if err != nil {
		return nil, ctx.Err()
	}
	for i, s := range sessions {
		value, err := askGeo(ctx, gluster.ParseGeoSyncXattrs, name, s.Secondary, "config", "sync-xattrs")
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		sessions[i].KeepsXattrs = err == nil && gluster.IsOff(value)
	}
	return sessions, nil
}

// askGeo asks again when gluster gives no reason for its failure, which may be that
// the cluster is busy.
func askGeo[T any](ctx context.Context, parse func([]byte) (T, error), name string, args ...string) (T, error) {
	const tries = 5
	for try := 1; ; try++ {
		answer, err := askXML(ctx, parse, append([]string{"volume", "geo-replication", name}, args...)...)
		var cli *gluster.CLIError
		if err == nil || errors.As(err, &cli) || try == tries {
			return answer, err
		}
		select {
		case <-ctx.Done():
			return answer, err
		case <-time.After(busyPause/2 + rand.N(busyPause)):
		}
	}
}

// WORMOff reports whether glusterd of this host says that the volume does not keep
// file-level WORM. false: it does, or nobody can tell.
func WORMOff(ctx context.Context, name string) bool {
	value, err := askOption(ctx, name, "features.worm-file-level")
	return err == nil && gluster.IsOff(value)
}

// Recallable is an *UnsafeError if glusterd of this host says that a recall onto the
// volume would never end. Any other error means that it cannot be asked.
func Recallable(ctx context.Context, name string) error {
	value, err := askOption(ctx, name, mandatoryLocking.option)
	if err != nil {
		return err
	}
	if c := mandatoryLocking.judge(name, value); c.Verdict == outcome.Bad {
		return &UnsafeError{Checks: []outcome.Check{c}, Recall: true}
	}
	return nil
}

// askOption asks glusterd of this host for one option of a volume.
func askOption(ctx context.Context, name, option string) (string, error) {
	if !volumeName.MatchString(name) {
		return "", fmt.Errorf("%q is not a valid name of a volume", name)
	}
	options, err := askXML(ctx, gluster.ParseVolumeOptions, "volume", "get", name, option)
	return options.Get(option), err
}

// glusterdVolumes is where glusterd of this host keeps the volume files of bricks.
const glusterdVolumes = "/var/lib/glusterd/vols"

// Names are the volumes that glusterd of this host has, as far as this process may know.
func Names() (names []string) {
	entries, _ := os.ReadDir(glusterdVolumes) // without it there are none
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names
}

// CheckFeatures judges by the brick's own volume file, for when glusterd cannot be
// asked.
func (b *Brick) CheckFeatures() []outcome.Check {
	graph, err := b.graph(glusterdVolumes)
	switch {
	case err != nil:
		return []outcome.Check{{Name: CheckUntested, Verdict: outcome.Bad, Reason: fmt.Sprintf("which features of Gluster are on is not known: %v", err), Fix: "start glusterd"}}
	case graph == nil:
		return []outcome.Check{{Name: CheckUntested, Verdict: outcome.Warning, Reason: "glusterd has no volume file of brick " + b.Dir() + ": whether bit-rot detection, WORM, " +
			"quota or geo-replication are on is not known", Fix: "make sure that they are off"}}
	}
	return featuresOf(graph)
}

// featuresOf judges by the graph of a brick, whose translators begin with the name of
// the volume.
func featuresOf(graph gluster.Graph) []outcome.Check {
	volume := strings.TrimSuffix(graph.Of(gluster.TypePosix)[0].Name, "-posix")
	return judgeFeatures(volume, func(f feature) string {
		for _, x := range graph.Of(f.xlator) {
			return x.Option(f.key)
		}
		return ""
	})
}

// graph finds the brick's volume file among those of glusterd, nil if it has none.
func (b *Brick) graph(vols string) (gluster.Graph, error) {
	own, err := b.fd.Stat()
	if err != nil {
		return nil, err
	}
	files, err := filepath.Glob(vols + "/*/*.vol")
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) {
			continue // the volume was deleted just now
		}
		if err != nil {
			return nil, err
		}
		graph, err := gluster.ParseVolfile(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		for _, x := range graph.Of(gluster.TypePosix) {
			// The brick may be named otherwise here, by a symlink for one.
			dir, err := os.Stat(x.Option("directory"))
			if err == nil && os.SameFile(dir, own) && x.Option("volume-id") == b.VolumeID {
				return graph, nil
			}
		}
	}
	return nil, nil
}
