package config

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"
)

const (
	day  = 24 * time.Hour
	week = 7 * day
	year = 365 * day

	// maxAge refuses what can only be a slip of the hand: 200 years.
	maxAge = 200 * year
)

// ageUnits, longest first: an age is written with the fewest of them.
var ageUnits = []struct {
	suffix string
	length time.Duration
}{
	{"y", year}, {"w", week}, {"d", day}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second},
}

// Age is how long something lies back: "30d", "2w", "1y", "1d12h"; a bare number
// is days, and a year has 365 of them.
type Age time.Duration

// ParseAge reads an age. It refuses negative ones and those over 200 years.
func ParseAge(s string) (Age, error) {
	d, err := parseSpan(s, day)
	return Age(d), err
}

// Duration is a as the time package counts.
func (a Age) Duration() time.Duration { return time.Duration(a) }

// String gives the shortest form that ParseAge reads back as a.
func (a Age) String() string { return formatSpan(time.Duration(a)) }

// Set makes an Age a flag.
func (a *Age) Set(s string) (err error) { *a, err = ParseAge(s); return err }

// Type names the kind of value in help texts.
func (a *Age) Type() string { return "age" }

// Span is a length of time that starts now: "90s", "2h", "1h30m". Unlike an
// Age it has no unit of its own, since 5 could be seconds as well as days.
type Span time.Duration

// ParseSpan reads a span of time. Only 0 needs no unit.
func ParseSpan(s string) (Span, error) {
	d, err := parseSpan(s, 0)
	return Span(d), err
}

// Duration is s as the time package counts.
func (s Span) Duration() time.Duration { return time.Duration(s) }

// String gives the shortest form that ParseSpan reads back as s.
func (s Span) String() string { return formatSpan(time.Duration(s)) }

// Set makes a Span a flag.
func (s *Span) Set(text string) (err error) { *s, err = ParseSpan(text); return err }

// Type names the kind of value in help texts.
func (s *Span) Type() string { return "duration" }

// parseSpan reads numbers with units; bare is the unit of a number without
// one, 0 if there is none.
func parseSpan(s string, bare time.Duration) (time.Duration, error) {
	const forms = "write for example 30d, 2w, 1y, 12h, 90m or 45s"
	if strings.HasPrefix(s, "-") {
		return 0, fmt.Errorf("%q is negative", s)
	}
	if s == "0" {
		return 0, nil
	}
	var total time.Duration
	for rest := s; ; {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		if digits == 0 {
			return 0, fmt.Errorf("%q is not a length of time: %s", s, forms)
		}
		n, err := strconv.ParseInt(rest[:digits], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%q is over 200 years", s)
		}
		unit := time.Duration(0)
		rest = rest[digits:]
		if rest == "" && digits == len(s) {
			unit = bare
			if unit == 0 {
				return 0, fmt.Errorf("%q has no unit: write %ss, %sm, %sh or %sd", s, s, s, s, s)
			}
		}
		for _, u := range ageUnits {
			if strings.HasPrefix(rest, u.suffix) {
				unit, rest = u.length, rest[len(u.suffix):]
				break
			}
		}
		if unit == 0 {
			return 0, fmt.Errorf("%q is not a length of time: %s", s, forms)
		}
		if n > int64(maxAge/unit) {
			return 0, fmt.Errorf("%q is over 200 years", s)
		}
		if total += time.Duration(n) * unit; total > maxAge {
			return 0, fmt.Errorf("%q is over 200 years", s)
		}
		if rest == "" {
			return total, nil
		}
	}
}

func formatSpan(d time.Duration) string {
	if d < time.Second {
		return "0"
	}
	for _, u := range ageUnits { // one unit, where the whole is a multiple of it
		if u.length <= day && d%u.length == 0 {
			return strconv.FormatInt(int64(d/u.length), 10) + u.suffix
		}
	}
	return "0"
}

// sizeUnits by their suffix in lower case. As in rclone and dd, KiB counts by
// 1024 and KB by 1000; a single letter means the first, as in ls and du.
var sizeUnits = map[string]int64{
	"": 1, "b": 1,
	"k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50,
	"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40, "pib": 1 << 50,
	"kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12, "pb": 1e15,
}

// Size is a number of bytes: "64KiB", "10MB", "1.5TiB", "4096".
type Size int64

