package volume

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
)

// Kind says what a private mount is for.
type Kind int

// The kinds of private mounts.
const (
	ForStamping Kind = iota // with cloudsync, but without its store: nothing there can set off a recall
	ForRecall               // without cloudsync: a stub is an ordinary file of size 0
	ForReplica              // one brick alone, see Replicas
	ForRebuild              // as ForRecall, and entries can be made with a chosen gfid
)

// DefaultRunDir is where private mounts live. It does not outlive a boot, as
// they do not.
const DefaultRunDir = "/run/coldbrick"

// How long a client may take. All of it takes milliseconds when all is well; a
// brick that did not answer is asked again after three seconds.
const (
	connectTimeout = 20 * time.Second // until it has connected all bricks
	recallPatience = 4 * time.Second  // until recall goes on without a brick
	busyTimeout    = 30 * time.Second // until files that are open no longer keep it from unmounting
	endTimeout     = 10 * time.Second // until it has ended after the unmount
)

// Private is a mount of a volume that only this process uses: its client asks
// the bricks about everything and caches nothing. It is below a directory that
// only root may enter.
//
// The client ends with this process, even if that is killed.
type Private struct {
	*Root
	Kind     Kind
	dir      *os.File // locked while this process uses the mount: tells others that it is no left-over
	daemon   *daemon
	children children
	looks    looks

	closing  sync.Once
	closeErr error
}

// Private mounts the volume of m anew. It returns when all bricks are
// connected; for recall, also when some are not but files can be reached
// (Children tells). Left-overs of runs that were killed are removed on the way.
func (m *Mount) Private(ctx context.Context, kind Kind) (*Private, error) {
	graph, err := m.Graph.ForStamping()
	if kind == ForRecall || kind == ForRebuild {
		graph, err = m.Graph.ForRecall()
	}
	if err != nil {
		return nil, fmt.Errorf("private mount: %w", err)
	}
	return m.private(ctx, kind, graph)
}

func (m *Mount) private(ctx context.Context, kind Kind, graph gluster.Graph) (*Private, error) {
	runDir := m.RunDir
	if runDir == "" {
		runDir = DefaultRunDir
	}
	dir, err := claimDir(runDir)
	if err != nil {
		return nil, fmt.Errorf("private mount: %w", err)
	}
	p := &Private{Kind: kind, dir: dir}
	if err := p.start(ctx, fence(graph)); err != nil {
		return nil, errors.Join(fmt.Errorf("private mount of volume %s: %w", m.Volume, err), p.Close())
	}
	return p, nil
}

// claimDir makes a new locked directory for one mount, and removes those that
// nobody holds. The lock on runDir itself keeps two processes from taking each
// other's unfinished work for a left-over. The kernel frees locks when their
// owner dies, so no pid has to be judged.
func claimDir(runDir string) (*os.File, error) {
	if err := os.MkdirAll(runDir, 0o700); err != nil {
		return nil, err
	}
	run, err := os.OpenFile(runDir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	defer run.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(run.Fd()), &st); err != nil {
		return nil, fmt.Errorf("stat %s: %w", runDir, err)
	}
	if int(st.Uid) != os.Geteuid() || st.Mode&0o022 != 0 {
		return nil, fmt.Errorf("%s can be changed by others than root", runDir)
	}
	if err := flock(run, unix.LOCK_EX); err != nil {
		return nil, err
	}
	if err := sweep(run); err != nil {
		return nil, err
	}
	name, err := os.MkdirTemp(runDir, strconv.Itoa(os.Getpid())+"-") // mode 0700
	if err != nil {
		return nil, err
	}
	dir, err := os.OpenFile(name, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err == nil {
		if err = flock(dir, unix.LOCK_EX|unix.LOCK_NB); err == nil {
			if err = os.Mkdir(filepath.Join(name, mountName), 0o700); err == nil {
				return dir, nil
			}
		}
		dir.Close()
	}
	return nil, errors.Join(err, os.RemoveAll(name))
}

// Names in the directory of a private mount.
const (
	mountName = "mnt"
	logName   = "log"
)

// sweep removes what killed runs left behind. Their clients ended with them or
// are about to; an unmount makes sure.
func sweep(run *os.File) error {
	names, err := run.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		path := filepath.Join(run.Name(), name)
		dir, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
		if err != nil { // not a directory of ours, or removed by its owner just now
			continue
		}
		if flock(dir, unix.LOCK_EX|unix.LOCK_NB) == nil {
			err = removeDir(path)
		}
		dir.Close()
		if err != nil {
			return fmt.Errorf("left-over of an earlier run: %w", err)
		}
	}
	return nil
}

