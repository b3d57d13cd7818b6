//go:build bench

package transfer

import (
	"cmp"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/bench/delay"
	"github.com/coldbrick/coldbrick/internal/bench/measured"
	"github.com/coldbrick/coldbrick/internal/testkit"
	"github.com/coldbrick/coldbrick/internal/testkit/cluster"
)

// How far away things are from the host that works, as round trips: the store in
// another city, bricks in the next rack.
const (
	toStore = 25 * time.Millisecond
	toBrick = 500 * time.Microsecond
)

var (
	latencyFiles = number("BENCH_LATENCY_FILES", 500) // of 4 KiB
	beside       = os.Getenv("BENCH_BESIDE")          // another build of coldbrick, to be measured as well
)

// far is a volume as glusterd makes it (bricks with io-threads, over TCP), with store and
// bricks at a distance. All of it is in one cluster of one node.
type far struct {
	*testing.T
	cluster *cluster.Cluster
	node    *cluster.Node
	store   cluster.Store
	volume  *cluster.Volume
	mount   string // of a user, with the plugin, in the node
	filling string // a mount that makes files, so that no memory of the other one has their bytes
	trees   int
}

// TestLatency measures what a machine with everything on it hides.
func TestLatency(t *testing.T) {
	c := cluster.New(t, 1)
	store, err := c.StartStore(testkit.Versitygw(t))
	must(t, err)
	node := c.Nodes[0]
	self, err := os.Executable()
	must(t, err)
	must(t, node.Install(self))
	_, err = node.InstallPlugin(filepath.Join(testkit.ModuleRoot(t), "bin/cloudsyncs3.so"))
	must(t, err)
	const storePort = 7070
	away(t, node, storePort, strings.TrimPrefix(store.Endpoint, "http://"), toStore)
	store.Endpoint = fmt.Sprintf("http://127.0.0.1:%d", storePort)
	for i, v := range []struct {
		name   string
		layout cluster.Layout
		bricks int
		title  string
	}{
		{"one", cluster.Distribute, 1, "one brick"},
		{"three", cluster.Replica3, 3, "replica 3"},
	} {
		f := &far{T: t, cluster: c, node: node, store: *store}
		must(t, store.MakeBucket(v.name))
		f.volume, err = c.CreateVolume(v.name, v.layout, v.bricks, slices.Concat(
			[]string{"features.cloudsync=on", "performance.quick-read=off", "features.cloudsync-storetype=cloudsyncs3"},
			store.Options(v.name))...)
		must(t, err)
		f.mount = f.mountAway(50000 + 100*i)
		f.filling, err = f.volume.MountAt(node, "/mnt/filling-"+v.name)
		must(t, err)
		f.starts(v.title)
		f.archives(v.title)
		f.recalls(v.title)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// away puts a server that is so far away on a port of the node's loopback.
func away(t *testing.T, node *cluster.Node, port int, to string, roundTrip time.Duration) {
	t.Helper()
	cmd := node.Command(filepath.Base(os.Args[0]))
	cmd.Env = append(cmd.Env, roleVariable+"=delay", fmt.Sprintf("DELAY=127.0.0.1:%d %s %v", port, to, roundTrip))
	cmd.Stderr = os.Stderr
	must(t, cmd.Start())
	go func() { _ = cmd.Wait() }() // it ends with its node
	testkit.Eventually(t, time.Minute, "a proxy to "+to, func() bool {
		_, err := node.Run("bash", "-c", fmt.Sprintf("</dev/tcp/127.0.0.1/%d", port))
		return err == nil
	})
}

func runDelay() error {
	words := strings.Fields(os.Getenv("DELAY"))
	roundTrip, err := time.ParseDuration(words[2])
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", words[0])
	if err != nil {
		return err
	}
	return delay.Serve(l, words[1], roundTrip)
}

var brickPort = regexp.MustCompile(`(?s)<path>([^<]*)</path>.*?<tcp>(\d+)</tcp>`)

// mountAway mounts the volume by the graph that glusterd gives to clients, in which each
// brick is behind a proxy.
func (f *far) mountAway(firstPort int) string {
	f.Helper()
	status, err := f.volume.Gluster("status")
	must(f, err)
	ports := map[string]string{}
	for _, m := range brickPort.FindAllSubmatch(status, -1) {
		ports[string(m[1])] = string(m[2])
	}
	graph, err := f.node.Run("gluster", "system::", "getspec", f.volume.Name)
	must(f, err)
	for i, b := range f.volume.Bricks {
		away(f.T, f.node, firstPort+i, b.Node.Name+":"+ports[b.Dir], toBrick)
		subvolume := "option remote-subvolume " + b.Dir + "\n"
		graph = strings.Replace(graph, subvolume, fmt.Sprintf("%s    option remote-port %d\n", subvolume, firstPort+i), 1)
	}
	graph = strings.ReplaceAll(graph, "option remote-host "+f.node.Name+"\n", "option remote-host 127.0.0.1\n")
	dir, volfile := "/mnt/"+f.volume.Name, "/run/"+f.volume.Name+".vol"
	must(f, os.WriteFile(f.node.Path(volfile), []byte(graph), 0o600))
	_, err = f.node.Run("mkdir", "-p", dir)
	must(f, err)
	_, err = f.node.Run("glusterfs", "--volfile="+volfile, "--fs-display-name="+f.node.Name+":/"+f.volume.Name, "--log-level=WARNING", dir)
	must(f, err)
	testkit.Eventually(f.T, time.Minute, "a mount on "+dir, func() bool {
		_, err := f.node.Run("mountpoint", "-q", dir)
		return err == nil
	})
	f.Cleanup(func() {
		_, err := f.node.Run("umount", "-l", dir)
		must(f, err)
	})
	return dir
}

// run runs a command on the node. All of its CPU counts as its own, also that of private
// mounts; what bricks, proxies, store and the user's mount took is the servers'.
func (f *far) run(env []string, toNull bool, command ...string) measured.Usage {
	f.Helper()
	cmd := f.node.Command(command[0], command[1:]...)
	before := f.serversCPU()
	u := tool{command: cmd.Args, env: slices.Concat(cmd.Env, f.store.Env(), env), ownChildren: true, toNull: toNull}.run(f.T)
	u.Servers, u.RSS = f.serversCPU()-before, 0
	return u
}

// serversCPU is that of all that runs in the cluster.
func (f *far) serversCPU() (sum time.Duration) {
	f.Helper()
	inits, err := filepath.Glob("/proc/[0-9]*/ns/pid")
	must(f, err)
	own, err := os.Readlink("/proc/self/ns/pid")
	must(f, err)
	for _, name := range inits {
		if ns, err := os.Readlink(name); err == nil && ns != own {
			pid, err := strconv.Atoi(strings.Split(name, "/")[2])
			must(f, err)
			cpu, _ := processCPU(pid)
			sum += cpu
		}
	}
	return sum
}

type build struct{ name, program string }

// builds are the coldbricks that are measured.
func (f *far) builds() []build {
	all := []build{{"coldbrick", filepath.Join(testkit.ModuleRoot(f.T), "bin/coldbrick")}}
	if beside != "" {
		all = append(all, build{"coldbrick beside it", beside})
	}
	return all
}

func (f *far) archive(program, tree string, more ...string) measured.Usage {
	f.Helper()
	b := f.volume.Bricks[0]
	return f.run([]string{"COLDBRICK_ALLOW_UNGUARDED_CLIENTS=true"}, false, slices.Concat([]string{program, "archive", b.Dir, "--mount", f.mount,
		"--under", tree, "--bucket", f.volume.Name, "--endpoint-url", f.store.Endpoint, "--recall-grace", "0", "--quiet"}, more)...)
}

func (f *far) recall(program, tree string, more ...string) measured.Usage {
	f.Helper()
	return f.run(nil, false, slices.Concat([]string{program, "recall", "-r", f.mount + "/" + tree,
		"--bucket", f.volume.Name, "--endpoint-url", f.store.Endpoint, "--quiet"}, more)...)
}

// far's trees are made through the user's mount, and their files are named as others'.
func (f *far) makeTree(w workload) string {
	f.Helper()
	f.trees++
	tree := fmt.Sprintf("tree%d", f.trees)
	makeFiles(f.T, w, func(i int) string { return f.node.Path(f.filling + "/" + w.path(tree, i)) })
	return tree
}

func (f *far) removeTree(tree string) {
	f.Helper()
	_, err := f.node.Run("rm", "-rf", f.filling+"/"+tree)
	must(f, err)
}

// list writes the paths of a tree to a file of the node, each ended by NUL.
func (f *far) list(w workload, tree string) string {
	f.Helper()
	var b strings.Builder
	for i := range w.files {
		b.WriteString(f.mount + "/" + w.path(tree, i) + "\x00")
	}
	must(f, os.WriteFile(f.node.Path("/run/list"), []byte(b.String()), 0o600))
	return "/run/list"
}

// sizes fails unless every file of the tree has that size on each brick.
func (f *far) sizes(w workload, tree string, want int64) {
	f.Helper()
	for _, b := range f.volume.Bricks {
		for i := range w.files {
			var st unix.Stat_t
			path := b.Path() + "/" + w.path(tree, i)
			must(f, unix.Lstat(path, &st))
			if st.Size != want {
				f.Fatalf("%s has %d bytes, want %d", path, st.Size, want)
			}
		}
	}
}

// starts measures a run with nothing to do.
func (f *far) starts(title string) {
	w := workload{"one file", 1, 4 << 10}
	tree := f.makeTree(w)
	must(f, os.Chtimes(f.node.Path(f.filling+"/"+w.path(tree, 0)), time.Now(), time.Now()))
	must(f, os.Mkdir(f.node.Path(f.filling+"/empty"), 0o755))
	tab := &measured.Table{ID: "start-" + f.volume.Name, Title: "A run with nothing to do, store 25 ms away, " + title, Files: 1}
	for range 2 * rounds {
		for _, b := range f.builds() {
			tab.Add(b.name+" archive --volume", f.run([]string{"COLDBRICK_ALLOW_UNGUARDED_CLIENTS=true"}, false, b.program, "archive", "--volume", f.volume.Name, "--quiet"))
			tab.Add(b.name+" archive BRICK --mount DIR", f.archive(b.program, tree))
			tab.Add(b.name+" recall -r", f.recall(b.program, "empty"))
		}
	}
	f.removeTree(tree)
	f.removeTree("empty")
	save(f.T, tab)
}

type farContestant struct {
	name string
	run  func(tree string) measured.Usage
}

func (f *far) archives(title string) {
	w := workload{fmt.Sprintf("%d files of 4 KiB", latencyFiles), latencyFiles, 4 << 10}
	var all []farContestant
	for _, jobs := range jobsTried {
		for _, b := range f.builds() {
			all = append(all, farContestant{b.name + " archive --jobs " + jobs, func(tree string) measured.Usage {
				return f.archive(b.program, tree, "--jobs", jobs)
			}})
		}
	}
	for _, transfers := range []string{"4", "64"} {
		all = append(all, farContestant{"rclone --transfers " + transfers + ", then setfattr", func(tree string) measured.Usage {
			return f.rclone(w, tree, transfers)
		}})
	}
	f.compete("archive-"+f.volume.Name, "Archive of "+w.name+", store 25 ms and bricks 0.5 ms away, "+title, w, 0, all)
}

// jobsTried are values of --jobs.
var jobsTried = strings.Fields(cmp.Or(os.Getenv("BENCH_JOBS"), "4 16 64 auto"))

// compete lets the contestants take turns, each on a tree of its own.
func (f *far) compete(id, title string, w workload, leaves int64, all []farContestant) {
	f.Helper()
	tab := &measured.Table{ID: id, Title: title, Files: w.files, Bytes: w.bytes()}
	for range rounds {
		for _, c := range all {
			tree := f.makeTree(w)
			if leaves > 0 {
				f.archive(f.builds()[0].program, tree, "--jobs", "64")
			}
			u := c.run(tree)
			f.sizes(w, tree, leaves)
			f.removeTree(tree)
			tab.Add(c.name, u)
			f.Logf("%s: %s: %v, CPU %v, servers %v", title, c.name, u.Wall, u.CPU, u.Servers)
		}
	}
	save(f.T, tab)
}

// rclone is what one would do without coldbrick; see ground.rclone.
func (f *far) rclone(w workload, tree, transfers string) measured.Usage {
	rclone := needs(f.T, "rclone")
	copied := f.run([]string{"RCLONE_CONFIG=/dev/null", "RCLONE_CONFIG_STORE_TYPE=s3", "RCLONE_CONFIG_STORE_PROVIDER=Other",
		"RCLONE_CONFIG_STORE_ENV_AUTH=true", "RCLONE_CONFIG_STORE_ENDPOINT=" + f.store.Endpoint, "RCLONE_CONFIG_STORE_REGION=" + f.store.Region}, false,
		rclone, "copy", f.mount+"/"+tree, "store:"+f.volume.Name+"/"+tree, "--transfers", transfers, "--checkers", transfers,
		"--s3-no-head", "--s3-no-check-bucket", "--no-traverse", "--no-check-dest")
	stamped := f.run(nil, false, "xargs", "-0", "-a", f.list(w, tree), "-P", "16", "-n", "20",
		"setfattr", "-n", "trusted.glusterfs.csou.complete", "-v", strconv.FormatInt(testkit.Old.Unix(), 10))
	return together(copied, stamped)
}

func (f *far) recalls(title string) {
	w := workload{fmt.Sprintf("%d files of 4 KiB", latencyFiles), latencyFiles, 4 << 10}
	var all []farContestant
	for _, jobs := range jobsTried {
		for _, b := range f.builds() {
			all = append(all, farContestant{b.name + " recall --jobs " + jobs, func(tree string) measured.Usage {
				return f.recall(b.program, tree, "--jobs", jobs)
			}})
		}
	}
	for _, processes := range []string{"1", "16", "64"} {
		all = append(all, farContestant{"through the translator with the plugin: xargs -P " + processes + " cat", func(tree string) measured.Usage {
			return f.run(nil, true, "xargs", "-0", "-a", f.list(w, tree), "-P", processes, "-n", "4", "cat")
		}})
	}
	f.compete("recall-"+f.volume.Name, "Recall of "+w.name+", store 25 ms and bricks 0.5 ms away, "+title, w, w.size, all)
}
