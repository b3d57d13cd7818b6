// Package catalog writes down, in the bucket, what the bricks of a volume refer to
// and what their tree looks like, and reads it back.
//
// A catalog is of one brick. It has two parts: the references, every key that any
// file of the brick refers to in whatever way, sorted, by which garbage is told from
// data; and the tree, from which rebuild makes a lost volume anew. It is complete or
// it is not there: its manifest is written last, only after a scan that could read
// everything, and holds count and checksums of the parts. Whoever reads a part gets
// an error unless it is exactly what the manifest says.
//
// docs/catalog.md describes the format.
package catalog

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore"
)

// Format is the version of the schema. A reader refuses any other.
const Format = 1

// The parts of a catalog, as their keys end.
const (
	beginPart    = "begin"    // written before the scan: its time, by the store's clock, is the catalog's
	refsPart     = "refs.gz"  // of Ref
	treePart     = "tree.gz"  // of Entry
	manifestPart = "manifest" // written last
	manifestKind = "catalog"  // what it says it is
	leastSecret  = 16         // characters of a secret
)

// ErrSecret means that a secret is missing or too short.
var ErrSecret = fmt.Errorf("catalog-secret is not set, or shorter than %d characters", leastSecret)

// ErrInvalid means that a catalog is not what its manifest says, or not one of ours.
var ErrInvalid = errors.New("not a valid catalog")

// Store is what a catalog needs of a store.
type Store interface {
	Create(ctx context.Context, key string, body io.ReaderAt, size int64, metadata map[string]string) (object.Proof, error)
	Download(ctx context.Context, key string, dst io.WriterAt, accept func(object.Info) error) (object.Proof, error)
	List(ctx context.Context, prefix string, visit func(objstore.Listed) error) error
	Head(ctx context.Context, key string) (object.Info, error)
}

// Place is where the catalogs of one volume are.
type Place struct {
	Store  Store
	Prefix string // the volume's key prefix
	Volume string // id
	Secret string // of the seal; see ErrSecret
}

func (p Place) key(scan, part string) string {
	return object.CatalogKey(p.Prefix, p.Volume, scan, part)
}

// CheckSecret refuses a secret that keeps nobody out.
func (p Place) CheckSecret() error {
	if len(p.Secret) < leastSecret {
		return ErrSecret
	}
	return nil
}

// Bytes are bytes that users chose, such as a name: a string in JSON if they are
// UTF-8, else {"base64": "..."}, so that none is lost.
type Bytes string

type base64Bytes struct {
	Base64 []byte `json:"base64"`
}

// MarshalJSON is the inverse of UnmarshalJSON.
func (b Bytes) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(string(b)) {
		return json.Marshal(string(b))
	}
	return fmt.Appendf(nil, `{"base64":"%s"}`, base64.StdEncoding.EncodeToString([]byte(b))), nil
}

// UnmarshalJSON takes both forms.
func (b *Bytes) UnmarshalJSON(text []byte) error {
	if len(text) > 0 && text[0] == '"' {
		return json.Unmarshal(text, (*string)(b))
	}
	var encoded base64Bytes
	if err := json.Unmarshal(text, &encoded); err != nil {
		return err
	}
	*b = Bytes(encoded.Base64)
	return nil
}

// Ref is a line of the references: a key, and one of the files that refer to it.
type Ref struct {
	Key  Bytes        `json:"key"`
	GFID gluster.GFID `json:"gfid,omitzero"` // zero: the file has none
}

// Kind is what an Entry is of.
type Kind string

// The kinds of entries.
const (
	Directory Kind = "dir"
	Stub      Kind = "stub" // a file whose data is in the store
	File      Kind = "file" // a file whose data is, or should be, on the brick
	Symlink   Kind = "link"
	Special   Kind = "special" // a pipe, socket or device
)

