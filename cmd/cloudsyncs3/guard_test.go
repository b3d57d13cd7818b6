package main_test

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/testkit"
	"github.com/coldbrick/coldbrick/internal/testkit/cluster"
	"github.com/coldbrick/coldbrick/internal/volume"
)

// shared is a volume with two clients as users have them: default options, less
// what the product demands, and default mounts. The first has written and seen
// all files; the second does the work.
type shared struct {
	*cluster.Volume
	t             *testing.T
	node          *cluster.Node
	store         *cluster.Store
	first, second string // mounts, as the node sees them
}

func newShared(t *testing.T, c *cluster.Cluster, store *cluster.Store, name string, layout cluster.Layout, options ...string) *shared {
	t.Helper()
	bricks := map[cluster.Layout]int{cluster.Distribute: 2, cluster.Replica3: 3}[layout]
	v, err := c.CreateVolume(name, layout, bricks, append([]string{
		"performance.quick-read=off", "features.cloudsync=on", "features.cloudsync-storetype=cloudsyncs3",
	}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	s := &shared{Volume: v, t: t, node: c.Nodes[0], store: store}
	if s.first, err = v.Mount(s.node); err != nil {
		t.Fatal(err)
	}
	if s.second, err = v.MountAt(s.node, "/mnt/"+name+"-second", "acl"); err != nil {
		t.Fatal(err)
	}
	return s
}

// contentOf is what a file of this name has: 4 KiB and the name.
func contentOf(name string) []byte {
	return []byte(strings.Repeat("some old data\n", 300) + name + "\n")
}

// archive makes stubs of new files, and copies of them in /srv/want to hold them
// against. With upload there is an object for each.
func (s *shared) archive(upload bool, names ...string) {
	s.t.Helper()
	want := "/srv/want/" + s.Name
	if err := os.MkdirAll(s.node.Path(want), 0o755); err != nil {
		s.t.Fatal(err)
	}
	first := func(name string) string { return s.node.Path(path.Join(s.first, name)) }
	for _, name := range names {
		for _, file := range []string{s.node.Path(path.Join(want, name)), first(name)} {
			if err := os.WriteFile(file, contentOf(name), 0o644); err != nil {
				s.t.Fatal(err)
			}
		}
		if err := os.Chtimes(first(name), testkit.Old, testkit.Old); err != nil {
			s.t.Fatal(err)
		}
	}
	if upload {
		put := s.node.Command("curl", "--silent", "--show-error", "--fail",
			"--aws-sigv4", "aws:amz:"+s.store.Region+":s3", "--user", s.store.AccessKey+":"+s.store.SecretKey,
			"--header", "x-amz-content-sha256: UNSIGNED-PAYLOAD",
			"--upload-file", want+"/{"+strings.Join(names, ",")+"}", s.store.Endpoint+"/"+s.Name+"/")
		if out, err := put.CombinedOutput(); err != nil {
			s.t.Fatalf("put: %v: %s", err, out)
		}
	}
	for _, name := range names {
		testkit.DropPages(s.t, first(name))
		if err := testkit.StampValue(first(name), strconv.FormatInt(testkit.Old.Unix(), 10)); err != nil {
			s.t.Fatal(err)
		}
	}
}

// sh runs a script where the mounts are.
func (s *shared) sh(dir, script string) (string, error) {
	return s.node.Run("timeout", "600", "sh", "-c", "cd "+dir+"\n"+script)
}

func (s *shared) log(mount string) string {
	text, _ := os.ReadFile(s.node.Path("/var/log/glusterfs/" + strings.ReplaceAll(strings.TrimPrefix(mount, "/"), "/", "-") + ".log"))
	return string(text)
}

// What users do to a file without reading it, upon which Gluster itself tells its
// caches that the stub is empty.
var touches = map[string]string{
	"chmod":   `chmod 640 $f`,
	"chown":   `chown 1:1 $f`,
	"touch":   `touch $f`,
	"setfacl": `setfattr -n system.posix_acl_access -v 0x0200000001000600ffffffff02000400010000000400040000000000100004000000000020000400ffffffff $f`,
	"setattr": `setfattr -n user.note -v 1 $f`,
	"ln":      `ln $f $f.link`,
	"mv":      `mv $f $f.moved; f=$f.moved`,
	"fsync":   `sync $f`,
	"nothing": `:`,
}

// What they do next. Each leaves in $out what was read.
var readers = map[string]string{
	"cat":          `cat $f >$out`,
	"sed":          `sed -i s/nowhere/nothing/ $f && cat $f >$out`,
	"gzip":         `gzip -f $f; gunzip -c $f.gz >$out`,
	"mv":           `mv $f $out`,
	"cp":           `cp $f $out`,
	"tar":          `tar c $f | tar xO >$out`,
	"append":       `echo more >>$f; head -n -1 $f >$out`,
	"rsync":        `rsync --remove-source-files $f $out; [ ! -e $f ] || echo not moved`,
	"git":          `git init -q --bare /srv/git.$f; g="git --git-dir=/srv/git.$f --work-tree=."; $g add $f; $g show :$f >$out`,
	"by the other": `cat $other/$f >$out`,
}

// mustKeep touches stubs on one client and then reads them.
func (s *shared) mustKeep() {
	s.t.Helper()
	var names []string
	var script strings.Builder
	fmt.Fprintf(&script, "out=/srv/out other=%s\n", s.first)
	for touch, touching := range touches {
		for reader, reading := range readers {
			name := touch + "-" + strings.ReplaceAll(reader, " ", "-")
			names = append(names, name)
			// The clients know the file before it is touched.
			fmt.Fprintf(&script, "f=%s; stat $f $other/$f >/dev/null; rm -f $out; { %s; %s; } 2>/tmp/err || cat /tmp/err\n", name, touching, reading)
			fmt.Fprintf(&script, "cmp -s $out /srv/want/%s/%s || echo '%s, then %s:' $(wc -c <$out) bytes\n", s.Name, name, touch, reader)
		}
	}
	s.archive(true, names...)
	out, err := s.sh(s.second, script.String())
	if err != nil || out != "" {
		s.t.Errorf("of %d stubs read: %v\n%s", len(names), err, out)
	}
}

// What `volume set group metadata-cache` sets.
var metadataCache = []string{
	"features.cache-invalidation=on", "features.cache-invalidation-timeout=600",
	"performance.md-cache-timeout=600", "performance.cache-invalidation=on", "network.inode-lru-limit=200000",
}

func (s *shared) makeBucket() {
	s.t.Helper()
	if err := s.store.MakeBucket(s.Name); err != nil {
		s.t.Fatal(err)
	}
}

// Not in parallel: what md-cache keeps for a second must last for what is counted.
func TestAStubNeverLooksEmpty(t *testing.T) {
	c, store := startCluster(t)
	for _, tt := range []struct {
		name    string
		layout  cluster.Layout
		options []string
	}{
		{"distribute", cluster.Distribute, nil},
		{"replica", cluster.Replica3, nil},
		{"cached", cluster.Replica3, metadataCache},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newShared(t, c, store, tt.name, tt.layout, append(store.Options(tt.name), tt.options...)...)
			s.makeBucket()
			s.mustKeep()
			s.mustTruncate()
			s.mustCostNothing()
		})
	}
	t.Run("listed", func(t *testing.T) {
		s := newShared(t, c, store, "listed", cluster.Distribute, append(store.Options("listed"), parallelReaddir...)...)
		s.makeBucket()
		s.mustList()
	})
}

