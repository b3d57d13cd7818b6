package gluster

import "time"

// File is a cold file on its way from the crawl to the store.
type File struct {
	Path  string // relative to the volume root, raw bytes, no leading slash
	GFID  GFID
	Size  int64
	Mtime time.Time // as clients see it: from Mdata where the file has one

	Copied    bool      // has a pointer: its object may be in the store already
	ColdSince time.Time // what its age counts from: Mtime, or what the policy takes in its place
}
