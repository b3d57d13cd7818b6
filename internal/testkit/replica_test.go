package testkit

import (
	"os"
	"testing"
	"time"

	"github.com/coldbrick/coldbrick/internal/gluster"
)

func sizeOn(t *testing.T, brickDir, path string) int64 {
	t.Helper()
	info, err := os.Lstat(brickDir + "/" + path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

func TestAReplicaStampReachesEveryBrick(t *testing.T) {
	v := NewVolume(t, Replica(3))
	v.Write("f", make([]byte, 300000), Old)
	v.Stamp("f")
	for _, dir := range v.BrickDirs() {
		x := Xattrs(t, dir+"/f")
		if sizeOn(t, dir, "f") != 0 || x[gluster.XattrRemote] != "f" {
			t.Errorf("%s: %d bytes, %q", dir, sizeOn(t, dir, "f"), x)
		}
		if gluster.AFRPending([]byte(x[gluster.XattrAFR+"dirty"])) {
			t.Errorf("%s: dirty", dir)
		}
	}
}

// A brick that was down while a file was stamped still has the data, is taken
// for a source of it, and heals the others: they are stubs with data then, which
// nobody can read.
func TestHealWritesTheDataBackIntoAStub(t *testing.T) {
	v := NewVolume(t, Replica(3))
	v.StartSelfHeal()
	v.Write("f", make([]byte, 300000), Old)
	v.StopBrick(1)
	v.Stamp("f")

	blamed := func() bool {
		return gluster.AFRPending([]byte(Xattrs(t, v.BrickPath("f"))[gluster.XattrAFR+"vol-client-1"]))
	}
	Eventually(t, time.Minute, "the first brick blames the second", blamed) // after the transaction's delayed end

	v.StartBrick(1)
	Eventually(t, time.Minute, "self-heal ends", func() bool { return !blamed() })
	for _, dir := range v.BrickDirs() {
		x := Xattrs(t, dir+"/f")
		if sizeOn(t, dir, "f") != 300000 || x[gluster.XattrRemote] != "f" {
			t.Errorf("%s: %d bytes, %q", dir, sizeOn(t, dir, "f"), x)
		}
	}
	if _, err := os.ReadFile(v.NewMount(t) + "/f"); err == nil {
		t.Error("the file can be read")
	}
}
