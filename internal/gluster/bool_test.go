package gluster

import "testing"

func TestEveryWordOfGlusterIsUnderstood(t *testing.T) {
	for word, want := range map[string][2]bool{
		"on": {true, false}, "yes": {true, false}, "true": {true, false}, "enable": {true, false}, "1": {true, false},
		"off": {false, true}, "no": {false, true}, "false": {false, true}, "disable": {false, true}, "0": {false, true},
		"ON": {true, false}, "Enable": {true, false}, "TRUE": {true, false}, "OfF": {false, true}, "Disable": {false, true},
		"": {}, "banana": {}, "2": {}, "enabled": {},
	} {
		if got := [2]bool{IsOn(word), IsOff(word)}; got != want {
			t.Errorf("%q: %v, want %v", word, got, want)
		}
	}
}
