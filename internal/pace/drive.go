package pace

import (
	"context"
	"time"
)

// Reading is what has been counted since the work began.
type Reading struct {
	Work      float64
	Ended     int64 // files
	Throttled int64 // refusals of the store
	Busy, All float64
}

// An interval is long enough to tell something if most files that were begun before it
// have ended: two for each that is worked on. Large files take longer than anybody would wait.
const (
	look     = 250 * time.Millisecond
	shortly  = 500 * time.Millisecond
	longLook = 5 * time.Second
	each     = 2
)

// Drive sets how many files are worked on at once until ctx ends.
func Drive(ctx context.Context, p *Pace, read func() Reading, set func(int)) {
	tick := time.NewTicker(look)
	defer tick.Stop()
	since, before := time.Now(), read()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now, took := read(), time.Since(since)
		if took < shortly || now.Ended-before.Ended < int64(each*p.now) && took < longLook {
			continue
		}
		seen := Interval{Rate: (now.Work - before.Work) / took.Seconds(), Throttled: now.Throttled > before.Throttled}
		if all := now.All - before.All; all > 0 {
			seen.Busy = (now.Busy - before.Busy) / all
		}
		set(p.Next(seen))
		since, before = time.Now(), now
	}
}
