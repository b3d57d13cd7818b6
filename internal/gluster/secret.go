package gluster

// Secret is a text that no format verb, log or JSON encoder shows. The text is
// behind a pointer, so that it stays hidden even inside a struct that is
// printed with %+v, where fmt does not call the methods of unexported fields.
type Secret struct{ text *string }

// NewSecret hides s.
func NewSecret(s string) Secret { return Secret{&s} }

// Reveal gives the text.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

func (Secret) String() string { return "redacted" }

// GoString is for %#v.
func (Secret) GoString() string { return "redacted" }

// MarshalText is for JSON and slog.
func (Secret) MarshalText() ([]byte, error) { return []byte("redacted"), nil }