// Of what `volume set group samba` sets. readdir-ahead is then below cloudsync, and reads
// a directory as soon as it is opened.
var parallelReaddir = []string{"performance.readdir-ahead=on", "performance.parallel-readdir=on"}

// mustList reads stubs of which a client knows no more than what a listing has told.
func (s *shared) mustList() {
	s.t.Helper()
	readers := map[string]string{"cat": `cat $f >$out`, "cp": `cp $f $out`, "tar": `tar c $f | tar xO >$out`}
	var names []string
	for reader := range readers {
		for i := range 10 {
			names = append(names, fmt.Sprint(reader, i))
		}
	}
	s.archive(true, names...)
	s.mustBeRefused()
	for reader, reading := range readers {
		mount, err := s.MountAt(s.node, "/mnt/listed-"+reader, "attribute-timeout=600,entry-timeout=600")
		if err != nil {
			s.t.Fatal(err)
		}
		out, err := s.sh(mount, fmt.Sprintf(`ls -l >/srv/list; out=/srv/out; for f in %s*; do
			{ %s; cmp $out /srv/want/%s/$f; } 2>&1; rm -f $out; done`, reader, reading, s.Name))
		if list, _ := s.node.Run("cat", "/srv/list"); err != nil || out != "" {
			s.t.Errorf("%s: %v: %s\n%s", reader, err, out, list)
		}
	}
}

