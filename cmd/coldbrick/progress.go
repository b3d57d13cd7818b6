package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/coldbrick/coldbrick/internal/report"
	"github.com/coldbrick/coldbrick/internal/run"
	"github.com/coldbrick/coldbrick/internal/workers"
)

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

	retries retries
	said    map[string]bool // waits, by kind; of the goroutine that shows
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

// Retrying shows what the work waits for, once that is worth a word.
func (d *display) Retrying(of string, err error) { d.retries.note(of, err) }

// Doing shows what the run waits for, and for how long by now.
func (d *display) Doing(what string) {
	began := time.Now()
	d.show(func() (kind string, since time.Time) { return what, began }, func(int) string {
		return fmt.Sprintf("%s (%s)", what, whole(time.Since(began)))
	})
}

// ShowBar shows g until HideBar.
func (d *display) ShowBar(what string, unit run.Unit, g *run.Gauge) {
	d.show(nil, newBar(what, unit, g).picture)
}

// How long something takes until the bar has a word for it, and until it is said where
// there is no bar: once for each kind of wait, since cron mails it.
const (
	worthShowing = 5 * time.Second
	worthSaying  = 20 * time.Second
)

// show draws pictures until HideBar, if the user wants any and there is a terminal to
// show them on. Where there is none, only waits are told; waiting, which may be nil, is one.
func (d *display) show(waiting func() (kind string, since time.Time), picture func(columns int) string) {
	d.HideBar() // what was shown before
	if d.quiet {
		return
	}
	columns, terminal := d.width(d.to)
	drawn := d.progress == "always" || terminal && d.progress != "never"
	if columns == 0 {
		columns = 80
	}
	interval := time.Second
	if drawn {
		interval /= 5
	}
	done, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if !drawn {
					d.sayWaits(waiting)
					continue
				}
				if c, ok := d.width(d.to); ok {
					columns = c
				}
				line := picture(columns)
				if r := d.retries.all(); len(r) > 0 && time.Since(r[0].since) >= worthShowing {
					line = fmt.Sprintf("waiting for %s (%s): %s", r[0].of, whole(time.Since(r[0].since)), report.OneLine(r[0].why))
				}
				d.draw(fitting(line, columns))
			case <-done:
				if drawn {
					_, _ = d.Write(nil) // erases it
				}
				return
			}
		}
	}()
	d.stop = func() { close(done); <-gone }
}

// sayWaits says what has been waited for so long that somebody might wonder.
func (d *display) sayWaits(waiting func() (kind string, since time.Time)) {
	tried := d.retries.all()
	for _, r := range tried {
		d.sayWait(r.of, r.since, fmt.Sprintf("waiting for %s: %s", r.of, r.why))
	}
	if waiting != nil && len(tried) == 0 {
		kind, since := waiting()
		d.sayWait(kind, since, "still "+kind)
	}
}

// sayWait says it once for each kind.
func (d *display) sayWait(kind string, since time.Time, text string) {
	took := time.Since(since)
	if took < worthSaying || d.said[kind] {
		return
	}
	if d.said == nil {
		d.said = map[string]bool{}
	}
	d.said[kind] = true
	d.Say(fmt.Sprintf("%s (for %s by now)", text, whole(took)))
}

// whole writes a duration in whole seconds.
func whole(d time.Duration) string { return d.Truncate(time.Second).String() }
