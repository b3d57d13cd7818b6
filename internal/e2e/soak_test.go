//go:build e2e && soak

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/testkit"
	"github.com/coldbrick/coldbrick/internal/testkit/cluster"
)

// Clocks of the hosts, beside the true time. That of the user is behind both others,
// so what the user has just written is cold for them: the age at which it is, is this
// much more than two seconds.
const (
	fast, slow, users = 10 * time.Minute, -10 * time.Minute, -15 * time.Minute
	settled           = 2 * time.Second // of Gluster's whole seconds, see docs/safety.md: the last window
)

// soakTime is as many minutes as COLDBRICK_SOAK_MINUTES says; one if it is not set.
func soakTime(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("COLDBRICK_SOAK_MINUTES")
	if text == "" {
		return time.Minute
	}
	minutes, err := strconv.ParseFloat(text, 64)
	must(t, err)
	return time.Duration(minutes * float64(time.Minute))
}

// soakSeed is that of COLDBRICK_SOAK_SEED, or a new one. It fixes what everybody
// decides, and not who is faster.
func soakSeed(t *testing.T) uint64 {
	t.Helper()
	text := os.Getenv("COLDBRICK_SOAK_SEED")
	if text == "" {
		return rand.Uint64()
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	must(t, err)
	return seed
}

// TestTwoHostsThatAreStoppedAndKilledLoseNothing soaks a volume of three replicas: two
// hosts with one machine id and clocks 20 minutes apart archive, recall and repair its
// files, and are stopped, continued, ended and killed at random, while users work on
// the same files from a third host. No read gives wrong bytes, and in the end one fsck
// --repair leaves no file that a recall does not bring back.
func TestTwoHostsThatAreStoppedAndKilledLoseNothing(t *testing.T) {
	lasts, seed := soakTime(t), soakSeed(t)
	t.Logf("COLDBRICK_SOAK_SEED=%d, for %v", seed, lasts)
	s := newSoak(t, seed)

	ctx, cancel := context.WithTimeout(t.Context(), lasts)
	defer cancel()
	var all sync.WaitGroup
	for _, u := range s.users {
		all.Go(func() { u.live(ctx) })
	}
	for _, h := range s.hosts {
		for i, job := range []func(*rand.Rand) []string{h.archive, h.recall, h.fsck} {
			random := rand.New(rand.NewPCG(seed, uint64(100*h.number+i)))
			all.Go(func() { h.work(ctx, random, job) })
		}
	}
	all.Go(func() { s.heal(ctx) })
	ended := make(chan struct{})
	go func() {
		all.Wait()
		close(ended)
	}()
	<-ctx.Done()
	select {
	case <-ended:
	case <-time.After(10 * time.Minute):
		for _, u := range s.users {
			call, since := u.waits()
			t.Errorf("a user waits for %v: %s", since, call)
		}
		s.working.Range(func(p, _ any) bool {
			t.Error(p.(*program).hangs())
			return true
		})
		t.Fatalf("not everybody has ended; what happened:\n%v", s.tally)
	}
	s.reckon()
}

// soak is the ground of one soak.
type soak struct {
	*volume
	tally   *tally
	hosts   []*host
	users   []*user
	working sync.Map // of *program
}

func newSoak(t *testing.T, seed uint64) *soak {
	t.Helper()
	c := cluster.New(t, 3)
	store, err := c.StartStore(testkit.Versitygw(t))
	must(t, err)
	g := &ground{c, store}
	plugin := filepath.Join(t.TempDir(), "cloudsyncs3.so")
	build := exec.Command("cmd/cloudsyncs3/build.sh", plugin)
	build.Dir = testkit.ModuleRoot(t)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	clock := newOffClock(t)
	s := &soak{tally: &tally{}}
	env := map[*cluster.Node][]string{}
	for i, ahead := range []time.Duration{fast, slow, users} {
		n := c.Nodes[i]
		clone(t, n, i+1)
		env[n] = clock.install(t, n, ahead)
		must(t, n.Install(plugin))
		_, err := n.Run("bash", "-euc", `mount --bind /usr/local/bin "$(dirname "$(glusterfs --print-xlatordir)")/cloudsync-plugins"`)
		must(t, err)
	}
	s.volume = g.newVolume(t, "soak", cluster.Replica3, 3, "features.cloudsync-storetype=cloudsyncs3")
	for i, ahead := range []time.Duration{fast, slow} {
		n := c.Nodes[i]
		s.hosts = append(s.hosts, &host{
			soak: s, t: t, number: i + 1, node: n, brick: s.Bricks[i], dir: s.mountWith(n, env[n]),
			cold: ahead - users + settled,
		})
	}
	third := c.Nodes[2]
	root := third.Path(s.mountWith(third, env[third]))
	const people, files = 4, 40
	for i := range people {
		u := &user{t: t, root: root, random: rand.New(rand.NewPCG(seed, uint64(i))), tally: s.tally}
		dir := fmt.Sprintf("d%d", i)
		must(t, os.Mkdir(root+"/"+dir, 0o755))
		for j := range files {
			f := &userFile{path: fmt.Sprintf("%s/f%d", dir, j), known: map[[32]byte]string{}}
			f.may = []contents{{data: u.bytes(u.size())}}
			_, err := u.write(f, os.O_WRONLY|os.O_CREATE|os.O_EXCL, func(file *os.File) error { return fill(file, f.may[0].data) })
			must(t, err)
			u.done(f, "create "+f.path, nil)
			must(t, u.date(f))
			u.files = append(u.files, f)
		}
		s.users = append(s.users, u)
	}
	info, err := os.Stat(root + "/d0/f0")
	must(t, err)
	if off := time.Since(info.ModTime()) + users; off.Abs() > 5*time.Minute {
		t.Fatalf("the users' clock is %v from where it should be", off)
	}
	return s
}

// mountWith mounts the volume, with default options, by a client of that environment.
// mount(8) would drop what is to be preloaded.
func (s *soak) mountWith(n *cluster.Node, env []string) (dir string) {
	s.t.Helper()
	dir = "/mnt/" + s.Name
	_, err := n.Run("mkdir", "-p", dir)
	if err == nil {
		_, err = n.Run("env", slices.Concat(env, []string{"/sbin/mount.glusterfs", n.Name + ":/" + s.Name, dir})...)
	}
	must(s.t, err)
	return dir
}

// heal is what the self-heal daemon does every ten minutes: a client that is killed
// leaves files to heal, and nothing is archived before they are.
func (s *soak) heal(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(10 * time.Second):
			// An error: commands of the hosts keep this one out, or it comes
			// before the daemon is up. The next one is soon.
			_, _ = s.g.Nodes[2].Run("gluster", "--mode=script", "volume", "heal", s.Name)
		}
	}
}

