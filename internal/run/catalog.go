package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/coldbrick/coldbrick/internal/catalog"
	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/objstore"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/report"
	"github.com/coldbrick/coldbrick/internal/volume"
	"github.com/coldbrick/coldbrick/recall"
)

// Catalog writes down the brick named, or else all bricks of the volume on this host.
func Catalog(ctx context.Context, s *Session, named []string) error {
	return s.Finish("catalog", outcome.Catalogued, writeDown(ctx, s, named))
}

// cataloguing is one run of catalog.
type cataloguing struct {
	*Session
	scope *scope
	place catalog.Place
	gauge Gauge
}

func writeDown(ctx context.Context, s *Session, named []string) (err error) {
	s.about = s.aboutOf(named)
	ctx, stop := s.drains(ctx) // half a catalog is none
	defer stop()
	defer func() { err = causeOf(ctx, err) }()
	place, err := s.place("")
	if err != nil {
		return err
	}
	s.UI.Doing(askingGlusterd)
	scope, err := s.scopeOfCatalog(ctx, named)
	if err != nil || len(scope.bricks) == 0 {
		return err
	}
	if err := s.Store.check(scope.mount, scope.bricks); err != nil {
		return err
	}
	s.UI.Doing(askingStore)
	store, err := s.openForCatalogs(ctx, scope.mount.Graph)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Fini()) }()
	if err := s.probes().prove(ctx, store); err != nil {
		return err
	}
	place.Store = store
	c := &cataloguing{Session: s, scope: scope, place: place}
	c.gauge.Total.Store(s.filesOf(scope.bricks))
	s.UI.ShowBar("cataloguing", ByFiles, &c.gauge)
	var incomplete error
	for _, dir := range scope.bricks {
		err := c.brick(ctx, dir)
		switch {
		case errors.Is(err, catalog.ErrIncomplete):
			incomplete = errors.Join(ErrSomeFailed, incomplete, fmt.Errorf("brick %s: %w", dir, err)) // others may be well
		case err != nil:
			return errors.Join(err, incomplete)
		}
	}
	return incomplete
}

// place is where the catalogs of a volume are, but for the store.
func (s *Session) place(volumeID string) (catalog.Place, error) {
	place := catalog.Place{Prefix: s.Store.keyPrefix(), Secret: s.CatalogSecret, Volume: volumeID}
	if err := place.CheckSecret(); err != nil {
		return place, Usagef("%w: set it in the configuration file, to the same on every host of the volume (head -c 24 /dev/urandom | base64 makes one)", err)
	}
	return place, nil
}

// listing is a store that catalogs can be kept in, and found again.
type listing interface {
	objstore.Store
	objstore.Lister
}

// openForCatalogs prepares the store.
func (s *Session) openForCatalogs(ctx context.Context, graph gluster.Graph) (listing, error) {
	store, _, err := s.Store.open(ctx, s.UI, graph, nil)
	if err != nil {
		return nil, err
	}
	if lists, ok := store.(listing); ok {
		return lists, nil
	}
	return nil, errors.Join(Usagef("--store: %s keeps no catalogs: it cannot list what it holds", s.Store.Name), store.Fini())
}

// forCatalogs is the directory for files without a name: catalogs on their way.
func (s *Session) forCatalogs() (string, error) {
	dir := filepath.Join(s.StateDir, "catalogs")
	return dir, os.MkdirAll(dir, 0o700)
}

