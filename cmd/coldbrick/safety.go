package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/report"
	"github.com/coldbrick/coldbrick/internal/volume"
)

// graphChecks judges a volume by the graph of a mount: whether stamping is safe
// there, and whether stubs can be read.
func (a *app) graphChecks(graph gluster.Graph) []report.Check {
	absent := func(name, xlator, why, hint string) report.Check {
		if graph.Has(xlator) {
			return report.Check{Name: name, Status: report.Bad, Detail: why, Hint: hint}
		}
		return report.Check{Name: name, Status: report.OK}
	}
	present := func(name, xlator, why, hint string) report.Check {
		if !graph.Has(xlator) {
			return report.Check{Name: name, Status: report.Bad, Detail: why, Hint: hint}
		}
		return report.Check{Name: name, Status: report.OK}
	}
	return []report.Check{
		present("cloudsync", gluster.TypeCloudsync, "features/cloudsync is not in the graph: a stamp would do nothing", "gluster volume set VOL features.cloudsync on"),
		present("ctime", gluster.TypeUtime, "features.ctime is off: replicas would disagree about times", "gluster volume set VOL features.ctime on"),
		absent("quick-read", gluster.TypeQuickRead, "quick-read answers reads of small stubs with zeros", "gluster volume set VOL performance.quick-read off"),
		absent("shard", gluster.TypeShard, "a sharded file is many files on the bricks", "no volume with features.shard can be archived"),
		absent("disperse", gluster.TypeDisperse, "a brick of a disperse volume holds fragments only", "no disperse volume can be archived"),
		a.pluginCheck(graph),
	}
}

// pluginLoaded reports whether clients recall by themselves.
func pluginLoaded(graph gluster.Graph) bool {
	for _, x := range graph.Of(gluster.TypeCloudsync) {
		if x.Option("cloudsync-storetype") != "" {
			return true
		}
	}
	return false
}

func (a *app) pluginCheck(graph gluster.Graph) report.Check {
	if pluginLoaded(graph) {
		return report.Check{Name: "plugin", Status: report.OK}
	}
	c := report.Check{Name: "plugin", Status: report.Warning,
		Detail: "no store plugin in the graph: reading a stub fails with EREMOTE until coldbrick recall",
		Hint:   "gluster volume set VOL features.cloudsync-storetype cloudsyncs3"}
	if a.requirePlugin {
		c.Status, c.Detail = report.Bad, "require_plugin is set, and no store plugin is in the graph"
	}
	return c
}

// unsafe is an error that names the checks that failed, nil if none did.
func unsafe(checks []report.Check) error {
	var bad []string
	for _, c := range checks {
		if c.Status == report.Bad {
			bad = append(bad, fmt.Sprintf("%s: %s", c.Name, c.Detail))
		}
	}
	if len(bad) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s", errUnsafe, strings.Join(bad, "; "))
}

// belongTogether makes sure that brick is one of the volume that is mounted:
// entries of the brick's root have the same gfid on the mount. A brick without
// any has nothing to archive.
func belongTogether(brick *volume.Brick, mount *volume.Root) error {
	const enough = 16
	root, err := brick.Open(".", os.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer root.Close()
	same, asked := 0, 0
	for asked < enough {
		entries, err := root.ReadDir(64)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		for _, e := range entries {
			if gluster.IsInternal(e.Name()) || !e.IsDir() && !e.Type().IsRegular() || asked == enough {
				continue
			}
			switch match, err := sameFile(brick.Root, mount, e); {
			case errors.Is(err, fs.ErrNotExist): // perhaps deleted meanwhile
				asked++
			case err != nil:
				return err
			case match:
				same++
				asked++
			default:
				return fmt.Errorf("%w: %s is not a brick of the volume mounted: /%s is another file there",
					errUnsafe, brick.Dir(), report.Quote(e.Name()))
			}
		}
	}
	if asked > 0 && same == 0 {
		return fmt.Errorf("%w: %s is not a brick of the volume mounted: none of its files is there", errUnsafe, brick.Dir())
	}
	return nil
}

// sameFile compares the gfid of one name in both roots.
func sameFile(brick, mount *volume.Root, e fs.DirEntry) (bool, error) {
	open := func(r *volume.Root) (*os.File, error) {
		if e.IsDir() {
			return r.Open(e.Name(), os.O_RDONLY|unix.O_DIRECTORY)
		}
		return r.OpenRegular(e.Name())
	}
	below, err := open(brick)
	if err != nil {
		return false, err
	}
	defer below.Close()
	above, err := open(mount)
	if err != nil {
		return false, err
	}
	defer above.Close()
	raw, err := volume.Get(below, gluster.XattrGFID)
	if errors.Is(err, unix.ENODATA) { // not made through Gluster: nobody's evidence
		return false, fs.ErrNotExist
	}
	if err != nil {
		return false, err
	}
	want, err := gluster.GFIDFromBytes(raw)
	if err != nil {
		return false, err
	}
	got, err := volume.GFIDOf(above)
	return got == want, err
}