// mustBeRefused: clients with a guard that does not know of readdir-ahead may be there.
func (s *shared) mustBeRefused() {
	s.t.Helper()
	text, err := s.node.Run("cat", s.second+"/.meta/graphs/active/volfile")
	if err != nil {
		s.t.Fatal(err)
	}
	graph, err := gluster.ParseVolfile([]byte(text))
	if err != nil {
		s.t.Fatal(err)
	}
	checks := (&volume.Mount{Volume: s.Name, Graph: graph}).Checks()
	if !slices.ContainsFunc(checks, func(c outcome.Check) bool { return c.Name == volume.CheckReaddir && c.Verdict == outcome.Bad }) {
		s.t.Errorf("parallel-readdir is not refused: %+v", checks)
	}
}

// mustTruncate truncates stubs by name, as users who may and who may not.
func (s *shared) mustTruncate() {
	s.t.Helper()
	before := s.client(s.second)
	scripts := map[string]string{
		"empty":   `chmod 666 $f; setpriv --reuid 65534 --regid 65534 --clear-groups sh -c ": >$f"; [ -s $f ] && echo not empty`,
		"written": `chmod 666 $f; setpriv --reuid 65534 --regid 65534 --clear-groups sh -c "echo new >$f"; echo new | cmp - $f`,
		"copied":  `cp /etc/passwd $f; cmp /etc/passwd $f`,
		"dd":      `echo new | dd of=$f status=none; echo new | cmp - $f`,
		"shorter": `perl -e 'truncate($ARGV[0], 100) or die' $f; head -c 100 $want | cmp - $f`,
		"longer":  `perl -e 'truncate($ARGV[0], 10000) or die' $f; { cat $want; head -c $((10000 - $(stat -c %s $want))) /dev/zero; } | cmp - $f`,
		"git": `chmod 666 $f; repo=$(mktemp -d); chmod 777 $repo; setpriv --reuid 65534 --regid 65534 --clear-groups sh -c "
			git init -q --bare $repo/git; g='git --git-dir=$repo/git --work-tree=. -c user.name=a -c user.email=a'
			\$g add $f; \$g commit -qm 1; echo new >$f; \$g commit -qam 2; \$g show HEAD~:$f >$repo/old"
			cmp $want $repo/old; echo new | cmp - $f`,
		"denied": `chmod 600 $f; setpriv --reuid 65534 --regid 65534 --clear-groups sh -c ": >$f" && echo allowed; cmp $want $f`,
	}
	var names []string
	var script strings.Builder
	for name, truncating := range scripts {
		names = append(names, name)
		fmt.Fprintf(&script, "f=%s; want=/srv/want/%s/%s; stat $f >/dev/null; { %s; } 2>/tmp/err || true\n", name, s.Name, name, truncating)
		fmt.Fprintf(&script, "grep -v 'Permission denied' /tmp/err; [ %s = denied ] && ! grep -q 'Permission denied' /tmp/err && echo no error\n", name)
	}
	script.WriteString("true")
	s.archive(true, names...)
	out, err := s.sh(s.second, script.String())
	if err != nil || out != "" {
		s.t.Errorf("truncate: %v\n%s", err, out)
	}
	if after := s.client(s.second); after == "" || after != before {
		s.t.Errorf("the client's process was %q and is %q", before, after)
	}
}

