package report

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Link is one of the things that tie a file to its object, as status -v shows
// them.
type Link struct {
	Name  string // a stable word
	Key   string // of the object, where the link is no more than that
	Text  string // for people
	Value any    // for programs, may be nil
}

// MarshalJSON gives an element of the chain of a state record.
func (l Link) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Name string `json:"name"`
		keyName
		Value any `json:"value,omitempty"`
	}{l.Name, keyNameOf(l.Key), l.Value})
}

// chain is the page of a file with its links.
func (s Located) chain(first string) string {
	var b strings.Builder
	b.WriteString(OneLine(first) + "\n")
	for _, l := range s.Chain {
		fmt.Fprintf(&b, "  %-9s %s\n", l.Name, OneLine(l.Text))
	}
	return b.String()
}
