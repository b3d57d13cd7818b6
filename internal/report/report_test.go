package report

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/price"
)

var (
	gfid   = gluster.GFID{0xab, 15: 1}
	moment = time.Date(2024, 2, 3, 4, 5, 6, 7, time.FixedZone("", 3600))
)

// each has one record of each kind, with every field set.
func each(path, key string) []Record {
	return []Record{
		Cold{Path: path, GFID: gfid, Size: 5, Mtime: gluster.TimeAt(moment)},
		File{Path: path, GFID: gfid, Size: 5, Outcome: outcome.Archived, Key: key},
		File{Path: path, Size: 5, Outcome: outcome.Failed, Reason: outcome.IOError, Err: errors.New("read: " + path)},
		Located{Path: path, GFID: gfid, Size: 5, State: outcome.StateBroken, Reason: outcome.ObjectMissing, Key: key, Err: errors.New("x")},
		Finding{Path: path, GFID: gfid, Key: key, Class: outcome.ClassKeyEmpty, Severity: outcome.Problem, Repaired: true, Detail: "d"},
		Check{Name: "quick-read", Verdict: outcome.Bad, Reason: "on", Fix: "switch it off"},
		Store{Name: "s3", Library: "cloudsyncs3.so", Description: "d"},
		Summary{Command: "archive", Aim: outcome.Archived, Outcome: "partial", ExitCode: 3, Started: moment, Duration: time.Second,
			EndedBy: "max-errors", Totals: map[outcome.Result]outcome.Total{{Outcome: outcome.Archived}: {Files: 1, Bytes: 5}, {Outcome: outcome.Skipped, Reason: outcome.TooWarm}: {Files: 2, Bytes: 6}}, Err: errors.New("x")},
	}
}