// client is the process that serves a mount.
func (s *shared) client(mount string) string {
	s.t.Helper()
	out, err := s.node.Run("pgrep", "-f", "glusterfs .*"+mount+"$")
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// mustCostNothing changes files that have their data and counts what the bricks
// are asked.
func (s *shared) mustCostNothing() {
	s.t.Helper()
	const files = 10
	make := fmt.Sprintf("for i in $(seq %d); do echo data >local$i; done", files)
	// This kernel keeps attributes for as long as the test takes: what is asked for is
	// asked for by translators.
	patient, err := s.MountAt(s.node, "/mnt/"+s.Name+"-patient", "attribute-timeout=600", "entry-timeout=600")
	if err != nil {
		s.t.Fatal(err)
	}
	change := `perl -e 'for $f (glob "local*") {
		chmod 0640, $f and chown 1, 1, $f and utime 1, 1, $f and link $f, "$f.link" and truncate $f, 3 or die "$f: $!"
	}' && setfattr -n user.a -v 1 local*`
	if _, err := s.sh(patient, make); err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.Gluster("profile", "start"); err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.sh(patient, change); err != nil {
		s.t.Fatal(err)
	}
	out, err := s.Gluster("profile", "info", "cumulative")
	if err != nil {
		s.t.Fatal(err)
	}
	var profile struct {
		Fops []struct {
			Name string `xml:"name"`
			Hits int    `xml:"hits"`
			// 0 for a notification to clients, which the XML of gluster 10.3 to 11.1 calls
			// by the name of an operation: UPCALL is STAT, CI_FORGET is RMDIR.
			Latency float64 `xml:"avgLatency"`
		} `xml:"volProfile>brick>cumulativeStats>fopStats>fop"`
	}
	if err := xml.Unmarshal(out, &profile); err != nil {
		s.t.Fatal(err)
	}
	hits := map[string]int{}
	for _, fop := range profile.Fops {
		if fop.Latency > 0 {
			hits[fop.Name] += fop.Hits
		}
	}
	if hits["SETATTR"] == 0 || hits["TRUNCATE"] == 0 || hits["LINK"] == 0 {
		s.t.Errorf("the bricks were asked nothing: %v", hits)
	}
	for _, name := range []string{"STAT", "FSTAT", "OPEN"} {
		if hits[name] >= files { // a client may ask once of its own accord
			s.t.Errorf("the bricks were asked %d times for %s: %v", hits[name], name, hits)
		}
	}
	if _, err := s.Gluster("profile", "stop"); err != nil {
		s.t.Fatal(err)
	}
}

func (s *shared) mustBeGuarded(mount string, want bool) {
	s.t.Helper()
	out, err := s.node.Run("getfattr", "--only-values", "-n", "trusted.coldbrick.guard", mount)
	if guarded := err == nil && out == "1"; guarded != want {
		s.t.Errorf("guarded: %v, and must be %v: %q, %v\n%s", guarded, want, out, err, s.log(mount))
	}
}

// A storetype alone, without a bucket and keys, is the least that each client
// must have.
func TestAClientThatOnlyGuards(t *testing.T) {
	t.Parallel()
	c, store := startCluster(t)
	s := newShared(t, c, store, "vol", cluster.Replica3)
	s.mustBeGuarded(s.second, true)
	s.archive(false, "f")
	out, err := s.sh(s.second, `for try in 1 2; do
		chmod 64$try f; stat -c %s f; cat f 2>&1; ln f f$try; cat f$try 2>&1; echo x 2>&1 >f || :
	done; stat -c %s f`)
	size := fmt.Sprintln(len(contentOf("f")))
	for want, times := range map[string]int{size: 3, "Object is remote": 6} {
		if strings.Count(out, want) != times {
			t.Errorf("%q is not there %d times, %v:\n%s", want, times, err, out)
		}
	}
	marks, err := s.node.Run("getfattr", "-m", "trusted.glusterfs.cs", s.Bricks[0].Dir+"/f")
	if err != nil || !strings.Contains(marks, "cs.remote") || strings.Contains(marks, "downloading") {
		t.Errorf("%v: %s", err, marks)
	}
}

func TestTheGuardCanBeTurnedOff(t *testing.T) {
	t.Parallel()
	c, store := startCluster(t)
	for _, hostname := range []string{"s3.example.org?guard=off", "http://" + "10.66.0.254:7070?region=us-east-1&guard=off"} {
		name := map[bool]string{true: "url", false: "bare"}[strings.Contains(hostname, "://")]
		options := store.Options(name)
		options[0] = "features.s3plugin-hostname=" + hostname
		s := newShared(t, c, store, name, cluster.Distribute, options...)
		s.makeBucket()
		s.mustBeGuarded(s.second, false)
		if name == "url" {
			s.archive(true, "f")
			if out, err := s.sh(s.second, "cat f"); err != nil || out != string(contentOf("f")) {
				t.Errorf("%d bytes, %v\n%s", len(out), err, s.log(s.second))
			}
		}
	}
}

// A library that was built for another glusterfs recalls nothing, and what it
// does not recall stays a stub for those that can.
//
// Not in parallel: no other client may be made while that library is installed.
func TestAnotherGlusterfs(t *testing.T) {
	dir := t.TempDir()
	plugins, err := pluginDir()
	if err != nil {
		t.Fatal(err)
	}
	// Whose headers are the same, so that it can be built here.
	other := map[string]string{"10": "10.4", "11": "11.0"}[strings.SplitN(filepath.Base(filepath.Dir(plugins)), ".", 2)[0]]
	pkgConfig := filepath.Join(dir, "pkg-config")
	if err := os.WriteFile(pkgConfig, []byte("#!/bin/sh\necho 7."+other+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	if err := build(dir); err != nil {
		t.Fatal(err)
	}
	mustRefuse(t, dir, other)
}

// mustRefuse puts the library in dir, which is for another glusterfs, into new clients,
// beside one that has the right one.
func mustRefuse(t *testing.T, dir, version string) {
	t.Helper()
	g := newGround(t)
	data := random(1, 5000)
	g.archive("f", "f", data)
	good := g.client()
	program := g.gfapi("gfapi")
	if err := bind(dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		plugins, err := pluginDir()
		if err == nil {
			err = unix.Unmount(plugins, unix.MNT_DETACH)
		}
		if err != nil {
			t.Error(err)
		}
	})
	bad := g.client()
	g.mustFail(bad, "f")
	g.mustFail(bad, "f")
	if log := g.clientLog(bad); strings.Count(log, "] C [") != 1 || !strings.Contains(log, "built for glusterfs "+version+":") {
		t.Error(log)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, filepath.Join(g.Dir(), "run", filepath.Base(bad)+".vol"), "f").CombinedOutput()
	if exit := new(exec.ExitError); !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(string(out), "Object is remote") {
		t.Errorf("an application of gfapi: %v\n%s", err, out)
	}
	g.mustBeStub("f")
	g.mustRead(good, "f", data)
}

// Changes of stubs from several sides go on while the graph is switched below them
// and the plugin gets new settings.
func (s *shared) mustEndure(switches int) {
	s.t.Helper()
	const workers, stubs = 4, 8
	var names []string
	for i := range workers * stubs {
		names = append(names, fmt.Sprintf("w%d-%d", i/stubs, i%stubs))
	}
	s.archive(true, names...)
	script := fmt.Sprintf(`rm -f /srv/stop; n=0
	work() {
		while [ ! -e /srv/stop ]; do for f in $1-*; do
			chmod 640 $f && chmod 600 $f && ln $f $f.link && mv $f.link $f.moved && setfattr -n user.a -v 1 $f &&
				sync $f && rm $f.moved || echo $f failed
			s=$(stat -c %%s $f); [ "$s" = $(stat -c %%s /srv/want/%[1]s/$f) ] || echo $f: $s bytes
			n=$((n+8))
		done; done
		for f in $1-*; do
			if [ ${f##*-} = 0 ]; then : >$f && [ ! -s $f ]; else cmp $f /srv/want/%[1]s/$f; fi || echo $f is wrong
		done
		echo $n >/srv/done-$1
	}
	for w in $(seq 0 %[2]d); do work w$w & done; wait; cat /srv/done-* >/srv/done`, s.Name, workers-1)
	ended := make(chan error, 1)
	var out string
	go func() {
		var err error
		out, err = s.sh(s.second, script+" 2>&1")
		ended <- err
	}()
	for i := range switches {
		if err := s.Set("performance.read-ahead="+[]string{"on", "off"}[i%2], fmt.Sprint("features.s3plugin-seckey=wrong", i)); err != nil {
			s.t.Error(err)
		}
	}
	if err := s.Set("features.s3plugin-seckey=" + s.store.SecretKey); err != nil {
		s.t.Error(err)
	}
	if err := os.WriteFile(s.node.Path("/srv/stop"), nil, 0o644); err != nil {
		s.t.Fatal(err)
	}
	if err := <-ended; err != nil || out != "" {
		s.t.Errorf("%v\n%s", err, out)
	}
	done, err := os.ReadFile(s.node.Path("/srv/done"))
	s.t.Logf("operations over %d graph switches, by worker: %q, %v", switches, done, err)
}

func TestTheGuardEnduresGraphSwitches(t *testing.T) {
	t.Parallel()
	c, store := startCluster(t)
	s := newShared(t, c, store, "vol", cluster.Replica3, store.Options("vol")...)
	s.makeBucket()
	s.mustEndure(4)
	s.mustBeGuarded(s.second, true)
}
