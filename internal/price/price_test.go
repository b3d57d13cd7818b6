package price

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coldbrick/coldbrick/internal/object"
)

func load(t *testing.T, text string) (List, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "prices.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Load(file)
}

const some = `
date = "2026-01-02"
currency = "EUR"
transfer-gb = 0.5
brick-gb-month = 3
[[class]]
name = "STANDARD"
gb-month = 2
get = 10
[[class]]
name = "COLD"
gb-month = 1
put = 8
read-gb = 0.25
least-size = "1MiB"
least-days = 60
overhead = [{ size = "512MiB" }, { size = "256MiB", class = "STANDARD" }]
thaw.bulk = { request = 4, gb = 0.125 }
`

func TestPricesAreThoseOfTheFile(t *testing.T) {
	l, err := load(t, some)
	if err != nil {
		t.Fatal(err)
	}
	c, ok := l.Class("COLD")
	standard, standardOK := l.Class("")
	if !ok || !standardOK || l.Currency != "EUR" || l.Origin == "" {
		t.Fatalf("%+v", l)
	}
	for name, tt := range map[string]struct{ got, want float64 }{
		"a small object is billed as a larger one": {float64(c.Billed(1)), 1 << 20},
		"a large one as it is":                     {float64(c.Billed(5 << 20)), 5 << 20},
		"a month, with what comes beside objects":  {c.Month(3, 10<<30), 10*1 + 3*(0.5*1+0.25*2)},
		"requests":                      {c.Puts(2000), 16},
		"reading":                       {l.Reading(c, 1000, 4<<30), 4 * (0.25 + 0.5)},
		"reading at the standard class": {l.Reading(standard, 1000, 4<<30), 10 + 4*0.5},
		"a thaw for half a month":       {l.Thawing(c, object.Thaw{Tier: object.ThawBulk, Days: 15}, 1000, 4<<30), 4 + 4*(0.125+2*0.5)},
	} {
		if math.Abs(tt.got-tt.want) > 1e-9 {
			t.Errorf("%s: %v, not %v", name, tt.got, tt.want)
		}
	}
}

// From the size on that is told, and not before, the store is cheaper; over as long as is
// billed at least.
func TestBreakEven(t *testing.T) {
	l, err := load(t, some)
	if err != nil {
		t.Fatal(err)
	}
	c, _ := l.Class("COLD")
	// Two months are billed: 3*s*2 = 0.008 + (s + 1)*2, with s in GB.
	want := 2.008 / 4 * gb
	if size, ok := l.BreakEven(c, 1); !ok || math.Abs(float64(size)-want) > 1 {
		t.Errorf("%d, %v; want %.0f", size, ok, want)
	}
	standard, _ := l.Class("")
	if size, ok := l.BreakEven(standard, 12); !ok || size != 0 {
		t.Errorf("without a price for requests every size is worth it: %d, %v", size, ok)
	}
	l.Brick = 1
	if size, ok := l.BreakEven(c, 12); ok {
		t.Errorf("%d is worth it, on bricks that cost no more", size)
	}
}

func TestAFileThatSaysNoPricesIsRefused(t *testing.T) {
	for text, want := range map[string]string{
		`currency = "EUR"`: "date",
		"date = \"2026-01-02\"\n[[class]]\nname = \"A\"\ngb-month = -1":                                   "not a price",
		"date = \"2026-01-02\"\n[[class]]\nname = \"A\"\ngb-month = nan":                                  "not a price",
		"date = \"2026-01-02\"\n[[class]]\ngb-month = 1":                                                  "no name",
		"date = \"2026-01-02\"\n[[class]]\nname = \"A\"\ngb_month = 1":                                    "line 4: unknown key",
		"date = \"2026-01-02\"\n[[class]]\nname = \"A\"\nleast-size = \"x\"":                              "size",
		"date = \"2026-01-02\"\n[[class]]\nname = \"A\"\noverhead = [{ size = \"8KiB\", class = \"B\" }]": `class "B"`,
		"date = \"2026-01-02\"\n[[class]]\nname = \"A\"\nthaw.soon = { gb = 1 }":                          `tier "soon"`,
		"date =": "toml",
	} {
		if _, err := load(t, text); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "prices.toml: ") {
			t.Errorf("%s: %v; want %q", text, err, want)
		}
	}
	if _, err := Load(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a file that was named need not exist")
	}
}

func TestTheBuiltInPricesCanBeRead(t *testing.T) {
	l, err := parse(builtIn)
	if err != nil || len(l.Classes) < 5 || l.Date == "" || l.Source == "" {
		t.Errorf("%+v, %v", l, err)
	}
	for _, c := range l.Classes {
		if object.NeedsThaw(c.Name) != (len(c.Thaws) > 0) {
			t.Errorf("%s: thaws %v", c.Name, c.Thaws)
		}
	}
}
