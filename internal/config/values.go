package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Number is a whole number within limits.
type Number struct {
	n         int64
	min, max  int64
	canBeAuto bool
}

// NewNumber is n, to be set to values from min to max.
func NewNumber(n, min, max int64) Number { return Number{n: n, min: min, max: max} }

// NewAutoNumber is a number that is found while coldbrick runs, to be set to values from
// min to max, or to auto again.
func NewAutoNumber(min, max int64) Number { return Number{min: min, max: max, canBeAuto: true} }

const auto = "auto"

// IntOr is the number, or otherwise where it is auto.
func (n Number) IntOr(otherwise int) int {
	if n.IsAuto() {
		return otherwise
	}
	return n.Int()
}

// Int is the number.
func (n Number) Int() int { return int(n.n) }

// IsAuto reports whether nobody has set a number that can be found.
func (n Number) IsAuto() bool { return n.canBeAuto && n.n == 0 }

func (n *Number) String() string {
	if n.IsAuto() {
		return auto
	}
	return strconv.FormatInt(n.n, 10)
}

// Set makes a Number a flag.
func (n *Number) Set(s string) error {
	if n.canBeAuto && s == auto {
		n.n = 0
		return nil
	}
	v, err := strconv.ParseInt(s, 10, 64)
	if err != nil || v < n.min || v > n.max {
		return fmt.Errorf("%q is not a whole number from %d to %d", s, n.min, n.max)
	}
	n.n = v
	return nil
}

// Type names the kind of value in help texts.
func (n *Number) Type() string { return "number" }

// Choice is one of a few words.
type Choice struct {
	word  string
	words []string
}

// NewChoice is the first of words, to be set to any of them.
func NewChoice(words ...string) Choice { return Choice{words[0], words} }

func (c *Choice) String() string { return c.word }

// Set makes a Choice a flag.
func (c *Choice) Set(s string) error {
	if !slices.Contains(c.words, s) {
		return fmt.Errorf("%q is not one of %s", s, strings.Join(c.words, ", "))
	}
	c.word = s
	return nil
}

// Words are all that it can be.
func (c *Choice) Words() []string { return c.words }

// Type shows the words in help texts.
func (c *Choice) Type() string { return strings.Join(c.words, "|") }

// List is a setting that may be given several times.
type List []string

func (l *List) String() string { return strings.Join(*l, "\n") }

// Set adds one element.
func (l *List) Set(s string) error { *l = append(*l, s); return nil }

// Type names the kind of value in help texts.
func (l *List) Type() string { return "glob" }

// Replace takes the place of all elements. A List given in the environment has
// one element a line: a glob may hold any other character.
func (l *List) Replace(elements []string) error { *l = elements; return nil }

// Secret is a string that shows itself to nobody.
type Secret string

func (s *Secret) String() string {
	if *s == "" {
		return ""
	}
	return "(hidden)"
}

// Set makes a Secret a setting.
func (s *Secret) Set(text string) error { *s = Secret(text); return nil }

// Type names the kind of value in help texts.
func (s *Secret) Type() string { return "secret" }

// Reveal is the secret itself, for the store alone.
func (s Secret) Reveal() string { return string(s) }
