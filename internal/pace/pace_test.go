package pace

import (
	"context"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// host is a machine, a volume and a store: n files at once take so long each, until
// something is exhausted.
type host struct {
	latency time.Duration
	most    float64 // files a second, at best
	cpu     float64 // of this host a file
	refuses float64 // the store does so beyond this rate; 0: never
}

func (h host) interval(n int) Interval {
	rate := min(float64(n)/h.latency.Seconds(), h.most)
	seen := Interval{Rate: rate, Busy: min(1, rate*h.cpu)}
	if h.refuses > 0 && rate > h.refuses {
		seen.Throttled = true
	}
	return seen
}

func TestAPaceIsFound(t *testing.T) {
	const least, start, most = 4, 16, 64
	for name, tt := range map[string]struct {
		host
		from, to int // where it may end
	}{
		"a store far away":                  {host{latency: 400 * time.Millisecond, most: 1e6}, 64, 64},
		"one that is exhausted on the way":  {host{latency: 100 * time.Millisecond, most: 400}, 38, 64},
		"a volume that is exhausted before": {host{latency: 10 * time.Millisecond, most: 300}, 4, 16},
		"a rate that is limited":            {host{latency: 100 * time.Millisecond, most: 20}, 4, 16},
		"no free CPU":                       {host{latency: 10 * time.Millisecond, most: 400, cpu: 1. / 400}, 4, 16},
		"a store that refuses":              {host{latency: 100 * time.Millisecond, most: 1e6, refuses: 250}, 8, 31},
	} {
		t.Run(name, func(t *testing.T) {
			p := New(least, start, most)
			n := start
			var done, best, refused float64
			const intervals = 500
			for range intervals {
				seen := tt.interval(n)
				done += seen.Rate
				if seen.Throttled {
					refused++
				}
				if n = p.Next(seen); n < least || n > most {
					t.Fatalf("%d files at once", n)
				}
			}
			for n := least; n <= most; n++ {
				if seen := tt.interval(n); !seen.Throttled {
					best = max(best, seen.Rate)
				}
			}
			if p.previous == 0 && (n < tt.from || n > tt.to) {
				t.Errorf("ends at %d, want %d to %d", n, tt.from, tt.to)
			}
			if tt.refuses == 0 && done < 0.95*best*intervals {
				t.Errorf("%.0f files of %.0f that the best number would have brought", done, best*intervals)
			}
			if refused > intervals/10 {
				t.Errorf("the store had to refuse in %.0f of %d intervals", refused, intervals)
			}
		})
	}
}

func TestWhatGetsFasterOvernightIsNoticed(t *testing.T) {
	p := New(4, 16, 64)
	n := 16
	for range 200 {
		n = p.Next(host{latency: 10 * time.Millisecond, most: 300}.interval(n))
	}
	for range 3 * longest {
		n = p.Next(host{latency: 400 * time.Millisecond, most: 1e6}.interval(n))
	}
	if n < 50 {
		t.Errorf("%d files at once after the store has moved away", n)
	}
}

// With noise a trial with fewer files looks as good as the number before it now and then.
func TestOthersWhoTakeTheCPUDoNotMakeItCrawl(t *testing.T) {
	p := New(4, 16, 64)
	n := 16
	random := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		seen := host{latency: 400 * time.Millisecond, most: 1e6}.interval(n)
		seen.Rate, seen.Busy = seen.Rate*(0.5+random.Float64()), 1
		if n = p.Next(seen); n < 16 {
			t.Fatalf("%d files at once", n)
		}
	}
}

func TestAnIntervalIsLongEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		begin, n := time.Now(), 16
		latency := time.Second
		var changes []time.Duration
		done := make(chan struct{})
		go func() {
			defer close(done)
			Drive(ctx, New(4, 16, 64), func() Reading {
				files := float64(n) * float64(time.Since(begin)) / float64(latency)
				return Reading{Work: files, Ended: int64(files)}
			}, func(next int) {
				changes = append(changes, time.Since(begin))
				n = next
			})
		}()
		time.Sleep(20 * time.Second)
		cancel()
		<-done
		if len(changes) < 4 || changes[0] < 2*latency || n != 64 {
			t.Errorf("%d files at once, changed after %v", n, changes)
		}
	})
}
