// Package measured holds what the benchmarks measure, from the tools that take
// turns to the tables of docs/performance.md.
package measured

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Usage is what one tool took in one round.
type Usage struct {
	Wall    time.Duration
	CPU     time.Duration // of the tool's own processes
	Servers time.Duration // CPU of glusterfs, brick and store in the meantime
	RSS     int64         // peak of one process, in bytes
}

// Table is one comparison. The first row is coldbrick's.
type Table struct {
	ID      string    `json:"id"` // for the order of the document
	Title   string    `json:"title"`
	Files   int       `json:"files"`
	Bytes   int64     `json:"bytes"`
	Machine string    `json:"machine"`
	Time    time.Time `json:"time"`
	Rows    []*Row    `json:"rows"`
}

// Row is one tool: medians of its rounds, which are what it usually takes; the
// best time, which says more where others keep the machine busy; and the largest
// of its peaks, in bytes.
type Row struct {
	Tool    string        `json:"tool"`
	Runs    int           `json:"runs"`
	Wall    time.Duration `json:"wall_ns"`
	Best    time.Duration `json:"best_ns"`
	CPU     time.Duration `json:"cpu_ns"`
	Servers time.Duration `json:"servers_cpu_ns"`
	RSS     int64         `json:"rss_bytes"`
	all     []Usage
}

// Add adds a round of a tool.
func (t *Table) Add(tool string, u Usage) {
	i := slices.IndexFunc(t.Rows, func(r *Row) bool { return r.Tool == tool })
	if i < 0 {
		i = len(t.Rows)
		t.Rows = append(t.Rows, &Row{Tool: tool})
	}
	r := t.Rows[i]
	r.all = append(r.all, u)
	r.Runs = len(r.all)
	sorted := func(of func(Usage) time.Duration) (values []time.Duration) {
		for _, u := range r.all {
			values = append(values, of(u))
		}
		slices.Sort(values)
		return values
	}
	walls := sorted(func(u Usage) time.Duration { return u.Wall })
	r.Wall, r.Best = walls[len(walls)/2], walls[0]
	r.CPU = sorted(func(u Usage) time.Duration { return u.CPU })[len(walls)/2]
	r.Servers = sorted(func(u Usage) time.Duration { return u.Servers })[len(walls)/2]
	r.RSS = max(r.RSS, u.RSS)
}

// Save writes the table into a directory, in a file of its own.
func (t *Table) Save(dir string) error {
	t.Time = time.Now().UTC()
	data, err := json.MarshalIndent(t, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	name := fmt.Sprintf("%s-%d.json", t.ID, t.Files)
	return os.WriteFile(filepath.Join(dir, name), append(data, '\n'), 0o644)
}

// Load reads all tables of a directory.
func Load(dir string) (tables []*Table, err error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		t := new(Table)
		if err := json.Unmarshal(text, t); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		tables = append(tables, t)
	}
	return tables, nil
}

// Markdown is the table for people.
func (t *Table) Markdown() string {
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
			t.rate(r.Wall), r.CPU.Seconds(), servers, r.RSS>>20, Ratio(r.Wall, ours.Wall), Ratio(r.Best, ours.Best), Ratio(r.CPU, ours.CPU))
	}
	return b.String()
}

// rate is files or bytes a second, whichever says more.
func (t *Table) rate(d time.Duration) string {
	if t.Bytes/int64(t.Files) >= 1<<20 {
		return fmt.Sprintf("%.0f MB/s", float64(t.Bytes)/1e6/d.Seconds())
	}
	return fmt.Sprintf("%.0f files/s", float64(t.Files)/d.Seconds())
}

// Ratio is how many times b goes into a, or 0 if b is.
func Ratio(a, b time.Duration) float64 {
	if b <= 0 {
		return 0
	}
	return float64(a) / float64(b)
}

// Machine describes what figures hold for that were measured below dir.
func Machine(dir string) string {
	var uts unix.Utsname
	var fs unix.Statfs_t
	kernel, kind := "unknown kernel", "unknown filesystem"
	if unix.Uname(&uts) == nil {
		kernel = "Linux " + unix.ByteSliceToString(uts.Release[:])
	}
	if unix.Statfs(dir, &fs) == nil {
		if known := map[int64]string{unix.XFS_SUPER_MAGIC: "XFS", unix.EXT4_SUPER_MAGIC: "ext4", unix.TMPFS_MAGIC: "tmpfs"}[fs.Type]; known != "" {
			kind = known
		}
	}
	return fmt.Sprintf("%s, %d CPUs, %s, %s, %s", cpuModel(), runtime.NumCPU(), kernel, kind, runtime.Version())
}

func cpuModel() string {
	data, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown CPU"
	}
	for line := range strings.Lines(string(data)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			return strings.TrimLeft(strings.TrimSpace(name), ": \t")
		}
	}
	return "unknown CPU"
}
