package volume

import (
	"math"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/testkit"
)

func TestAnIdentityCountsOnceTheClockHasPassedItsTick(t *testing.T) {
	const tick, patience = 10 * time.Millisecond, 2 * time.Second
	now := gluster.Time{Sec: 1_700_000_000, Nsec: 5_000_000}
	for _, tt := range []struct {
		name  string
		ctime gluster.Time
		wait  time.Duration
		ok    bool
	}{
		{"this tick", now, tick + 1, true},
		{"a tick ago to the nanosecond", gluster.Time{Sec: now.Sec - 1, Nsec: 995_000_000}, 1, true},
		{"over a tick ago", gluster.Time{Sec: now.Sec - 1, Nsec: 994_999_999}, 0, true},
		{"half a tick ago", gluster.Time{Sec: now.Sec}, 5*time.Millisecond + 1, true},
		{"years ago", gluster.Time{Sec: now.Sec - 1<<31}, 0, true},
		{"a second ahead", gluster.Time{Sec: now.Sec + 1, Nsec: now.Nsec}, time.Second + tick + 1, true},
		{"as far ahead as is waited for", gluster.Time{Sec: now.Sec + 2, Nsec: now.Nsec}, patience + tick + 1, true},
		{"farther ahead", gluster.Time{Sec: now.Sec + 2, Nsec: now.Nsec + 1}, 0, false},
		{"as far ahead as can be", gluster.Time{Sec: math.MaxInt64}, 0, false},
		{"as long ago as can be", gluster.Time{Sec: math.MinInt64}, 0, true},
	} {
		wait, ok := Ripens(tt.ctime, now, tick, patience)
		if ok != tt.ok || ok && max(wait, 0) != tt.wait {
			t.Errorf("%s: %v, %v, want %v, %v", tt.name, wait, ok, tt.wait, tt.ok)
		}
	}
	if Tick() < tick {
		t.Errorf("a tick of %v", Tick())
	}
}

func TestABrickOfWholeSecondsIsRefused(t *testing.T) {
	for inode, want := range map[int]outcome.Verdict{128: outcome.Bad, 256: outcome.OK} {
		v := testkit.NewVolume(t, testkit.Ext4(inode))
		v.Write("f", []byte("data"), testkit.Old)
		b, err := OpenBrick(v.BrickDir())
		if err != nil {
			t.Fatal(err)
		}
		if c := b.CheckTimes(); c.Verdict != want {
			t.Errorf("inodes of %d bytes: %+v", inode, c)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestALeaseTellsOfAWriterThatWaits(t *testing.T) {
	path := t.TempDir() + "/f"
	if err := os.WriteFile(path, []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lease, err := TakeLease(f)
	if err != nil {
		t.Fatal(err)
	}
	if unbroken, err := lease.Unbroken(); !unbroken || err != nil {
		t.Errorf("before: %v, %v", unbroken, err)
	}
	if _, err := unix.Open(path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0); err != unix.EWOULDBLOCK {
		t.Errorf("a writer hears %v", err)
	}
	if unbroken, err := lease.Unbroken(); unbroken || err != nil {
		t.Errorf("after: %v, %v", unbroken, err)
	}
	if err := lease.GiveBack(); err != nil {
		t.Error(err)
	}
}