// host runs coldbrick, and lets few of its runs end by themselves.
type host struct {
	*soak
	t      *testing.T
	number int
	node   *cluster.Node
	brick  cluster.Brick
	dir    string        // its mount
	cold   time.Duration // the age of what the users have just written, by its clock
}

func jobs(random *rand.Rand) string { return fmt.Sprint([]int{1, 3, 16}[random.IntN(3)]) }

func (h *host) archive(random *rand.Rand) []string {
	return []string{
		"archive", h.brick.Dir, "--volume", h.Name, "--older-than", h.cold.String(), "--recall-grace", "0", "--jobs", jobs(random),
	}
}

// recall takes all files of a user, or some.
func (h *host) recall(random *rand.Rand) []string {
	args := []string{"recall", "--jobs", jobs(random)}
	dir := fmt.Sprintf("%s/d%d", h.dir, random.IntN(len(h.users)))
	entries, err := os.ReadDir(h.node.Path(dir))
	if random.IntN(2) == 0 || err != nil || len(entries) == 0 {
		return append(args, "-r", dir)
	}
	for range 1 + random.IntN(10) {
		args = append(args, dir+"/"+entries[random.IntN(len(entries))].Name())
	}
	return args
}

func (h *host) fsck(random *rand.Rand) []string {
	args := []string{"fsck", h.brick.Dir, "--volume", h.Name, "--jobs", jobs(random)}
	if random.IntN(4) > 0 {
		args = append(args, "--repair")
	}
	return args
}

