package volume

import (
	"cmp"
	"debug/buildinfo"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/outcome"
)

// What is checked: stable words, as doctor and errors show them. docs/safety.md says what each protects from.
const (
	CheckCloudsync    = "cloudsync"
	CheckQuickRead    = "quick-read"
	CheckReaddir      = "parallel-readdir"
	CheckCtime        = "ctime"
	CheckShard        = "shard"
	CheckDisperse     = "disperse"
	CheckThinArbiter  = "thin-arbiter"
	CheckTimeouts     = "mount-timeouts"
	CheckBricks       = "bricks-up"
	CheckVersion      = "glusterfs-version"
	CheckPlugin       = "recall-plugin"
	CheckEventThreads = "event-threads"
	CheckSecret       = "secret-in-volume"
	CheckSameVolume   = "brick-of-volume"
	CheckFreeSpace    = "free-space"
	CheckTimes        = "brick-times"
	CheckStarted      = "started"
	CheckHeals        = "heals"
	CheckSplitBrain   = "split-brain"
	CheckRebalance    = "rebalance"
	CheckUntested     = "untested-features"
	CheckCluster      = "cluster"

	CheckClientCaches = "client-caches"
	CheckClientProbe  = "client-probe"
	CheckClients      = "clients"
	CheckUnguarded    = "unguarded-clients"

	CheckBitrot         = "bit-rot"
	CheckWORM           = "worm"
	CheckWORMFiles      = "worm-file-level"
	CheckReadOnly       = "read-only"
	CheckQuota          = "quota"
	CheckSimpleQuota    = "simple-quota"
	CheckGeoReplication = "geo-replication"

	CheckMandatoryLocking = "mandatory-locking"
)

// UnsafeError says why files must not be stamped, or recalled onto the volume.
type UnsafeError struct {
	Checks []outcome.Check
	Recall bool
}

func (e *UnsafeError) Error() string {
	var reasons []string
	for _, c := range e.Checks {
		reason := fmt.Sprintf("%s: %s", c.Name, c.Reason)
		if c.Fix != "" {
			reason += " (to fix it: " + c.Fix + ")"
		}
		reasons = append(reasons, reason)
	}
	what := "archive"
	if e.Recall {
		what = "recall"
	}
	return "not safe to " + what + ": " + strings.Join(reasons, "; ")
}

// Unsafe is nil if no check has failed, and else an *UnsafeError of those that
// have.
func Unsafe(checks []outcome.Check) error {
	var failed []outcome.Check
	for _, c := range checks {
		if c.Verdict == outcome.Bad {
			failed = append(failed, c)
		}
	}
	if failed == nil {
		return nil
	}
	return &UnsafeError{Checks: failed}
}

// Checks judges the graph: whether what is in it, or missing, makes stamping
// lose or strand data.
func (m *Mount) Checks() []outcome.Check {
	set := func(option, value string) string {
		return fmt.Sprintf("gluster volume set %s %s %s", orVolume(m.Volume), option, value)
	}
	return []outcome.Check{
		m.checkCloudsync(set("features.cloudsync", "on")),
		m.checkQuickRead(set("performance.quick-read", "off")),
		m.checkReaddir(set("performance.parallel-readdir", "off")),
		m.checkCtime(set("features.ctime", "on")),
		absent(m.Graph, CheckShard, gluster.TypeShard, "",
			"features.shard is on: a stamp frees only the first shard of a file, and the rest is read as if nothing had happened"),
		absent(m.Graph, CheckDisperse, gluster.TypeDisperse, "",
			"it is a disperse volume: a stub notes the size of a fragment, and no plugin can recall it"),
		m.checkThinArbiter(),
		m.checkTimeouts(),
		m.checkVersion(),
		m.checkPlugin(),
		m.checkEventThreads(set("client.event-threads", "32")),
		m.checkSecret(),
	}
}

func orVolume(name string) string {
	if name == "" {
		return "VOLUME"
	}
	return name
}

func verdict(name string, bad outcome.Verdict, isBad bool, good, reason, fix string) outcome.Check {
	if !isBad {
		return outcome.Check{Name: name, Verdict: outcome.OK, Reason: good}
	}
	return outcome.Check{Name: name, Verdict: bad, Reason: reason, Fix: fix}
}