// removeDir removes the directory of a private mount and the mount itself if it
// is there. It never removes anything below a mount: rmdir refuses a mount point.
func removeDir(path string) error {
	mnt := filepath.Join(path, mountName)
	for { // until nothing is mounted there
		err := unix.Unmount(mnt, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if err == unix.EINVAL || err == unix.ENOENT {
			break
		}
		if err != nil {
			return fmt.Errorf("unmount %s: %w", mnt, err)
		}
	}
	for _, remove := range []string{mnt, filepath.Join(path, logName), path} {
		if err := os.Remove(remove); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

func flock(f *os.File, how int) error {
	for {
		if err := unix.Flock(int(f.Fd()), how); err != unix.EINTR {
			if err != nil {
				return fmt.Errorf("lock %s: %w", f.Name(), err)
			}
			return nil
		}
	}
}

func (p *Private) start(ctx context.Context, graph gluster.Graph) error {
	mnt := filepath.Join(p.dir.Name(), mountName)
	var err error
	var flags []string
	if p.Kind == ForRebuild {
		// Each gfid that is not in use is a warning, and the log is in memory.
		flags = []string{"--aux-gfid-mount", "--log-level=ERROR"}
	}
	if p.daemon, err = startDaemon(graph, mnt, filepath.Join(p.dir.Name(), logName), flags...); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	if err := orKill(ctx, p.daemon.kill, func() error { return p.connect(ctx, graph, mnt) }); err != nil {
		return errors.Join(err, p.daemon.complaint(p.logPath()))
	}
	return nil
}

// orKill connects, and kills the client once ctx ends: the first requests wait in the
// kernel until the client has a volume, and its end is what frees them. A client that
// was killed is not connected, if it had been for a moment.
func orKill(ctx context.Context, kill func(), connect func() error) error {
	unless := context.AfterFunc(ctx, kill)
	err := connect()
	if !unless() {
		err = errors.Join(context.Cause(ctx), err)
	}
	return err
}

func (p *Private) logPath() string { return filepath.Join(p.dir.Name(), logName) }

func (p *Private) connect(ctx context.Context, graph gluster.Graph, mnt string) error {
	for {
		mounted, err := isMounted(mnt)
		if err != nil {
			return err
		}
		if mounted {
			break
		}
		if err := p.pause(ctx); err != nil {
			return err
		}
	}
	var err error
	if p.Root, err = OpenRoot(mnt); err != nil {
		return err
	}
	p.recent = &recent{dirs: make(map[string]recentDir)}
	if p.children, err = findChildren(p.Root, graph); err != nil {
		return err
	}
	patience := ctx
	if p.Kind == ForRecall {
		var cancel context.CancelFunc
		patience, cancel = context.WithTimeout(ctx, recallPatience)
		defer cancel()
	}
	for {
		err := p.Children()
		if err == nil {
			return nil
		}
		if stop := p.pause(patience); stop != nil {
			if ctx.Err() == nil && p.daemon.alive() && p.reachable() {
				return nil
			}
			return err
		}
	}
}

// reachable reports whether the volume answers, though a brick is missing.
func (p *Private) reachable() bool {
	var st unix.Statx_t
	return unix.Statx(p.Fd(), "", unix.AT_EMPTY_PATH|unix.AT_STATX_FORCE_SYNC, unix.STATX_BASIC_STATS, &st) == nil
}

// pause waits a moment for the client to get on.
func (p *Private) pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-p.daemon.ended:
		return errors.New("the client ended")
	case <-time.After(3 * time.Millisecond):
		return nil
	}
}

// isMounted looks into mountinfo: a stat would be answered by the client, which
// may not be ready yet.
func isMounted(dir string) (bool, error) {
	mounts, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) {
		found := m.Mountpoint == dir && m.FSType == mountType
		return !found, found
	})
	return len(mounts) > 0, err
}

// Close unmounts, waits for the end of the client and removes the directory.
// Files that are still open on the mount keep it from ending in good order:
// then it is taken away from under them, and the error says so.
func (p *Private) Close() error {
	p.closing.Do(func() { p.closeErr = p.close() })
	return p.closeErr
}

func (p *Private) close() error {
	p.children.close()
	if p.Root != nil {
		p.Root.Close()
	}
	var errs []error
	if p.daemon != nil {
		errs = append(errs, p.daemon.unmount(filepath.Join(p.dir.Name(), mountName)))
	}
	errs = append(errs, removeDir(p.dir.Name()), p.dir.Close()) // the lock goes last
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close private mount: %w", err)
	}
	return nil
}