// work runs one run after the other.
func (h *host) work(ctx context.Context, random *rand.Rand, args func(*rand.Rand) []string) {
	for ctx.Err() == nil {
		h.run(ctx, random, args(random))
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(random.IntN(2000)) * time.Millisecond):
		}
	}
}

// run runs coldbrick once and counts what it made of the files.
func (h *host) run(ctx context.Context, random *rand.Rand, args []string) {
	var stdout, stderr bytes.Buffer
	p := &program{cmd: coldbrick(h.node, args...), stderr: &stderr, ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &stdout, &stderr
	if err := p.cmd.Start(); err != nil {
		h.t.Error(err)
		return
	}
	h.working.Store(p, nil)
	defer h.working.Delete(p)
	go func() {
		_ = p.cmd.Wait() // the exit code tells
		close(p.ended)
	}()
	h.decide(ctx, random, p)
	for p.wait(100 * time.Millisecond) {
		p.goOn()
	}

	kind, code := args[0], p.cmd.ProcessState.ExitCode()
	h.tally.add(kind+" exit", strconv.Itoa(code))
	said := fmt.Sprintf("%s on host %d: exit %d\n%.3000s%.3000s", strings.Join(args, " "), h.number, code, stderr.String(), stdout.String())
	// Its user has renamed the file that is named first before the run began.
	renamed := kind == "recall" && slices.ContainsFunc(args, func(path string) bool {
		return strings.HasPrefix(path, h.dir+"/") && strings.Contains(stderr.String(), "coldbrick: open "+path+": no such file or directory\n")
	})
	if code == 1 || code == 2 && !renamed || strings.Contains(said, "panic") || strings.Contains(said, "internal-error") {
		h.t.Error(said)
	}
	for line := range strings.Lines(stdout.String()) {
		var rec struct {
			Type, Outcome, Reason, Class, Path string
			Skipped                            map[string]int
		}
		if json.Unmarshal([]byte(line), &rec) != nil {
			continue // cut by a kill
		}
		switch rec.Type {
		case "file":
			if rec.Outcome != "skipped" { // the summary counts those
				h.tally.add(kind+" files", strings.TrimSpace(rec.Outcome+" "+rec.Reason))
			}
		case "finding":
			h.tally.add(kind+" findings", rec.Class)
		case "summary":
			for reason, n := range rec.Skipped {
				h.tally.addTimes(kind+" files", "skipped "+reason, n)
			}
		}
		if (rec.Outcome == "failed" || rec.Type == "finding") && os.Getenv("COLDBRICK_SOAK_VERBOSE") != "" {
			h.t.Logf("%s host %d: %s: %s", time.Now().Format("15:04:05.000"), h.number, kind, line)
		}
	}
}

// program is a run of coldbrick on a node.
type program struct {
	cmd    *exec.Cmd // nsenter, whose only child is coldbrick
	stderr *bytes.Buffer
	ended  chan struct{}
}

// hangs tells where a program and its clients stand, and ends them.
func (p *program) hangs() string {
	p.goOn()
	text := strings.Join(p.cmd.Args, " ") + "\n"
	pids := children(p.cmd.Process.Pid)
	if len(pids) > 0 {
		pids = append(pids, children(pids[0])...)
	}
	for _, pid := range pids {
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid)) // the pattern is right
		for _, task := range tasks {
			for _, name := range []string{"stat", "wchan"} { // an error: it has ended
				line, _ := os.ReadFile(filepath.Join(task, name))
				text += fmt.Sprintf("%.60s ", line)
			}
			text += "\n"
		}
	}
	p.signal(unix.SIGQUIT, false) // the runtime prints where its goroutines are
	p.wait(5 * time.Second)
	p.signal(unix.SIGKILL, true)
	if p.wait(time.Minute) {
		return text + "it cannot be killed"
	}
	return fmt.Sprintf("%s%.20000s", text, p.stderr.String())
}

