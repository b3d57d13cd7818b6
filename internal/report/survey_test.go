package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/outcome"
)

const testDay = 24 * time.Hour

// surveyOf is a survey of a brick with one file, at path, and one run.
func surveyOf(path string) *Survey {
	s := &Survey{
		Brick: "/bricks/" + path, Now: moment, ColdAfter: 30 * testDay, Size: 1000, Free: 100,
		Skipped: map[outcome.Result]outcome.Total{{Outcome: outcome.Skipped, Reason: outcome.AlreadyRemote}: {Files: 7, Bytes: 0}},
		Runs:    []Run{{Started: moment, Ended: moment.Add(time.Minute), Outcome: "partial", Archived: outcome.Total{Files: 2, Bytes: 50}, Failed: 1, FreeAfter: 100}},
	}
	s.Add(gluster.File{Path: path, Size: 300, ColdSince: moment.Add(-40 * testDay)})
	return s
}

// volumeOf is the report on a volume with these bricks, one refused night and one recall.
func volumeOf(bricks ...*Survey) *VolumeReport {
	return &VolumeReport{
		Volume: "vol", Host: "node1", Now: moment, Bricks: bricks,
		Nights:  []Run{{Command: "archive", Started: moment, Ended: moment, Outcome: "unsafe", ExitCode: 13, Error: "bricks-up: <b>down</b>"}},
		Recalls: []Run{{Command: "recall", By: "ada", Started: moment, Ended: moment, Outcome: "done", Recalled: outcome.Total{Files: 3, Bytes: 4096}}},
	}
}

func TestASurveyTellsAgesDirectoriesAndWhatWouldBeFreed(t *testing.T) {
	s := &Survey{Brick: "/bricks/b1", Now: moment, ColdAfter: 90 * testDay, Size: 10 << 10, Free: 1 << 10}
	for i, f := range []struct {
		path string
		days int
	}{{"a/x", 29}, {"a/y/z", 30}, {"a/y/w", 90}, {"b/x", 365}, {"top", 179}, {"b/future", -1}} {
		s.Add(gluster.File{Path: f.path, Size: int64(1 << i), ColdSince: moment.Add(-time.Duration(f.days) * testDay), Copied: f.days == 30 || f.days == 365})
	}
	var data bytes.Buffer
	if err := (&Printer{Data: &data}).Print(s); err != nil {
		t.Fatal(err)
	}
	const want = `/bricks/b1: 10.0 KiB, 1.0 KiB free (10%)
archived: nothing that is known of
cold for 90 days: 3 files, 28 bytes would be freed: 10% free then
of these copied already: 1 file, 8 bytes: release frees them without an upload, unless they have changed since
next run: all of it, 28 bytes

      bytes      files   age
   33 bytes          2   under 30 days
    2 bytes          1   30 to 90 days
   20 bytes          2   90 to 180 days
    0 bytes          0   180 to 365 days
    8 bytes          1   365 days and more
   63 bytes          6   all that can be archived

  cold bytes  cold files  all bytes  all files   directory
    16 bytes           1   16 bytes          1   .
     8 bytes           1   40 bytes          2   b
     4 bytes           1    7 bytes          3   a

no run is remembered under --state-dir
`
	if data.String() != want {
		t.Errorf("got:\n%s", data.String())
	}
}

func TestASurveyOfManyDirectoriesStaysSmallAndLosesNoFile(t *testing.T) {
	s := &Survey{Now: moment, Size: 1}
	const many = 3 * mostDirectories
	for i := range many {
		s.Add(gluster.File{Path: fmt.Sprintf("d%d/f", i), Size: int64(i), ColdSince: moment})
		if len(s.directories) > mostDirectories {
			t.Fatalf("%d directories kept", len(s.directories))
		}
	}
	list, others := s.top()
	sum := others.All
	for _, d := range list {
		sum.Merge(d.All)
	}
	if len(list) != topDirectories || sum != s.all || sum.Files != many || list[0].Path != fmt.Sprintf("d%d", many-1) {
		t.Errorf("%d directories, %+v in all, %+v counted, first %s", len(list), sum, s.all, list[0].Path)
	}
}

// Names are bytes that users choose; none of them becomes markup.
func TestThePictureIsWellFormedWhateverTheNames(t *testing.T) {
	for _, name := range []string{"plain", "<script>alert(1)</script>", "\"'&]]>", "\xff\x00\x1b[2J", strings.Repeat("コ", 80)} {
		svg, err := volumeOf(surveyOf(name + "/f")).SVG()
		if err != nil {
			t.Fatal(err)
		}
		d := xml.NewDecoder(bytes.NewReader(svg))
		for {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%q: %v", name, err)
			}
			if e, ok := token.(xml.StartElement); ok && !strings.Contains(" svg rect line text ", " "+e.Name.Local+" ") {
				t.Errorf("%q: element %s", name, e.Name.Local)
			}
		}
	}
}

