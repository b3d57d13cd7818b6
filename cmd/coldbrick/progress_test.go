package main

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"golang.org/x/time/rate"

	"github.com/coldbrick/coldbrick/internal/run"
)

// gauged is a gauge that has come so far.
func gauged(files, bytes, total int64) *run.Gauge {
	g := new(run.Gauge)
	g.Files.Store(files)
	g.Seen.Files.Store(files)
	g.Bytes.Store(bytes)
	g.Total.Store(total)
	return g
}

func TestABarFitsItsTerminal(t *testing.T) {
	for _, unit := range []run.Unit{run.ByBytes, run.ByFiles} {
		for _, total := range []int64{0, 1 << 40} {
			for _, columns := range []int{1, 10, 40, 59, 60, 80, 200} {
				for _, n := range []int64{0, 1, 1 << 20, 1<<40 - 1, 1 << 40, 1 << 41} {
					for _, path := range []string{"", "a", strings.Repeat("dir/", 100), strings.Repeat("映", 100), "\xff\n\x1b[2J"} {
						synctest.Test(t, func(t *testing.T) {
							g := gauged(n, n, total)
							b := newBar("archiving", unit, g)
							if path != "" {
								g.Work.Begin(path)
							}
							time.Sleep(90 * time.Second)
							line := fitting(b.picture(columns), columns)
							if width(line) >= columns || strings.ContainsAny(line, "\r\n\x1b") || !utf8.ValidString(line) {
								t.Errorf("%d columns, total %d: %d wide: %q", columns, total, width(line), line)
							}
							if columns >= 40 && (!strings.Contains(line, "archiving") || path != "" && !strings.HasSuffix(line, "(1m30s)")) {
								t.Errorf("%d columns, total %d: says too little: %q", columns, total, line)
							}
						})
					}
				}
			}
		}
	}
}

// The bytes of a file that takes hours show on their way.
func TestABarMovesWithinAFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &run.Gauge{Meter: &run.Meter{Limiter: rate.NewLimiter(rate.Inf, 1<<20)}}
		b := newBar("archiving", run.ByBytes, g)
		for range 3 {
			if err := g.Meter.WaitN(t.Context(), 1<<20); err != nil {
				t.Fatal(err)
			}
		}
		if line := b.picture(80); !strings.Contains(line, "archiving 0 files (3.0 MiB") {
			t.Error(line)
		}
	})
}

// What is most important stays when the terminal is narrow.
func TestABarShowsHowFarTheRunHasCome(t *testing.T) {
	for _, tt := range []struct {
		unit    run.Unit
		total   int64
		path    string
		columns int
		want    string
	}{
		{run.ByBytes, 0, "", 80, "archiving 1,234 files (5.0 GiB, 57 MiB/s) [1m30s]"},
		{run.ByBytes, 0, "", 40, "archiving 5.0 GiB, 56.9 MiB/s, 1m30s"},
		{run.ByBytes, 20 << 30, "", 80, "archiving 1,234 files  25% [=>........] (5.0/20 GiB, 57 MiB/s) [1m30s:4m30s]"},
		{run.ByBytes, 20 << 30, "", 40, "archiving 25%, 56.9 MiB/s, 4m30s left"},
		{run.ByBytes, 1 << 30, "", 80, "archiving 1,234 files (5.0 GiB, 57 MiB/s) [1m30s]"}, // estimated too low
		{run.ByFiles, 0, "", 80, "archiving (1234, 14 files/s) [1m30s]"},
		{run.ByFiles, 2468, "", 80, "archiving  50% [====>.....] (1234/2468, 14 files/s) [1m30s:1m30s]"},
		{run.ByBytes, 20 << 30, "films/2019/long name.mov", 80, "archiving 25%, 56.9 MiB/s, 4m30s left, at films/2019/long name.mov (1m30s)"},
		{run.ByBytes, 20 << 30, "films/2019/long name.mov", 40, "archiving 25%, at ...g name.mov (1m30s)"},
	} {
		synctest.Test(t, func(t *testing.T) {
			g := gauged(1234, 5<<30, tt.total)
			b := newBar("archiving", tt.unit, g)
			if tt.path != "" {
				g.Work.Begin(tt.path)
			}
			time.Sleep(90 * time.Second)
			if got := fitting(b.picture(tt.columns), tt.columns); got != tt.want {
				t.Errorf("%d columns\ngot  %s\nwant %s", tt.columns, got, tt.want)
			}
		})
	}
}

// A file has a place in the bar only if it takes long.
func TestTheFileThatTakesLongIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := new(run.Gauge)
		b := newBar("recalling", run.ByBytes, g)
		g.Work.Begin("first")
		time.Sleep(4 * time.Second)
		g.Work.Begin("second")
		quick := b.picture(80)
		time.Sleep(2 * time.Second)
		first := b.picture(80)
		g.Work.End("first")
		none := b.picture(80)
		time.Sleep(4 * time.Second)
		second := b.picture(80)
		if strings.Contains(quick+none, " at ") || !strings.HasSuffix(first, ", at first (6s)") || !strings.HasSuffix(second, ", at second (6s)") {
			t.Errorf("%q\n%q\n%q\n%q", quick, first, none, second)
		}
	})
}

// sink is a terminal that remembers.
type sink struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

