package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/testkit"
	"github.com/coldbrick/coldbrick/internal/testkit/cluster"
)

// A volume is set up, its keys serve coldbrick, a stub keeps everything in place, and
// without stubs all is as it was.
func TestSetupAndUndoOnAVolumeOfGlusterd(t *testing.T) {
	c := cluster.New(t, 1)
	node := c.Nodes[0]
	store, err := c.StartStore(testkit.Versitygw(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := store.MakeBucket("archive"); err != nil {
		t.Fatal(err)
	}
	v, err := c.CreateVolume("vol", cluster.Distribute, 2, "client.event-threads=3")
	if err != nil {
		t.Fatal(err)
	}
	// A /etc of its own.
	sh := func(script string) string {
		t.Helper()
		out, err := node.Run("bash", "-euc", script)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	sh("mkdir /srv/up /srv/work; cp /etc/hosts /srv/up; mount -t overlay overlay -o lowerdir=/etc,upperdir=/srv/up,workdir=/srv/work /etc; " +
		"mkdir -p /etc/coldbrick; printf 'jobs = 8\n' >/etc/coldbrick/coldbrick.toml; chmod 640 /etc/coldbrick/coldbrick.toml")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Install(self); err != nil {
		t.Fatal(err)
	}
	sh("ln -s " + filepath.Base(self) + " /usr/local/bin/coldbrick")
	coldbrick := func(env []string, want int, args ...string) string {
		t.Helper()
		cmd := node.Command("coldbrick", args...)
		cmd.Env = append(cmd.Env, env...)
		out, _ := cmd.CombinedOutput()
		if got := cmd.ProcessState.ExitCode(); got != want {
			t.Fatalf("coldbrick %q: exit code %d, want %d:\n%s", args, got, want, out)
		}
		if strings.Contains(string(out), store.SecretKey) {
			t.Errorf("coldbrick %q prints the secret:\n%s", args, out)
		}
		return string(out)
	}
	const all = "stat -c '%a %n' /etc/coldbrick/*; cat /etc/coldbrick/*; gluster volume info vol | grep -E '^(feat|perf|client)'"
	before := sh(all)

	if out := coldbrick(nil, 0, "__complete", "setup", ""); !strings.HasPrefix(out, "vol\n") {
		t.Error(out)
	}
	out := coldbrick(nil, 2, "setup", "none", "--endpoint-url", store.Endpoint, "--bucket", "archive")
	if !strings.Contains(out, "no such volume") {
		t.Error(out)
	}

	// On a terminal it asks, and shows no key.
	tty := openTerminal(t)
	cmd := node.Command("coldbrick", "setup", "vol", "--older-than", "10d", "--allow-unguarded-clients")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty.slave, tty.slave, tty.slave
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for _, dialog := range [][2]string{
		{"URL of the S3 server", store.Endpoint}, {"region", store.Region}, {"bucket", "archive"},
		{"access key", store.AccessKey}, {"secret key", store.SecretKey}, {"Run this now?", "n"},
	} {
		tty.answer(dialog[0], dialog[1])
	}
	shown := tty.rest()
	_ = cmd.Wait() // it fails: the exit code is looked at below
	if cmd.ProcessState.ExitCode() != 13 || strings.Contains(shown, store.SecretKey) || strings.Contains(shown, store.AccessKey) ||
		!strings.Contains(shown, "gluster volume set vol performance.quick-read off client.event-threads 32 features.s3plugin-hostname '") ||
		!strings.Contains(shown, "Not ready:") {
		t.Errorf("exit code %d:\n%s", cmd.ProcessState.ExitCode(), shown)
	}
	if strings.Contains(sh("gluster volume info vol"), "features.cloudsync") {
		t.Error("without a yes an option was set")
	}
	if got := sh("stat -c '%a %U' /etc/coldbrick/vol.toml /etc/coldbrick/coldbrick.toml"); got != "600 root\n640 root\n" {
		t.Error(got)
	}

	// By flags, with the keys that are there, it ends in a doctor that finds all well; once
	// more it changes nothing.
	flags := []string{"setup", "vol", "--endpoint-url", store.Endpoint, "--region", store.Region, "--bucket", "archive",
		"--older-than", "20d", "--allow-unguarded-clients", "--apply"}
	coldbrick(nil, 0, flags...)
	done := sh(all)
	if out = coldbrick(nil, 0, "setup", "vol", "--allow-unguarded-clients"); !strings.Contains(out, "has all options that it needs") || sh(all) != done {
		t.Errorf("%s\nafter the first:\n%s\nafter the second:\n%s", out, done, sh(all))
	}
	if !strings.HasSuffix(sh("cat /etc/coldbrick/coldbrick.toml"), "jobs = 8\n\n[volume.vol] # by coldbrick setup\nolder-than = \"20d\"\n") {
		t.Error(sh("cat /etc/coldbrick/coldbrick.toml"))
	}

	if out = coldbrick(nil, 0, "config", "show", "--volume", "vol"); !regexp.MustCompile(`(?m)^bucket = "archive" +# volume vol$`).MatchString(out) {
		t.Error(out)
	}

	mount, err := v.Mount(node)
	if err != nil {
		t.Fatal(err)
	}
	sh("mkdir " + mount + "/d; echo data >" + mount + "/d/f; touch -d '100 days ago' " + mount + "/d/f")
	coldbrick(nil, 0, "archive", "--volume", "vol", "--allow-unguarded-clients")
	if got := coldbrick(nil, 0, "status", mount+"/d/f"); !strings.HasPrefix(got, "remote") {
		t.Error(got)
	}
	if out = coldbrick(nil, 13, "setup", "vol", "--undo"); !strings.Contains(out, "is mounted on ") {
		t.Error(out)
	}
	sh("umount " + mount)
	if out = coldbrick(nil, 13, "setup", "vol", "--undo"); !strings.Contains(out, "d/f is a stub") {
		t.Error(out)
	}
	if out := sh("gluster volume info vol; cat /etc/coldbrick/*"); !strings.Contains(out, "features.cloudsync-storetype: "+gluster.StoreS3) ||
		!strings.Contains(out, store.SecretKey) || !strings.Contains(out, "[volume.vol]") {
		t.Errorf("undone beside a stub:\n%s", out)
	}
	if _, err := v.Mount(node); err != nil {
		t.Fatal(err)
	}
	coldbrick(nil, 0, "recall", "-r", mount)
	sh("umount " + mount)
	coldbrick(nil, 0, "setup", "vol", "--undo")
	if after := sh(all); after != before {
		t.Errorf("before setup:\n%s\nafter undo:\n%s", before, after)
	}
	for _, b := range v.Bricks {
		if out, err := exec.Command("getfattr", "-m", "coldbrick.pin", "-d", b.Path()).Output(); err != nil || strings.Contains(string(out), "pin") {
			t.Errorf("%s: %v: %s", b, err, out)
		}
	}
	if out = coldbrick(nil, 2, "setup", "vol", "--undo"); !strings.Contains(out, "has changed nothing") {
		t.Error(out)
	}
}

// terminal is a person at a terminal.
type terminal struct {
	testing.TB
	master, slave *os.File
	shown         strings.Builder
}

func openTerminal(t *testing.T) *terminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { slave.Close() })
	return &terminal{TB: t, master: master, slave: slave}
}

// answer waits for a question, and until what is typed is hidden if it asks for that.
func (t *terminal) answer(question, answer string) {
	t.Helper()
	buf := make([]byte, 4096)
	for !strings.Contains(t.shown.String(), question) {
		n, err := t.master.Read(buf)
		if err != nil {
			t.Fatalf("%q was not asked: %v:\n%s", question, err, t.shown.String())
		}
		t.shown.Write(buf[:n])
	}
	for hidden := strings.Contains(question, "key"); hidden; time.Sleep(time.Millisecond) {
		state, err := unix.IoctlGetTermios(int(t.slave.Fd()), unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		hidden = state.Lflag&unix.ECHO != 0
	}
	if _, err := t.master.WriteString(answer + "\n"); err != nil {
		t.Fatal(err)
	}
}

// rest is all that was shown.
func (t *terminal) rest() string {
	t.slave.Close() // then the master ends with EIO once all is read
	buf := make([]byte, 4096)
	for {
		n, err := t.master.Read(buf)
		t.shown.Write(buf[:n])
		if err != nil {
			return t.shown.String()
		}
	}
}
