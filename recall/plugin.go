// Package recall brings the data of stubs back.
//
// A recall may be cut at any point: the marks on the file are enough for the
// next one to finish it or to roll it back, and until the data is proven no
// reader sees a byte of it. The way of one file is Plan.
package recall

import (
	"context"
	"io"

	"github.com/coldbrick/coldbrick/internal/object"
)

// Info is what a store tells about one object.
type Info = object.Info

// Proof is what was read of one object.
type Proof = object.Proof

// Errors by which a plugin says what is wrong. A missing object is
// fs.ErrNotExist, one that may not be read fs.ErrPermission.
var (
	ErrStore   = object.ErrStore   // no object can be read: out of reach, no such bucket, bad credentials
	ErrCold    = object.ErrCold    // the object must be thawed first
	ErrChanged = object.ErrChanged // the object was replaced while it was read
	ErrCorrupt = object.ErrCorrupt // the bytes differ from the checksum the store keeps
)

// Plugin reads archived objects from one kind of store. It mirrors the
// store_methods that Gluster's cloudsync translator asks of its plugins, so
// that one implementation can serve both: coldbrick recall, and the library
// that the translator loads.
type Plugin interface {
	// Init prepares the plugin. It neither writes to the store nor needs it
	// to be in reach.
	Init(ctx context.Context, options map[string]string) error
	// Download writes the object to dst, in any order and by many goroutines,
	// after accept, which is called once, has agreed to what it is. It
	// returns the size and CRC-32 of the bytes written, and an error unless
	// they are the whole object.
	Download(ctx context.Context, key string, dst io.WriterAt, accept func(Info) error) (Proof, error)
	// Reconfigure changes the options for downloads that begin later; those
	// under way go on with the previous ones.
	Reconfigure(ctx context.Context, options map[string]string) error
	// Fini releases what Init took. No download is under way.
	Fini() error
}

// Header is what a plugin may offer besides: to ask for an object without
// reading it. Where a file's two records of its key disagree, this decides.
type Header interface {
	Head(ctx context.Context, key string) (Info, error)
}
