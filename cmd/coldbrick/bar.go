package main

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/coldbrick/coldbrick/internal/report"
	"github.com/coldbrick/coldbrick/internal/run"
)

// bar shows a gauge in one line.
type bar struct {
	what  string
	unit  run.Unit
	gauge *run.Gauge
	began time.Time
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
	lines := b.lines(columns)
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
func (b *bar) lines(columns int) (lines []string) {
	g, took := b.gauge, time.Since(b.began)
	rich, at, total := b.what, g.Seen.Files.Load(), g.Total.Load()
	amount := func(n int64) string { return report.Count(n, "file") }
	if b.unit == run.ByBytes {
		rich, at, amount = b.what+" "+report.Count(g.Files.Load(), "file"), g.Bytes.Load(), report.Bytes
		if g.Meter != nil { // a file may take hours
			at = max(at, g.Meter.Moved.Load())
		}
	}
	rate := amount(int64(float64(at)/max(took.Seconds(), 1))) + "/s"
	if at == 0 || at >= total { // nothing was known, or too little
		if rich != b.what {
			lines = append(lines, fmt.Sprintf("%s, %s, %s, %s", rich, amount(at), rate, whole(took)))
		}
		return append(lines,
			fmt.Sprintf("%s %s, %s, %s", b.what, amount(at), rate, whole(took)),
			fmt.Sprintf("%s %s, %s", b.what, amount(at), whole(took)),
			fmt.Sprintf("%s %s", b.what, amount(at)),
			b.what)
	}
	share := float64(at) / float64(total)
	percent := fmt.Sprintf("%.0f%%", 100*share)
	left := whole(time.Duration(float64(took)*(1-share)/share)) + " left"
	figures := fmt.Sprintf("%s of %s, %s, %s", amount(at), amount(total), rate, left)
	return []string{
		fmt.Sprintf("%s [%s] %s, %s", rich, arrow(share, columns/8), percent, figures),
		fmt.Sprintf("%s, %s, %s", rich, percent, figures),
		fmt.Sprintf("%s %s, %s, %s", b.what, percent, rate, left),
		fmt.Sprintf("%s %s, %s", b.what, percent, left),
		b.what + " " + percent,
	}
}

// arrow is a share of a whole, so many columns wide.
func arrow(share float64, columns int) string {
	full := int(share * float64(columns))
	return (strings.Repeat("=", full) + ">" + strings.Repeat(".", columns))[:columns]
}

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
