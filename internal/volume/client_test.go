package volume

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/testkit"
)

// What a mount of users tells of a stub, without the plugin. With it, see
// cmd/cloudsyncs3.
func TestAClientIsJudgedByWhatItTellsOfAStub(t *testing.T) {
	for name, volume := range map[string]*testkit.Volume{
		"distribute": testkit.NewVolume(t, testkit.Bricks(2)),
		"replica":    testkit.NewVolume(t, testkit.Replica(3)),
	} {
		for _, tt := range []struct {
			name    string
			options []testkit.MountOption
			want    []string // that fail
			reason  string
		}{
			{"nothing cached", nil, nil, "object is remote"},
			{"both caches, for long", []testkit.MountOption{testkit.WithPerformance(), testkit.WithTimeouts(time.Hour, time.Hour)},
				[]string{CheckClientCaches, CheckClientProbe}, "stat reports 0 bytes where there are"},
			{"the kernel's cache alone", []testkit.MountOption{testkit.WithTimeouts(time.Hour, 0)},
				[]string{CheckClientCaches, CheckClientProbe}, "stat reports 0 bytes where there are"},
			{"entries alone", []testkit.MountOption{testkit.WithTimeouts(0, time.Second)},
				[]string{CheckClientCaches}, "entries for 1s"},
			{"quick-read", []testkit.MountOption{testkit.WithQuickRead()}, []string{CheckQuickRead}, "quick-read"},
			{"parallel-readdir", []testkit.MountOption{testkit.WithParallelReaddir()}, []string{CheckReaddir}, "a listing shows stubs as empty files"},
			{"no cloudsync", []testkit.MountOption{testkit.WithoutCloudsync()}, []string{CheckCloudsync}, "is off"},
		} {
			dir := volume.NewMount(t, tt.options...)
			checks, err := mustInspect(t, dir).CheckClient(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got := failed(t, checks); !slices.Equal(got, tt.want) || !slices.ContainsFunc(checks, func(c outcome.Check) bool { return strings.Contains(c.Reason, tt.reason) }) {
				t.Errorf("%s, %s: %v fail, want %v: %+v", name, tt.name, got, tt.want, checks)
			}
			volume.Unmount(dir)
		}
		// With default options and a default mount, how the probe ends is a matter of
		// the second for which both caches keep what they were told.
		checks, err := mustInspect(t, volume.NewMount(t, testkit.WithPerformance())).CheckClient(t.Context())
		if err != nil || !slices.Contains(failed(t, checks), CheckClientCaches) {
			t.Errorf("%s, default mount: %v, %+v", name, err, checks)
		}
		mustHave(t, volume)
	}
}

// mustHave checks which files are in the root of a volume.
func mustHave(t *testing.T, v *testkit.Volume, want ...string) {
	t.Helper()
	var got []string
	for _, brick := range v.BrickDirs() {
		names, err := filepath.Glob(brick + "/*")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if name = filepath.Base(name); name != ".glusterfs" {
				got = append(got, name)
			}
		}
	}
	slices.Sort(got)
	if got = slices.Compact(got); !slices.Equal(got, want) {
		t.Errorf("the volume has %q, want %q", got, want)
	}
}

func TestAProbeRemovesWhatIsCertainlyItsOwn(t *testing.T) {
	v := testkit.NewVolume(t)
	left := func(name string, age time.Duration) {
		v.Write(name, []byte(scratch), time.Now().Add(-age))
		testkit.SetXattr(t, v.Path(name), gluster.XattrPointer, scratchPointer)
	}
	left(".coldbrick-probe-old", 2*probeAge)
	v.Stamp(".coldbrick-probe-old")
	left(".coldbrick-probe-new", 0)
	left("user's", 2*probeAge)
	v.Write(".coldbrick-probe-user", []byte(scratch), testkit.Old)
	if err := os.Mkdir(v.Path(".coldbrick-probe-dir"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("user's", v.Path(".coldbrick-probe-link")); err != nil {
		t.Fatal(err)
	}
	checks, err := mustInspect(t, v.MountDir()).CheckClient(t.Context())
	if err != nil || failed(t, checks) != nil {
		t.Errorf("%+v, %v", checks, err)
	}
	mustHave(t, v, ".coldbrick-probe-dir", ".coldbrick-probe-link", ".coldbrick-probe-new", ".coldbrick-probe-user", "user's")

	// Told to stop, it stops, and leaves nothing.
	cause := errors.New("stop")
	ctx, stop := context.WithCancelCause(t.Context())
	stop(cause)
	if _, err := mustInspect(t, v.MountDir()).CheckClient(ctx); !errors.Is(err, cause) {
		t.Errorf("%v, want %v", err, cause)
	}
	mustHave(t, v, ".coldbrick-probe-dir", ".coldbrick-probe-link", ".coldbrick-probe-new", ".coldbrick-probe-user", "user's")
}
