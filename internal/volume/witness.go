package volume

import (
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/outcome"
)

// leastTick is longer than between two ticks of any kernel's clock: 1 to 10 ms.
const leastTick = 10 * time.Millisecond

// Tick is how far apart two changes must be for the ctime of a file to tell them
// apart, on a kernel that stamps files by its coarse clock, as all before 6.13 do.
func Tick() time.Duration {
	var res unix.Timespec
	if err := unix.ClockGetres(unix.CLOCK_REALTIME_COARSE, &res); err != nil {
		return leastTick
	}
	return max(leastTick, time.Duration(res.Nano()))
}

// CoarseNow is the clock by which a kernel stamps the files of this host.
func CoarseNow() (gluster.Time, error) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &now); err != nil {
		return gluster.Time{}, fmt.Errorf("clock: %w", err)
	}
	return gluster.TimeOf(now), nil
}

// Ripens tells how long it takes until any further change of a file gives it
// another ctime than it has; 0 or less: it does already. A ctime beyond patience
// in the future gives false: it was set by another clock.
func Ripens(ctime, now gluster.Time, tick, patience time.Duration) (time.Duration, bool) {
	// Far apart, only the seconds matter, and their difference may not fit.
	const far = 1 << 30
	switch {
	case ctime.Sec < now.Sec-far:
		return 0, true
	case ctime.Sec > now.Sec+far:
		return 0, false
	}
	ahead := time.Duration(ctime.Sec-now.Sec)*time.Second + time.Duration(ctime.Nsec-now.Nsec)
	// Once the clock has passed the tick: one nanosecond more than equal.
	return ahead + tick + 1, ahead <= patience
}

// CheckTimes looks whether the brick's file system keeps parts of a second: where
// it does not, as an ext4 with inodes of 128 bytes, two changes within a second
// look like one, and nothing shows that a file is unchanged. Of files that exist,
// not one in a million has a ctime of whole seconds otherwise.
func (b *Brick) CheckTimes() outcome.Check {
	fine, err := b.fineTimes()
	if err != nil {
		return outcome.Check{Name: CheckTimes, Verdict: outcome.Bad, Reason: fmt.Sprintf("brick %s: %v", b.Dir(), err)}
	}
	return verdict(CheckTimes, outcome.Bad, !fine, b.Dir()+" keeps parts of a second",
		"the file system of "+b.Dir()+" keeps times in whole seconds: a change within the second of another does not show",
		"replace the brick by one on XFS, or on ext4 with inodes of 256 bytes")
}

func (b *Brick) fineTimes() (bool, error) {
	const enough = 64
	for _, path := range []string{".", ".glusterfs"} {
		dir, err := b.Open(path, unix.O_RDONLY|unix.O_DIRECTORY)
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			return false, err
		}
		defer dir.Close() // read-only
		st, err := StatOf(dir)
		if err != nil || st.Ctime.Nsec != 0 {
			return err == nil, err
		}
		names, err := dir.Readdirnames(enough)
		if err != nil && !errors.Is(err, io.EOF) {
			return false, err
		}
		for _, name := range names {
			var st unix.Stat_t
			err := unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW)
			if err == nil && st.Ctim.Nsec != 0 {
				return true, nil
			}
			if err != nil && !errors.Is(err, unix.ENOENT) {
				return false, fmt.Errorf("stat %q: %w", name, err)
			}
		}
	}
	return false, nil
}
