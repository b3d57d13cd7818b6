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

// Metrics are what monitoring learns of one brick, or of the bricks of volume:NAME
// on this host. They are remembered as they are, so that each command adds to what
// others have left.
type Metrics struct {
	Brick    string              `json:"brick"`            // its directory, or volume:NAME
	Volume   string              `json:"volume,omitempty"` // its name, "" if nobody has told it
	Commands map[string]*Command `json:"commands,omitempty"`
	Stubs    *Stubs              `json:"stubs,omitempty"` // nil: nobody has counted them
}

// Command is what the runs of one command have left.
type Command struct {
	Runs         int64                             `json:"runs"`
	Done         map[outcome.Outcome]outcome.Total `json:"done,omitempty"` // by all runs
	LastSuccess  time.Time                         `json:"last_success,omitzero"`
	FailingSince time.Time                         `json:"failing_since,omitzero"` // the first that failed since the last success
	Started      time.Time                         `json:"started,omitzero"`       // of the last run, also of one that has not ended

	// Of the last run that has ended.
	Ended    time.Time                        `json:"ended,omitzero"`
	Took     time.Duration                    `json:"took,omitempty"`
	ExitCode int                              `json:"exit_code"`
	EndedBy  string                           `json:"ended_by,omitempty"` // the flag whose limit or goal ended it
	Totals   map[outcome.Result]outcome.Total `json:"totals,omitempty"`
	Room     *Room                            `json:"room,omitempty"`     // of archive and release
	Findings map[outcome.Severity]int64       `json:"findings,omitempty"` // of fsck: what remains
}

// Room is that of a brick's file system, in bytes.
type Room struct {
	Size   int64 `json:"size"`
	Before int64 `json:"before"` // free before the run
	After  int64 `json:"after"`
	Goal   int64 `json:"goal,omitempty"` // of --until-free; 0: none

	PluginLoaded bool `json:"plugin_loaded"` // clients can recall by themselves
}

// Stubs are those of a brick, when they were last counted.
type Stubs struct {
	outcome.Total
	At time.Time `json:"at"`
	By string    `json:"by"` // the command that counted them
}

// Metric describes one metric for the manual.
type Metric struct {
	Name, Type, Help string
	values           func(m *Metrics) []sample
}

type sample struct {
	labels []string // name, value, ...
	value  float64
}

