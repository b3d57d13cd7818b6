// Package gc finds the objects that no file refers to, and deletes them once that is
// proven. One error, one brick or one volume missing: nothing is deleted.
//
// Garbage is what neither of two generations of catalogs refers to, a grace apart, and
// what no brick of any volume that shares the key prefix refers to in a last look, which
// comes after the list of candidates was published. Whoever may refer to objects anew
// and whoever may delete never meet: see docs/decisions/0015-who-deletes-and-who-refers.md.
//
// Only the store's clock counts: the times at which objects were written.
package gc

import (
	"context"
	"errors"
	"time"

	"github.com/coldbrick/coldbrick/internal/catalog"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore"
)

// ErrNotProven means that nothing may be deleted, for the reason that it wraps.
var ErrNotProven = errors.New("nothing is deleted")

// Store is what gc needs of a store. One that deletes is an objstore.Deleter, too.
type Store = catalog.Store

// Place is where the objects of those volumes are that share a key prefix.
type Place struct {
	Store  Store
	Prefix string
	Secret string // by which all that gc writes and reads is sealed
	Dir    string // for files on the way

	Listers int // parts of a listing that are asked for at once

	// Scans reads the catalogs of a volume.
	Scans func(ctx context.Context, volumeID string) ([]Scan, error)
	// remove deletes a catalog of a volume.
	remove func(ctx context.Context, deleter objstore.Deleter, volumeID, scan string) error
}

// NewPlace is a place whose catalogs are in the store.
func NewPlace(store Store, prefix, secret, dir string) Place {
	const listers = 8
	p := Place{Store: store, Prefix: prefix, Secret: secret, Dir: dir, Listers: listers}
	p.Scans = p.readScans
	p.remove = func(ctx context.Context, deleter objstore.Deleter, volumeID, scan string) error {
		return p.catalogs(volumeID).RemoveScan(ctx, deleter, scan)
	}
	return p
}

// How old things may be.
const (
	LeastGrace      = 2 * object.AdoptableFor
	generationSpan  = 48 * time.Hour     // from the first marker of a generation to its last manifest
	newestFor       = 7 * 24 * time.Hour // that the newer generation may be old
	listFor         = 24 * time.Hour     // that a list may be old when something on it is deleted
	closedAfter     = 2 * listFor        // from when on nobody deletes by a list
	intentsReadEach = time.Minute
)

// now is the time by the store's clock, or by this host's where it does not tell.
func (p Place) now(ctx context.Context, key string) (time.Time, error) {
	info, err := p.Store.Head(ctx, key)
	if err != nil || info.Date.IsZero() {
		return time.Now(), err
	}
	return info.Date, nil
}

// Known are the ids of the volumes that have objects under the prefix.
type Known struct {
	Living    []string
	Forgotten []string // somebody has said that they are gone for good
}

// Volumes reads the registry.
func (p Place) Volumes(ctx context.Context) (k Known, err error) {
	k.Living, err = objstore.Volumes(ctx, p.Store, p.Prefix)
	if err == nil {
		k.Forgotten, err = p.forgotten(ctx, k.Living)
	}
	return k, err
}
