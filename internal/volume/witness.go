package volume

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
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