func absent(g gluster.Graph, name string, xlatorType, fix, reason string) outcome.Check {
	return verdict(name, outcome.Bad, g.Has(xlatorType), "no "+xlatorType+" in the graph", reason, fix)
}

func (m *Mount) checkCloudsync(fix string) outcome.Check {
	on := false
	for _, x := range m.Graph.Of(gluster.TypeCloudsync) {
		on = gluster.IsOn(x.Option("cloudsync"))
	}
	return verdict(CheckCloudsync, outcome.Bad, !on, "features.cloudsync is on",
		"features.cloudsync is off: nothing keeps readers from taking a stub for an empty file", fix)
}

func (m *Mount) checkQuickRead(fix string) outcome.Check {
	return absent(m.Graph, CheckQuickRead, gluster.TypeQuickRead, fix,
		"performance.quick-read is on: reading a stub returns memory of the client instead of data, or kills it")
}

// checkReaddir fails also where coldbrick's guard is: an older one does not know of this,
// and while a directory is listed, readdir-ahead keeps what a brick says of a stub upon
// fchmod or futimes.
func (m *Mount) checkReaddir(fix string) outcome.Check {
	return verdict(CheckReaddir, outcome.Bad, m.Graph.Under(gluster.TypeReaddirAhead, gluster.TypeCloudsync), "performance.parallel-readdir is off",
		"performance.parallel-readdir is on: a directory is read ahead below cloudsync, so a listing shows stubs as empty files, and what copies or moves them then loses their data", fix)
}

func (m *Mount) checkCtime(fix string) outcome.Check {
	return verdict(CheckCtime, outcome.Bad, !m.Graph.Has(gluster.TypeUtime), "features.ctime is on",
		"features.ctime is off: users would see the time of archiving as that of the last change", fix)
}

func (m *Mount) checkThinArbiter() outcome.Check {
	thin := false
	for _, x := range m.Graph.Of(gluster.TypeReplicate) {
		thin = thin || x.Option("thin-arbiter") != ""
	}
	return verdict(CheckThinArbiter, outcome.Bad, thin, "no thin arbiter", "nobody has tried this with a thin arbiter", "")
}

// maxTimeout is how stale the answers of a mount may be: what Gluster has by
// default. A brick that restarted records an empty key for a file whose path it
// was not asked for again.
const maxTimeout = time.Second

func (m *Mount) checkTimeouts() outcome.Check {
	return verdict(CheckTimeouts, outcome.Bad, max(m.AttributeTimeout, m.EntryTimeout) > maxTimeout,
		fmt.Sprintf("attributes are cached for %v, entries for %v", m.AttributeTimeout, m.EntryTimeout),
		fmt.Sprintf("the mount %s caches attributes for %v and entries for %v: it may show files as they were", m.Dir, m.AttributeTimeout, m.EntryTimeout),
		"mount with -o attribute-timeout=0,entry-timeout=0; 1 will do where coldbrick's plugin guards the mount (coldbrick doctor --client)")
}

// checkVersion judges the client that coldbrick works through. No brick tells a
// client its version.
func (m *Mount) checkVersion() outcome.Check {
	seen := "the client on this host is glusterfs " + cmp.Or(m.Version, "of an unknown version") + "; bricks do not tell theirs"
	return verdict(CheckVersion, outcome.Bad, !gluster.IsQualified(m.Version), seen,
		seen+": coldbrick was tested with "+strings.Join(gluster.Qualified, ", "),
		"install one of these on every server and client, or set allow-unqualified-version after the tests of docs/porting.md")
}

