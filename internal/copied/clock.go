package copied

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const clockFile = "clock"

// clock is an instant, as two clocks of a host tell it.
type clock struct {
	boot string        // id of the boot
	real time.Duration // since 1970, as people set it
	up   time.Duration // since the boot, which nobody sets
}

func readClock() (clock, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return clock{}, err
	}
	var now, up unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_REALTIME, &now); err != nil {
		return clock{}, fmt.Errorf("clock: %w", err)
	}
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &up); err != nil {
		return clock{}, fmt.Errorf("clock: %w", err)
	}
	return clock{strings.TrimSpace(string(boot)), time.Duration(now.Nano()), time.Duration(up.Nano())}, nil
}

// steppedBack reports whether the clock may have been set back since a former instant.
// A clock that is only slowed down, as NTP does by up to 500 ppm, never goes back. Of
// what happened during a reboot nothing is known but where the clock has come to.
func (c clock) steppedBack(former clock) bool {
	const slowest, readingTime = 2000, 10 * time.Millisecond
	if c.boot != former.boot {
		return c.real < former.real
	}
	up := c.up - former.up
	return up < 0 || c.real-former.real < up-up/slowest-readingTime
}

func (x *Index) saveClock() error {
	f, err := os.CreateTemp(x.dir, clockFile+"-")
	if err != nil {
		return fmt.Errorf("index: %w", err)
	}
	_, err = fmt.Fprintf(f, "%s %d %d\n", x.last.boot, x.last.real, x.last.up)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), filepath.Join(x.dir, clockFile))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("index: %w", err), os.Remove(f.Name()))
	}
	return nil
}

func loadClock(path string) (c clock, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return c, err
	}
	if n, err := fmt.Sscanf(string(b), "%s %d %d\n", &c.boot, &c.real, &c.up); err != nil {
		return c, fmt.Errorf("%s: %d fields: %w", path, n, err)
	}
	return c, nil
}
