// Report writes what make bench has measured into the documentation: tables
// into docs/performance.md, between its markers, and a plot beside it.
//
//	report MEASURED DOCS
package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/coldbrick/coldbrick/internal/bench/measured"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: report MEASURED DOCS")
		os.Exit(2)
	}
	if err := report(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
}

func report(dir, docs string) error {
	tables, err := measured.Load(dir)
	if err != nil {
		return err
	}
	if len(tables) == 0 {
		return errors.New("nothing was measured")
	}
	slices.SortStableFunc(tables, func(a, b *measured.Table) int {
		if by := slices.Index(order, a.ID) - slices.Index(order, b.ID); by != 0 {
			return by
		}
		return b.Files - a.Files
	})
	var text strings.Builder
	fmt.Fprintf(&text, "Measured on %s: %s.\n", tables[0].Time.Format(time.DateOnly), tables[0].Machine)
	for _, t := range tables {
		text.WriteString(t.Markdown())
	}
	if err := os.WriteFile(filepath.Join(docs, "performance.svg"), []byte(plot(tables)), 0o644); err != nil {
		return err
	}
	return insert(filepath.Join(docs, "performance.md"), text.String())
}

// order is that of the document.
var order = []string{
	"crawl-warm", "crawl-cold", "archive", "release", "sink-local", "sink-mount", "recall-large", "recall-small",
	"start-one", "start-three", "archive-one", "archive-three", "recall-one", "recall-three",
}

const beginMark, endMark = "<!-- make bench writes what follows -->\n", "<!-- make bench has written what precedes -->\n"

// insert puts text between the marks of a document.
func insert(file, text string) error {
	old, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: there is no such document", file)
	}
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(old), beginMark)
	_, after, ok2 := strings.Cut(rest, endMark)
	if !ok || !ok2 {
		return fmt.Errorf("%s: its marks are gone", file)
	}
	return os.WriteFile(file, []byte(before+beginMark+text+endMark+after), 0o644)
}

// plot draws one bar per row: how long it took beside coldbrick, cut at five
// times.
func plot(tables []*measured.Table) string {
	const (
		width, label, unit = 900, 330, 100 // pixels; unit is coldbrick's time
		line, most         = 18, 5.0
	)
	var b strings.Builder
	y := 24
	for _, t := range tables {
		if len(t.Rows) == 0 {
			continue
		}
		fmt.Fprintf(&b, `<text x="8" y="%d" font-weight="bold">%s</text>`+"\n", y, escape(t.Title))
		y += line
		for i, r := range t.Rows {
			times := measured.Ratio(r.Wall, t.Rows[0].Wall)
			color, more := "#9aa5b1", ""
			if i == 0 {
				color = "#1f6feb"
			}
			if times > most {
				more = " →"
			}
			length := int(min(times, most) * unit)
			fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text><rect x="%d" y="%d" width="%d" height="%d" fill="%s"/><text x="%d" y="%d">%.2f%s</text>`+"\n",
				label-8, y, escape(r.Tool), label, y-line+6, length, line-5, color, label+length+6, y, times, more)
			y += line
		}
		y += line / 2
	}
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n"+
		`<rect width="100%%" height="100%%" fill="white"/>`+"\n%s</svg>\n", width, y, b.String())
}

var escape = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace
