// Report writes what make bench has measured into the documentation: tables
// into docs/performance.md, between its markers, and a plot beside it.
//
//	report MEASURED DOCS
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
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

// table is one comparison, coldbrick's row first.
type table struct {
	ID    string    `json:"id"`
	Title string    `json:"title"`
	Files int       `json:"files"`
	Bytes int64     `json:"bytes"`
	Time  time.Time `json:"time"`
	Rows  []row     `json:"rows"`
}

type row struct {
	Tool    string        `json:"tool"`
	Runs    int           `json:"runs"`
	Wall    time.Duration `json:"wall_ns"`
	Best    time.Duration `json:"best_ns"`
	CPU     time.Duration `json:"cpu_ns"`
	Servers time.Duration `json:"servers_cpu_ns"`
	RSS     int64         `json:"rss_bytes"`
}

// crawled is what the benchmark of the crawl writes.
type crawled struct {
	Machine string    `json:"machine"`
	Time    time.Time `json:"time"`
	Warm    []figures `json:"warm"`
	Cold    []figures `json:"cold"`
}

type figures struct {
	Tool  string        `json:"tool"`
	Files int64         `json:"files"`
	Wall  time.Duration `json:"wall_ns"`
	Best  time.Duration `json:"best_ns"`
	CPU   time.Duration `json:"cpu_ns"`
	RSS   int64         `json:"rss_kib"`
	Runs  int           `json:"runs"`
}

func report(measured, docs string) error {
	tables, machine, err := read(measured)
	if err != nil {
		return err
	}
	if len(tables) == 0 {
		return errors.New("nothing was measured")
	}
	var text strings.Builder
	fmt.Fprintf(&text, "Measured on %s: %s.\n", tables[0].Time.Format(time.DateOnly), machine)
	for _, t := range tables {
		text.WriteString(t.markdown())
	}
	if err := os.WriteFile(filepath.Join(docs, "performance.svg"), []byte(plot(tables)), 0o644); err != nil {
		return err
	}
	return insert(filepath.Join(docs, "performance.md"), text.String())
}

// order is that of the document.
var order = []string{"crawl-warm", "crawl-cold", "archive", "sink-local", "sink-mount", "recall-large", "recall-small"}

func read(dir string) (tables []table, machine string, err error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, "", err
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, "", err
		}
		if filepath.Base(name) != "crawl.json" {
			var t table
			if err := json.Unmarshal(text, &t); err != nil {
				return nil, "", fmt.Errorf("%s: %w", name, err)
			}
			tables = append(tables, t)
			continue
		}
		var c crawled
		if err := json.Unmarshal(text, &c); err != nil {
			return nil, "", fmt.Errorf("%s: %w", name, err)
		}
		machine = c.Machine
		tables = append(tables, c.table("crawl-warm", "Crawl, warm caches", c.Warm), c.table("crawl-cold", "Crawl, cold caches", c.Cold))
	}
	slices.SortStableFunc(tables, func(a, b table) int {
		if by := slices.Index(order, a.ID) - slices.Index(order, b.ID); by != 0 {
			return by
		}
		return b.Files - a.Files
	})
	return tables, machine, nil
}

// table makes all rows be of a million files: a slow peer has done a sample.
func (c crawled) table(id, title string, all []figures) table {
	const million = 1_000_000
	t := table{ID: id, Title: title + ", per million files", Files: million, Time: c.Time}
	for _, f := range all {
		scale := func(d time.Duration) time.Duration { return d * million / time.Duration(f.Files) }
		t.Rows = append(t.Rows, row{Tool: f.Tool, Runs: f.Runs, Wall: scale(f.Wall), Best: scale(f.Best), CPU: scale(f.CPU), RSS: f.RSS << 10})
	}
	return t
}

// rate is files or bytes a second, whichever says more.
func (t table) rate(d time.Duration) string {
	if t.Bytes/int64(t.Files) >= 1<<20 {
		return fmt.Sprintf("%.0f MB/s", float64(t.Bytes)/1e6/d.Seconds())
	}
	return fmt.Sprintf("%.0f files/s", float64(t.Files)/d.Seconds())
}

func (t table) markdown() string {
	if len(t.Rows) == 0 {
		return ""
	}
	var b strings.Builder
	ours := t.Rows[0]
	fmt.Fprintf(&b, "\n**%s** (%d runs each, in turns)\n\n", t.Title, ours.Runs)
	b.WriteString("| | seconds, median | best | rate | own CPU s | servers' CPU s | RSS MiB | its time / ours | best / best | its CPU / ours |\n|---|---|---|---|---|---|---|---|---|---|\n")
	for _, r := range t.Rows {
		servers := "-"
		if r.Servers > 0 {
			servers = fmt.Sprintf("%.1f", r.Servers.Seconds())
		}
		fmt.Fprintf(&b, "| %s | %.2f | %.2f | %s | %.2f | %s | %d | %.2f | %.2f | %.2f |\n", r.Tool, r.Wall.Seconds(), r.Best.Seconds(),
			t.rate(r.Wall), r.CPU.Seconds(), servers, r.RSS>>20, ratio(r.Wall, ours.Wall), ratio(r.Best, ours.Best), ratio(r.CPU, ours.CPU))
	}
	return b.String()
}

func ratio(a, b time.Duration) float64 {
	if b <= 0 {
		return 0
	}
	return float64(a) / float64(b)
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
func plot(tables []table) string {
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
			times := ratio(r.Wall, t.Rows[0].Wall)
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