// ParseSize reads a number of bytes. It refuses negative ones and those that
// are no whole number of bytes.
func ParseSize(s string) (Size, error) {
	const forms = "write for example 64KiB, 10MB or a number of bytes"
	number := strings.TrimRight(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
	unit, known := sizeUnits[strings.ToLower(s[len(number):])]
	digits := strings.Trim(number, "0123456789")
	switch {
	case strings.HasPrefix(s, "-"):
		return 0, fmt.Errorf("%q is negative", s)
	case !known || number == "" || digits != "" && digits != ".", len(number) > 32:
		return 0, fmt.Errorf("%q is not a size: %s", s, forms)
	}
	r, ok := new(big.Rat).SetString(number)
	if !ok {
		return 0, fmt.Errorf("%q is not a size: %s", s, forms)
	}
	r.Mul(r, new(big.Rat).SetInt64(unit))
	switch {
	case !r.IsInt():
		return 0, fmt.Errorf("%q is not a whole number of bytes", s)
	case !r.Num().IsInt64():
		return 0, fmt.Errorf("%q is larger than any file", s)
	}
	return Size(r.Num().Int64()), nil
}

// Bytes is the size as a number.
func (s Size) Bytes() int64 { return int64(s) }

// String gives a form that ParseSize reads back as s: a binary unit where the
// size is a multiple of it, else bytes.
func (s Size) String() string {
	for _, u := range []string{"PiB", "TiB", "GiB", "MiB", "KiB"} {
		if n := sizeUnits[strings.ToLower(u)]; s != 0 && int64(s)%n == 0 {
			return strconv.FormatInt(int64(s)/n, 10) + u
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// Set makes a Size a flag.
func (s *Size) Set(text string) (err error) { *s, err = ParseSize(text); return err }

// Type names the kind of value in help texts.
func (s *Size) Type() string { return "size" }

// Rate is a number of bytes per second: "10MB/s", "512KiB"; 0 means no limit.
type Rate int64

// ParseRate reads a rate. "/s" may be left out.
func ParseRate(s string) (Rate, error) {
	size, err := ParseSize(strings.TrimSuffix(s, "/s"))
	if err != nil {
		return 0, fmt.Errorf("%q is not a rate: write for example 10MB/s or 512KiB/s", s)
	}
	return Rate(size), nil
}

// String gives a form that ParseRate reads back as r.
func (r Rate) String() string {
	if r == 0 {
		return "0"
	}
	return Size(r).String() + "/s"
}

// Set makes a Rate a flag.
func (r *Rate) Set(text string) (err error) { *r, err = ParseRate(text); return err }

// Type names the kind of value in help texts.
func (r *Rate) Type() string { return "rate" }

// Percent is a share of 100.
type Percent int

// ParsePercent reads a whole number from 0 to 100. "%" may be left out.
func ParsePercent(s string) (Percent, error) {
	n, err := strconv.Atoi(strings.TrimSuffix(s, "%"))
	if err != nil || n < 0 || n > 100 || strings.HasPrefix(s, "+") || strings.HasPrefix(s, "-") {
		return 0, fmt.Errorf("%q is not a share: write 0%% to 100%%", s)
	}
	return Percent(n), nil
}

// String gives a form that ParsePercent reads back as p.
func (p Percent) String() string { return strconv.Itoa(int(p)) + "%" }

// Set makes a Percent a flag.
func (p *Percent) Set(text string) (err error) { *p, err = ParsePercent(text); return err }

// Type names the kind of value in help texts.
func (p *Percent) Type() string { return "percent" }

// Portion is a share of a whole, "20%", or an amount: a number, or for what
// counts bytes a Size. 0 means none.
type Portion struct {
	share  Percent
	amount int64
	bytes  bool // amounts are sizes
}

// NewPortion is a share, to be set to others or to a number.
func NewPortion(share Percent) Portion { return Portion{share: share} }

// NewBytePortion is none, to be set to a share or to a number of bytes.
func NewBytePortion() Portion { return Portion{bytes: true} }

// IsZero reports whether there is none.
func (p Portion) IsZero() bool { return p.share == 0 && p.amount == 0 }

// IsShare reports whether the whole must be known.
func (p Portion) IsShare() bool { return p.share > 0 }

// Of is the amount that p makes of a whole, rounded up.
func (p Portion) Of(whole int64) int64 {
	if p.share == 0 {
		return p.amount
	}
	const all = 100
	share := int64(p.share)
	return whole/all*share + (whole%all*share+all-1)/all
}

// String gives a form that Set reads back as p.
func (p Portion) String() string {
	switch {
	case p.share > 0:
		return p.share.String()
	case p.bytes:
		return Size(p.amount).String()
	}
	return strconv.FormatInt(p.amount, 10)
}

// Set makes a Portion a flag.
func (p *Portion) Set(s string) error {
	set := Portion{bytes: p.bytes}
	var err error
	switch {
	case strings.HasSuffix(s, "%"):
		set.share, err = ParsePercent(s)
		if err != nil || set.share == 0 {
			err = fmt.Errorf("%q is not a share: write 1%% to 100%%, or 0 for none", s)
		}
	case p.bytes:
		var size Size
		size, err = ParseSize(s)
		set.amount = size.Bytes()
		if err != nil {
			err = fmt.Errorf("%w, or a share such as 20%%", err)
		}
	default:
		set.amount, err = strconv.ParseInt(s, 10, 64)
		if err != nil || set.amount < 0 {
			err = fmt.Errorf("%q is neither a number nor a share such as 50%%", s)
		}
	}
	if err == nil {
		*p = set
	}
	return err
}

// Type names the kind of value in help texts.
func (p *Portion) Type() string { return "portion" }
