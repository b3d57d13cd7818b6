package testkit

import (
	"os"
	"testing"

	"github.com/coldbrick/coldbrick/internal/gluster"
)

func TestAStampMakesAStub(t *testing.T) {
	v := NewVolume(t)
	v.Write("dir/f", make([]byte, 300000), Old)
	v.Stamp("dir/f")

	if size := v.BrickSize("dir/f"); size != 0 {
		t.Errorf("%d bytes left on the brick", size)
	}
	if m := v.BrickMarks("dir/f"); m.RemoteKey != "dir/f" || m.State(0) != gluster.Remote {
		t.Errorf("marks: %+v", m)
	}
	info, err := os.Stat(v.Path("dir/f"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() != 300000 || !info.ModTime().Equal(Old) {
		t.Errorf("the mount shows %d bytes of %v", info.Size(), info.ModTime())
	}
}
