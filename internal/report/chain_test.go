package report

import (
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/coldbrick/coldbrick/internal/outcome"
)

func TestAChainHasOneLineForEachLinkWhateverTheNames(t *testing.T) {
	const hostile = "a\n  proof     forged\x1b[2J\xff"
	l := Located{Path: hostile, GFID: gfid, State: outcome.StateRemote, Chain: []Link{
		{Name: "cs.remote", Key: hostile, Text: hostile}, {Name: "pointer", Text: "p", Value: map[string]string{"key": hostile}},
	}}
	text, to := l.line()
	if to != page || strings.Count(text, "\n") != 3 || strings.ContainsRune(text, 0x1b) || strings.IndexByte(text, 0xff) >= 0 {
		t.Errorf("%q", text)
	}
	line, err := l.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(line)))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema(t).Validate(doc); err != nil || strings.ContainsAny(string(line), "\n\x1b") {
		t.Errorf("%s: %v", line, err)
	}
}