func schema(t testing.TB) *jsonschema.Schema {
	t.Helper()
	file, err := os.Open("../../docs/schema/record.json")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	doc, err := jsonschema.UnmarshalJSON(file)
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("record.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("record.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestEveryRecordIsAsTheSchemaSays(t *testing.T) {
	s := schema(t)
	for _, r := range slices.Concat(each("dir/a b", "dir/a b"), each("\xff\n", "\xfe"), []Record{exampleOfTheManual(t), NewEstimate("x", price.List{}, 1), surveyOf("dir/a b"), surveyOf("\xff\n/x"), new(Survey), volumeOf(surveyOf("a/b")), new(VolumeReport)}) {
		line, err := r.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(line))
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if err := s.Validate(doc); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
	for _, wrong := range []string{
		`{}`, `{"type":"candidate"}`, `{"type":"summery"}`,
		`{"type":"check","name":"x","status":"fine"}`,
		`{"type":"check","name":"x","status":"ok","extra":1}`,
		`{"type":"file","path":"a","size":1,"outcome":"failed"}`,
		`{"type":"file","path":"/a","size":1,"outcome":"archived"}`,
	} {
		doc, err := jsonschema.UnmarshalJSON(strings.NewReader(wrong))
		if err != nil {
			t.Fatal(err)
		}
		if s.Validate(doc) == nil {
			t.Errorf("the schema accepts %s", wrong)
		}
	}
}

func TestARecordInJSON(t *testing.T) {
	for _, tt := range []struct {
		record Record
		want   string
	}{
		{Cold{Path: "a/<b>&", GFID: gfid, Size: 5, Mtime: gluster.TimeAt(moment)},
			`{"type":"candidate","path":"a/<b>&","gfid":"ab000000-0000-0000-0000-000000000001","size":5,"mtime":"2024-02-03T03:05:06.000000007Z"}`},
		{File{Path: "a\xff", Size: 5, Outcome: outcome.Skipped, Reason: outcome.Changed},
			`{"type":"file","path":"a\ufffd","path_base64":"Yf8=","size":5,"outcome":"skipped","reason":"changed"}`},
		{File{Path: "a", GFID: gfid, Outcome: outcome.Failed, Reason: outcome.IOError, Err: errors.Join(errors.New("one"), errors.New("two"))},
			`{"type":"file","path":"a","gfid":"ab000000-0000-0000-0000-000000000001","size":0,"outcome":"failed","reason":"io-error","error":"one; two"}`},
	} {
		got, err := tt.record.MarshalJSON()
		if err != nil || string(got) != tt.want {
			t.Errorf("got  %s, %v\nwant %s", got, err, tt.want)
		}
	}
}

func TestTheSummaryInOneLine(t *testing.T) {
	for _, tt := range []struct {
		summary Summary
		want    string
	}{
		{Summary{Command: "archive", Aim: outcome.Archived, Duration: 3200 * time.Millisecond, Freed: 4509700000, Totals: map[outcome.Result]outcome.Total{
			{Outcome: outcome.Archived}: {Files: 12, Bytes: 4509715661}, {Outcome: outcome.Skipped, Reason: outcome.TooWarm}: {Files: 290, Bytes: 1}, {Outcome: outcome.Skipped, Reason: outcome.HardLinked}: {Files: 10, Bytes: 1}, {Outcome: outcome.Failed, Reason: outcome.IOError}: {Files: 1, Bytes: 9}}},
			"archived 12 files, 4.2 GiB, freed 4.2 GiB, 1.3 GiB/s, 3.2s; skipped 300 (too-warm 290, hard-linked 10); failed 1 (io-error 1)"},
		{Summary{Command: "archive", Aim: outcome.Archived, Duration: time.Second, Totals: map[outcome.Result]outcome.Total{{Outcome: outcome.Archived}: {Files: 1, Bytes: 1 << 30}}},
			"archived 1 file, 1.0 GiB, freed 0 bytes, 1.0 GiB/s, 1.0s"}, // a sparse one
		{Summary{Command: "release", Aim: outcome.Archived, Duration: time.Second, Freed: 4096, Totals: map[outcome.Result]outcome.Total{{Outcome: outcome.Archived}: {Files: 1, Bytes: 5000}}},
			"archived 1 file, 4.9 KiB, freed 4.0 KiB, 1.0s"},
		{Summary{Command: "archive", Aim: outcome.Copied, Duration: time.Second, Totals: map[outcome.Result]outcome.Total{{Outcome: outcome.Copied}: {Files: 1, Bytes: 1024}}},
			"copied 1 file, 1.0 KiB, 1.0 KiB/s, 1.0s"},
		{Summary{Command: "archive", Aim: outcome.Archived}, "archived 0 files, 0.0s"},
		{Summary{Command: "archive", Aim: outcome.Archived, EndedBy: "until-free"}, "archived 0 files, 0.0s; --until-free reached"},
		{Summary{Command: "crawl", Aim: outcome.Candidate, Duration: 75 * time.Second, Totals: map[outcome.Result]outcome.Total{{Outcome: outcome.Candidate}: {Files: 1234567, Bytes: 1023}}},
			"found cold 1,234,567 files, 1023 bytes, 1m15s"},
		{Summary{Command: "archive", DryRun: true, Aim: outcome.Candidate, Totals: map[outcome.Result]outcome.Total{{Outcome: outcome.Candidate}: {Files: 1, Bytes: 1024}}},
			"would archive 1 file, 1.0 KiB, 0.0s"},
	} {
		if got, _ := tt.summary.line(); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}

func TestWhoSeesWhat(t *testing.T) {
	good := File{Path: "good", Size: 5, Outcome: outcome.Archived}
	bad := File{Path: "bad", Outcome: outcome.Failed, Reason: outcome.IOError, Err: errors.New("read: input/output error")}
	cold := Cold{Path: "cold"}
	done, trouble := Summary{Aim: outcome.Archived}, Summary{Aim: outcome.Archived, ExitCode: 3}
	const badLine, summaryLine = "failed: bad: io-error: read: input/output error\n", "archived 0 files, 0.0s\n"
	for _, tt := range []struct {
		name       string
		printer    *Printer
		data, news string
	}{
		{"plain", &Printer{}, "cold\n", badLine + summaryLine + summaryLine},
		{"verbose", &Printer{Verbose: true}, "cold\n", "archived: good, 5 bytes\n" + badLine + summaryLine + summaryLine},
		{"quiet: a summary only of what went wrong", &Printer{Quiet: true}, "cold\n", badLine + summaryLine},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var data, news bytes.Buffer
			p := tt.printer
			p.Data, p.News = &data, &news
			for _, r := range []Record{good, bad, cold, done, trouble} {
				if err := p.Print(r); err != nil {
					t.Fatal(err)
				}
			}
			if data.String() != tt.data || news.String() != tt.news {
				t.Errorf("stdout %q\nstderr %q", data.String(), news.String())
			}
		})
	}
}

// An attacker owns the names, in UTF-8 or not, and the texts of errors.
func FuzzNoNameBreaksALineOrReachesTheTerminal(f *testing.F) {
	for _, name := range []string{"plain", "new\nline", "\x1b[2J\x1b]0;owned\a", "\xff\xfe", "a\rb", "\u202e\u2066", "\u009b31m",
		"\x7f", "", " lead", "quote\"", "back\\slash", "ünï コ", "\ufffd", "\U000e0041", "\u2028"} {
		f.Add(name)
	}
	s := schema(f)
	f.Fuzz(func(t *testing.T, name string) {
		for _, r := range each(name, name) {
			for _, json := range []bool{false, true} {
				var out bytes.Buffer
				p := Printer{Data: &out, News: &out, JSON: json, Verbose: true}
				if err := p.Print(r); err != nil {
					t.Fatal(err)
				}
				line, ok := strings.CutSuffix(out.String(), "\n")
				if !ok || !utf8.ValidString(line) {
					t.Fatalf("no line: %q", out.String())
				}
				for _, c := range strings.Replace(line, "\n        fix: ", "", 1) { // a check's own
					if c < ' ' || c >= 0x7f && c <= 0x9f || c == '\u202e' || c == '\u2066' || c == '\u2028' {
						t.Fatalf("%q reaches the terminal: %q", c, line)
					}
				}
				if json {
					checkJSON(t, s, name, line)
				}
			}
		}
	})
}

// checkJSON makes sure that a program gets the very bytes of the name.
func checkJSON(t *testing.T, s *jsonschema.Schema, name, line string) {
	var got struct {
		Path   string `json:"path"`
		Base64 string `json:"path_base64"`
	}
	if err := json.Unmarshal([]byte(line), &got); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	if !strings.Contains(line, `"path"`) {
		return
	}
	if got.Base64 != "" {
		b, err := base64.StdEncoding.DecodeString(got.Base64)
		if err != nil {
			t.Fatal(err)
		}
		got.Path = string(b)
	}
	if got.Path != name {
		t.Fatalf("%q became %q in %s", name, got.Path, line)
	}
	if name == "" || strings.HasPrefix(name, "/") {
		return // no path of a volume
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(line))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Validate(doc); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
}

func TestLinesOfManyGoroutinesAreNeverTorn(t *testing.T) {
	var out chunks
	p := &Printer{Data: &out, JSON: true}
	var wg sync.WaitGroup
	const workers, lines = 8, 500
	for w := range workers {
		wg.Go(func() {
			for i := range lines {
				p.Print(File{Path: fmt.Sprintf("%d/%d/%s", w, i, strings.Repeat("x", i)), Outcome: outcome.Archived})
			}
		})
	}
	wg.Wait()
	if len(out.writes) != workers*lines {
		t.Fatalf("%d writes for %d lines", len(out.writes), workers*lines)
	}
	for _, line := range out.writes {
		if !strings.HasSuffix(line, "\n") || !json.Valid([]byte(line)) {
			t.Fatalf("torn: %q", line)
		}
	}
}

// chunks keeps what each write brought.
type chunks struct {
	mu     sync.Mutex
	writes []string
}

func (c *chunks) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writes = append(c.writes, string(b))
	return len(b), nil
}

