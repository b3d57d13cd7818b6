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
	life string        // of the host and of the brick's file system, see lifeOf
	real time.Duration // since 1970, as people set it
	up   time.Duration // since the boot, which nobody sets
}

func readClock(life string) (clock, error) {
	var now, up unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_REALTIME, &now); err != nil {
		return clock{}, fmt.Errorf("clock: %w", err)
	}
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &up); err != nil {
		return clock{}, fmt.Errorf("clock: %w", err)
	}
	return clock{life, time.Duration(now.Nano()), time.Duration(up.Nano())}, nil
}

// steppedBack reports whether the clock may have been set back since a previous instant.
// A clock that is only slowed down, as NTP does by up to 500 ppm, never goes back.
func (c clock) steppedBack(previous clock) bool {
	const slowest, readingTime = 2000, 10 * time.Millisecond
	up := c.up - previous.up
	return up < 0 || c.real-previous.real < up-up/slowest-readingTime
}

// lifeOf names the boot of the host, and the mount of the file system that an open file
// is on, for as long as both last. ext4 and XFS write times later than bytes, also those
// that fdatasync makes durable: after a loss of power, or once the file system was shut
// down by an error, a file that was written to can have the times from before. On a file
// system that the kernel does not list by its device (btrfs and ZFS write both at once)
// only the boot counts.
func lifeOf(fd int) (string, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return "", fmt.Errorf("stat: %w", err)
	}
	life := strings.TrimSpace(string(boot))
	device, err := os.Readlink(fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev)))
	if errors.Is(err, os.ErrNotExist) {
		return life, nil
	}
	if err != nil {
		return "", err
	}
	mounted, err := filepath.Glob("/sys/fs/*/" + filepath.Base(device))
	for _, dir := range mounted { // each mount makes it anew, with another inode number
		err = errors.Join(err, unix.Stat(dir, &st))
		life += fmt.Sprintf(",%d", st.Ino)
	}
	return life, err
}

func (x *Index) saveClock() error {
	f, err := os.CreateTemp(x.dir, clockFile+"-")
	if err != nil {
		return fmt.Errorf("index: %w", err)
	}
	_, err = fmt.Fprintf(f, "%s %d %d\n", x.last.life, x.last.real, x.last.up)
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
	if n, err := fmt.Sscanf(string(b), "%s %d %d\n", &c.life, &c.real, &c.up); err != nil {
		return c, fmt.Errorf("%s: %d fields: %w", path, n, err)
	}
	return c, nil
}
