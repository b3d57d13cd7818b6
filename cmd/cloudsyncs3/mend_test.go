package main_test

import (
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/owner"
	"github.com/coldbrick/coldbrick/internal/record"
	"github.com/coldbrick/coldbrick/internal/testkit"
	"github.com/coldbrick/coldbrick/internal/volume"
	"github.com/coldbrick/coldbrick/recall"
	"github.com/coldbrick/coldbrick/upload"
)

// recaller is coldbrick recall on this volume, which is what fixes a file too.
func (g *ground) recaller() *recall.Recaller {
	g.t.Helper()
	root := func(dir string) *volume.Root {
		r, err := volume.OpenRoot(dir)
		if err != nil {
			g.t.Fatal(err)
		}
		g.t.Cleanup(func() { r.Close() })
		return r
	}
	self, err := owner.Self(object.NewID())
	if err != nil {
		g.t.Fatal(err)
	}
	return &recall.Recaller{
		Files: root(g.NewMount(g.t, testkit.WithoutCloudsync())), Barrier: root(g.MountDir()),
		Plugin: g.store, Owner: self, Volume: g.ID, BarrierLimit: time.Minute,
	}
}

// A client that is killed leaves a file that no reader takes for whole, and that
// coldbrick makes whole.
func TestAKilledClientLeavesWhatCanBeMended(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	client := g.client()
	data := random(1, 12<<20)
	g.archive("f", "f", data)
	g.proxy.On(testkit.Match{Method: http.MethodGet, Header: []string{"Range"}}, g.proxy.Hang())
	reader := exec.Command("cat", "--", client+"/f")
	if err := reader.Start(); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, time.Minute, "some bytes are on the brick", func() bool { return g.BrickSize("f") > 0 })
	if err := unix.Kill(g.pid(client), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if reader.Wait() == nil {
		t.Error("the reader saw no error")
	}
	if m := g.BrickMarks("f"); m.State(g.BrickSize("f")) != gluster.Repair || !m.Downloading || m.RemoteKey != "f" {
		t.Errorf("%+v", m)
	}
	next := g.client()
	if got, err := g.read(next, "f"); err == nil {
		t.Errorf("another client reads %d bytes", len(got))
	}
	g.fix("f", data)
}

func (g *ground) fix(path string, data []byte) {
	g.t.Helper()
	if res := g.recaller().Recall(g.t.Context(), path, g.GFID(path)); res.Outcome != outcome.Recalled {
		g.t.Fatalf("fix %q: %+v", path, res)
	}
	g.mustRead(g.client(), path, data)
	g.mustBeLocal(path, len(data))
}

// The states between the plugin's last steps and the translator's last one.
func TestAClientMayDieAfterThePluginIsDone(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	data := random(1, 300000)
	sizes := []string{gluster.XattrObjectSize, gluster.XattrBlockSize, gluster.XattrNumBlocks}
	for _, tt := range []struct {
		name    string
		removed []string
		script  bool
	}{
		{"some sizes are gone", sizes[:1], false},
		{"all sizes are gone", sizes, false},
		{"remote is gone", append(sizes, gluster.XattrRemote), false},
		{"remote is gone, archived by a script", append(sizes, gluster.XattrRemote), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := g.in(t)
			if tt.script {
				g.archiveByScript(tt.name, data)
			} else {
				g.archive(tt.name, tt.name, data)
			}
			// The plugin's own marks, then what was there before the translator's
			// last steps.
			marks := g.BrickXattrs(tt.name)
			marks[gluster.XattrDownload] = "1"
			g.mustRead(g.client(), tt.name, data)
			for _, name := range tt.removed {
				delete(marks, name)
			}
			for name, value := range marks {
				if name != gluster.XattrPointer && name != gluster.XattrGFID && name != gluster.XattrMdata {
					testkit.SetXattr(t, g.BrickPath(tt.name), name, value)
				}
			}
			if g.BrickMarks(tt.name).State(g.BrickSize(tt.name)) == gluster.Local {
				t.Fatal("the file is local")
			}
			g.fix(tt.name, data)
		})
	}
}

