package main

import (
	"bytes"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"golang.org/x/time/rate"

	"github.com/coldbrick/coldbrick/internal/run"
)

func TestABarFitsItsTerminal(t *testing.T) {
	for _, unit := range []run.Unit{run.ByBytes, run.ByFiles} {
		for _, total := range []int64{0, 1 << 40} {
			for _, columns := range []int{1, 10, 40, 59, 60, 80, 200} {
				g := run.Gauge{Total: total}
				b := newBar("archiving", unit, total, columns)
				for _, n := range []int64{0, 1, 1 << 20, 1<<40 - 1, 1 << 40, 1 << 41} {
					g.Bytes.Store(n)
					g.Files.Store(n)
					g.Seen.Files.Store(n)
					line := b.picture(&g, columns)
					if len(line) >= columns || strings.ContainsAny(line, "\r\n") || !utf8.ValidString(line) {
						t.Errorf("%d columns, total %d: %d wide: %q", columns, total, len(line), line)
					}
					if columns >= 40 && !strings.Contains(line, "archiving") {
						t.Errorf("%d columns, total %d: says nothing: %q", columns, total, line)
					}
				}
			}
		}
	}
}

// The bytes of a file that takes hours show on their way.
func TestABarMovesWithinAFile(t *testing.T) {
	g := run.Gauge{Meter: &run.Meter{Limiter: rate.NewLimiter(rate.Inf, 1<<20)}}
	b := newBar("archiving", run.ByBytes, 0, 80)
	b.picture(&g, 80)
	for range 3 {
		if err := g.Meter.WaitN(t.Context(), 1<<20); err != nil {
			t.Fatal(err)
		}
	}
	if line := b.picture(&g, 80); !strings.Contains(line, "archiving 0 files (3.0 MiB") {
		t.Error(line)
	}
}

func TestABarShowsFilesBytesAndRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g run.Gauge
		b := newBar("archiving", run.ByBytes, 0, 80)
		b.picture(&g, 80)
		g.Files.Store(1234)
		g.Bytes.Store(5 << 30)
		time.Sleep(10 * time.Millisecond)
		if line := b.picture(&g, 80); !strings.Contains(line, "archiving 1,234 files (5.0 GiB, ") || !strings.Contains(line, "iB/s)") {
			t.Error(line)
		}
		g.Total = 10 << 30
		if line := newBar("archiving", run.ByBytes, g.Total, 80).picture(&g, 80); !strings.Contains(line, "50%") || !strings.Contains(line, "5.0/10 GiB") {
			t.Error(line)
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
		s := &screen{to: io.Discard}
		d := &display{
			screen: s, width: func(io.Writer) (int, bool) { return 80, tt.terminal }, progress: tt.progress, quiet: tt.quiet,
		}
		d.ShowBar("x", run.ByFiles, &run.Gauge{})
		if got := s.stop != nil; got != tt.want {
			t.Errorf("%+v: shown %v", tt, got)
		}
		s.stopBar()
	}
}
