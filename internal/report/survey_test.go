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

func TestASurveyTellsAgesDirectoriesAndWhatWouldBeFreed(t *testing.T) {
	s := &Survey{Brick: "/bricks/b1", Now: moment, ColdAfter: 90 * testDay, Size: 10 << 10, Free: 1 << 10}
	for i, f := range []struct {
		path string
		days int
	}{{"a/x", 29}, {"a/y/z", 30}, {"a/y/w", 90}, {"b/x", 365}, {"top", 179}, {"b/future", -1}} {
		s.Add(gluster.File{Path: f.path, Size: int64(1 << i), ColdSince: moment.Add(-time.Duration(f.days) * testDay)})
	}
	var data bytes.Buffer
	if err := (&Printer{Data: &data}).Print(s); err != nil {
		t.Fatal(err)
	}
	const want = `/bricks/b1: 10.0 KiB, 1.0 KiB free (10%)
cold for 90 days: 3 files, 28 bytes would be freed: 10% free then

       bytes        files   age
    33 bytes            2   under 30 days
     2 bytes            1   30 to 90 days
    20 bytes            2   90 to 180 days
     0 bytes            0   180 to 365 days
     8 bytes            1   365 days and more
    63 bytes            6   all that can be archived

  cold bytes   cold files    all bytes    all files   directory
    16 bytes            1     16 bytes            1   .
     8 bytes            1     40 bytes            2   b
     4 bytes            1      7 bytes            3   a

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
		d := xml.NewDecoder(bytes.NewReader(surveyOf(name + "/f").SVG()))
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

func TestNoNameForgesALineOfThePage(t *testing.T) {
	plain, _ := surveyOf("plain/f").line()
	for _, name := range []string{"new\nline", "\x1b[2J", "\u202e", "\xff", "a\rb"} {
		text, _ := surveyOf(name + "/f").line()
		if strings.Count(text, "\n") != strings.Count(plain, "\n") || strings.ContainsAny(text, "\x1b\r\u202e") || !utf8.ValidString(text) {
			t.Errorf("%q: %q", name, text)
		}
	}
}

func TestAnEmptyBrickHasAPicture(t *testing.T) {
	svg := (&Survey{Brick: "/b"}).SVG()
	for _, want := range []string{"No file here can be archived", "None is remembered"} {
		if !bytes.Contains(svg, []byte(want)) {
			t.Errorf("no %q", want)
		}
	}
	if bytes.Contains(svg, []byte("NaN")) {
		t.Error("NaN")
	}
}
