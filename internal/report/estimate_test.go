package report

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/coldbrick/coldbrick/internal/price"
)

// exampleOfTheManual is what docs/estimate.md checks by hand.
func exampleOfTheManual(t testing.TB) *Estimate {
	t.Helper()
	prices, err := price.Load("../price/prices.toml")
	if err != nil {
		t.Fatal(err)
	}
	prices.Origin = "" // as if built in
	e := NewEstimate("/bricks/b1/vol", prices, 8<<20)
	for range 1_000_000 {
		e.Add(16 << 10)
	}
	for range 1_000 {
		e.Add(1 << 30)
	}
	return e
}

func TestTheEstimateOfTheManualIsWhatTheProgramSays(t *testing.T) {
	page, err := os.ReadFile("../../docs/estimate.md")
	if err != nil {
		t.Fatal(err)
	}
	var data bytes.Buffer
	if err := (&Printer{Data: &data}).Print(exampleOfTheManual(t)); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), "\n```\n"+data.String()+"```\n") {
		t.Errorf("docs/estimate.md does not show:\n%s", data.String())
	}
}

func TestAFileIsCountedInTheClassOfItsSize(t *testing.T) {
	for _, tt := range []struct {
		size       int64
		class      string
		puts, gets int64
	}{
		{1, "under 4 KiB", 1, 1},
		{4<<10 - 1, "under 4 KiB", 1, 1},
		{4 << 10, "4 KiB to 128 KiB", 1, 1},
		{8 << 20, "8 MiB to 64 MiB", 1, 1},
		{8<<20 + 1, "8 MiB to 64 MiB", 4, 2},
		{1<<30 - 1, "64 MiB to 1 GiB", 130, 128},
		{1 << 40, "1 GiB and more", 131074, 131072},
	} {
		e := NewEstimate("b", price.List{}, 8<<20)
		e.Add(tt.size)
		if e.puts != tt.puts || e.gets != tt.gets {
			t.Errorf("%d bytes: %d requests to archive, %d to recall", tt.size, e.puts, e.gets)
		}
		for i, n := range e.sizes {
			if (n.Files == 1) != (sizeClasses[i].Name == tt.class) {
				t.Errorf("%d bytes: %d files %s", tt.size, n.Files, sizeClasses[i].Name)
			}
		}
	}
}