// scopeOfCatalog finds out about the bricks named, or else all of the volume on this
// host that have data.
func (s *Session) scopeOfCatalog(ctx context.Context, named []string) (*scope, error) {
	switch {
	case len(named) == 0 && s.Volume == "":
		return nil, Usagef("nothing named to write down: write BRICK, or --volume NAME")
	case s.Volume == "" && s.Mount == "":
		return &scope{wanted: s.Settings, mount: &volume.Mount{}, bricks: named}, nil
	case len(named) > 0:
		return s.scopeOf(ctx, named)
	}
	found, err := s.look(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range found.cluster.Places() {
		if p.Here && p.Role != volume.Arbiter {
			found.bricks = append(found.bricks, p.Dir)
		}
	}
	if len(found.bricks) == 0 {
		s.UI.Say(fmt.Sprintf("volume %s has no brick with data on this host", found.cluster.Name))
	}
	return found, nil
}

// brick writes down one brick.
func (c *cataloguing) brick(ctx context.Context, dir string) (err error) {
	brick, err := openBrick(dir)
	if err != nil {
		return err
	}
	defer brick.Close()
	if brick.VolumeID == "" {
		return fmt.Errorf("%w: brick %s does not know of which volume it is", ErrUnsafe, dir)
	}
	if id := c.scope.volumeID(nil); id != "" && id != brick.VolumeID {
		return fmt.Errorf("%w: brick %s is of another volume", ErrUnsafe, dir)
	}
	part := c.begin("catalog", dir, nil)
	defer func() { part.end(causeOf(ctx, err)) }()
	if err := c.register(ctx, c.place.Store, brick); err != nil {
		return err
	}
	temporary, err := c.forCatalogs()
	if err != nil {
		return err
	}
	subject, err := c.scope.subject(dir)
	if err != nil {
		return err
	}
	place := c.place
	place.Volume = brick.VolumeID
	before := c.gauge.Seen.Files.Load()
	m, err := place.Take(ctx, subject, catalog.Scan{
		Brick: brick, Dir: temporary, Workers: c.Crawlers, Notes: recalling, Seen: &c.gauge.Seen.Files,
		Unreadable: func(path string, err error) { c.failed(path, outcome.Unreadable, err) },
	})
	if err != nil {
		return err
	}
	c.rememberFiles(dir, c.gauge.Seen.Files.Load()-before)
	n := m.Counts
	part.stubs = &report.Stubs{Total: outcome.Total{Files: n.Stubs, Bytes: n.StubBytes}, At: time.Now().UTC(), By: part.command}
	c.tally.AddTotal(outcome.Result{Outcome: outcome.Catalogued}, outcome.Total{Files: n.Files + n.Stubs, Bytes: n.StubBytes})
	c.print(report.Catalog{
		Brick: dir, Volume: m.Volume, Scan: m.Scan, Files: n.Files, Stubs: n.Stubs, StubBytes: n.StubBytes,
		Others: n.Directories + n.Others, References: m.Refs.Lines, Stored: m.Refs.Bytes + m.Tree.Bytes,
	})
	return nil
}

// subject is the brick at dir as the cluster names it.
func (s *scope) subject(dir string) (catalog.Subject, error) {
	host, err := os.Hostname()
	if err != nil {
		return catalog.Subject{}, err
	}
	subject := catalog.Subject{
		Name: s.mount.Volume, Brick: host + ":" + dir,
		Ask: func(context.Context) (catalog.Cluster, error) { return catalog.Cluster{}, nil },
	}
	if s.cluster == nil {
		return subject, nil
	}
	subject.Name = s.cluster.Name
	subject.Ask = func(ctx context.Context) (catalog.Cluster, error) {
		c, err := catalog.AskCluster(ctx, s.cluster.Name)
		return c, ofCluster(ctx, err)
	}
	named, err := os.Stat(dir)
	if err != nil {
		return subject, UsageError{err}
	}
	for _, p := range s.cluster.Places() {
		if at, err := os.Stat(p.Dir); p.Here && err == nil && os.SameFile(named, at) {
			subject.Brick = p.Name()
			return subject, nil
		}
	}
	return subject, fmt.Errorf("%w: brick %s is not one of volume %s", ErrUnsafe, dir, s.cluster.Name)
}

// recalling reads the notes of a recall.
func recalling(value []byte, pointed string) (catalog.Recalling, error) {
	n, err := recall.DecodeNotes(value, pointed)
	return catalog.Recalling{Key: n.Key, Size: n.Size, Atime: n.Atime, Mtime: n.Mtime}, err
}
