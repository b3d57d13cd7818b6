package catalog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore"
)

// ErrIncomplete means that some entries could not be read, and that there is therefore
// no catalog.
var ErrIncomplete = errors.New("no catalog was written: it would not be complete")

// Subject says which brick a catalog is of.
type Subject struct {
	Name  string // of the volume, where known
	Brick string // HOST:DIR

	// Ask asks glusterd about the volume, before the scan and after it.
	Ask func(ctx context.Context) (Cluster, error)
}

// Take scans a brick and writes its catalog. The manifest, without which nothing counts,
// is written only after the scan has read everything and the store has confirmed both
// parts.
func (p Place) Take(ctx context.Context, subject Subject, scan Scan) (Manifest, error) {
	if err := p.CheckSecret(); err != nil {
		return Manifest{}, err
	}
	m := Manifest{
		Kind: manifestKind, Format: Format, Volume: p.Volume, Name: subject.Name, Scan: object.NewID(),
		Brick: subject.Brick, Prefix: p.Prefix, Began: time.Now().UTC(),
	}
	var err error
	if m.Begin, err = subject.Ask(ctx); err != nil {
		return m, err
	}
	if err := p.seal(ctx, m.Scan, beginPart, struct {
		Kind   string `json:"coldbrick"`
		Format int    `json:"format"`
		Volume string `json:"volume"`
		Brick  string `json:"brick"`
	}{"catalog-begin", Format, p.Volume, subject.Brick}); err != nil {
		return m, err
	}
	s, err := newScanner(scan)
	if err != nil {
		return m, err
	}
	defer s.refs.Close()
	if s.tree, err = newPartWriter(scan.Dir); err != nil {
		return m, err
	}
	defer s.tree.close()
	if err := s.run(ctx); err != nil {
		return m, err
	}
	if s.unreadable > 0 {
		return m, ErrIncomplete
	}
	refs, err := newPartWriter(scan.Dir)
	if err != nil {
		return m, err
	}
	defer refs.close()
	if err := s.refs.each(func(r Ref) error { return refs.write(r) }); err != nil {
		return m, err
	}
	if m.Refs, err = refs.upload(ctx, p.Store, p.key(m.Scan, refsPart)); err != nil {
		return m, err
	}
	if m.Tree, err = s.tree.upload(ctx, p.Store, p.key(m.Scan, treePart)); err != nil {
		return m, err
	}
	m.Counts = Counts{
		Directories: s.directories.Load(), Files: s.files.Load(), Stubs: s.stubs.Load(), StubBytes: s.stubBytes.Load(),
		Others: s.others.Load(), Handles: s.handles.Load(),
	}
	m.Formerly = s.formerly
	if m.End, err = subject.Ask(ctx); err != nil {
		return m, err
	}
	m.Ended = time.Now().UTC()
	return m, p.seal(ctx, m.Scan, manifestPart, m)
}

// References visits every key that any file of a brick refers to now, in order, without
// a catalog. They count only if the error is nil; ErrIncomplete.
func References(ctx context.Context, scan Scan, visit func(Ref) error) error {
	s, err := newScanner(scan)
	if err != nil {
		return err
	}
	defer s.refs.Close()
	if err := s.run(ctx); err != nil {
		return err
	}
	if s.unreadable > 0 {
		return ErrIncomplete
	}
	return s.refs.each(visit)
}

// seal writes a small object that only who knows the secret can have written.
func (p Place) seal(ctx context.Context, scan, part string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	key := p.key(scan, part)
	sealed := objstore.Seal(p.Secret, key, append(text, '\n'))
	if _, err := p.Store.Create(ctx, key, bytes.NewReader(sealed), int64(len(sealed)), nil); err != nil {
		return fmt.Errorf("store %s: %w", key, err)
	}
	return nil
}
