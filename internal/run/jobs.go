package run

import (
	"context"
	"os"
	"strconv"
	"strings"

	"github.com/coldbrick/coldbrick/internal/objstore"
	"github.com/coldbrick/coldbrick/internal/pace"
	"github.com/coldbrick/coldbrick/internal/workers"
)

// With --jobs auto a run begins with as many files at once as the default was when it
// was fixed. What they take in memory is bounded by the store's buffers, whatever their
// number; a limit of the bandwidth is met as any other: more files bring no more.
const (
	DefaultJobs = objstore.DefaultJobs
	leastJobs   = 4
)

// crew works on files whose bytes go through meter: as many at once as the user wants,
// or else as is fastest, which is found until end is called.
func (s *Session) crew(ctx context.Context, meter *Meter) (crew *workers.Crew, end func()) {
	if !s.AutoJobs {
		return workers.NewCrew(s.Jobs, s.Jobs), func() {}
	}
	crew = workers.NewCrew(s.Jobs, objstore.MostJobs)
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		pace.Drive(ctx, pace.New(leastJobs, s.Jobs, objstore.MostJobs), func() pace.Reading {
			r := pace.Reading{Ended: crew.Ended(), Throttled: meter.Throttled.Load()}
			r.Work = float64(r.Ended) + float64(meter.Moved.Load())/(1<<20) // a file costs as much as a MiB or so
			r.Busy, r.All = hostTime()
			return r
		}, func(n int) {
			s.Log.Debug("files at once", "jobs", n)
			crew.Resize(n)
		})
	}()
	return crew, func() {
		cancel()
		<-done
	}
}

// hostTime is the CPU time of the host, in any unit: what was in use, and all. Where
// the kernel does not tell, both are 0.
func hostTime() (busy, all float64) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0
	}
	line, _, _ := strings.Cut(string(text), "\n")
	for i, field := range strings.Fields(line) {
		const idle, iowait, guest = 4, 5, 9 // guests count as users as well
		n, err := strconv.ParseFloat(field, 64)
		if err != nil || i >= guest { // the first is the word cpu
			continue
		}
		all += n
		if i != idle && i != iowait {
			busy += n
		}
	}
	return busy, all
}