// The translator truncates a file whose download has failed, whatever it is by
// then. coldbrick recall has taken it over in the meantime.
func TestALateFailureLosesNothing(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	client := g.client()
	recaller := g.recaller()
	data, more := random(1, 4096), []byte("appended")
	g.archive("f", "f", data)
	gate := testkit.NewGate()
	t.Cleanup(gate.Open)
	g.proxy.On(testkit.Match{Method: http.MethodGet}, gate.Hold(testkit.Refuse(403, "AccessDenied")))
	var seen bytes.Buffer
	reader := exec.Command("cat", "--", client+"/f")
	reader.Stdout = &seen
	if err := reader.Start(); err != nil {
		t.Fatal(err)
	}
	gate.Wait(t)                                          // the client recalls
	res := recaller.Recall(t.Context(), "f", g.GFID("f")) // past the proxy
	if res.Outcome != outcome.Recalled {
		t.Fatalf("%+v", res)
	}
	appendTo(t, g.Path("f"), more)
	gate.Open()
	want := append(data[:len(data):len(data)], more...)
	// The kernel asks again for what its read-ahead did not get: then the file
	// is local.
	if err := reader.Wait(); err == nil && !bytes.HasPrefix(want, seen.Bytes()) || seen.Len() > 0 && seen.Len() < len(data) {
		t.Errorf("the reader saw %d bytes, %v", seen.Len(), err)
	}
	g.mustRead(g.client(), "f", want)
	if got, err := os.ReadFile(g.BrickPath("f")); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes on the brick, %v", len(got), err)
	}
}

// coldbrick stands still between the stamp and the rewrite of cs.remote, which
// is the key of another file's object of the same size until then.
func TestAFrozenArchiveHarmsNoReader(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	client := g.client()
	others, data := random(1, 4096), random(2, 4096)
	g.archive("f", "f", others)
	if err := os.Rename(g.Path("f"), g.Path("previous")); err != nil {
		t.Fatal(err)
	}
	g.Write("f", data, testkit.Old)

	a := g.archiver()
	a.At = func(step upload.Step, _ gluster.File) error {
		if step != upload.StepVerify {
			return nil
		}
		if m := g.BrickMarks("f"); m.State(g.BrickSize("f")) != gluster.Remote || m.RemoteKey != "f" {
			t.Errorf("the stub does not have the other file's key: %+v", m)
		}
		g.mustRead(client, "f", data)
		g.mustBeLocal("f", len(data))
		return nil
	}
	res := a.Archive(t.Context(), gluster.File{Path: "f", GFID: g.GFID("f"), Size: int64(len(data)), Mtime: testkit.Old})
	if res.Outcome != outcome.Archived || res.Key == "f" {
		t.Errorf("%+v", res)
	}
	g.mustRead(g.client(), "f", data)
	g.mustRead(g.client(), "previous", others)
}

// archiver is coldbrick archive on this volume.
func (g *ground) archiver() *upload.Archiver {
	g.t.Helper()
	need := func(err error) {
		if err != nil {
			g.t.Fatal(err)
		}
	}
	mount, err := volume.Inspect(g.MountDir())
	need(err)
	mount.RunDir = g.t.TempDir()
	stamping, err := mount.Private(g.t.Context(), volume.ForStamping)
	need(err)
	g.t.Cleanup(func() { need(stamping.Close()) })
	brick, err := volume.OpenBrick(g.BrickDir())
	need(err)
	g.t.Cleanup(func() { brick.Close() })
	self, err := owner.Self(object.NewID())
	need(err)
	log, err := record.Create(g.t.TempDir(), self, g.BrickDir())
	need(err)
	g.t.Cleanup(func() { need(log.Close()) })
	_, err = g.store.Probe(g.t.Context())
	need(err)
	return &upload.Archiver{
		Mount: stamping, Brick: brick, Store: g.store, Log: log, Owner: self, Volume: g.ID,
		ColdBefore: time.Now().Add(-5 * time.Second),
	}
}
