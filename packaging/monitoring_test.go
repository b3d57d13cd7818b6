package packaging_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/coldbrick/coldbrick/internal/report"
)

// The alerts say what they should of nights that went well, failed or never ended.
func TestTheAlertsTellOfTheNightsThatTheyShould(t *testing.T) {
	run(t, "promtool", "check", "rules", "alerts.yml")
	run(t, "promtool", "test", "rules", "testdata/alerts_test.yml")
}

// Prometheus itself understands each query of the dashboard.
func TestPrometheusUnderstandsTheDashboard(t *testing.T) {
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(read(t, "dashboard.json")), &dashboard); err != nil {
		t.Fatal(err)
	}
	var rules strings.Builder
	rules.WriteString("groups:\n- name: dashboard\n  rules:\n")
	n := 0
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			n++
			fmt.Fprintf(&rules, "  - {record: \"panel:%d\", expr: %q}\n", n, target.Expr)
		}
	}
	if n < 10 {
		t.Fatalf("%d queries", n)
	}
	path := filepath.Join(t.TempDir(), "rules.yml")
	if err := os.WriteFile(path, []byte(rules.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "promtool", "check", "rules", path)
}

// Alerts and dashboard ask for what the program and its plugin write, by names and labels.
func TestMonitoringAsksForMetricsThatExist(t *testing.T) {
	known := regexp.MustCompile(`"(remote_\w+|recall\w*)"`).FindAllStringSubmatch(read(t, "../internal/translator/counts.go"), -1)
	var names []string
	for _, m := range known {
		names = append(names, "coldbrick_client_"+m[1]+"_total")
	}
	for _, m := range report.AllMetrics() {
		names = append(names, m.Name)
	}
	for _, file := range []string{"alerts.yml", "dashboard.json"} {
		for _, name := range regexp.MustCompile(`\bcoldbrick_\w+`).FindAllString(read(t, file), -1) {
			if !slices.Contains(names, name) {
				t.Errorf("%s asks for %s, which nobody writes", file, name)
			}
		}
	}
	labels := []string{"brick", "volume", "command", "outcome", "reason", "limit", "when", "severity", "instance"}
	for _, m := range regexp.MustCompile(`[{,](\w+)(?:=~?|!~|!=)\\?"`).FindAllStringSubmatch(read(t, "alerts.yml")+read(t, "dashboard.json"), -1) {
		if !slices.Contains(labels, m[1]) {
			t.Errorf("a query asks for the label %s", m[1])
		}
	}
}