// checkPlugin looks for the library that brings data back when a stub is read.
func (m *Mount) checkPlugin() outcome.Check {
	storetype := m.Graph.Storetype()
	install := "install the package coldbrick-gluster-plugin on every client of the volume"
	if storetype == "" {
		return outcome.Check{Name: CheckPlugin, Verdict: outcome.Warning, Reason: "the volume has no recall plugin: reading a stub fails with EREMOTE until " +
			"`coldbrick recall`, and on GlusterFS 10 changing a volume option can crash mounted clients (change options while unmounted)",
			Fix: install + ", then gluster volume set " + orVolume(m.Volume) + " features.cloudsync-storetype " + gluster.StoreS3}
	}
	path, err := pluginPath(storetype, m.Version)
	if err != nil {
		return outcome.Check{Name: CheckPlugin, Verdict: outcome.Warning, Reason: fmt.Sprintf("storetype is %s, but on this host %v: reading a stub here fails, and "+
			"changing a volume option can crash the client", storetype, err), Fix: install}
	}
	built, err := buildinfo.ReadFile(path)
	if err != nil || !strings.HasPrefix(built.Path, "github.com/coldbrick/coldbrick/") {
		return outcome.Check{Name: CheckPlugin, Verdict: outcome.Warning, Reason: path + " is not coldbrick's: Gluster's own S3 plugin is known to lose data " +
			"when a transfer is cut or several run at once", Fix: install}
	}
	return outcome.Check{Name: CheckPlugin, Verdict: outcome.OK, Reason: path + " is coldbrick's"}
}

// pluginPath is where the glusterfs of that version loads a plugin from.
func pluginPath(storetype, version string) (string, error) {
	if strings.Contains(storetype, "/") {
		return "", errors.New("not a valid library name")
	}
	dirs, err := filepath.Glob("/usr/lib*/glusterfs/" + version + "/cloudsync-plugins")
	if err != nil {
		return "", err
	}
	multiarch, err := filepath.Glob("/usr/lib/*/glusterfs/" + version + "/cloudsync-plugins")
	if err != nil {
		return "", err
	}
	if dirs = append(dirs, multiarch...); len(dirs) == 0 {
		return "", fmt.Errorf("glusterfs %s has no directory cloudsync-plugins", version)
	}
	for _, dir := range dirs {
		path := filepath.Join(dir, storetype+".so")
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("there is no %s.so in %s", storetype, dirs[0])
}

func (m *Mount) checkEventThreads(fix string) outcome.Check {
	threads := 2 // the default of client.event-threads
	for _, x := range m.Graph.Of(gluster.TypeClient) {
		if n, err := strconv.Atoi(x.Option("event-threads")); err == nil {
			threads = n
		}
	}
	return verdict(CheckEventThreads, outcome.Warning, m.Graph.Storetype() != "" && threads < 4,
		fmt.Sprintf("client.event-threads is %d", threads),
		fmt.Sprintf("client.event-threads is %d: as many recalls at once hang a mount until the plugin has added threads, "+
			"which only coldbrick's does", threads), fix)
}

func (m *Mount) checkSecret() outcome.Check {
	secret := false
	for _, x := range m.Graph.Of(gluster.TypeCloudsync) {
		secret = x.Option("s3plugin-seckey") != ""
	}
	return verdict(CheckSecret, outcome.Warning, secret, "no S3 secret among the volume's options",
		"the S3 secret is in the volume's options: `gluster volume info`, logs and every client show it",
		fmt.Sprintf("move it to /etc/coldbrick/%[1]s.toml, then gluster volume reset %[1]s features.s3plugin-seckey", orVolume(m.Volume)))
}

// CheckBricksUp asks the mount at m.Dir for the state of each brick.
func (m *Mount) CheckBricksUp() outcome.Check {
	err := m.children()
	return verdict(CheckBricks, outcome.Bad, err != nil, "every brick is connected", fmt.Sprint(err),
		"gluster volume start "+orVolume(m.Volume)+" force; then wait for the heal")
}

func (m *Mount) children() error {
	root, _, err := openMount(m.Dir)
	if err != nil {
		return err
	}
	defer root.Close()
	all, err := findChildren(root, m.Graph)
	if err != nil {
		return err
	}
	defer all.close()
	return all.check()
}

// ErrOtherVolume means that a brick is not one of the mounted volume's.
var ErrOtherVolume = errors.New("the brick is not of the mounted volume")

// CheckBrick looks whether a brick belongs to the volume of m. mounted is the
// root of any mount of it: the one at m.Dir, or a private one.
func (m *Mount) CheckBrick(b *Brick, mounted *Root) outcome.Check {
	err := m.sameVolume(b, mounted)
	return verdict(CheckSameVolume, outcome.Bad, err != nil, b.Dir()+" is a brick of the mounted volume", fmt.Sprint(err), "")
}

// VolumeID is the volume's id as far as the graph knows it, else "".
func (m *Mount) VolumeID() string {
	for _, x := range m.Graph {
		if id := x.Option("volume-id"); id != "" {
			return id
		}
	}
	return ""
}

// sameVolume compares ids, the brick's directory with those in the graph, and,
// since hosts and volumes may use the same directories, the identity of what is
// found under the same names on both sides.
func (m *Mount) sameVolume(b *Brick, mounted *Root) error {
	id := m.VolumeID()
	if id != "" && b.VolumeID != "" && id != b.VolumeID {
		return fmt.Errorf("%w: its volume id is %s, that of the mount %s", ErrOtherVolume, b.VolumeID, id)
	}
	if id == "" || b.VolumeID == "" {
		if err := m.brickInGraph(b.Dir()); err != nil {
			return err
		}
	}
	entries, err := b.Open(".", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer entries.Close()
	const probes = 64
	names, err := entries.Readdirnames(probes)
	if err != nil && len(names) > 0 {
		return err
	}
	same, missing := 0, ""
	for _, name := range names {
		if gluster.IsInternal(name) {
			continue
		}
		gfid, err := b.gfidOf(name)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODATA) { // or made without Gluster
			continue
		}
		if err != nil {
			return err
		}
		at, err := mounted.Open(name, unix.O_PATH|unix.O_NOFOLLOW)
		if errors.Is(err, fs.ErrNotExist) {
			missing = name
			continue
		}
		if err != nil {
			return err
		}
		st, err := StatOf(at)
		at.Close()
		if err != nil {
			return err
		}
		if st.Inode != gfid.Inode() {
			return fmt.Errorf("%w: %q is another file there", ErrOtherVolume, name)
		}
		same++
	}
	if same == 0 && missing != "" {
		return fmt.Errorf("%w: nothing of it is there, such as %q", ErrOtherVolume, missing)
	}
	return nil
}

func (m *Mount) brickInGraph(dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	resolved, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return err
	}
	clients := m.Graph.Of(gluster.TypeClient)
	for _, x := range clients {
		switch brick := filepath.Clean(x.Option("remote-subvolume")); {
		case !filepath.IsAbs(brick): // a name made up in a hand-written volume file
			return nil
		case brick == dir, brick == resolved:
			return nil
		}
	}
	return fmt.Errorf("%w: none of its %d bricks is %s", ErrOtherVolume, len(clients), dir)
}

