package gluster

import (
	"slices"
	"strings"
)

// Gluster's words for a boolean (gf_string2boolean), which it keeps as they were
// typed.
var (
	wordsOn  = []string{"1", "on", "yes", "true", "enable"}
	wordsOff = []string{"0", "off", "no", "false", "disable"}
)

// IsOn reports whether the value of an option is one of Gluster's words for true.
func IsOn(value string) bool { return slices.Contains(wordsOn, strings.ToLower(value)) }

// IsOff reports whether it is one of those for false. What is neither is no
// boolean, or a word of a later release.
func IsOff(value string) bool { return slices.Contains(wordsOff, strings.ToLower(value)) }