// Lines of many goroutines beside a bar: on the terminal each stands alone, and
// nothing of the bar is left behind.
func TestLinesDoNotTearTheBar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out sink
		s := &screen{to: &out}
		d := &display{screen: s, width: func(io.Writer) (int, bool) { return 80, true }, progress: "auto"}
		var g run.Gauge
		d.ShowBar("archiving", run.ByBytes, &g)
		var wg sync.WaitGroup
		const line = "one whole line\n"
		for range 4 {
			wg.Go(func() {
				for range 20 {
					if _, err := io.WriteString(s, line); err != nil {
						t.Error(err)
					}
					time.Sleep(10 * time.Millisecond)
				}
			})
		}
		wg.Wait()
		time.Sleep(300 * time.Millisecond)
		s.stopBar()
		text := out.b.String()
		if !strings.Contains(text, "archiving") {
			t.Fatal("no bar was drawn")
		}
		shown := 0
		for l := range strings.Lines(text) {
			_, visible, cut := cutLast(l, eraseLine)
			if !cut {
				visible = l
			}
			switch visible {
			case line:
				shown++
			case "":
			default:
				t.Errorf("on the terminal: %q", visible)
			}
		}
		if shown != 80 {
			t.Errorf("%d lines of 80", shown)
		}
	})
}

// What a run waits for shows from the first second, with the time it takes, on a terminal
// of any width.
func TestWhatARunWaitsForShows(t *testing.T) {
	for columns, want := range map[int]string{80: "mounting the volume (2s)", 40: "mounting the volume (2s)", 12: "mounting th"} {
		synctest.Test(t, func(t *testing.T) {
			var out bytes.Buffer
			d := &display{screen: &screen{to: &out}, width: func(io.Writer) (int, bool) { return columns, true }, progress: "auto"}
			d.Doing("mounting the volume")
			time.Sleep(2*time.Second + 300*time.Millisecond)
			d.HideBar()
			if text := out.String(); !strings.HasSuffix(text, eraseLine+want+eraseLine) || !strings.Contains(text, "mounting th") {
				t.Errorf("%d columns: %q", columns, text)
			}
		})
	}
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

func TestABarIsShownWhereItIsWanted(t *testing.T) {
	for _, tt := range []struct {
		progress        string
		terminal, quiet bool
		want            bool
	}{
		{"auto", true, false, true},
		{"auto", false, false, false},
		{"always", false, false, true},
		{"never", true, false, false},
		{"auto", true, true, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			var out sink
			d := &display{
				screen: &screen{to: &out}, width: func(io.Writer) (int, bool) { return 80, tt.terminal }, progress: tt.progress, quiet: tt.quiet,
			}
			d.ShowBar("x", run.ByFiles, &run.Gauge{})
			time.Sleep(time.Second)
			d.HideBar()
			if got := out.b.Len() > 0; got != tt.want {
				t.Errorf("%+v: shown %v", tt, got)
			}
		})
	}
}

// Tries that go on for long are told: in place of the bar, or where there is none in one
// line for each kind.
func TestWhatIsTriedAgainAndAgainIsTold(t *testing.T) {
	refused := errors.New("connection refused")
	for _, tt := range []struct {
		terminal bool
		do       func(d *display)
		want     []string // lines, or what the bar says at last
	}{
		{false, func(d *display) {
			d.ShowBar("archiving", run.ByBytes, new(run.Gauge))
			for range 40 {
				d.Retrying("the store", refused)
				time.Sleep(time.Second)
			}
			d.Retrying("the store", nil)
			time.Sleep(time.Minute)
			for range 40 {
				d.Retrying("a brick of the volume", errors.New("brick b is down"))
				d.Retrying("the store", refused)
				time.Sleep(time.Second)
			}
		}, []string{"coldbrick: waiting for the store: connection refused (for 20s by now)", "coldbrick: waiting for a brick of the volume: brick b is down (for 20s by now)"}},
		{false, func(d *display) {
			d.Doing("mounting the volume")
			time.Sleep(30 * time.Second)
			d.ShowBar("archiving", run.ByBytes, new(run.Gauge))
			time.Sleep(time.Hour)
			d.Doing("mounting the volume")
			time.Sleep(30 * time.Second)
		}, []string{"coldbrick: still mounting the volume (for 20s by now)"}},
		{false, func(d *display) { // gone before it is worth a word
			d.Doing("mounting the volume")
			time.Sleep(19 * time.Second)
			d.ShowBar("archiving", run.ByBytes, new(run.Gauge))
			d.Retrying("the store", refused)
			time.Sleep(19 * time.Second)
			d.Retrying("the store", nil)
			time.Sleep(19 * time.Second)
			d.Retrying("the store", refused)
			time.Sleep(10 * time.Second)
		}, nil},
		{true, func(d *display) {
			d.ShowBar("archiving", run.ByBytes, new(run.Gauge))
			d.Retrying("the store", refused)
			time.Sleep(24*time.Second + 500*time.Millisecond)
		}, []string{"waiting for the store (24s): connection refused"}},
		{true, func(d *display) { // nobody tries any more
			d.ShowBar("archiving", run.ByFiles, new(run.Gauge))
			d.Retrying("the store", refused)
			time.Sleep(2*time.Minute + 500*time.Millisecond)
		}, []string{"archiving (0, 0 files/hr) [2m0s]"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			var out sink
			d := &display{screen: &screen{to: &out}, width: func(io.Writer) (int, bool) { return 80, tt.terminal }, progress: "auto"}
			tt.do(d)
			d.HideBar()
			var got []string
			for line := range strings.Lines(out.b.String()) {
				if tt.terminal {
					line = strings.TrimSuffix(line, eraseLine)
					_, line, _ = cutLast(line, eraseLine)
				}
				got = append(got, strings.TrimSuffix(line, "\n"))
			}
			slices.Sort(got)
			slices.Sort(tt.want)
			if !slices.Equal(got, tt.want) {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}
