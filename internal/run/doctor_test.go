package run

import (
	"slices"
	"testing"
)

func TestPrefixesAbove(t *testing.T) {
	for prefix, want := range map[string][]string{"": nil, "a/": {""}, "a/b/": {"", "a/"}, "a-": {""}, "a/b": {"", "a/"}} {
		if got := above(prefix); !slices.Equal(got, want) {
			t.Errorf("above %q: %q, want %q", prefix, got, want)
		}
	}
}
