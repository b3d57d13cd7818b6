package upload

import (
	"context"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/report"
	"github.com/coldbrick/coldbrick/internal/volume"
)

// A ctime tells two changes apart only if the clock that it is taken from has
// moved between them. Kernels before 6.13 take it from CLOCK_REALTIME_COARSE,
// which moves once in 1 to 10 ms.
const tick = 10 * time.Millisecond

// futurePatience bounds the wait for a ctime that lies in the future, which a
// clock that was put back leaves behind.
const futurePatience = 2 * time.Second

// age is how long after the file's last change a moment of the coarse clock lies;
// negative if the change is in the future.
func age(changed, now unix.Timespec) time.Duration {
	const most = int64(time.Hour / time.Second)
	sec := now.Sec - changed.Sec
	if sec > most || now.Sec > 0 && sec < 0 && changed.Sec < 0 { // the latter is an overflow
		sec = most
	}
	return time.Duration(max(sec, -most))*time.Second + time.Duration(now.Nsec-changed.Nsec)
}

// standing waits until any further change of the brick's file must move its
// ctime, and tells what the file is then. Without that, a write in the same tick
// as our own pointer would not be seen. What replicate still has to tell the
// brick about our pointer moves the ctime as well, and comes to its end first.
func (t *transaction) standing(ctx context.Context) (volume.Stat, error) {
	for waited := time.Duration(0); ; {
		attrs, err := settled(t.brick)
		if err != nil {
			return volume.Stat{}, err
		}
		if attrs.HealPending {
			return volume.Stat{}, report.Leave(report.HealPending, "")
		}
		st, err := volume.StatOf(t.brick)
		if err != nil {
			return volume.Stat{}, err
		}
		var now unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &now); err != nil {
			return volume.Stat{}, err
		}
		rest := tick - age(st.Ctime, now)
		if rest < 0 {
			return st, nil
		}
		if waited += rest; waited > futurePatience {
			return volume.Stat{}, report.Leave(report.Changed, "its ctime on the brick lies in the future, or does not come to rest")
		}
		select {
		case <-ctx.Done():
			return volume.Stat{}, ctx.Err()
		case <-time.After(rest + time.Millisecond):
		}
	}
}
