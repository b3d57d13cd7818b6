package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/coldbrick/coldbrick/internal/catalog"
	"github.com/coldbrick/coldbrick/internal/objstore"
	"github.com/coldbrick/coldbrick/internal/report"
	"github.com/coldbrick/coldbrick/internal/volume"
	"github.com/coldbrick/coldbrick/recall"
)

func newCatalog(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "catalog {BRICK [--mount DIR] | [BRICK] --volume NAME}",
		Short: "Write to the store what the bricks refer to, and their tree",
		Long: `Write to the store which objects the files of a brick refer to, and what its tree
looks like: every name with its owner, mode, times and attributes. From the newest
such catalogs coldbrick rebuild makes a lost volume anew. With --volume and
without BRICK, all bricks of this host are written down, passive ones too;
arbiters have no data and are left out.

A catalog is complete or it is not there: if one entry of a brick cannot be read,
or the store fails, nothing counts of what was written. The volume is not changed.

Catalogs are sealed with catalog-secret, which is set in the configuration file,
the same on every host of the volume. Keep a copy of it where the volume is not:
without it no catalog can be read. Catalogs hold the names of files in plain text.`,
		Args: a.brickOrVolume,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.configure(cmd, a.byMount); err != nil {
				return err
			}
			return a.finish("catalog", report.Catalogued, a.catalog(cmd.Context(), args))
		},
	}
	a.uses(cmd, []string{"mount", "volume", "crawlers", "state-dir"}, storeFlags, outputFlags)
	return cmd
}

// catalog writes down the brick named, or else all bricks of --volume on this host.
func (a *app) catalog(ctx context.Context, named []string) (err error) {
	ctx, stop := a.drains(ctx) // half a catalog is none
	defer stop()
	defer func() { err = causeOf(ctx, err) }()
	place := catalog.Place{Prefix: a.keyPrefix, Secret: a.catalogSecret.Reveal()}
	if err := place.CheckSecret(); err != nil {
		return secretMissing(err)
	}
	s, err := a.scopeOfCatalog(ctx, named)
	if err != nil || len(s.bricks) == 0 {
		return err
	}
	if err := a.checkStore(s.mount, s.bricks); err != nil {
		return err
	}
	plugin, err := a.openStore(ctx, s.mount.Graph, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, plugin.Fini()) }()
	store, ok := plugin.(catalog.Store)
	if !ok {
		return usagef("--store: %s cannot keep catalogs", a.store)
	}
	place.Store = store
	if err := a.prove(ctx, plugin); err != nil {
		return err
	}
	var g gauge
	a.startBar("cataloguing", byFiles, &g)
	var incomplete error
	for _, dir := range s.bricks {
		err := a.catalogBrick(ctx, s, place, dir, &g)
		switch {
		case errors.Is(err, catalog.ErrIncomplete):
			incomplete = errors.Join(errSomeFailed, incomplete, fmt.Errorf("brick %s: %w", dir, err)) // others may be well
		case err != nil:
			return errors.Join(err, incomplete)
		}
	}
	return incomplete
}

func secretMissing(err error) error {
	return usagef("%w: set it in the configuration file, to the same on every host of the volume (head -c 24 /dev/urandom | base64 makes one)", err)
}

// forCatalogs is the directory for files without a name: catalogs on their way.
func (a *app) forCatalogs() (string, error) {
	dir := filepath.Join(a.stateDir, "catalogs")
	return dir, os.MkdirAll(dir, 0o700)
}

// scopeOfCatalog finds out about the bricks named, or else all of --volume on this
// host that have data.
func (a *app) scopeOfCatalog(ctx context.Context, named []string) (*scope, error) {
	switch {
	case len(named) == 0 && a.volume == "":
		return nil, usagef("nothing named to write down: write BRICK, or --volume NAME")
	case a.volume == "" && a.mount == "":
		return &scope{mount: &volume.Mount{}, bricks: named}, nil
	case len(named) > 0:
		return a.scopeOf(ctx, named)
	}
	s, err := a.look(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range s.cluster.Places() {
		if p.Here && p.Role != volume.Arbiter {
			s.bricks = append(s.bricks, p.Dir)
		}
	}
	if len(s.bricks) == 0 {
		a.say("volume %s has no brick with data on this host", s.cluster.Name)
	}
	return s, nil
}

// catalogBrick writes down one brick.
func (a *app) catalogBrick(ctx context.Context, s *scope, place catalog.Place, dir string, g *gauge) error {
	brick, err := openBrick(dir)
	if err != nil {
		return err
	}
	defer brick.Close()
	if brick.VolumeID == "" {
		return fmt.Errorf("%w: brick %s does not know of which volume it is", errUnsafe, dir)
	}
	if id := s.volumeID(nil); id != "" && id != brick.VolumeID {
		return fmt.Errorf("%w: brick %s is of another volume", errUnsafe, dir)
	}
	place.Volume = brick.VolumeID
	if err := a.register(ctx, place.Store, brick); err != nil {
		return err
	}
	temporary, err := a.forCatalogs()
	if err != nil {
		return err
	}
	subject, err := s.subject(dir)
	if err != nil {
		return err
	}
	m, err := place.Take(ctx, subject, catalog.Scan{
		Brick: brick, Dir: temporary, Workers: a.crawlers.Int(), Notes: recalling, Seen: &g.seen.Files,
		Unreadable: func(path string, err error) { a.failed(path, report.Unreadable, err) },
	})
	if err != nil {
		return err
	}
	c := m.Counts
	a.tally.AddTotal(report.Result{Outcome: report.Catalogued}, report.Total{Files: c.Files + c.Stubs, Bytes: c.StubBytes})
	a.print(report.Catalog{
		Brick: dir, Volume: m.Volume, Scan: m.Scan, Files: c.Files, Stubs: c.Stubs, StubBytes: c.StubBytes,
		Others: c.Directories + c.Others, References: m.Refs.Lines, Stored: m.Refs.Bytes + m.Tree.Bytes,
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
		return subject, usageError{err}
	}
	for _, p := range s.cluster.Places() {
		if at, err := os.Stat(p.Dir); p.Here && err == nil && os.SameFile(named, at) {
			subject.Brick = p.Name()
			return subject, nil
		}
	}
	return subject, fmt.Errorf("%w: brick %s is not one of volume %s", errUnsafe, dir, s.cluster.Name)
}

// recalling reads the notes of a recall.
func recalling(value []byte, pointed string) (catalog.Recalling, error) {
	n, err := recall.DecodeNotes(value, pointed)
	return catalog.Recalling{Key: n.Key, Size: n.Size, Atime: n.Atime, Mtime: n.Mtime}, err
}

var _, _ catalog.Store = (*objstore.S3)(nil), (*objstore.Dir)(nil)
