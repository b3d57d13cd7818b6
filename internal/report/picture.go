package report

import (
	"encoding/xml"
	"fmt"
	"strings"

	"github.com/coldbrick/coldbrick/internal/outcome"
)

// The measures and colours of the picture.
const (
	pictureWidth = 960
	margin       = 40
	labelWidth   = 210 // of the names before the bars
	valueWidth   = 210 // of the numbers behind them
	barLeft      = margin + labelWidth
	barWidth     = pictureWidth - 2*margin - labelWidth - valueWidth
	rowHeight    = 28
	barHeight    = 16

	ink, faint, rule      = "#1f2933", "#66727f", "#dfe4ea"
	warmColour, coldColor = "#e8a33d", "#2f7fb8"
	freeColour, badColour = "#e9edf1", "#c8453b"
	goodColour            = "#3d9a6a"
)

// ageColours go from new to old. None is that of warm or cold, which the policy
// decides, not the class.
var ageColours = [len(ageClasses)]string{"#c6cdd5", "#a9b3bf", "#8c99a8", "#6f7f91", "#54657a"}

// SVG draws the report for people to look at. It needs no script, no font and
// nothing from elsewhere.
func (v *VolumeReport) SVG() ([]byte, error) {
	p := picture{y: margin}
	sum := v.sum()
	p.header(v, sum)
	if v.Volume != "" {
		p.archived(sum)
	}
	for _, s := range v.Bricks {
		if v.Volume != "" {
			p.brick(s)
		} else {
			p.archived(s)
		}
		p.space(s)
		p.ages(s)
		p.directories(s)
		p.runs(s)
	}
	p.trouble(v.troubled())
	height := p.y + margin/2
	return fmt.Appendf(nil, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%[1]d" height="%d" font-family="Helvetica, Arial, 'DejaVu Sans', sans-serif" font-size="13">
<rect width="100%%" height="100%%" fill="#ffffff"/>
%s</svg>
`, pictureWidth, height, p.String()), nil
}

// picture is drawn from top to bottom.
type picture struct {
	strings.Builder
	y int
}

func (p *picture) text(x, y int, anchor, style, text string) {
	var escaped strings.Builder
	_ = xml.EscapeText(&escaped, []byte(strings.ToValidUTF8(text, "\ufffd"))) // a Builder takes all
	fmt.Fprintf(p, `<text x="%d" y="%d" text-anchor="%s" %s>%s</text>`+"\n", x, y, anchor, style, escaped.String())
}

func (p *picture) rect(x, y, width, height int, colour string) {
	if width > 0 {
		fmt.Fprintf(p, `<rect x="%d" y="%d" width="%d" height="%d" fill="%s"/>`+"\n", x, y, width, height, colour)
	}
}

func fill(colour string) string { return `fill="` + colour + `"` }

// section begins a part with a title, and a legend on the right.
func (p *picture) section(title string, legend ...[2]string) {
	p.y += 22
	fmt.Fprintf(p, `<line x1="%d" y1="%d" x2="%d" y2="%[2]d" stroke="%[4]s"/>`+"\n", margin, p.y, pictureWidth-margin, rule)
	p.y += 30
	p.text(margin, p.y, "start", fill(ink)+` font-size="16" font-weight="bold"`, title)
	const slot = 125
	for i, l := range legend {
		x := pictureWidth - margin - slot*(len(legend)-i)
		p.rect(x, p.y-10, 11, 11, l[0])
		p.text(x+18, p.y, "start", fill(faint), l[1])
	}
	p.y += 12
}

// bar is one line: a name, a bar of parts, and numbers.
func (p *picture) bar(name, value string, whole int64, parts ...segment) {
	base := p.y + rowHeight/2 + 5
	p.text(margin, base, "start", fill(ink), shorten(name))
	x := barLeft
	for _, part := range parts {
		width := scaled(part.size, whole)
		p.rect(x, p.y+(rowHeight-barHeight)/2, width, barHeight, part.colour)
		x += width
	}
	p.text(pictureWidth-margin, base, "end", fill(faint), value)
	p.y += rowHeight
}

type segment struct {
	size   int64
	colour string
}

// scaled is the length of a bar; what is not zero can be seen.
func scaled(size, whole int64) int {
	if size <= 0 || whole <= 0 {
		return 0
	}
	return max(1, int(float64(size)/float64(whole)*barWidth))
}

// shorten makes a name fit before the bars.
func shorten(name string) string {
	const most = 26
	runes := []rune(Quote(name))
	if len(runes) <= most {
		return string(runes)
	}
	return string(runes[:most-1]) + "…"
}

func (p *picture) header(v *VolumeReport, sum *Survey) {
	p.y += 14
	p.text(margin, p.y, "start", fill(ink)+` font-size="22" font-weight="bold"`, Quote(sum.Brick))
	p.y += 24
	p.text(margin, p.y, "start", fill(faint), fmt.Sprintf("coldbrick report, %s, %s. Cold after %s.", v.Host, local(v.Now), days(sum.ColdAfter)))
}

// brick begins the part of one of several bricks.
func (p *picture) brick(s *Survey) {
	p.y += 44
	p.text(margin, p.y, "start", fill(ink)+` font-size="19" font-weight="bold"`, Quote(s.Brick))
}

// archived shows how much of all data is in the store.
func (p *picture) archived(s *Survey) {
	p.section("Data", [2]string{goodColour, "in the store"}, [2]string{coldColor, "cold"}, [2]string{warmColour, "stays"})
	stored := int64(0)
	if s.Archived.Stubs != nil {
		stored = s.Archived.Stubs.Bytes
	}
	cold := min(s.cold.Bytes, s.used())
	p.band(stored+s.used(), segment{stored, goodColour}, segment{cold, coldColor}, segment{s.used() - cold, warmColour})
	p.text(margin, p.y, "start", fill(ink), sentence(s.Archived.text(s.used(), s.Now)))
}

// sentence begins with a capital letter and ends with a full stop.
func sentence(text string) string { return strings.ToUpper(text[:1]) + text[1:] + "." }

// band is one bar over the whole width.
func (p *picture) band(whole int64, parts ...segment) {
	const height = 34
	p.y += 6
	x := margin
	for _, part := range parts {
		width := 0
		if whole > 0 {
			width = int(float64(part.size) / float64(whole) * float64(pictureWidth-2*margin))
		}
		p.rect(x, p.y, width, height, part.colour)
		x += width
	}
	p.y += height + 22
}

// trouble lists the nights that somebody should look at.
func (p *picture) trouble(runs []Run) {
	const mostLetters = 105
	for i, r := range runs {
		if i == 0 {
			p.section("Failed and refused nights")
		}
		p.y += 20
		why := []rune(r.end() + ": " + OneLine(r.why()))
		if len(why) > mostLetters {
			why = append(why[:mostLetters-1], '…')
		}
		p.rect(margin-12, p.y-9, 8, 8, badColour)
		p.text(margin, p.y, "start", fill(ink), local(r.Started))
		p.text(margin+125, p.y, "start", fill(faint), string(why))
	}
}

// space shows what the brick holds.
func (p *picture) space(s *Survey) {
	cold := min(s.cold.Bytes, s.used())
	p.section("Space", [2]string{warmColour, "stays"}, [2]string{coldColor, "would be freed"}, [2]string{freeColour, "free"})
	p.band(s.Size, segment{s.used() - cold, warmColour}, segment{cold, coldColor}, segment{s.Free, freeColour})
	p.text(margin, p.y, "start", fill(ink), fmt.Sprintf("%s of %s used. Archiving all that is cold frees %s (%s): %.0f%% free instead of %.0f%%.",
		Bytes(s.used()), Bytes(s.Size), Bytes(s.cold.Bytes), Count(s.cold.Files, "file"),
		percent(min(s.Size, s.Free+s.cold.Bytes), s.Size), percent(s.Free, s.Size)))
	if plan := s.plan(); plan != "" {
		p.y += 20
		p.text(margin, p.y, "start", fill(faint), sentence(plan))
	}
}

func (p *picture) ages(s *Survey) {
	p.section("Age")
	largest := int64(0)
	for _, n := range s.ages {
		largest = max(largest, n.Bytes)
	}
	for i, n := range s.ages {
		p.bar(ageClasses[i].Name, numbers(n), largest, segment{n.Bytes, ageColours[i]})
	}
}

func numbers(n outcome.Total) string { return Bytes(n.Bytes) + ", " + Count(n.Files, "file") }

func (p *picture) directories(s *Survey) {
	p.section("Top directories", [2]string{coldColor, "cold"}, [2]string{warmColour, "warm"})
	list, others := s.top()
	if others.All.Files > 0 {
		others.Path = "(others)"
		list = append(list, others)
	}
	if len(list) == 0 {
		p.y += 20
		p.text(margin, p.y, "start", fill(faint), "No file here can be archived.")
	}
	largest := int64(0)
	for _, d := range list {
		largest = max(largest, d.All.Bytes)
	}
	for _, d := range list {
		value := fmt.Sprintf("%s of %s cold", Bytes(d.Cold.Bytes), Bytes(d.All.Bytes))
		p.bar(d.Path, value, largest, segment{d.Cold.Bytes, coldColor}, segment{d.All.Bytes - d.Cold.Bytes, warmColour})
	}
}

func (p *picture) runs(s *Survey) {
	p.section("Last runs", [2]string{goodColour, "archived"})
	if len(s.Runs) == 0 {
		p.y += 20
		p.text(margin, p.y, "start", fill(faint), "None is remembered.")
	}
	largest := int64(0)
	for _, r := range s.Runs {
		largest = max(largest, r.Archived.Bytes)
	}
	for _, r := range last(s.Runs) {
		name := local(r.Started) + "  " + r.Outcome
		value := numbers(r.Archived)
		if r.Ended.IsZero() {
			value = "not known"
		}
		if r.Failed > 0 {
			value += fmt.Sprintf(", %s failed", number(r.Failed))
		}
		p.bar(name, value, largest, segment{r.Archived.Bytes, goodColour})
		if !r.well() {
			p.rect(margin-12, p.y-rowHeight/2-4, 8, 8, badColour)
		}
	}
}
