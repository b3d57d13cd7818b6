package main

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/schollz/progressbar/v3"

	"github.com/coldbrick/coldbrick/internal/report"
	"github.com/coldbrick/coldbrick/internal/run"
)

// This file alone knows progressbar. Of its traits, these shaped the code:
//
//   - It draws one line of which nothing can be left out where the terminal is narrow: a
//     shorter one is made of what it knows.
//   - With a total it cannot go past that, and without one it cannot get one: there are
//     two, which are told the same.
//   - It does not ask whether it writes to a terminal, and calls fsync after each write:
//     it gets nothing to write to, and its picture is taken.
//   - It counts time from its first picture.

// bar shows a gauge in one line.
type bar struct {
	what         string
	unit         run.Unit
	gauge        *run.Gauge
	open, closed *progressbar.ProgressBar // without a total and with one; nil until there is one
}

func newBar(what string, unit run.Unit, g *run.Gauge) *bar {
	b := &bar{what: what, unit: unit, gauge: g}
	b.open = b.drawing(-1)
	b.lines()
	return b
}

func (b *bar) drawing(total int64) *progressbar.ProgressBar {
	const columns = 10
	options := []progressbar.Option{
		progressbar.OptionSetWriter(io.Discard),
		progressbar.OptionSetTheme(progressbar.ThemeASCII),
		progressbar.OptionSetWidth(columns),
		progressbar.OptionShowCount(),
		progressbar.OptionSpinnerCustom([]string{""}),
		progressbar.OptionSetSpinnerChangeInterval(0), // else a goroutine that never ends
	}
	if b.unit == run.ByBytes {
		options = append(options, progressbar.OptionShowBytes(true), progressbar.OptionUseIECUnits(true))
	} else {
		options = append(options, progressbar.OptionShowIts(), progressbar.OptionSetItsString("files"), progressbar.OptionShowTotalBytes(total > 0))
	}
	return progressbar.NewOptions64(total, options...)
}

// picture is the line for a terminal of so many columns. It is the richest of those that fit, and says which
// file is in work if one takes long.
func (b *bar) picture(columns int) string {
	const leastName = 16 // columns of a path that still tell something
	tail, room := "", 0
	path, since := b.gauge.Work.Longest()
	if took := time.Since(since); path != "" && took >= worthShowing {
		tail = fmt.Sprintf(" (%s)", whole(took))
		path = report.Quote(path)
		room = len(", at ") + min(leastName, width(path)) + len(tail)
	}
	lines := b.lines()
	line := lines[len(lines)-1]
	for _, l := range lines {
		if width(l)+room < columns {
			line = l
			break
		}
	}
	if tail != "" {
		line += ", at "
		line += ending(path, columns-1-width(line)-len(tail)) + tail
	}
	return line
}

// lines are ways to show how far the run has come, the richest first.
func (b *bar) lines() []string {
	g := b.gauge
	rich, at, total := b.what, g.Seen.Files.Load(), g.Total.Load()
	amount := func(n int64) string { return report.Count(n, "file") }
	if b.unit == run.ByBytes {
		rich, at, amount = b.what+" "+report.Count(g.Files.Load(), "file"), g.Bytes.Load(), report.Bytes
		if g.Meter != nil { // a file may take hours
			at = max(at, g.Meter.Moved.Load())
		}
	}
	shown := b.open
	_ = b.open.Set64(at) // without a total there is no limit
	if total > 0 {
		switch {
		case b.closed == nil:
			b.closed = b.drawing(total)
		case b.closed.GetMax64() != total:
			b.closed.ChangeMax64(total)
		}
		_ = b.closed.Set64(min(at, total-1)) // it is within its limit
		if 0 < at && at < total {            // else too little is known
			shown = b.closed
		}
	}
	shown.Describe(rich)
	drawn := strings.TrimSpace(shown.String())
	now := shown.State()
	rate := amount(int64(float64(at)/max(now.SecondsSince, 1))) + "/s"
	if shown == b.open {
		took := seconds(now.SecondsSince)
		return []string{
			drawn,
			fmt.Sprintf("%s %s, %s, %s", b.what, amount(at), rate, took),
			fmt.Sprintf("%s %s, %s", b.what, amount(at), took),
			fmt.Sprintf("%s %s", b.what, amount(at)),
			b.what,
		}
	}
	percent, left := fmt.Sprintf("%.0f%%", 100*now.CurrentPercent), seconds(now.SecondsLeft)+" left"
	return []string{
		drawn,
		fmt.Sprintf("%s %s, %s, %s", b.what, percent, rate, left),
		fmt.Sprintf("%s %s, %s", b.what, percent, left),
		b.what + " " + percent,
	}
}

// seconds writes a number of seconds as a duration.
func seconds(n float64) string { return whole(time.Duration(n * float64(time.Second))) }

// fitting is the beginning of a line, shorter than a terminal of so many columns: one
// that wraps could not be erased.
func fitting(line string, columns int) string {
	for width(line) >= columns && line != "" {
		_, size := utf8.DecodeLastRuneInString(line)
		line = line[:len(line)-size]
	}
	return line
}

// ending is the end of a path, where files differ, in at most so many columns.
func ending(path string, columns int) string {
	const cut = "..."
	if width(path) <= columns {
		return path
	}
	for width(path)+len(cut) > columns && path != "" {
		_, size := utf8.DecodeRuneInString(path)
		path = path[size:]
	}
	return cut + path
}

// width is how many columns a text takes at most: what is not of an alphabet may take two.
func width(text string) (columns int) {
	const firstWide = 0x1100
	for _, r := range text {
		columns++
		if r >= firstWide {
			columns++
		}
	}
	return columns
}
