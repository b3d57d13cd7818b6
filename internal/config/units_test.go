package config

import (
	"strings"
	"testing"
	"time"
)

func TestAgesAreReadWithTheirUnit(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "0d": 0, "30d": 720 * time.Hour, "2w": 336 * time.Hour, "1y": 8760 * time.Hour, "200y": 73000 * 24 * time.Hour, "12h": 12 * time.Hour,
		"90m": 90 * time.Minute, "45s": 45 * time.Second, "30": 720 * time.Hour,
		"1d12h": 36 * time.Hour, "73000d": 73000 * 24 * time.Hour,
	} {
		if got, err := ParseAge(text); err != nil || got.Duration() != want {
			t.Errorf("ParseAge(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
}

func TestNegativeAndAbsurdAgesAreRefused(t *testing.T) {
	for text, why := range map[string]string{
		"-1d": "negative", "-5": "negative", "-": "negative",
		"73001d": "200 years", "73001": "200 years", "201y": "200 years", "10429w": "200 years", "73000d1s": "200 years",
		"99999999999999999999d": "200 years", "9223372036854775807s": "200 years",
		"": "not a length of time", "d": "not a length of time", "3x": "not a length of time", "3 d": "not a length of time",
		"3days": "not a length of time", "1d2": "not a length of time", "1.5d": "not a length of time", "+3d": "not a length of time",
		"٣d": "not a length of time", "3D": "not a length of time",
	} {
		if got, err := ParseAge(text); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("ParseAge(%q) = %v, %v; want an error with %q", text, got, err, why)
		}
	}
}

func TestASpanWithoutUnitIsRefused(t *testing.T) {
	if _, err := ParseSpan("5"); err == nil || !strings.Contains(err.Error(), "write 5s, 5m, 5h or 5d") {
		t.Errorf("ParseSpan(5): %v", err)
	}
	if d, err := ParseSpan("0"); err != nil || d != 0 {
		t.Errorf("ParseSpan(0) = %v, %v", d, err)
	}
}

func TestSizesAreReadWithTheirUnit(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "4096": 4096, "4096b": 4096, "64KiB": 65536, "64k": 65536, "64K": 65536, "10MB": 1e7, "10mb": 1e7,
		"1.5TiB": 3 << 39, "0.5K": 512, "9223372036854775807": 1<<63 - 1, "8191PiB": 8191 << 50,
	} {
		if got, err := ParseSize(text); err != nil || got.Bytes() != want {
			t.Errorf("ParseSize(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "-1", "KiB", "1.5", "1e3", "1/2", "0x10", "1_000", "10 MB", "10XB", "10MiBs",
		"1..5K", ".", "8192PiB", "9223372036854775808", "NaN", "Inf", "+1", "10MB/s", strings.Repeat("9", 1000)} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("ParseSize(%q) = %d", text, got)
		}
	}
}

func TestRatesAndPercentages(t *testing.T) {
	for text, want := range map[string]Rate{"0": 0, "10MB/s": 1e7, "512KiB": 512 << 10, "100": 100} {
		if got, err := ParseRate(text); err != nil || got != want {
			t.Errorf("ParseRate(%q) = %d, %v", text, got, err)
		}
	}
	for text, want := range map[string]Percent{"0": 0, "50%": 50, "100": 100} {
		if got, err := ParsePercent(text); err != nil || got != want {
			t.Errorf("ParsePercent(%q) = %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "%", "101", "-1", "+1", "5%%", "0.5"} {
		if got, err := ParsePercent(text); err == nil {
			t.Errorf("ParsePercent(%q) = %d", text, got)
		}
	}
	for _, text := range []string{"", "-1", "10MB/h", "/s"} {
		if got, err := ParseRate(text); err == nil {
			t.Errorf("ParseRate(%q) = %d", text, got)
		}
	}
}

func TestPortions(t *testing.T) {
	number, bytes := NewPortion(50), NewBytePortion()
	for _, tt := range []struct {
		portion     *Portion
		text        string
		whole, want int64
	}{
		{&number, "50%", 101, 51},
		{&number, "1%", 1, 1},
		{&number, "100%", 1<<63 - 1, 1<<63 - 1},
		{&number, "7", 1000, 7},
		{&number, "0", 1000, 0},
		{&bytes, "20%", 1 << 62, 922337203685477581},
		{&bytes, "500GiB", 1, 500 << 30},
		{&bytes, "0", 1000, 0},
	} {
		if err := tt.portion.Set(tt.text); err != nil || tt.portion.Of(tt.whole) != tt.want {
			t.Errorf("%s of %d is %d, %v; want %d", tt.text, tt.whole, tt.portion.Of(tt.whole), err, tt.want)
		}
		if got := tt.portion.String(); got != tt.text || tt.portion.IsZero() != (tt.text == "0") {
			t.Errorf("%s prints %s, zero: %v", tt.text, got, tt.portion.IsZero())
		}
	}
	for _, text := range []string{"", "%", "0%", "101%", "-1", "-1%", "50%%", "0.5%", "1.5", "many", "9999999999999999999"} {
		for _, p := range []*Portion{&number, &bytes} {
			if err := p.Set(text); err == nil {
				t.Errorf("Set(%q): no error, %s", text, p)
			}
		}
	}
	if number.Set("1KiB") == nil {
		t.Error("a number with a unit of bytes")
	}
}

// What a value prints is what it reads: config show and help may be pasted
// back into a file.
func FuzzUnitsReadWhatTheyPrint(f *testing.F) {
	for _, s := range []string{"0", "30d", "2w", "1d12h", "1.5TiB", "64KiB", "10MB/s", "50%", "-1", "99999999999999999999d", "7"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if v, err := ParseAge(s); err == nil {
			if again, err := ParseAge(v.String()); err != nil || again != v || v < 0 || v.Duration() > maxAge {
				t.Errorf("age %q = %d prints %q = %d, %v", s, v, v, again, err)
			}
		}
		if v, err := ParseSpan(s); err == nil {
			if again, err := ParseSpan(v.String()); err != nil || again != v || v < 0 {
				t.Errorf("span %q = %d prints %q = %d, %v", s, v, v, again, err)
			}
		}
		if v, err := ParseSize(s); err == nil {
			if again, err := ParseSize(v.String()); err != nil || again != v || v < 0 {
				t.Errorf("size %q = %d prints %q = %d, %v", s, v, v, again, err)
			}
		}
		if v, err := ParseRate(s); err == nil {
			if again, err := ParseRate(v.String()); err != nil || again != v || v < 0 {
				t.Errorf("rate %q = %d prints %q = %d, %v", s, v, v, again, err)
			}
		}
		if v, err := ParsePercent(s); err == nil {
			if again, err := ParsePercent(v.String()); err != nil || again != v {
				t.Errorf("percent %q = %d prints %q = %d, %v", s, v, v, again, err)
			}
		}
	})
}
