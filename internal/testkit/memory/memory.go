// Package memory is the smallest store that keeps the contract: objects in the memory
// of this process. It is for tests, and the example of docs/stores.md.
package memory

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore"
)

// Kind is all that coldbrick has to know of this store.
var Kind = objstore.Kind{
	Name:        "memory",
	Description: "the memory of this process, for tests",
	Options: []objstore.Option{
		{Name: "memory-place", Usage: "the `NAME` of the place in memory", Required: "place"},
	},
	New: func(d objstore.Deps) objstore.Store { return &Store{limiter: d.Limiter} },
}

// places are the objects of each place: what a bucket or a directory is elsewhere.
var places sync.Map // name -> *place

type place struct {
	mu      sync.Mutex
	objects map[string]stored
}

type stored struct {
	data []byte
	info object.Info
}

// Store keeps objects in one place.
type Store struct {
	// Now is the store's clock, if set.
	Now func() time.Time

	limiter objstore.Limiter
	current atomic.Pointer[place] // operations keep the one that they began with
}

var (
	_ objstore.Store   = (*Store)(nil)
	_ objstore.Lister  = (*Store)(nil)
	_ objstore.Deleter = (*Store)(nil)
)

// Init goes to the place that the option "memory-place" names.
func (s *Store) Init(ctx context.Context, options map[string]string) error {
	return s.Reconfigure(ctx, options)
}

// Reconfigure goes to another place.
func (s *Store) Reconfigure(_ context.Context, options map[string]string) error {
	for name := range options {
		if name != "memory-place" && !slices.Contains(objstore.Common, name) {
			return fmt.Errorf("store option %s: %w", name, objstore.ErrNoOption)
		}
	}
	if options["memory-place"] == "" {
		return errors.New("store option memory-place: is missing")
	}
	p, _ := places.LoadOrStore(options["memory-place"], &place{objects: map[string]stored{}})
	s.current.Store(p.(*place))
	return nil
}

// Fini forgets the place. Its objects stay.
func (s *Store) Fini() error { s.current.Store(nil); return nil }

// at is where a key lies.
func (s *Store) at(key string) (*place, error) {
	if err := objstore.CheckKey(key); err != nil {
		return nil, err
	}
	if p := s.current.Load(); p != nil {
		return p, nil
	}
	return nil, objstore.ErrClosed
}

// Conditional is true: the place is locked while a key is looked at and taken.
func (s *Store) Conditional(int64) bool { return true }

// Create keeps size bytes of body under key if nothing is there.
func (s *Store) Create(ctx context.Context, key string, body io.ReaderAt, size int64, metadata map[string]string) (object.Proof, error) {
	p, err := s.at(key)
	if err != nil {
		return object.Proof{}, err
	}
	data := make([]byte, size)
	if err := objstore.ReadFull(body, data, 0); err != nil {
		return object.Proof{}, err
	}
	if err := objstore.CheckEnd(body, size); err != nil {
		return object.Proof{}, err
	}
	sum := crc32.ChecksumIEEE(data)
	proof := object.Proof{Size: size, CRC32: sum, Reads: size}
	if err := s.pay(ctx, len(data)); err != nil {
		return proof, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, taken := p.objects[key]; taken {
		return proof, &objstore.Error{Op: "create object", Kind: fs.ErrExist}
	}
	p.objects[key] = stored{data, object.Info{
		Size: size, CRC32: sum, HasCRC32: true, Modified: s.now(), Metadata: maps.Clone(metadata),
	}}
	return proof, nil
}

// get finds an object.
func (s *Store) get(key string) (stored, error) {
	p, err := s.at(key)
	if err != nil {
		return stored{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	o, ok := p.objects[key]
	if !ok {
		return stored{}, &objstore.Error{Op: "get object", Kind: fs.ErrNotExist}
	}
	o.info.Metadata = maps.Clone(o.info.Metadata)
	return o, nil
}

// Head tells about an object.
func (s *Store) Head(_ context.Context, key string) (object.Info, error) {
	o, err := s.get(key)
	o.info.Date = s.now()
	return o.info, err
}

func (s *Store) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

// List visits the objects whose keys begin with prefix.
func (s *Store) List(_ context.Context, prefix string, visit func(objstore.Listed) error) error {
	p := s.current.Load()
	if p == nil {
		return objstore.ErrClosed
	}
	var found []objstore.Listed
	p.mu.Lock()
	for key, o := range p.objects {
		if strings.HasPrefix(key, prefix) {
			found = append(found, objstore.Listed{Key: key, Size: o.info.Size, Modified: o.info.Modified})
		}
	}
	p.mu.Unlock()
	for _, o := range found {
		if err := visit(o); err != nil {
			return err
		}
	}
	return nil
}

// Delete deletes an object that is still what a Head told of.
func (s *Store) Delete(_ context.Context, key string, is object.Info) error {
	p, err := s.at(key)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch o, ok := p.objects[key]; {
	case !ok:
		return &objstore.Error{Op: "delete object", Kind: fs.ErrNotExist}
	case !o.info.Modified.Equal(is.Modified), o.info.Metadata[object.MetaAttempt] != is.Metadata[object.MetaAttempt]:
		return &objstore.Error{Op: "delete object", Kind: object.ErrChanged}
	}
	delete(p.objects, key)
	return nil
}

// Download writes an object to dst once accept has agreed, and compares what it wrote
// with what was stored.
func (s *Store) Download(ctx context.Context, key string, dst io.WriterAt, accept func(object.Info) error) (object.Proof, error) {
	o, err := s.get(key)
	if err != nil {
		return object.Proof{}, err
	}
	if err := accept(o.info); err != nil {
		return object.Proof{}, err
	}
	const chunk = 1 << 20
	var got object.Proof
	for got.Size < o.info.Size {
		b := o.data[got.Size:min(got.Size+chunk, o.info.Size)]
		if err := s.pay(ctx, len(b)); err != nil {
			return got, err
		}
		if _, err := dst.WriteAt(b, got.Size); err != nil {
			return got, fmt.Errorf("write: %w", err)
		}
		got.CRC32 = crc32.Update(got.CRC32, crc32.IEEETable, b)
		got.Size += int64(len(b))
		got.Reads = got.Size
	}
	if got.CRC32 != o.info.CRC32 {
		return got, &objstore.Error{Op: "get object", Kind: object.ErrCorrupt}
	}
	return got, nil
}

// pay waits for the bandwidth limit, and ends with ctx.
func (s *Store) pay(ctx context.Context, bytes int) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return objstore.Pay(ctx, s.limiter, bytes)
}
