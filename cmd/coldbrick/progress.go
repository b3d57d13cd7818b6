package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/coldbrick/coldbrick/internal/report"
	"github.com/coldbrick/coldbrick/internal/run"
	"github.com/coldbrick/coldbrick/internal/workers"
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

// display is where a run is told: records and messages, and a bar below them.
type display struct {
	*screen
	width    func(io.Writer) (columns int, terminal bool)
	out      *report.Printer
	progress string // always, never or auto
	quiet    bool
	log      *slog.Logger // where messages go too if it is JSON; nil: nowhere
	asJSON   bool

	explained sync.Once // a mistake of ours
}

// begin says what is wanted to be seen; records go to stdout, unless they are news.
func (d *display) begin(stdout io.Writer, s settings) {
	_, watched := d.width(stdout)
	d.out = &report.Printer{
		Data: stdout, News: d.screen, JSON: s.json, Verbose: s.verbose, Quiet: s.quiet,
		Waits: !watched && !s.stdoutData, // or lines would come after data that they came before
	}
	d.progress, d.quiet, d.asJSON = s.progress.String(), s.quiet, s.logFormat.String() == "json"
}

// Print prints a record.
func (d *display) Print(r report.Record) error {
	if f, ok := r.(report.File); ok {
		d.explain(f.Err)
	}
	return d.out.Print(r)
}

// end writes what waits to be written.
func (d *display) end() error {
	if d.out == nil {
		return nil
	}
	return d.out.Flush()
}

// Say tells people something that is neither data nor wrong.
func (d *display) Say(message string) {
	switch {
	case d.quiet:
	case d.asJSON:
		d.log.Warn(report.OneLine(message)) // which -q alone leaves out
	default:
		fmt.Fprintf(d.screen, "coldbrick: %s\n", report.OneLine(message))
	}
}

// explain tells of a mistake of ours what a report of it needs, once.
func (d *display) explain(err error) {
	var mistake *workers.PanicError
	if errors.As(err, &mistake) {
		d.explained.Do(func() { fmt.Fprintf(d.screen, "coldbrick: please report this stack:\n%s", mistake.Stack) })
	}
}

// HideBar ends the bar, if there is one, and erases it: the summary follows.
func (d *display) HideBar() { d.stopBar() }

// Doing shows what the run waits for, and for how long by now.
func (d *display) Doing(what string) {
	began := time.Now()
	d.show(func(int) func(int) string {
		return func(columns int) string {
			return fitting(fmt.Sprintf("%s (%v)", what, time.Since(began).Truncate(time.Second)), columns)
		}
	})
}

// ShowBar shows g until HideBar.
func (d *display) ShowBar(what string, unit run.Unit, g *run.Gauge) {
	d.show(func(columns int) func(int) string {
		bar := newBar(what, unit, g.Total, columns)
		return func(columns int) string { return bar.picture(g, columns) }
	})
}

// show draws pictures until HideBar, if the user wants any and there is a terminal to
// show them on. start is told how wide that is at first, and a picture each time.
func (d *display) show(start func(columns int) (picture func(columns int) string)) {
	d.HideBar() // what was shown before
	columns, terminal := d.width(d.to)
	switch {
	case d.progress == "never", d.quiet, !terminal && d.progress == "auto":
		return
	case columns == 0:
		columns = 80
	}
	const interval = 200 * time.Millisecond
	done, gone := make(chan struct{}), make(chan struct{})
	picture := start(columns)
	go func() {
		defer close(gone)
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if c, ok := d.width(d.to); ok {
					columns = c
				}
				d.draw(picture(columns))
			case <-done:
				_, _ = d.Write(nil) // erases it
				return
			}
		}
	}()
	d.stop = func() { close(done); <-gone }
}

// bar draws a gauge in one line.
type bar struct {
	*progressbar.ProgressBar
	what string
	unit run.Unit
}

// narrow is the width of a terminal that has no room for all.
const narrow = 60

// newBar makes a bar for a terminal of so many columns. It never writes: its
// picture is taken from it.
func newBar(what string, unit run.Unit, total int64, columns int) *bar {
	options := []progressbar.Option{
		progressbar.OptionSetWriter(io.Discard),
		progressbar.OptionSetDescription(what),
		progressbar.OptionShowCount(),
		progressbar.OptionSetTheme(progressbar.ThemeASCII),
		progressbar.OptionSetWidth(max(4, (columns-narrow)/2)),
		progressbar.OptionShowTotalBytes(columns >= narrow && unit == run.ByBytes),
		progressbar.OptionSetSpinnerChangeInterval(0), // else a goroutine that never ends
	}
	if unit == run.ByBytes {
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
func (b *bar) picture(g *run.Gauge, columns int) string {
	at := g.Seen.Files.Load()
	if b.unit == run.ByBytes {
		at = g.Bytes.Load()
		if g.Meter != nil { // a file may take hours
			at = max(at, g.Meter.Moved.Load())
		}
		if columns >= narrow {
			b.Describe(b.what + " " + report.Count(g.Files.Load(), "file"))
		}
	}
	if g.Total > 0 {
		at = min(at, g.Total-1) // at the full total a bar counts as finished and stays as it is
	}
	_ = b.Set64(at) // it is within its limits
	return fitting(strings.TrimSpace(strings.ReplaceAll(b.String(), "\r", "")), columns)
}

// fitting is a line of ASCII short enough for the terminal.
func fitting(line string, columns int) string { return line[:max(0, min(len(line), columns-1))] }
