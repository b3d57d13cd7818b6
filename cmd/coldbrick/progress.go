package main

import (
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/coldbrick/coldbrick/crawl"
	"github.com/coldbrick/coldbrick/internal/report"
)

// This file alone knows progressbar. Of its traits, these shaped the code:
//
//   - It does not ask whether it writes to a terminal; we do.
//   - It calls fsync after each write to an *os.File; it gets a writer that is
//     none, and so cannot see the width; we tell it.
//   - Lines printed beside a bar tear it; all of stderr goes through a screen.
//   - Add takes a lock and 200 ns; work counts in atomics, and a ticker sets
//     the bar.

// terminalWidth tells whether w is a terminal, and how wide.
func terminalWidth(w io.Writer) (columns int, terminal bool) {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0, false
	}
	columns, _, err := term.GetSize(int(f.Fd()))
	if err != nil || columns <= 0 {
		columns = 80
	}
	return columns, true
}

// screen is stderr: whole lines of several goroutines, and at most one bar
// below them.
type screen struct {
	to io.Writer

	mu    sync.Mutex
	drawn bool // the cursor is behind a bar
	stop  func()
}

const eraseLine = "\r\x1b[K"

// Write prints whole lines above the bar.
func (s *screen) Write(lines []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.drawn {
		s.drawn = false // the next tick draws it again
		lines = append([]byte(eraseLine), lines...)
	}
	return s.to.Write(lines)
}

// draw replaces the bar by another picture of it.
func (s *screen) draw(picture string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drawn = true
	_, _ = io.WriteString(s.to, eraseLine+picture) // without stderr there is nobody to tell
}

// stopBar ends the bar, if there is one, and erases it: the summary follows.
func (s *screen) stopBar() {
	if s.stop != nil {
		s.stop()
		s.stop = nil
	}
}

// gauge is what a bar shows. Work counts in it.
type gauge struct {
	seen         crawl.Progress // files looked at
	files, bytes atomic.Int64   // done
	meter        *meter         // if given, also what is on its way
	total        int64          // bytes; 0 if that is not known
}

// unit is what a bar measures.
type unit int

const (
	byBytes unit = iota
	byFiles
)

// startBar shows g until stopBar, if the user wants a bar and there is a
// terminal to show it on.
func (a *app) startBar(what string, unit unit, g *gauge) {
	a.screen.stopBar() // that of the brick before
	columns, terminal := a.width(a.stderr)
	switch {
	case a.progress.String() == "never", a.quiet, !terminal && a.progress.String() == "auto":
		return
	case columns == 0:
		columns = 80
	}
	const interval = 200 * time.Millisecond
	done, gone := make(chan struct{}), make(chan struct{})
	bar := newBar(what, unit, g.total, columns)
	go func() {
		defer close(gone)
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if c, ok := a.width(a.stderr); ok {
					columns = c
				}
				a.screen.draw(bar.picture(g, columns))
			case <-done:
				_, _ = a.screen.Write(nil) // erases it
				return
			}
		}
	}()
	a.screen.stop = func() { close(done); <-gone }
}

// bar draws a gauge in one line.
type bar struct {
	*progressbar.ProgressBar
	what string
	unit unit
}

// narrow is the width of a terminal that has no room for all.
const narrow = 60

// newBar makes a bar for a terminal of so many columns. It never writes: its
// picture is taken from it.
func newBar(what string, unit unit, total int64, columns int) *bar {
	options := []progressbar.Option{
		progressbar.OptionSetWriter(io.Discard),
		progressbar.OptionSetDescription(what),
		progressbar.OptionShowCount(),
		progressbar.OptionSetTheme(progressbar.ThemeASCII),
		progressbar.OptionSetWidth(max(4, (columns-narrow)/2)),
		progressbar.OptionShowTotalBytes(columns >= narrow && unit == byBytes),
		progressbar.OptionSetSpinnerChangeInterval(0), // else a goroutine that never ends
	}
	if unit == byBytes {
		options = append(options, progressbar.OptionShowBytes(true), progressbar.OptionUseIECUnits(true))
	} else {
		options = append(options, progressbar.OptionShowIts(), progressbar.OptionSetItsString("files"))
	}
	if total == 0 {
		total = -1 // not known
	}
	return &bar{progressbar.NewOptions64(total, options...), what, unit}
}

// picture is the line that shows g, short enough for the terminal: one that
// wraps could not be erased.
func (b *bar) picture(g *gauge, columns int) string {
	at := g.seen.Files.Load()
	if b.unit == byBytes {
		at = g.bytes.Load()
		if g.meter != nil { // a file may take hours
			at = max(at, g.meter.moved.Load())
		}
		if columns >= narrow {
			b.Describe(b.what + " " + report.Count(g.files.Load(), "file"))
		}
	}
	if g.total > 0 {
		at = min(at, g.total-1) // at the full total a bar counts as finished and stays as it is
	}
	_ = b.Set64(at) // it is within its limits
	line := strings.TrimSpace(strings.ReplaceAll(b.String(), "\r", ""))
	if len(line) >= columns {
		line = line[:columns-1]
	}
	return line
}
