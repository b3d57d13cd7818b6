package objstore

import (
	"strings"
	"unicode"
)

// Error is one line about an operation that a store did not do. It wraps the kind
// only: what a library or a kernel says may run over many lines, quote what was sent,
// or be taken for an error of the volume.
type Error struct {
	Op   string
	Kind error // one of package object's or io/fs's, or nil
	Text string
}

func (e *Error) Error() string {
	line := e.Op
	if e.Kind != nil {
		line += ": " + e.Kind.Error()
	}
	if e.Text != "" {
		line += ": " + e.Text
	}
	return line
}

func (e *Error) Unwrap() error { return e.Kind }

// OneLine makes foreign text fit for an error: one line, not long, no secrets.
func OneLine(text string, secrets []string) string {
	for _, s := range secrets {
		text = strings.ReplaceAll(text, s, "[secret]")
	}
	text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, text)
	text = strings.Join(strings.Fields(text), " ")
	if runes := []rune(text); len(runes) > 200 {
		text = string(runes[:200]) + "…"
	}
	return text
}
