package report

import "fmt"

// Catalog is a catalog that was written.
type Catalog struct {
	Brick      string // its directory
	Volume     string // id
	Scan       string // names the catalog in the store
	Files      int64  // names of files with data here, or empty
	Stubs      int64  // names of stubs
	StubBytes  int64
	Others     int64 // directories, symlinks, and what else has a name
	References int64 // keys that files refer to
	Stored     int64 // bytes of the catalog
}

func (c Catalog) line() (string, audience) {
	return fmt.Sprintf("catalog %s of brick %s: %s, %s (%s), %s to objects, %s",
		c.Scan, Quote(c.Brick), Count(c.Files, "file"), Count(c.Stubs, "stub"), Bytes(c.StubBytes),
		Count(c.References, "reference"), Bytes(c.Stored)), data
}

// MarshalJSON gives the catalog record.
func (c Catalog) MarshalJSON() ([]byte, error) {
	return marshal(struct {
		Type       string `json:"type"`
		Brick      string `json:"brick"`
		Volume     string `json:"volume"`
		Scan       string `json:"scan"`
		Files      int64  `json:"local"`
		Stubs      int64  `json:"stubs"`
		StubBytes  int64  `json:"stub_bytes"`
		Others     int64  `json:"others"`
		References int64  `json:"references"`
		Stored     int64  `json:"stored_bytes"`
	}{"catalog", c.Brick, c.Volume, c.Scan, c.Files, c.Stubs, c.StubBytes, c.Others, c.References, c.Stored})
}