// AllMetrics lists all metrics. Each carries the label brick, and volume where that is
// known.
func AllMetrics() []Metric {
	// each tells something of each command.
	each := func(tell func(*Command) []sample) func(*Metrics) []sample {
		return func(m *Metrics) []sample {
			var samples []sample
			for _, name := range slices.Sorted(maps.Keys(m.Commands)) {
				for _, s := range tell(m.Commands[name]) {
					samples = append(samples, sample{append([]string{"command", name}, s.labels...), s.value})
				}
			}
			return samples
		}
	}
	// last tells something of the last run that has ended.
	last := func(tell func(*Command) []sample) func(*Metrics) []sample {
		return each(func(c *Command) []sample {
			if c.Ended.IsZero() {
				return nil
			}
			return tell(c)
		})
	}
	at := func(when func(*Command) time.Time) func(*Metrics) []sample {
		return each(func(c *Command) []sample { return moments(when(c)) })
	}
	by := func(value func(outcome.Total) int64) func(*Metrics) []sample {
		return last(func(c *Command) []sample { return c.byResult(value) })
	}
	ever := func(value func(outcome.Total) int64) func(*Metrics) []sample {
		return each(func(c *Command) []sample {
			var samples []sample
			for _, o := range slices.Sorted(maps.Keys(c.Done)) {
				samples = append(samples, sample{[]string{"outcome", string(o)}, float64(value(c.Done[o]))})
			}
			return samples
		})
	}
	room := func(tell func(*Room) []sample) func(*Metrics) []sample {
		return each(func(c *Command) []sample {
			if c.Room == nil {
				return nil
			}
			return tell(c.Room)
		})
	}
	stubs := func(tell func(*Stubs) []sample) func(*Metrics) []sample {
		return func(m *Metrics) []sample {
			if m.Stubs == nil {
				return nil
			}
			return tell(m.Stubs)
		}
	}
	files, size := func(t outcome.Total) int64 { return t.Files }, func(t outcome.Total) int64 { return t.Bytes }
	return []Metric{
		{"coldbrick_runs_total", "counter", "Runs that have ended.", each(func(c *Command) []sample { return one(c.Runs) })},
		{"coldbrick_files_total", "counter", "Files by outcome, over all runs.", ever(files)},
		{"coldbrick_bytes_total", "counter", "Bytes of files by outcome, over all runs.", ever(size)},
		{"coldbrick_run_files", "gauge", "Files of the last run by outcome and reason.", by(files)},
		{"coldbrick_run_bytes", "gauge", "Bytes of the files of the last run by outcome and reason.", by(size)},
		{"coldbrick_run_duration_seconds", "gauge", "How long the last run took.", last(func(c *Command) []sample { return []sample{{value: c.Took.Seconds()}} })},
		{"coldbrick_run_exit_code", "gauge", "Exit code of the last run.", last(func(c *Command) []sample { return one(int64(c.ExitCode)) })},
		{"coldbrick_run_ended_by", "gauge", "1 for the flag whose limit or goal ended the last run; absent if it came to its end.", last(func(c *Command) []sample {
			if c.EndedBy == "" {
				return nil
			}
			return []sample{{[]string{"limit", c.EndedBy}, 1}}
		})},
		{"coldbrick_run_started_timestamp_seconds", "gauge", "When the last run began; later than the end of the last run while it works, and if it was killed.", at(func(c *Command) time.Time { return c.Started })},
		{"coldbrick_last_run_timestamp_seconds", "gauge", "When the last run ended.", at(func(c *Command) time.Time { return c.Ended })},
		{"coldbrick_last_success_timestamp_seconds", "gauge", "When the last run that did not fail ended. A run that a budget ended did not fail.", at(func(c *Command) time.Time { return c.LastSuccess })},
		{"coldbrick_failing_since_timestamp_seconds", "gauge", "When the first run failed since the last success; absent while all is well.", at(func(c *Command) time.Time { return c.FailingSince })},
		{"coldbrick_brick_size_bytes", "gauge", "Size of the brick's file system.", room(func(r *Room) []sample { return one(r.Size) })},
		{"coldbrick_brick_free_bytes", "gauge", "Free space of the brick before and after the last run.", room(func(r *Room) []sample {
			return []sample{{[]string{"when", "before"}, float64(r.Before)}, {[]string{"when", "after"}, float64(r.After)}}
		})},
		{"coldbrick_brick_goal_bytes", "gauge", "Free space that --until-free asked of the last run; absent without it.", room(func(r *Room) []sample {
			if r.Goal == 0 {
				return nil
			}
			return one(r.Goal)
		})},
		{"coldbrick_plugin_loaded", "gauge", "1 if clients can recall by themselves; 0 if readers of stubs get EREMOTE.", room(func(r *Room) []sample {
			if r.PluginLoaded {
				return one(1)
			}
			return one(0)
		})},
		{"coldbrick_findings", "gauge", "What the last fsck has found and not repaired, by severity.", last(func(c *Command) []sample {
			var samples []sample
			for _, severity := range slices.Sorted(maps.Keys(c.Findings)) {
				samples = append(samples, sample{[]string{"severity", string(severity)}, float64(c.Findings[severity])})
			}
			return samples
		})},
		{"coldbrick_stubs", "gauge", "Stubs on the brick, when the last catalog or fsck counted them.", stubs(func(s *Stubs) []sample { return one(s.Files) })},
		{"coldbrick_stub_bytes", "gauge", "Bytes of their data, which is in the store.", stubs(func(s *Stubs) []sample { return one(s.Bytes) })},
		{"coldbrick_stubs_timestamp_seconds", "gauge", "When they were counted.", stubs(func(s *Stubs) []sample { return moments(s.At) })},
	}
}

func one(n int64) []sample { return []sample{{value: float64(n)}} }

// moments is none for a time that never was.
func moments(t time.Time) []sample {
	if t.IsZero() {
		return nil
	}
	return []sample{{value: float64(t.UnixMilli()) / 1000}}
}

func (c *Command) byResult(value func(outcome.Total) int64) []sample {
	var samples []sample
	for r, t := range c.Totals {
		samples = append(samples, sample{[]string{"outcome", string(r.Outcome), "reason", string(r.Reason)}, float64(value(t))})
	}
	slices.SortFunc(samples, func(a, b sample) int { return slices.Compare(a.labels, b.labels) })
	return samples
}

// EncodeMetrics gives those of all bricks in Prometheus' text format.
func EncodeMetrics(bricks ...*Metrics) ([]byte, error) {
	var b bytes.Buffer
	for _, metric := range AllMetrics() {
		kind := dto.MetricType(dto.MetricType_value[strings.ToUpper(metric.Type)])
		family := &dto.MetricFamily{Name: &metric.Name, Help: &metric.Help, Type: &kind}
		for _, m := range bricks {
			labels := []string{"brick", m.Brick}
			if m.Volume != "" {
				labels = append(labels, "volume", m.Volume)
			}
			for _, s := range metric.values(m) {
				family.Metric = append(family.Metric, s.metric(kind, labels))
			}
		}
		if len(family.Metric) == 0 {
			continue
		}
		if _, err := expfmt.MetricFamilyToText(&b, family); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

// metric is a sample with further labels before its own. A label's value must
// be UTF-8, and a brick's path need not be.
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

// WriteMetrics puts the metrics of bricks where node_exporter finds them. The file is
// replaced at once: a reader sees the old or the new one.
func WriteMetrics(path string, bricks ...*Metrics) error {
	text, err := EncodeMetrics(bricks...)
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
// failure: the previous content or the new one.
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