// Entry is a line of the tree: one name of the volume. The line of a directory stands
// before those of what is in it; a file with several names has a line for each.
type Entry struct {
	Kind  Kind         `json:"kind"`
	Path  Bytes        `json:"path"` // relative to the volume root; "." is the root itself
	GFID  gluster.GFID `json:"gfid"`
	Mode  uint32       `json:"mode"` // st_mode
	UID   uint32       `json:"uid"`
	GID   uint32       `json:"gid"`
	Atime gluster.Time `json:"atime"` // these are the times that clients see
	Mtime gluster.Time `json:"mtime"`

	Links  uint64 `json:"links,omitempty"`  // names of a file, if it has several
	Rdev   uint64 `json:"rdev,omitempty"`   // of a device
	Target Bytes  `json:"target,omitempty"` // of a link
	Size   int64  `json:"size,omitempty"`   // of a file's or stub's data
	Blocks int64  `json:"blocks,omitempty"` // of 512 bytes, as clients see them
	Key    Bytes  `json:"key,omitempty"`    // of a stub's object

	Pointer *object.Pointer `json:"pointer,omitempty"` // of a stub: with what was proven of its object
	Xattrs  []Xattr         `json:"xattrs,omitempty"`  // users', ACLs, and the pin, by name

	XattrsCut bool `json:"xattrs_cut,omitempty"` // there were more than mostRestored, which are not here

	Guessed bool `json:"-"` // no catalog has it: an object's metadata tells of it
}

// Xattr is an extended attribute.
type Xattr struct {
	Name  Bytes  `json:"name"`
	Value []byte `json:"value"`
}

// Cluster is what glusterd knew of the volume at one moment.
type Cluster struct {
	Asked     bool       `json:"asked"`          // false: there was no glusterd to ask, and the rest means nothing
	Sets      [][]string `json:"sets,omitempty"` // replica sets in volume order, each of HOST:DIR
	Arbiters  []string   `json:"arbiters,omitempty"`
	Down      []string   `json:"down,omitempty"`
	Moves     []string   `json:"moves,omitempty"`  // each rebalance and remove-brick that glusterd remembers
	Moving    bool       `json:"moving,omitempty"` // one of them is under way
	Snapshots int        `json:"snapshots,omitempty"`
	Clones    []string   `json:"clones,omitempty"`  // ids of volumes of the cluster that were made from snapshots
	Healing   int        `json:"healing,omitempty"` // entries that wait for a heal, or are in split-brain
}

// Part says what a part of a catalog must be.
type Part struct {
	Bytes  int64  `json:"bytes"` // of the object
	CRC32  uint32 `json:"crc32"` // of the object, IEEE
	SHA256 string `json:"sha256"`
	Lines  int64  `json:"lines"`
}

// Counts say what a scan saw.
type Counts struct {
	Directories int64 `json:"directories"`
	Files       int64 `json:"files"` // names of files with data here, or empty
	Stubs       int64 `json:"stubs"` // names of stubs
	StubBytes   int64 `json:"stub_bytes"`
	Others      int64 `json:"others"`  // symlinks, pipes, sockets, devices
	Handles     int64 `json:"handles"` // files found by their gfid, whatever their names
}

// Manifest makes a catalog valid. The clocks in it are a host's, and for people.
type Manifest struct {
	Kind   string `json:"coldbrick"`
	Format int    `json:"format"`
	Volume string `json:"volume"`
	Name   string `json:"name,omitempty"` // of the volume, where known
	Scan   string `json:"scan"`
	Brick  string `json:"brick"` // HOST:DIR
	Prefix string `json:"prefix"`

	Formerly string `json:"formerly,omitempty"` // ids of the volumes that this one was rebuilt from

	Began time.Time `json:"began"`
	Ended time.Time `json:"ended"`
	Begin Cluster   `json:"begin"`
	End   Cluster   `json:"end"`

	Counts Counts `json:"counts"`
	Refs   Part   `json:"refs"`
	Tree   Part   `json:"tree"`
}
