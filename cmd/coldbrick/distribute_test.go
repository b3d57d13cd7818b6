package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/testkit"
)

// The graph of a volume without replicas has no volume id: glusterd has it, and an
// object of another volume is not taken for a file's own.
func TestARecallKnowsTheVolumeWithoutReplicas(t *testing.T) {
	v, s := testkit.NewVolume(t), testkit.S3(t)
	s.Setenv(t)
	mnt := v.NewMount(t, testkit.WithFlags("--volfile-id=vol")) // what mount.glusterfs gives
	bin := t.TempDir()
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	// glusterd says, in place of one: it is too heavy here.
	knows := func(id string) {
		t.Helper()
		script := fmt.Sprintf(`#!/bin/sh
case $* in
*'volume info vol') echo '<cliOutput><opRet>0</opRet><volInfo><volumes><volume><name>vol</name><id>%s</id><status>1</status><brickCount>1</brickCount><replicaCount>1</replicaCount><bricks><brick>localhost:%[2]s<name>localhost:%[2]s</name><hostUuid>3a676ce9-1c28-4050-b025-793f0117366f</hostUuid></brick></bricks></volume><count>1</count></volumes></volInfo></cliOutput>' ;;
*) echo 'Connection failed. Please check if gluster daemon is operational.'; exit 1 ;;
esac
`, id, v.BrickDir())
		if err := os.WriteFile(bin+"/gluster", []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	store := []string{"--endpoint-url", s.Endpoint, "--bucket", s.Bucket, "--state-dir", t.TempDir()}
	do := func(want int, args ...string) string {
		t.Helper()
		_, code, stderr := inBackground(t, append(args, store...)...)
		if got := <-code; got != want {
			t.Fatalf("%s: exit code %d, want %d: %s", args, got, want, stderr)
		}
		return stderr.String()
	}
	v.Write("a", []byte("x"), testkit.Old)
	do(0, "archive", "--mount", v.MountDir(), v.BrickDir())

	knows("11111111-2222-4333-8444-555555555555")
	if said := do(3, "recall", mnt+"/a"); !strings.Contains(said, "object-foreign") {
		t.Error(said)
	}
	if state := v.BrickMarks("a").State(v.BrickSize("a")); state != gluster.Remote {
		t.Errorf("the file is %s", state)
	}
	knows(v.ID)
	do(0, "recall", mnt+"/a")
}