// children are those of a process of this host.
func children(pid int) (pids []int) {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid)) // the pattern is right
	for _, list := range lists {
		text, _ := os.ReadFile(list) // it has ended, or has children
		for child := range strings.FieldsSeq(string(text)) {
			if pid, err := strconv.Atoi(child); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// named reports whether a process has a name that begins so: a number that was read a
// moment ago may belong to another one by now.
func named(pid int, name string) bool {
	comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)) // it has ended
	return strings.HasPrefix(string(comm), name)
}

// mounted reports whether the program has the two private mounts of a run.
func (p *program) mounted() bool {
	clients := 0
	for _, pid := range children(p.cmd.Process.Pid) {
		for _, child := range children(pid) {
			if named(child, "glusterfs") {
				clients++
			}
		}
	}
	return clients >= 2
}

// wait reports whether the program is still at work after so long.
func (p *program) wait(d time.Duration) bool {
	select {
	case <-p.ended:
		return false
	case <-time.After(d):
		return true
	}
}

// signal sends the program, and its Gluster clients if host is set, a signal, and reports
// whether it was still there.
func (p *program) signal(s syscall.Signal, host bool) bool {
	pids := children(p.cmd.Process.Pid)
	if len(pids) == 0 || !named(pids[0], "coldbrick") {
		return false
	}
	clients := children(pids[0])
	_ = unix.Kill(pids[0], s) // an error: it has ended
	for _, pid := range clients {
		if host && named(pid, "gluster") {
			_ = unix.Kill(pid, s) // likewise
		}
	}
	return true
}

// stop stops the program, for so long, and reports whether it was still there.
func (p *program) stop(d time.Duration, host bool) bool {
	if !p.signal(unix.SIGSTOP, host) {
		return false
	}
	time.Sleep(d)
	p.goOn()
	return true
}

// goOn continues what is stopped of the program, its clients and nsenter. That stops
// itself when it hears that the program has, which may be long after that goes on.
// Whether they are stopped is not asked: what /proc says of a child that is about to
// become another program waits for the client whose files it closes.
func (p *program) goOn() {
	pids := []int{p.cmd.Process.Pid}
	if child := children(pids[0]); len(child) > 0 {
		pids = slices.Concat(pids, child, children(child[0]))
	}
	for _, pid := range pids {
		_ = unix.Kill(pid, unix.SIGCONT) // an error: it has ended
	}
}

// decide does at random moments to the program what it has to stand.
func (h *host) decide(ctx context.Context, random *rand.Rand, p *program) {
	host := random.IntN(3) == 0
	of := map[bool]string{false: "program", true: "program and clients"}[host]
	fate := random.IntN(10)
	strikes := time.Duration(random.IntN(8000)) * time.Millisecond
	for early := random.IntN(8) == 0; !early && !p.mounted(); { // what comes earlier hits no file
		if !p.wait(10 * time.Millisecond) {
			return
		}
	}
	if !p.wait(strikes) {
		return
	}
	switch {
	case fate < 2: // left in peace
	case fate < 5:
		for range 1 + random.IntN(3) {
			d := time.Duration(100+random.IntN(5000)) * time.Millisecond
			if random.IntN(30) == 0 {
				d = time.Minute // longer than a client waits for a brick
			}
			if p.stop(d, host) {
				h.tally.add("stopped", of)
			}
			if ctx.Err() != nil || !p.wait(time.Duration(random.IntN(500))*time.Millisecond) {
				return
			}
		}
	case fate < 7:
		for range 1 + random.IntN(2) {
			if p.signal(unix.SIGTERM, false) {
				h.tally.add("ended", "SIGTERM")
			}
			if !p.wait(time.Duration(random.IntN(200)) * time.Millisecond) {
				return
			}
		}
	default:
		if random.IntN(4) == 0 && p.stop(time.Duration(random.IntN(1000))*time.Millisecond, host) {
			h.tally.add("stopped", "before it was killed")
		}
		if p.signal(unix.SIGKILL, host) {
			h.tally.add("killed", of)
		}
	}
}

