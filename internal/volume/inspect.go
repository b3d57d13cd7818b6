package volume

import (
	"context"
	"encoding/json"
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
)

// Mount is what a mount of a Gluster volume says about itself, at one moment.
type Mount struct {
	Dir     string // where it is mounted; "" if the graph came from glusterd
	Volume  string // name of the volume; "" if the mount does not tell
	Version string // of the client's glusterfs
	Graph   gluster.Graph

	// How long the mount may answer from its own memory.
	AttributeTimeout, EntryTimeout time.Duration

	// RunDir is where Private makes its mounts; DefaultRunDir if empty.
	RunDir string

	active string // the graph in use: changes when the client switches graphs
}

// defaultTimeout of attributes and entries, of a client that was not told
// otherwise.
const defaultTimeout = time.Second

// Inspect reads the .meta tree of the mount at mountDir. ErrNoMount: it is not
// the mount point of a whole Gluster volume.
func Inspect(mountDir string) (*Mount, error) {
	m, err := retryStale(func() (*Mount, error) { return inspect(mountDir) })
	if err != nil {
		return nil, fmt.Errorf("inspect %s: %w", mountDir, err)
	}
	return m, nil
}

// retryStale repeats f while it meets a .meta that has just gone: when a client
// switches graphs, the kernel may know files of the previous one for as long as
// the mount lets it cache names.
func retryStale(f func() (*Mount, error)) (*Mount, error) {
	const patience, pause = 2 * time.Second, 50 * time.Millisecond
	for waited := time.Duration(0); ; waited += pause {
		m, err := f()
		if !errors.Is(err, unix.ESTALE) || waited >= patience {
			return m, err
		}
		time.Sleep(pause)
	}
}

func inspect(mountDir string) (*Mount, error) {
	root, entry, err := openMount(mountDir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	m := &Mount{Dir: mountDir, Volume: entry.volume()}
	if m.active, err = activeGraph(root); err != nil {
		return nil, err
	}
	text, err := root.readAll(".meta/graphs/" + m.active + "/volfile")
	if err != nil {
		return nil, err
	}
	if m.Graph, err = gluster.ParseVolfile(text); err != nil {
		return nil, err
	}
	if err := m.readCmdline(root); err != nil {
		return nil, err
	}
	var version struct {
		Package string `json:"Package Version"`
	}
	if err := readJSON(root, ".meta/version", &version); err != nil {
		return nil, err
	}
	m.Version = version.Package
	return m, nil
}

// openMount opens the root of a mount and makes sure that it is one.
func openMount(mountDir string) (*Root, mountEntry, error) {
	// Only now is it opened for real: opening a directory of a file system
	// that hangs would hang too, O_PATH does not ask it.
	at, err := os.OpenFile(mountDir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, mountEntry{}, err
	}
	defer at.Close()
	entry, err := mountOf(at)
	if err != nil {
		return nil, mountEntry{}, err
	}
	if full, err := os.Readlink(procPath(at)); err != nil || filepath.Clean(full) != entry.Mountpoint {
		return nil, mountEntry{}, fmt.Errorf("%w: it is below the mount %s", ErrNoMount, entry.Mountpoint)
	}
	root, err := OpenRoot(mountDir)
	return root, entry, err
}

// activeGraph reads where .meta/graphs/active leads to.
func activeGraph(root *Root) (string, error) {
	graphs, err := root.Open(".meta/graphs", unix.O_PATH|unix.O_DIRECTORY)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%w: it has no .meta", ErrNoMount)
	}
	if err != nil {
		return "", err
	}
	defer graphs.Close()
	return readActive(graphs)
}

func readActive(graphs *os.File) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(int(graphs.Fd()), "active", buf)
	if err != nil {
		return "", fmt.Errorf("readlink .meta/graphs/active: %w", err)
	}
	if name := string(buf[:n]); name != "" && !strings.Contains(name, "/") {
		return name, nil
	}
	return "", fmt.Errorf("%w: its .meta/graphs/active is of an unknown form", ErrNoMount)
}

// readCmdline finds what the client was told when it was started and does not
// show anywhere else.
func (m *Mount) readCmdline(root *Root) error {
	var cmdline struct {
		Args string `json:"Cmdlinestr"`
	}
	if err := readJSON(root, ".meta/cmdline", &cmdline); err != nil {
		return err
	}
	m.AttributeTimeout, m.EntryTimeout = defaultTimeout, defaultTimeout
	args := strings.Fields(cmdline.Args)
	for i, arg := range args {
		flag, value, ok := strings.Cut(arg, "=")
		if !ok && i+1 < len(args) {
			value = args[i+1]
		}
		var err error
		switch flag {
		case "--attribute-timeout":
			m.AttributeTimeout, err = parseSeconds(value)
		case "--entry-timeout":
			m.EntryTimeout, err = parseSeconds(value)
		case "--volfile-id":
			m.Volume, _, _ = strings.Cut(strings.TrimPrefix(value, "/"), "/")
		case "--subdir-mount":
			err = fmt.Errorf("%w: it shows only the directory %s of the volume: use a mount of the whole volume", ErrNoMount, value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func parseSeconds(s string) (time.Duration, error) {
	seconds, err := strconv.ParseFloat(s, 64)
	if err != nil || !(seconds >= 0 && seconds <= 1e9) {
		return 0, fmt.Errorf("unknown timeout %q in .meta/cmdline", s)
	}
	return time.Duration(seconds * float64(time.Second)), nil
}

// readJSON reads a file of .meta. The meta translator does not escape strings,
// so a text that Go refuses is no error of the mount but of the translator;
// what is not understood is not taken for an answer either.
func readJSON(root *Root, path string, into any) error {
	text, err := root.readAll(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// ErrGraphChanged means that somebody changed the volume since it was looked
// at; whether it is still safe to stamp has to be judged anew.
var ErrGraphChanged = errors.New("the volume's options or bricks changed")

// Unchanged looks whether the volume still has the graph that Inspect or
// FromVolume saw. Translators and bricks that come or go (quick-read, cloudsync,
// shard, add-brick) always make a client switch to another graph, which costs
// one readlink to see; without a mount glusterd is asked, which takes a tenth of
// a second. A new graph of the same shape counts as unchanged.
func (m *Mount) Unchanged(ctx context.Context) error {
	now, err := retryStale(func() (*Mount, error) { return m.again(ctx) })
	if err == nil && now != nil && !m.Graph.SameShape(now.Graph) {
		err = ErrGraphChanged
	}
	if err != nil {
		return fmt.Errorf("volume %s: %w", m.Volume, err)
	}
	return nil
}

// again inspects the volume once more; nil if that is not needed.
func (m *Mount) again(ctx context.Context) (*Mount, error) {
	if m.Dir == "" {
		return fromVolume(ctx, m.Volume)
	}
	root, _, err := openMount(m.Dir)
	if err != nil {
		return nil, err
	}
	active, err := activeGraph(root)
	root.Close()
	if err != nil || active == m.active {
		return nil, err
	}
	return inspect(m.Dir)
}
