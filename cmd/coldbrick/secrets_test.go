package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/coldbrick/coldbrick/internal/testkit"
)

// The secret key is in the environment of coldbrick, where its user has put it,
// and nowhere else: not with its children, nor in anything that it writes, also
// when all goes wrong.
func TestTheSecretKeyIsNowhere(t *testing.T) {
	program := filepath.Join(t.TempDir(), "coldbrick")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v: %s", err, out)
	}
	v, s3 := testkit.NewVolume(t), testkit.S3(t)
	proxy := testkit.FaultProxy(t, s3)
	state := t.TempDir()
	metrics := filepath.Join(state, "metrics.prom")
	for i := range 3 {
		v.Write(fmt.Sprintf("f%d", i), []byte("data"), time.Now().AddDate(-1, 0, 0))
	}
	// A volume may carry the secret as well, in the graph of its mounts.
	mount := v.NewMount(t, testkit.WithPlugin("cloudsyncs3", "s3plugin-hostname "+s3.Endpoint,
		"s3plugin-bucketid "+s3.Bucket, "s3plugin-keyid "+s3.AccessKey, "s3plugin-seckey "+s3.SecretKey))

	var seen bytes.Buffer // all that anybody could read
	run := func(endpoint string, environ []string, args ...string) {
		t.Helper()
		cmd := exec.Command(program, args...)
		cmd.Env = append([]string{
			"PATH=" + os.Getenv("PATH"), "COLDBRICK_ENDPOINT_URL=" + endpoint, "COLDBRICK_BUCKET=" + s3.Bucket,
			"COLDBRICK_STATE_DIR=" + state, "AWS_EC2_METADATA_DISABLED=true",
		}, environ...)
		cmd.Stdout, cmd.Stderr = &seen, &seen
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			_ = cmd.Wait() // with whatever exit code
			close(ended)
		}()
		var children bytes.Buffer
		for {
			select {
			case <-ended:
				seen.Write(children.Bytes())
				return
			case <-time.After(20 * time.Millisecond):
				children.Write(ofChildren(cmd.Process.Pid))
			}
		}
	}
	archive := []string{"archive", v.BrickDir(), "--mount", mount, "-v", "--json", "--log-format", "json", "--metrics-file", metrics}
	wrong := []string{"AWS_ACCESS_KEY_ID=" + s3.AccessKey, "AWS_SECRET_ACCESS_KEY=" + s3.SecretKey + "x"}
	right := s3.Env()
	run("http://127.0.0.1:1", right, archive...)
	run(s3.Endpoint, wrong, archive...)
	run(s3.Endpoint, append(right, "COLDBRICK_BUCKET=missing"), archive...)
	for _, fault := range []testkit.Fault{
		testkit.Refuse(403, "AccessDenied"), testkit.Refuse(500, "InternalError"), testkit.Drop(), testkit.LoseReply(),
	} {
		proxy.On(testkit.Match{Method: "PUT", Key: "f1"}, fault)
		run(proxy.Endpoint, right, archive...)
		proxy.Clear()
	}
	run(s3.Endpoint, nil, archive...) // by the volume's own options
	run(proxy.Endpoint, right, "recall", "-v", "--json", v.Path("f0"), v.Path("f1"))
	run(s3.Endpoint, right, "config", "show")
	run(s3.Endpoint, right, "doctor", "--brick", v.BrickDir(), "--mount", mount, "--json")

	err := filepath.WalkDir(state, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(name)
		seen.WriteString(name)
		seen.Write(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(seen.String(), `"outcome":"archived"`) || !strings.Contains(seen.String(), "glusterfs") {
		t.Error("nothing was archived, or no child was seen: the test looks at nothing")
	}
	if limits := regexp.MustCompile(`(?m)^Max core file size +(\S+ +\S+)`).FindAllStringSubmatch(seen.String(), -1); len(limits) == 0 {
		t.Error("no limit of core files was seen")
	} else {
		for _, limit := range limits {
			if strings.Join(strings.Fields(limit[1]), " ") != "0 0" {
				t.Errorf("a core file of a child may have %s bytes, and the secrets in them", limit[1])
			}
		}
	}
	for line := range strings.SplitSeq(seen.String(), "\n") {
		if strings.Contains(line, s3.SecretKey) {
			t.Errorf("the secret key stands in: %.300q", line)
		}
	}
}

// ofChildren is what others can read of the children of a process.
func ofChildren(pid int) (text []byte) {
	list, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	tasks, globErr := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil || globErr != nil {
		return nil // it has ended
	}
	for _, task := range tasks {
		more, err := os.ReadFile(task)
		if err == nil {
			list = append(list, more...)
		}
	}
	self, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil {
		return nil // it has ended
	}
	for _, child := range strings.Fields(string(list)) {
		// Until it has become another program, a child is its parent.
		if exe, err := os.Readlink("/proc/" + child + "/exe"); err != nil || exe == self {
			continue
		}
		for _, name := range []string{"cmdline", "environ", "limits"} {
			content, err := os.ReadFile("/proc/" + child + "/" + name)
			if err == nil {
				text = append(text, bytes.ReplaceAll(content, []byte{0}, []byte("\n"))...)
			}
		}
	}
	return text
}