// reckon is what is looked at in the end.
func (s *soak) reckon() {
	t := s.t
	t.Logf("what happened:\n%v", s.tally)
	for _, kind := range []string{"stopped", "killed", "ended", "archive exit", "recall exit", "fsck exit"} {
		if s.tally.count(kind) == 0 {
			t.Errorf("nothing was %s: this test shows less than it says", kind)
		}
	}
	for kind, result := range map[string]string{"archive files": "archived", "recall files": "recalled", "user: read": "ok"} {
		if s.tally.of(kind, result) == 0 {
			t.Errorf("no %s was %s: this test shows less than it says", kind, result)
		}
	}
	must(t, s.Heal())
	for _, n := range s.g.Nodes {
		r, err := finish(coldbrick(n, "fsck", "--volume", s.Name, "--repair"))
		must(t, err)
		if r.code != 0 {
			t.Errorf("want everything repaired: %s", r)
		}
	}
	first := s.g.Nodes[0]
	for _, b := range s.Bricks {
		run(t, b.Node, 0, "fsck", b.Dir, "--volume", s.Name)
	}
	r, err := finish(coldbrick(first, "recall", "-r", s.hosts[0].dir))
	must(t, err)
	if r.code != 0 {
		t.Errorf("want every file recalled: %s", r)
	}
	for _, b := range s.Bricks {
		run(t, b.Node, 0, "fsck", b.Dir, "--volume", s.Name)
	}

	// A mount that has never seen the files, and the bricks themselves.
	dir := s.g.Nodes[1].Path(s.mount(s.g.Nodes[1]))
	names := map[string]bool{}
	for _, u := range s.users {
		u.root = dir
		for _, f := range u.files {
			u.read(f)
			if !f.lost && len(f.may) == 1 && !f.mayGone {
				names[f.path] = true
				s.onBricks(f)
			}
			if f.may[0].prefix || len(f.may) > 1 || f.unsure != "" {
				t.Errorf("%s cannot be read", f.path)
			}
		}
	}
	entries, _ := s.entries()
	for _, e := range entries {
		if path := strings.TrimSuffix(e.path, ".new"); !names[e.path] && path == e.path {
			t.Errorf("nobody has made %s on %s", e.path, s.Bricks[e.brick])
		}
		if marks := e.marked(); len(marks) > 0 {
			t.Errorf("%s on %s has the marks %q", e.path, s.Bricks[e.brick], marks)
		}
	}
	t.Logf("%d files, %d copies on bricks, %d objects", len(names), len(entries), len(s.keys()))
}

// onBricks compares the copies of a file.
func (s *soak) onBricks(f *userFile) {
	for _, b := range s.Bricks {
		got, err := os.ReadFile(b.Path() + "/" + f.path)
		if err != nil || !f.may[0].is(got) {
			s.t.Errorf("%s on %s: %s, %v; it has %q", f.path, b, f.tell(got), err, slices.Sorted(maps.Keys(testkit.Xattrs(s.t, b.Path()+"/"+f.path))))
		}
	}
}

func (s *soak) keys() []string {
	keys, err := s.g.store.Objects(s.Name)
	must(s.t, err)
	return keys
}
