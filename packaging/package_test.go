// Package packaging_test installs the packages as an administrator does, with
// the real dpkg, and uses what they bring.
package packaging_test

import (
	"bytes"
	"crypto/rand"
	"debug/elf"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/price"
	"github.com/coldbrick/coldbrick/internal/testkit"
)

const (
	configFile = "/etc/coldbrick/coldbrick.toml"
	stateDir   = "/var/lib/coldbrick"
	unitFile   = "/usr/lib/systemd/system/coldbrick-archive@.service"
)

// A package's whole life on one host: what one step leaves is what the next one
// stands on.
func TestAPackageInstallsRunsUpgradesAndGoes(t *testing.T) {
	first, second := build(t, "1.0.0-rc.1"), build(t, "1.0.0")
	deb := file(t, first, "coldbrick_*.deb")

	run(t, "dpkg", "--install", deb)
	wantModes(t)
	wantVersion(t, "1.0.0-rc.1")
	wantStatic(t, "/usr/bin/coldbrick")
	if got := run(t, "coldbrick", "archive", "--help"); !strings.Contains(got, "--older-than") {
		t.Errorf("archive --help: %s", got)
	}
	wantPages(t)
	wantUnits(t)
	wantConfigThatRequiresThePlugin(t)

	s := newScene(t)
	path, data := "projects/2021/raw.mov", make([]byte, 3<<20+1)
	rand.Read(data)
	s.Write(path, data, testkit.Old)

	// As installed, nobody gets stubs that no plugin helps to read.
	if out, code := s.coldbrick("archive", s.BrickDir(), "--mount", s.MountDir()); code != 13 || !strings.Contains(out, "require-plugin") {
		t.Errorf("archive without a plugin on the volume: exit code %d, %s", code, out)
	}
	run(t, "dpkg", "--install", file(t, first, "coldbrick-gluster-plugin_*.deb"))
	client := s.NewMount(t, s.plugin)
	s.must("archive", s.BrickDir(), "--mount", client)
	s.wantState(path, gluster.Remote)
	t.Run("a recall by command", func(t *testing.T) {
		s.must("recall", filepath.Join(client, path))
		s.wantState(path, gluster.Local)
	})
	s.must("archive", s.BrickDir(), "--mount", client, "--recall-grace", "0")
	s.wantState(path, gluster.Remote)
	t.Run("a recall by reading", func(t *testing.T) {
		fresh := s.NewMount(t, s.plugin) // the other one may have cached the data
		got, err := os.ReadFile(filepath.Join(fresh, path))
		if err != nil || !bytes.Equal(got, data) {
			t.Fatalf("%d bytes of %d, equal: %v, error: %v", len(got), len(data), bytes.Equal(got, data), err)
		}
		s.wantState(path, gluster.Local)
	})

	edited := read(t, configFile)
	run(t, "dpkg", "--install", file(t, second, "coldbrick_*.deb"), file(t, second, "coldbrick-gluster-plugin_*.deb"))
	wantVersion(t, "1.0.0")
	if read(t, configFile) != edited {
		t.Error("the upgrade has changed the configuration")
	}
	wantModes(t)
	t.Run("the way out of the manual", func(t *testing.T) {
		odd := "projects/-rf two  spaces"
		s.Write(odd, data[:5000], testkit.Old)
		// A recall by reading has the brick's own mtime of just now, and no age
		// is less than some seconds.
		testkit.Eventually(t, time.Minute, "it is a stub again", func() bool {
			s.must("archive", s.BrickDir(), "--mount", client, "--recall-grace", "0", "--older-than", "0")
			return s.BrickMarks(path).State(s.BrickSize(path)) == gluster.Remote
		})
		s.wantState(odd, gluster.Remote)
		s.leave()
		fresh := s.NewMount(t)
		for name, want := range map[string][]byte{path: data, odd: data[:5000]} {
			s.wantState(name, gluster.Local)
			got, err := os.ReadFile(filepath.Join(fresh, name))
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s: %d bytes of %d, error: %v", name, len(got), len(want), err)
			}
			if info, err := os.Stat(filepath.Join(fresh, name)); err != nil || !info.ModTime().Equal(testkit.Old) {
				t.Errorf("%s: %v, %v: not its mtime", name, info, err)
			}
		}
	})

	run(t, "dpkg", "--remove", "coldbrick", "coldbrick-gluster-plugin")
	if _, err := exec.LookPath("coldbrick"); err == nil {
		t.Error("coldbrick is still there")
	}
	if read(t, configFile) != edited {
		t.Error("the removal has changed the configuration")
	}
	records, err := filepath.Glob(stateDir + "/runs/*")
	if err != nil || len(records) == 0 {
		t.Errorf("run records after the removal: %q, %v", records, err)
	}

	// Somebody who purges while a run has left something behind still has what
	// the next run would fix it by.
	unsettled := filepath.Join(stateDir, "runs", "20260101T000000Z-0.jsonl")
	if err := os.WriteFile(unsettled, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if out := run(t, "dpkg", "--purge", "coldbrick"); !strings.Contains(out, "not settled") {
		t.Errorf("purge says nothing of the records that it leaves: %s", out)
	}
	read(t, unsettled)
	run(t, "dpkg", "--install", file(t, second, "coldbrick_*.deb"))
	for _, record := range globbed(t, stateDir+"/runs/*.jsonl") {
		if err := os.Rename(record, record+".settled"); err != nil {
			t.Fatal(err)
		}
	}
	run(t, "dpkg", "--purge", "coldbrick")
	for _, gone := range []string{configFile, "/etc/cron.d/coldbrick", stateDir, unitFile, "/usr/share/doc/coldbrick"} {
		if _, err := os.Lstat(gone); err == nil {
			t.Errorf("%s is left after the purge", gone)
		}
	}
}

