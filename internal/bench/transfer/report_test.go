//go:build bench

package transfer

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coldbrick/coldbrick/internal/testkit"
)

// table is one comparison. Durations are in nanoseconds, sizes in bytes. The
// first row is coldbrick's.
type table struct {
	ID    string    `json:"id"`
	Title string    `json:"title"`
	Files int       `json:"files"`
	Bytes int64     `json:"bytes"`
	Time  time.Time `json:"time"`
	Rows  []*row    `json:"rows"`
}

// row is one contestant: medians of its rounds, and the best and the largest.
type row struct {
	Tool    string        `json:"tool"`
	Runs    int           `json:"runs"`
	Wall    time.Duration `json:"wall_ns"`
	Best    time.Duration `json:"best_ns"`
	CPU     time.Duration `json:"cpu_ns"`
	Servers time.Duration `json:"servers_cpu_ns"`
	RSS     int64         `json:"rss_bytes"`
	all     []usage
}

func (tab *table) add(tool string, u usage) {
	i := slices.IndexFunc(tab.Rows, func(r *row) bool { return r.Tool == tool })
	if i < 0 {
		i = len(tab.Rows)
		tab.Rows = append(tab.Rows, &row{Tool: tool})
	}
	r := tab.Rows[i]
	r.all = append(r.all, u)
	r.Runs = len(r.all)
	each := func(of func(usage) time.Duration) (values []time.Duration) {
		for _, u := range r.all {
			values = append(values, of(u))
		}
		return values
	}
	walls := each(func(u usage) time.Duration { return u.Wall })
	r.Wall, r.Best = median(walls), slices.Min(walls)
	r.CPU = median(each(func(u usage) time.Duration { return u.CPU }))
	r.Servers = median(each(func(u usage) time.Duration { return u.Servers }))
	r.RSS = max(r.RSS, u.RSS)
}

// save writes the table where the report of make bench finds it.
func (tab *table) save(t testing.TB) {
	t.Helper()
	tab.Time = time.Now().UTC()
	data, err := json.MarshalIndent(tab, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(testkit.ModuleRoot(t), ".cache/bench")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	name := strings.Map(func(r rune) rune {
		if r == ' ' || r == '/' {
			return '-'
		}
		return r
	}, strings.ToLower(tab.Title))
	if err := os.WriteFile(filepath.Join(dir, name+".json"), append(data, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (tab *table) log(t testing.TB) {
	t.Helper()
	for _, r := range tab.Rows {
		t.Logf("%s: %s: %v (best %v), CPU %v, servers %v, %d MiB", tab.Title, r.Tool, r.Wall, r.Best, r.CPU, r.Servers, r.RSS>>20)
	}
}
