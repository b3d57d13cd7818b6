//go:build e2e && soak

package e2e

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coldbrick/coldbrick/internal/testkit"
	"github.com/coldbrick/coldbrick/internal/testkit/cluster"
)

//go:embed testdata/ahead.go.txt
var aheadSource []byte

// offClock is what hosts with a wrong clock run: coldbrick, and a library for their
// Gluster clients.
type offClock struct{ program, library string }

// newOffClock builds both. Neither time namespaces nor preloaded libraries shift
// CLOCK_REALTIME for a static Go program, so this coldbrick is built with a time.Now
// of its own. Only what asks the kernel itself still has the true time: it compares it
// with what the same kernel stamps the brick's files with.
func newOffClock(t *testing.T) offClock {
	t.Helper()
	dir := t.TempDir()
	source := filepath.Join(runtime.GOROOT(), "src/time") //nolint:staticcheck // the Go that builds this test also builds the program
	text, err := os.ReadFile(filepath.Join(source, "time.go"))
	must(t, err)
	const reads = "\tsec, nsec, mono := runtimeNow()\n"
	if n := bytes.Count(text, []byte(reads)); n != 1 {
		t.Fatalf("time.Now of %s is not as this test knows it: %d lines %q", runtime.Version(), n, reads)
	}
	replace := map[string]string{}
	for name, content := range map[string][]byte{
		"time.go":  bytes.Replace(text, []byte(reads), []byte(reads+"\tsec += ahead\n"), 1),
		"ahead.go": aheadSource,
	} {
		replace[filepath.Join(source, name)] = filepath.Join(dir, name)
		must(t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600))
	program := filepath.Join(dir, "coldbrick-off-clock")
	build := exec.Command("go", "build", "-overlay", filepath.Join(dir, "overlay.json"), "-o", program, "./cmd/coldbrick")
	build.Dir = testkit.ModuleRoot(t)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return offClock{program, testkit.ClockLibrary(t)}
}

// install gives the node's coldbrick, and the Gluster clients that it starts, a clock
// that is so much ahead. It returns the environment with which a client has it too.
func (c offClock) install(t *testing.T, n *cluster.Node, ahead time.Duration) (client []string) {
	t.Helper()
	seconds := strconv.Itoa(int(ahead / time.Second))
	must(t, n.Install(c.program))
	must(t, n.Install(c.library))
	must(t, os.WriteFile(n.Path("/run/clock"), []byte(seconds), 0o644))
	client = testkit.ClockEnvironment("/usr/local/bin/"+filepath.Base(c.library), "/run/clock")
	for name, command := range map[string]string{
		"glusterfs": strings.Join(client, " ") + " /usr/sbin/glusterfs",
		"coldbrick": "COLDBRICK_TEST_CLOCK=" + seconds + " " + filepath.Base(c.program),
	} {
		script := fmt.Sprintf("#!/bin/sh\nexec env %s \"$@\"\n", command)
		must(t, os.WriteFile(n.Path("/usr/local/bin/"+name), []byte(script), 0o755))
	}
	return client
}

// clone makes the node one that was made from the same image as other clones: its
// machine id is theirs, its boot id is its own.
func clone(t *testing.T, n *cluster.Node, number int) {
	t.Helper()
	for file, id := range map[string]string{
		"/etc/machine-id":                 strings.Repeat("c0", 16),
		"/proc/sys/kernel/random/boot_id": fmt.Sprintf("%08d-0000-4000-8000-000000000000", number),
	} {
		mine := "/run/" + filepath.Base(file)
		must(t, os.WriteFile(n.Path(mine), []byte(id+"\n"), 0o644))
		_, err := n.Run("mount", "--bind", mine, file)
		must(t, err)
	}
}