// daemon is the glusterfs client process behind a private mount.
type daemon struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed when it was waited for
}

func startDaemon(graph gluster.Graph, mnt, log string, flags ...string) (*daemon, error) {
	text, err := graph.Encode()
	if err != nil {
		return nil, err
	}
	// The volume file holds the login of the bricks: it is never on a disk.
	fd, err := unix.MemfdCreate("volfile", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd: %w", err)
	}
	volfile := os.NewFile(uintptr(fd), "volfile")
	defer volfile.Close()
	if _, err := volfile.Write(text); err != nil {
		return nil, fmt.Errorf("volume file: %w", err)
	}
	// Made beforehand, for its mode; nor may it tell the graph with its secrets,
	// which the client logs at level INFO.
	logFile, err := os.OpenFile(log, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	logFile.Close()
	// The kernel keeps no pages: by itself it would keep them from one open to the
	// next while size and mtime stay the same, as they do under rsync --inplace
	// --times, and old bytes would be taken for the file's. Nor does it copy what
	// is read or written but once. With --acl it leaves permissions to the client,
	// which lets root do everything; without, it asks for the attributes of each
	// directory on the way, each time.
	cmd := exec.Command(glusterfsProgram(), append(append([]string{"--no-daemon", "--volfile=/proc/self/fd/3",
		"--log-file=" + log, "--log-level=WARNING", "--process-name=coldbrick",
		"--attribute-timeout=0", "--entry-timeout=0", "--negative-timeout=0", "--direct-io-mode=enable", "--acl",
		"--fuse-mountopts=nodev,nosuid,noexec"}, flags...), mnt)...)
	cmd.Dir = "/"
	cmd.Env = []string{"LC_ALL=C", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"} // not ours, which may hold credentials
	cmd.ExtraFiles = []*os.File{volfile}                                 // becomes descriptor 3
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid:    true, // a Ctrl-C is for us: files in work are finished first
		Pdeathsig: syscall.SIGTERM,
	}
	d := &daemon{cmd, make(chan struct{})}
	started := make(chan error)
	go func() {
		// Pdeathsig follows the thread that started the process, so this one
		// must live as long as the client.
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is in its log
		}
		close(d.ended)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return d, nil
}

// glusterfsProgram is the client that mounts; cron's PATH has no sbin.
func glusterfsProgram() string {
	if path, err := exec.LookPath("glusterfs"); err == nil {
		return path
	}
	return "/usr/sbin/glusterfs"
}

func (d *daemon) alive() bool {
	select {
	case <-d.ended:
		return false
	default:
		return true
	}
}

// kill ends the client at once; whoever waits for it in the kernel gets
// ENOTCONN.
func (d *daemon) kill() { _ = d.cmd.Process.Kill() } // an error: it has ended already

// unmount ends the mount and the client, in good order if it lets us.
func (d *daemon) unmount(mnt string) error {
	deadline := time.Now().Add(busyTimeout)
	var lazy error
	for {
		err := unix.Unmount(mnt, unix.UMOUNT_NOFOLLOW)
		if err == nil || err == unix.EINVAL { // EINVAL: was never mounted, or the client unmounted it
			break
		}
		if err != unix.EBUSY || time.Now().After(deadline) {
			lazy = fmt.Errorf("unmount %s: %w", mnt, err)
			if err := unix.Unmount(mnt, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
				lazy = errors.Join(lazy, err)
			}
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	if lazy == nil {
		select {
		case <-d.ended:
			return nil
		case <-time.After(endTimeout):
		}
	}
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.ended:
	case <-time.After(endTimeout / 4):
		d.kill()
		<-d.ended
	}
	return lazy
}

// complaint is the last error that the client logged, for an error of ours. Its
// lines at level E tell no options.
func (d *daemon) complaint(log string) error {
	text, err := os.ReadFile(log)
	if err != nil {
		return nil //nolint:nilerr // a log that is not there explains nothing
	}
	last := ""
	for line := range bytes.Lines(text) {
		if bytes.Contains(line, []byte("] E [")) || bytes.Contains(line, []byte("] C [")) {
			last = string(bytes.TrimSpace(line))
		}
	}
	if last == "" {
		return nil
	}
	if i := strings.Index(last, "] E ["); i >= 0 {
		last = last[i+4:]
	}
	return fmt.Errorf("glusterfs: %.300s", last)
}
