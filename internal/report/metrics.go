package report

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/coldbrick/coldbrick/internal/outcome"
)

// Metrics are what monitoring learns of the last run on a brick.
type Metrics struct {
	Summary
	Brick        string
	Runs         int64                             // on this brick, ever
	Done         map[outcome.Outcome]outcome.Total // by all runs on this brick
	LastSuccess  time.Time                         // zero: never
	FailingSince time.Time                         // the first of the failed runs since the last success; zero: none
	BrickSize    int64                             // of its file system, in bytes
	FreeBefore   int64                             // bytes
	FreeAfter    int64                             // bytes
	PluginLoaded bool                              // clients can recall by themselves
}

// Metric describes one metric for the manual.
type Metric struct {
	Name, Type, Help string
	values           func(m Metrics) []sample
}

type sample struct {
	labels []string // name, value, ...
	value  float64
}

// AllMetrics lists all metrics. Each carries the labels command and brick.
func AllMetrics() []Metric {
	one := func(value func(Metrics) float64) func(Metrics) []sample {
		return func(m Metrics) []sample { return []sample{{value: value(m)}} }
	}
	at := func(when func(Metrics) time.Time) func(Metrics) []sample {
		return func(m Metrics) []sample {
			if when(m).IsZero() {
				return nil
			}
			return []sample{{value: float64(when(m).UnixMilli()) / 1000}}
		}
	}
	by := func(value func(outcome.Total) int64) func(Metrics) []sample {
		return func(m Metrics) []sample { return m.byResult(value) }
	}
	ever := func(value func(outcome.Total) int64) func(Metrics) []sample {
		return func(m Metrics) []sample {
			var samples []sample
			for _, o := range slices.Sorted(maps.Keys(m.Done)) {
				samples = append(samples, sample{[]string{"outcome", string(o)}, float64(value(m.Done[o]))})
			}
			return samples
		}
	}
	return []Metric{
		{"coldbrick_runs_total", "counter", "Runs on this brick.", one(func(m Metrics) float64 { return float64(m.Runs) })},
		{"coldbrick_files_total", "counter", "Files by outcome, over all runs on this brick.", ever(func(t outcome.Total) int64 { return t.Files })},
		{"coldbrick_bytes_total", "counter", "Bytes of files by outcome, over all runs on this brick.", ever(func(t outcome.Total) int64 { return t.Bytes })},
		{"coldbrick_run_files", "gauge", "Files of the last run by outcome and reason.", by(func(t outcome.Total) int64 { return t.Files })},
		{"coldbrick_run_bytes", "gauge", "Bytes of the files of the last run by outcome and reason.", by(func(t outcome.Total) int64 { return t.Bytes })},
		{"coldbrick_run_duration_seconds", "gauge", "How long the last run took.", one(func(m Metrics) float64 { return m.Duration.Seconds() })},
		{"coldbrick_run_exit_code", "gauge", "Exit code of the last run.", one(func(m Metrics) float64 { return float64(m.ExitCode) })},
		{"coldbrick_run_ended_by", "gauge", "1 for the flag whose limit or goal ended the last run; absent if it came to its end.", func(m Metrics) []sample {
			if m.EndedBy == "" {
				return nil
			}
			return []sample{{[]string{"limit", m.EndedBy}, 1}}
		}},
		{"coldbrick_last_run_timestamp_seconds", "gauge", "When the last run ended.", at(func(m Metrics) time.Time { return m.Started.Add(m.Duration) })},
		{"coldbrick_last_success_timestamp_seconds", "gauge", "When the last run that did not fail ended. A run that a budget ended did not fail.", at(func(m Metrics) time.Time { return m.LastSuccess })},
		{"coldbrick_failing_since_timestamp_seconds", "gauge", "When the first run failed since the last success; absent while all is well.", at(func(m Metrics) time.Time { return m.FailingSince })},
		{"coldbrick_brick_size_bytes", "gauge", "Size of the brick's file system.", one(func(m Metrics) float64 { return float64(m.BrickSize) })},
		{"coldbrick_brick_free_bytes", "gauge", "Free space of the brick before and after the last run.", func(m Metrics) []sample {
			return []sample{{[]string{"when", "before"}, float64(m.FreeBefore)}, {[]string{"when", "after"}, float64(m.FreeAfter)}}
		}},
		{"coldbrick_plugin_loaded", "gauge", "1 if clients can recall by themselves; 0 if readers of stubs get EREMOTE.", one(func(m Metrics) float64 {
			if m.PluginLoaded {
				return 1
			}
			return 0
		})},
	}
}

func (m Metrics) byResult(value func(outcome.Total) int64) []sample {
	var samples []sample
	for r, t := range m.Totals {
		samples = append(samples, sample{[]string{"outcome", string(r.Outcome), "reason", string(r.Reason)}, float64(value(t))})
	}
	slices.SortFunc(samples, func(a, b sample) int { return slices.Compare(a.labels, b.labels) })
	return samples
}

// Encode gives the metrics in Prometheus' text format.
func (m Metrics) Encode() ([]byte, error) {
	var b bytes.Buffer
	for _, metric := range AllMetrics() {
		samples := metric.values(m)
		if len(samples) == 0 {
			continue
		}
		kind := dto.MetricType(dto.MetricType_value[strings.ToUpper(metric.Type)])
		family := &dto.MetricFamily{Name: &metric.Name, Help: &metric.Help, Type: &kind}
		for _, s := range samples {
			family.Metric = append(family.Metric, s.metric(kind, []string{"command", m.Command, "brick", m.Brick}))
		}
		if _, err := expfmt.MetricFamilyToText(&b, family); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

// metric is a sample with further labels before its own. A label's value must be
// UTF-8, and a brick's path need not be.
func (s sample) metric(kind dto.MetricType, labels []string) *dto.Metric {
	labels = slices.Concat(labels, s.labels)
	m := &dto.Metric{}
	for i := 0; i < len(labels); i += 2 {
		value := strings.ToValidUTF8(labels[i+1], "\ufffd")
		m.Label = append(m.Label, &dto.LabelPair{Name: &labels[i], Value: &value})
	}
	if kind == dto.MetricType_COUNTER {
		m.Counter = &dto.Counter{Value: &s.value}
	} else {
		m.Gauge = &dto.Gauge{Value: &s.value}
	}
	return m
}

// WriteFile puts the metrics where node_exporter finds them. The file is
// replaced at once: a reader sees the old or the new one.
func (m Metrics) WriteFile(path string) error {
	text, err := m.Encode()
	if err == nil {
		err = ReplaceFile(path, text, Readable)
	}
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	return nil
}

// Readable is the mode of files for programs that are not root, such as
// node_exporter.
const Readable fs.FileMode = 0o644

// ReplaceFile puts content in the place of the file at path, whole even after a power
// failure: the former content or the new one.
func ReplaceFile(path string, content []byte, mode fs.FileMode) (err error) {
	// node_exporter reads what ends in .prom; this does not.
	tmp, err := os.CreateTemp(filepath.Dir(path), ".coldbrick-*.tmp")
	if err != nil {
		return err
	}
	_, err = tmp.Write(content)
	err = errors.Join(err, tmp.Chmod(mode), tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return nil
}
