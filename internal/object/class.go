package object

import "strings"

// Access says whether the bytes of an object can be read. The zero value is Readable.
type Access int

// The kinds of access.
const (
	Readable Access = iota
	Frozen          // must be thawed first, and nobody has asked for that
	Thawing         // somebody has, and the store is at it
)

// NeedsThaw reports whether objects of an S3 storage class cannot be read at once.
// Those of INTELLIGENT_TIERING can, until the bucket's own rules move them: only a
// look at the object tells.
func NeedsThaw(class string) bool {
	class = strings.ToUpper(class)
	return class == "GLACIER" || class == "DEEP_ARCHIVE"
}

// Thaw says how an object is to be thawed. Sooner costs more, and so do more days.
type Thaw struct {
	Tier string // ThawBulk, ThawStandard or ThawExpedited
	Days int    // how long it can be read afterwards
}

// The tiers of a Thaw, cheapest first.
const (
	ThawBulk      = "bulk"
	ThawStandard  = "standard"
	ThawExpedited = "expedited"
)