func (c *chunks) written() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.writes)
}

func TestAFullDiskIsToldAndStays(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	p := &Printer{Data: full}
	for range 2 {
		if err := p.Print(Cold{Path: "a"}); err == nil || !strings.Contains(err.Error(), "no space left") {
			t.Errorf("Print: %v", err)
		}
	}
	p = &Printer{Data: full, Waits: true}
	p.Print(Cold{Path: "a"})
	for range 2 {
		if err := p.Flush(); err == nil || !strings.Contains(err.Error(), "no space left") {
			t.Errorf("Flush: %v", err)
		}
	}
}

func TestWhereNobodyWatchesLinesAreWrittenTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out chunks
		p := &Printer{Data: &out, News: &out, Waits: true}
		path := strings.Repeat("x", 99)
		const lines = 1000
		for range lines {
			p.Print(Cold{Path: path})
		}
		if n := len(out.written()); n != 1 {
			t.Errorf("%d writes for %d lines", n, lines)
		}
		time.Sleep(longestWait) // a slow run still shows what it does
		synctest.Wait()
		if all := strings.Join(out.written(), ""); all != strings.Repeat(path+"\n", lines) {
			t.Errorf("%d bytes of %d lines were written", len(all), lines)
		}
		p.Print(Cold{Path: "last"})
		p.Print(File{Path: "bad", Outcome: outcome.Failed, Reason: outcome.IOError})
		if all := strings.Join(out.written(), ""); !strings.HasSuffix(all, "\nlast\nfailed: bad: io-error\n") {
			t.Errorf("news overtook data: %q", all[len(all)-50:])
		}
		p.Print(Cold{Path: "rest"})
		err := p.Flush()
		if all := out.written(); err != nil || all[len(all)-1] != "rest\n" {
			t.Errorf("%v, last written %q", err, all[len(all)-1])
		}
	})
}

func TestBytesForPeople(t *testing.T) {
	for n, want := range map[int64]string{0: "0 bytes", 1023: "1023 bytes", 1024: "1.0 KiB", 1<<20 - 1: "1.0 MiB", 1 << 30: "1.0 GiB", 1<<63 - 1: "8.0 EiB"} {
		if got := Bytes(n); got != want {
			t.Errorf("Bytes(%d) = %s, want %s", n, got, want)
		}
	}
}

// Whatever stat gives can be printed, and read again.
func FuzzACandidateIsOneLineOfJSON(f *testing.F) {
	for _, sec := range []int64{0, -1, 13569465600 /* 2400 */, 253402300800 /* 10000 */, math.MinInt64, math.MaxInt64} {
		f.Add("path\xff\n", sec, uint32(999_999_999), int64(math.MaxInt64))
	}
	f.Fuzz(func(t *testing.T, path string, sec int64, nsec uint32, size int64) {
		want := gluster.Time{Sec: sec, Nsec: int32(nsec % 1_000_000_000)}
		line, err := Cold{Path: path, Size: size, Mtime: want}.MarshalJSON()
		var got struct {
			Size  int64
			Mtime gluster.Time
		}
		if err == nil {
			err = json.Unmarshal(line, &got)
		}
		if err != nil || got.Size != size || got.Mtime != want || bytes.ContainsRune(line, '\n') {
			t.Fatalf("%s: %v", line, err)
		}
	})
}