// modes are those of what is not for everybody, and of what people would notice.
var modes = map[string]fs.FileMode{
	"/usr/share/coldbrick/alerts.yml":     0o644,
	"/usr/share/coldbrick/dashboard.json": 0o644,
	"/usr/bin/coldbrick":                  0o755,
	"/etc/coldbrick":                      fs.ModeDir | 0o755,
	configFile:                            0o600,
	stateDir:                              fs.ModeDir | 0o700,
	price.DefaultFile:                     0o644,
	unitFile:                              0o644,
	"/usr/lib/systemd/system/coldbrick-archive@.timer":    0o644,
	"/usr/lib/systemd/system/coldbrick-gc-report@.timer":  0o644,
	"/etc/cron.d/coldbrick":                               0o644, // cron reads no others
	"/usr/share/man/man1":                                 fs.ModeDir | 0o755,
	"/usr/share/man/man1/coldbrick-archive.1.gz":          0o644,
	"/usr/share/man/man5/coldbrick.toml.5.gz":             0o644,
	"/usr/share/doc/coldbrick":                            fs.ModeDir | 0o755,
	"/usr/share/doc/coldbrick/getting-started.md":         0o644,
	"/usr/share/doc/coldbrick/operations.md":              0o644,
	"/usr/share/doc/coldbrick/copyright":                  0o644,
	"/usr/share/bash-completion/completions/coldbrick":    0o644,
	"/usr/share/zsh/vendor-completions/_coldbrick":        0o644,
	"/usr/share/fish/vendor_completions.d/coldbrick.fish": 0o644,
}

func wantModes(t *testing.T) {
	t.Helper()
	for path, want := range modes {
		info, err := os.Lstat(path)
		if err != nil {
			t.Error(err)
		} else if info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", path, info.Mode(), want)
		}
	}
	for line := range strings.Lines(run(t, "sh", "-c", "dpkg -L coldbrick | xargs -d '\\n' stat -c '%U:%G %A %n'")) {
		if !strings.HasPrefix(line, "root:root ") || strings.Contains(line[:21], "w-x") || line[18] == 'w' {
			t.Errorf("others may change %s", line)
		}
	}
}

func wantVersion(t *testing.T, version string) {
	t.Helper()
	if got := run(t, "coldbrick", "version"); !strings.HasPrefix(got, "coldbrick "+version+",") {
		t.Errorf("version: %s, want %s", got, version)
	}
}

// wantStatic checks that a program needs nothing of the host's libraries.
func wantStatic(t *testing.T, path string) {
	t.Helper()
	program, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	if libraries, err := program.ImportedLibraries(); err != nil || len(libraries) > 0 {
		t.Errorf("%s needs %q, %v", path, libraries, err)
	}
}

