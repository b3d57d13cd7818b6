package report

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/coldbrick/coldbrick/internal/outcome"
)

// parseMetrics reads a file as Prometheus does.
func parseMetrics(t *testing.T, path string) map[string]*dto.MetricFamily {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(file)
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// value finds the metric that has all the labels, given as name=value.
func value(t *testing.T, f *dto.MetricFamily, labels ...string) float64 {
	t.Helper()
	for _, m := range f.GetMetric() {
		var have []string
		for _, l := range m.GetLabel() {
			have = append(have, l.GetName()+"="+l.GetValue())
		}
		all := true
		for _, l := range labels {
			all = all && strings.Contains("\x00"+strings.Join(have, "\x00")+"\x00", "\x00"+l+"\x00")
		}
		if all {
			return m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	t.Fatalf("%s has no %v", f.GetName(), labels)
	return 0
}

func TestPrometheusReadsTheMetrics(t *testing.T) {
	path := filepath.Join(t.TempDir(), "coldbrick.prom")
	m := Metrics{
		Brick: "/bricks/\"b\\1\n\xff", Volume: "vol",
		Commands: map[string]*Command{
			"archive": {
				Runs: 5, Done: map[outcome.Outcome]outcome.Total{outcome.Archived: {Files: 40, Bytes: 1 << 42}},
				LastSuccess: time.Unix(1600000000, 0), FailingSince: time.Unix(1650000000, 0), Started: time.Unix(1700000100, 0),
				Ended: time.Unix(1700000090, 0), Took: 90 * time.Second, ExitCode: 3, EndedBy: "until-free",
				Totals: map[outcome.Result]outcome.Total{{Outcome: outcome.Archived}: {Files: 12, Bytes: 1 << 40}, {Outcome: outcome.Skipped, Reason: outcome.TooWarm}: {Files: 3, Bytes: 7}},
				Room:   &Room{Size: 1 << 51, Before: 100, After: 1 << 50, Goal: 300, PluginLoaded: true},
			},
			"fsck":    {Ended: time.Unix(1700000000, 0), Findings: map[outcome.Severity]int64{outcome.Grave: 2, outcome.Problem: 0}},
			"catalog": {Started: time.Unix(1700000000, 0)}, // has never come to its end
		},
		Stubs: &Stubs{Total: outcome.Total{Files: 7, Bytes: 1 << 43}, At: time.Unix(1690000000, 0)},
	}
	// It is remembered as JSON between the runs.
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	again := Metrics{Brick: m.Brick} // which is more than JSON can keep
	if err := json.Unmarshal(text, &again); err != nil {
		t.Fatal(err)
	}
	again.Brick = m.Brick
	if err := WriteMetrics(path, &again, &Metrics{Brick: "other", Commands: map[string]*Command{"archive": {Runs: 1}}}); err != nil {
		t.Fatal(err)
	}
	families := parseMetrics(t, path)
	brick := "brick=/bricks/\"b\\1\n\ufffd"
	for _, tt := range []struct {
		name   string
		labels []string
		want   float64
	}{
		{"coldbrick_runs_total", []string{brick, "command=archive"}, 5},
		{"coldbrick_files_total", []string{brick, "command=archive", "outcome=archived"}, 40},
		{"coldbrick_bytes_total", []string{brick, "outcome=archived"}, 1 << 42},
		{"coldbrick_run_files", []string{brick, "outcome=archived", "reason="}, 12},
		{"coldbrick_run_bytes", []string{brick, "outcome=archived"}, 1 << 40},
		{"coldbrick_run_files", []string{"outcome=skipped", "reason=too-warm"}, 3},
		{"coldbrick_run_duration_seconds", []string{brick}, 90},
		{"coldbrick_run_exit_code", []string{brick}, 3},
		{"coldbrick_last_run_timestamp_seconds", []string{brick}, 1700000090},
		{"coldbrick_last_success_timestamp_seconds", []string{brick}, 1600000000},
		{"coldbrick_failing_since_timestamp_seconds", []string{brick}, 1650000000},
		{"coldbrick_run_ended_by", []string{"limit=until-free"}, 1},
		{"coldbrick_brick_size_bytes", []string{brick}, 1 << 51},
		{"coldbrick_brick_free_bytes", []string{"when=before"}, 100},
		{"coldbrick_brick_free_bytes", []string{"when=after"}, 1 << 50},
		{"coldbrick_plugin_loaded", []string{brick}, 1},
		{"coldbrick_run_started_timestamp_seconds", []string{brick, "command=archive"}, 1700000100},
		{"coldbrick_run_started_timestamp_seconds", []string{brick, "command=catalog"}, 1700000000},
		{"coldbrick_findings", []string{brick, "volume=vol", "severity=at-risk"}, 2},
		{"coldbrick_findings", []string{brick, "severity=problem"}, 0},
		{"coldbrick_stubs", []string{brick, "volume=vol"}, 7},
		{"coldbrick_stub_bytes", []string{brick}, 1 << 43},
		{"coldbrick_stubs_timestamp_seconds", []string{brick}, 1690000000},
		{"coldbrick_runs_total", []string{"brick=other"}, 1},
	} {
		family := families[tt.name]
		if family == nil {
			t.Errorf("no %s", tt.name)
		} else if got := value(t, family, tt.labels...); got != tt.want {
			t.Errorf("%s%v = %v, want %v", tt.name, tt.labels, got, tt.want)
		}
	}
	if n := len(families["coldbrick_run_exit_code"].GetMetric()); n != 2 {
		t.Errorf("%d exit codes of two runs that have ended", n)
	}
	if len(families) != len(AllMetrics()) {
		t.Errorf("%d metrics, %d described", len(families), len(AllMetrics()))
	}
}

func TestAMetricsFileIsReplacedAtOnceAndReadableByAll(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "coldbrick.prom")
	for range 2 {
		if err := WriteMetrics(path, &Metrics{Commands: map[string]*Command{"archive": {}}}); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 || info.Mode().Perm() != 0o644 {
		t.Errorf("%v, mode %v", entries, info.Mode())
	}
	if _, ok := parseMetrics(t, path)["coldbrick_failing_since_timestamp_seconds"]; ok {
		t.Error("failing since the epoch")
	}
	if err := WriteMetrics(dir + "/none/x"); err == nil {
		t.Error("a missing directory is no error")
	}
}