// gfidOf reads the gfid of an entry of any type.
func (b *Brick) gfidOf(name string) (gluster.GFID, error) {
	at, err := b.Open(name, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return gluster.GFID{}, err
	}
	defer at.Close()
	var value [16]byte
	n, err := unix.Getxattr(procPath(at), gluster.XattrGFID, value[:]) // of an O_PATH handle only by name
	if err != nil {
		return gluster.GFID{}, &fs.PathError{Op: "getxattr " + gluster.XattrGFID, Path: name, Err: err}
	}
	return gluster.GFIDFromBytes(value[:n])
}

// DefaultReserve is that of the option storage.reserve, in percent.
const DefaultReserve = 1

// CheckFreeSpace looks whether the brick accepts attributes: once no more than
// storage.reserve is free, Gluster refuses every setxattr, and a stamp is one
// (seen on 10.3), though it would free space.
func (b *Brick) CheckFreeSpace(reservePercent float64) outcome.Check {
	var st unix.Statfs_t
	if err := unix.Fstatfs(b.Fd(), &st); err != nil {
		return outcome.Check{Name: CheckFreeSpace, Verdict: outcome.Bad, Reason: fmt.Sprintf("brick %s: %v", b.Dir(), err)}
	}
	free := 100 * float64(st.Bfree) / float64(max(st.Blocks, 1))
	return verdict(CheckFreeSpace, outcome.Bad, free <= reservePercent, fmt.Sprintf("%.1f %% of %s are free", free, b.Dir()),
		fmt.Sprintf("only %.1f %% of %s are free, and storage.reserve is %g %%: Gluster refuses to stamp", free, b.Dir(), reservePercent),
		"gluster volume set VOLUME storage.reserve 0")
}
