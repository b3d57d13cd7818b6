package report

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Quote makes a name fit for a line of text on a terminal: as it is if it has
// only printable characters, else in quotes with Go's escapes. Names are bytes
// that users choose; a newline in one must not forge a line, and an escape
// sequence must not reach a terminal.
func Quote(name string) string {
	if name == "" || name[0] == ' ' || name[0] == '"' || name[len(name)-1] == ' ' || !printable(name) {
		return strconv.Quote(name)
	}
	return name
}

// OneLine makes a message fit for a line of text: what Quote would escape is
// escaped, without quotes around the whole. Errors carry names in their text.
func OneLine(message string) string {
	if printable(message) {
		return message
	}
	quoted := strconv.Quote(message)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}

func printable(s string) bool {
	for _, r := range s {
		if r == utf8.RuneError || !strconv.IsPrint(r) {
			return false
		}
	}
	return true
}

// inert escapes in JSON what is harmless to a parser and not to a terminal:
// DEL, the C1 controls, and whatever else is not printable. All of it can only
// stand inside strings.
func inert(json []byte) []byte {
	if printable(string(json)) {
		return json
	}
	var b strings.Builder
	for _, r := range string(json) {
		switch {
		case r == utf8.RuneError || strconv.IsPrint(r):
			b.WriteRune(r)
		case r > 0xffff:
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return []byte(b.String())
}

// Bytes writes a number of bytes for people: "4.2 GiB", "512 bytes".
func Bytes(n int64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return strconv.FormatInt(n, 10) + " bytes"
	}
	f, unit := float64(n)/1024, 0
	for f >= 1023.95 && unit < len(units)-1 {
		f, unit = f/1024, unit+1
	}
	return fmt.Sprintf("%.1f %ciB", f, units[unit])
}

// Count writes a number of things for people: "1 file", "1,234 files".
func Count(n int64, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return number(n) + " " + thing
}

func number(n int64) string {
	digits := strconv.FormatInt(n, 10)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