// wantPages checks that each command has a man page, that man can show it, and
// that the shells take the completions.
func wantPages(t *testing.T) {
	t.Helper()
	for _, page := range globbed(t, "../docs/man/*") {
		installed := "/usr/share/man/man" + filepath.Ext(page)[1:] + "/" + filepath.Base(page) + ".gz"
		if got := run(t, "zcat", installed); got != read(t, page) {
			t.Errorf("%s is not docs/man/%s", installed, filepath.Base(page))
		}
	}
	const docs = "/usr/share/doc/coldbrick"
	for _, page := range append(globbed(t, docs+"/*.md"), globbed(t, docs+"/decisions/*.md")...) {
		for _, link := range regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`).FindAllStringSubmatch(read(t, page), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), link[1])); err != nil {
				t.Errorf("a link of %s: %v", page, err)
			}
		}
	}
	run(t, "bash", "-n", "/usr/share/bash-completion/completions/coldbrick")
	script := `. /usr/share/bash-completion/completions/coldbrick; complete -p coldbrick`
	if got := run(t, "bash", "-c", script); !strings.Contains(got, "__start_coldbrick") {
		t.Errorf("bash completes nothing: %s", got)
	}
}

// wantUnits lets systemd judge the units, and coldbrick the command lines in
// them and in the sample for cron.
func wantUnits(t *testing.T) {
	t.Helper()
	var units []string
	var lines [][]string
	for _, unit := range slices.Concat(globbed(t, "coldbrick-*@.service"), globbed(t, "coldbrick-*@.timer")) {
		// An instance, with a dash in its name: that is no separator here.
		units = append(units, strings.Replace(filepath.Base(unit), "@", "@my-vol", 1))
		text := read(t, "/usr/lib/systemd/system/"+filepath.Base(unit))
		if !strings.HasSuffix(unit, ".service") {
			continue
		}
		line := regexp.MustCompile(`(?m)^ExecStart=/usr/bin/coldbrick (.*)$`).FindStringSubmatch(text)
		if line == nil || !strings.HasSuffix(text, read(t, "sandbox.conf")) {
			t.Errorf("%s has no command line, or no sandbox:\n%s", unit, text)
			continue
		}
		lines = append(lines, line)
		// It would take openat2 away from the service, which no run can do without.
		if strings.Contains(text, "\nRestrictSUIDSGID=") {
			t.Errorf("%s sets RestrictSUIDSGID=", unit)
		}
	}
	if out, err := exec.Command("systemd-analyze", append([]string{"verify", "--man=no", "--recursive-errors=one"}, units...)...).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	lines = append(lines, regexp.MustCompile(`(?m)^#\d.* root .*/usr/bin/coldbrick (.*)$`).FindAllStringSubmatch(read(t, "/etc/cron.d/coldbrick"), -1)...)
	if len(lines) != 10 {
		t.Errorf("%d command lines in the units and in the sample for cron", len(lines))
	}
	for _, line := range lines {
		args := append(strings.Fields(strings.ReplaceAll(line[1], "%%", "%")), "--help") // which is as strict about flags
		if out, err := exec.Command("coldbrick", args...).CombinedOutput(); err != nil {
			t.Errorf("coldbrick %s: %v\n%s", line[1], err, out)
		}
	}
	for line := range strings.Lines(read(t, "/etc/cron.d/coldbrick")) {
		if !strings.HasPrefix(line, "#") {
			t.Errorf("the sample for cron does something as installed: %s", line)
		}
	}
}

// A host that is upgraded has the library for the new glusterfs before that starts:
// one package carries both.
func TestThePluginForTwoVersions(t *testing.T) {
	own := strings.TrimPrefix(strings.TrimSpace(run(t, "pkg-config", "--modversion", "glusterfs-api")), "7.")
	other := "10.4" // which the same headers serve
	if strings.HasPrefix(own, "11.") {
		other = "11.0"
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "pkg-config"), []byte("#!/bin/sh\necho 7."+other+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	library := filepath.Join(dir, "other.so")
	run(t, "env", "PATH="+dir+":"+os.Getenv("PATH"), "../cmd/cloudsyncs3/build.sh", library)
	if out, err := exec.Command("./build.sh", dir, "9.6="+library).CombinedOutput(); err == nil || !strings.Contains(string(out), "not built for glusterfs 9.6") {
		t.Errorf("a library of another version: %v\n%s", err, out)
	}

	run(t, "env", "VERSION=1.0.0", "./build.sh", dir, other+"="+library)
	versions := []string{own, other}
	slices.Sort(versions)
	deb := file(t, dir, "coldbrick-gluster-plugin_1.0.0+gluster"+strings.Join(versions, ".")+"_*.deb")
	contents := run(t, "dpkg-deb", "--contents", deb)
	for _, version := range versions {
		if !strings.Contains(contents, "/glusterfs/"+version+"/cloudsync-plugins/cloudsyncs3.so\n") {
			t.Errorf("no library for %s:\n%s", version, contents)
		}
	}
	next := map[string]string{"10.4": "10.5", "11.1": "11.2"}[versions[1]]
	want := fmt.Sprintf("glusterfs-common (>= %[1]s), glusterfs-common (<< %[2]s~) | glusterfs-common (>= %[2]s), glusterfs-common (<< %[3]s~)\n",
		versions[0], versions[1], next)
	if depends := run(t, "dpkg-deb", "--field", deb, "Depends"); depends != want {
		t.Errorf("it depends on %s, want %s", depends, want)
	}
}

// The packaged file is the sample of all settings, with one setting made.
func wantConfigThatRequiresThePlugin(t *testing.T) {
	t.Helper()
	want := strings.Replace(read(t, "../docs/coldbrick.toml"), "\n#require-plugin = false\n", "\nrequire-plugin = true\n", 1)
	if got := read(t, configFile); got != want {
		t.Errorf("%s is not docs/coldbrick.toml with require-plugin = true", configFile)
	}
	shown := run(t, "coldbrick", "config", "show")
	if !regexp.MustCompile(`(?m)^require-plugin = true +# .*` + regexp.QuoteMeta(configFile)).MatchString(shown) {
		t.Errorf("config show:\n%s", shown)
	}
}

// scene is a volume and a store, and a coldbrick with settings for them in its
// own configuration file.
type scene struct {
	*testkit.Volume
	t      *testing.T
	server *testkit.S3Server
	plugin testkit.MountOption
}

func newScene(t *testing.T) *scene {
	t.Helper()
	server := testkit.S3(t)
	s := &scene{Volume: testkit.NewVolume(t), t: t, server: server}
	s.plugin = testkit.WithPlugin("cloudsyncs3",
		"s3plugin-hostname "+server.Endpoint+"?region="+server.Region,
		"s3plugin-bucketid "+server.Bucket,
		"s3plugin-keyid "+server.AccessKey,
		"s3plugin-seckey "+server.SecretKey)
	text := read(t, configFile)
	for key, value := range map[string]string{
		"bucket": server.Bucket, "endpoint-url": server.Endpoint, "region": server.Region,
		"access-key-id": server.AccessKey, "secret-access-key": server.SecretKey,
	} {
		line := fmt.Sprintf("\n#%s = \"\"\n", key)
		if !strings.Contains(text, line) {
			t.Fatalf("%s has no line %q", configFile, line)
		}
		text = strings.Replace(text, line, fmt.Sprintf("\n%s = %q\n", key, value), 1)
	}
	if err := os.WriteFile(configFile, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

// coldbrick runs the installed program as cron and systemd do, without anything
// in its environment.
func (s *scene) coldbrick(args ...string) (output string, code int) {
	s.t.Helper()
	return s.under(nil, args...)
}

// under runs the installed program by means of another one.
func (s *scene) under(wrapper []string, args ...string) (output string, code int) {
	s.t.Helper()
	line := slices.Concat(wrapper, []string{"/usr/bin/coldbrick"}, args)
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=/root"}
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		s.t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

func (s *scene) must(args ...string) {
	s.t.Helper()
	if out, code := s.coldbrick(args...); code != 0 {
		s.t.Fatalf("coldbrick %s: exit code %d\n%s", strings.Join(args, " "), code, out)
	}
}

// leave runs the loop by which the manual leaves coldbrick. What fetches an
// object stands in for the AWS client, which is not part of the question.
func (s *scene) leave() {
	s.t.Helper()
	loop := regexp.MustCompile("(?s)```\n(x=trusted\\.glusterfs\\.cs\n.*?)```").FindStringSubmatch(read(s.t, "/usr/share/doc/coldbrick/operations.md"))
	if loop == nil {
		s.t.Fatal("the manual has no way out")
	}
	scratch := s.t.TempDir()
	aws := "#!/bin/sh\n# s3api get-object --bucket NAME --key=KEY FILE\ncp -- \"$OBJECTS/${5#--key=}\" \"$6\"\n"
	if err := os.WriteFile(filepath.Join(scratch, "aws"), []byte(aws), 0o755); err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command("bash", "-c", strings.NewReplacer(
		"/mnt/plain", s.NewMount(s.t, testkit.WithoutCloudsync()), "/scratch", scratch,
	).Replace(loop[1]))
	cmd.Env = append(os.Environ(), "PATH="+scratch+":"+os.Getenv("PATH"), "OBJECTS="+s.server.ObjectFile("."))
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("%v\n%s", err, out)
	}
}

func (s *scene) wantState(path string, want gluster.State) {
	s.t.Helper()
	if got := s.BrickMarks(path).State(s.BrickSize(path)); got != want {
		s.t.Fatalf("%s is %s, not %s", path, got, want)
	}
}

// The rpm brings what the deb brings, with the same modes.
func TestDebAndRPMHoldTheSame(t *testing.T) {
	dir := build(t, "1.0.0")
	deb, rpm := map[string]string{}, map[string]string{}
	for line := range strings.Lines(run(t, "dpkg-deb", "--contents", file(t, dir, "coldbrick_*.deb"))) {
		fields := strings.Fields(line)
		if fields[0][0] != 'd' { // directories come with the files in them
			deb[strings.TrimPrefix(fields[5], ".")] = fields[0]
		}
	}
	for line := range strings.Lines(run(t, "rpm", "--query", "--list", "--verbose", "--package", file(t, dir, "coldbrick-1*.rpm"))) {
		fields := strings.Fields(line)
		if fields[0][0] != 'd' {
			name := strings.Replace(fields[8], "/zsh/site-functions/", "/zsh/vendor-completions/", 1)
			rpm[name] = fields[0]
		}
	}
	for name, mode := range deb {
		if rpm[name] != mode {
			t.Errorf("%s: %s in the deb, %q in the rpm", name, mode, rpm[name])
		}
	}
	for name := range rpm {
		if deb[name] == "" {
			t.Errorf("%s is in the rpm alone", name)
		}
	}
	if got := run(t, "rpm", "--query", "--configfiles", "--package", file(t, dir, "coldbrick-1*.rpm")); got != configFile+"\n/etc/coldbrick/prices.toml\n/etc/cron.d/coldbrick\n" {
		t.Errorf("configuration of the rpm: %q", got)
	}
	plugin := run(t, "rpm", "--query", "--list", "--package", file(t, dir, "coldbrick-gluster-plugin-*.rpm"))
	if !regexp.MustCompile(`(?m)^/usr/lib64/glusterfs/[0-9.]+/cloudsync-plugins/cloudsyncs3\.so$`).MatchString(plugin) {
		t.Errorf("the rpm of the plugin holds %s", plugin)
	}
}

// The rpm is put into a root that has nothing but a shell, and taken out again.
func TestTheRPMComesAndGoes(t *testing.T) {
	dir, root := build(t, "1.0.0"), t.TempDir()
	bringShell(t, root)
	had := filesIn(t, root)
	in := func(args ...string) string { return run(t, "rpm", append([]string{"--root", root}, args...)...) }

	in("--install", "--nodeps", file(t, dir, "coldbrick-1*.rpm"), file(t, dir, "coldbrick-gluster-plugin-*.rpm"))
	for _, name := range []string{"coldbrick", "coldbrick-gluster-plugin"} {
		in("--verify", "--nodeps", name)
	}
	if out := run(t, filepath.Join(root, "usr/bin/coldbrick"), "version"); !strings.Contains(out, "1.0.0") {
		t.Errorf("its version is %s", out)
	}
	in("--erase", "--nodeps", "coldbrick", "coldbrick-gluster-plugin")
	if left := filesIn(t, root); !slices.Equal(left, had) {
		t.Errorf("left behind: %q", left)
	}
	needs := run(t, "rpm", "--query", "--requires", "--package", file(t, dir, "coldbrick-1*.rpm"))
	for _, need := range []string{"glusterfs-fuse", "/bin/sh"} {
		if !slices.Contains(strings.Fields(needs), need) {
			t.Errorf("the rpm does not require %s: %s", need, needs)
		}
	}
}

// bringShell copies a shell, and the libraries that it names, into a root.
func bringShell(t *testing.T, root string) {
	t.Helper()
	files := append(regexp.MustCompile(`/\S+`).FindAllString(run(t, "ldd", "/bin/sh"), -1), "/bin/sh")
	for _, name := range files {
		to := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, []byte(read(t, name)), 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// filesIn lists what is no directory, and not the rpm database.
func filesIn(t *testing.T, root string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		name := strings.TrimPrefix(path, root)
		if err == nil && !d.IsDir() && !strings.Contains(name, "/rpm/") && !strings.Contains(name, "/.rpmdb/") {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func globbed(t *testing.T, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) == 0 {
		t.Fatalf("%s: %q, %v", pattern, found, err)
	}
	return found
}