func TestThePageIsOneFileWithoutAScriptWhateverTheNames(t *testing.T) {
	for _, name := range []string{"plain", "<script>alert(1)</script>", "\"'&]]>", "\xff\x00\x1b[2J"} {
		html, err := volumeOf(surveyOf(name + "/f")).HTML()
		if err != nil {
			t.Fatal(err)
		}
		for _, bad := range []string{"<script", "src=", "href=", "url(", "\x1b", "<b>down"} {
			if bytes.Contains(html, []byte(bad)) {
				t.Errorf("%q: %s", name, bad)
			}
		}
		for _, want := range []string{"volume vol", "unsafe (13)", "bricks-up: &lt;b&gt;down", "ada", "4.0 KiB, 3 files", "partial"} {
			if !bytes.Contains(html, []byte(want)) {
				t.Errorf("%q: no %q", name, want)
			}
		}
	}
}

// What is archived is as old as the oldest count, and unknown if one brick was never
// counted; who asks for the next run gets what budget and rate allow.
func TestTheVolumeSumsUpItsBricks(t *testing.T) {
	a, b := surveyOf("a/x"), surveyOf("b/x")
	b.Size, b.Free = 3000, 900
	a.Archived = Archived{Stubs: &Stubs{Total: outcome.Total{Files: 4, Bytes: 3000}, At: moment.Add(-50 * time.Hour), By: "fsck"}, Since: moment.Add(-9 * testDay)}
	a.Budget = outcome.Total{Bytes: 100}
	a.Skipped[outcome.Result{Outcome: outcome.Skipped, Reason: outcome.RecentlyRecalled}] = outcome.Total{Files: 2, Bytes: 2048}
	a.Grace = 7 * testDay
	page := func(r Record) string { text, _ := r.line(); return text }
	for _, want := range []string{"archived: 4 files, 2.9 KiB, 76% of all data here (fsck of ", ", 2 days ago); since ",
		"next run: at most 1 file, 100 bytes (its budget); at today's rate, 50 bytes a run, all that is cold takes 6 runs",
		"recalled in the last 7 days, by readers or by command: 2 files, 2.0 KiB (by which user's program, the log of each client says: ", "partial          1 file failed"} {
		if got := page(a); !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if got := page(volumeOf(a, b)); !strings.Contains(got, "archived: nothing that is known of") || !strings.Contains(got, "2 bricks on node1, 3.9 KiB, 1000 bytes free (25%)") {
		t.Errorf("one brick was never counted:\n%s", got)
	}
	b.Archived.Stubs = &Stubs{Total: outcome.Total{Files: 1, Bytes: 100}, At: moment, By: "catalog"}
	if got := page(volumeOf(a, b)); !strings.Contains(got, "archived: 5 files, 3.0 KiB, 50% of all data here (fsck of ") {
		t.Errorf("%s", got)
	}
}

func TestNoNameForgesALineOfThePage(t *testing.T) {
	plain, _ := surveyOf("plain/f").line()
	for _, name := range []string{"new\nline", "\x1b[2J", "\u202e", "\xff", "a\rb"} {
		s := surveyOf(name + "/f")
		text, _ := s.line()
		if strings.Count(text, "\n") != strings.Count(plain, "\n") || strings.ContainsAny(text, "\x1b\r\u202e") || !utf8.ValidString(text) {
			t.Errorf("%q: %q", name, text)
		}
	}
}

func TestAnEmptyBrickHasAPicture(t *testing.T) {
	svg, err := (&VolumeReport{Bricks: []*Survey{{Brick: "/b"}}}).SVG()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"No file here can be archived", "None is remembered"} {
		if !bytes.Contains(svg, []byte(want)) {
			t.Errorf("no %q", want)
		}
	}
	if bytes.Contains(svg, []byte("NaN")) {
		t.Error("NaN")
	}
}

// A little is not nothing, and a night that names its brick is not told of which it was.
func TestWhatIsLittleAndWhatIsSaidTwice(t *testing.T) {
	for part, want := range map[int64]string{0: "0%", 1: "<1%", 99: "<1%", 100: "1%", 10000: "100%"} {
		if got := share(part, 10000); got != want {
			t.Errorf("%d of 10000: %s, want %s", part, got, want)
		}
	}
	v := VolumeReport{Bricks: []*Survey{{Brick: "/b", Runs: []Run{
		{Outcome: "locked", ExitCode: 11, Error: "brick /b: another run holds the brick"},
		{Outcome: "store", ExitCode: 12, Error: "the store is down"},
	}}}}
	for _, r := range v.troubled() {
		if want := map[int]string{11: "brick /b: another run holds the brick", 12: "/b: the store is down"}[r.ExitCode]; r.Error != want {
			t.Errorf("%q, want %q", r.Error, want)
		}
	}
}
