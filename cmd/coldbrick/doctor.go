package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/objstore"
	"github.com/coldbrick/coldbrick/internal/report"
	"github.com/coldbrick/coldbrick/internal/volume"
)

func newDoctor(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor --brick DIR --mount DIR",
		Short: "Say whether volume, brick, mount and store are safe to archive",
		Long: `Say whether volume, brick, mount and store are safe to archive, each check by
name, and what to do about those that fail. A few small objects are written to
the store and deleted again; nothing else is changed.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.configure(cmd); err != nil {
				return err
			}
			if a.brick == "" || a.mount == "" {
				return usagef("name what to look at: write --brick DIR and --mount DIR")
			}
			e := examination{app: a}
			return a.finish("doctor", "", errors.Join(e.run(cmd.Context()), e.verdict()))
		},
	}
	a.uses(cmd, []string{"brick", "mount"}, storeFlags, outputFlags)
	return cmd
}

// examination prints the answer to each question as it comes, and counts those
// that are bad.
type examination struct {
	*app
	bad int
}

func (e *examination) note(checks ...report.Check) {
	for _, c := range checks {
		if c.Status == report.Bad {
			e.bad++
		}
		e.print(c)
	}
}

// ask notes whether err, the answer to a question, is good.
func (e *examination) ask(name string, err error, hint string) bool {
	if err != nil {
		e.note(report.Check{Name: name, Status: report.Bad, Detail: err.Error(), Hint: hint})
		return false
	}
	e.note(report.Check{Name: name, Status: report.OK})
	return true
}

func (e *examination) verdict() error {
	if e.bad == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s failed", errUnsafe, report.Count(int64(e.bad), "check"))
}

// run asks what can be asked: a question whose ground is missing is left out.
func (e *examination) run(ctx context.Context) (err error) {
	ctx, stop := e.drains(ctx)
	defer stop()
	brick, err := volume.OpenBrick(e.brick)
	if e.ask("brick", err, "--brick names the brick's own directory on this host") {
		defer brick.Close()
		e.heals(brick)
	}
	mount, err := e.inspect(e.mount)
	if !e.ask("mount", err, "--mount names the directory where the whole volume is mounted") {
		return nil
	}
	for _, c := range mount.Checks() {
		e.note(shown(c))
	}
	if err := e.checkStore(mount.Graph); err != nil {
		e.ask("store", err, "")
	} else if err := e.store(ctx, mount); err != nil {
		return err
	}
	if !mount.Graph.Has(gluster.TypeCloudsync) { // without cloudsync there is no mount to stamp through
		return nil
	}
	private, err := mountPrivately(ctx, mount, volume.ForStamping)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if !e.ask("private-mount", err, "") {
		return nil
	}
	defer func() { err = errors.Join(err, private.Close()) }()
	e.ask("bricks", private.Children(), "start the bricks that are down")
	if brick != nil {
		e.note(shown(mount.CheckBrick(brick, private.Root)))
	}
	return nil
}

func (e *examination) heals(brick *volume.Brick) {
	backlog, err := brick.HealBacklog(1)
	if err == nil && backlog > 0 {
		err = errors.New("self-heal has not finished")
	}
	e.ask("heals", err, "gluster volume heal VOL info tells which files; wait for it")
}

// store asks what the store can be relied on for.
func (e *examination) store(ctx context.Context, mount *volume.Mount) (err error) {
	plugin, err := e.openStore(ctx, mount.Graph, nil)
	if !e.ask("store-settings", err, "") {
		return nil
	}
	defer func() { err = errors.Join(err, plugin.Fini()) }()
	p, ok := plugin.(prober)
	if !ok {
		return nil
	}
	able, err := p.Probe(ctx)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if e.ask("store", err, "") {
		e.note(storeChecks(able)...)
	}
	return nil
}

// storeChecks judges what the probe saw. Nothing of it is unsafe: coldbrick
// goes without what a store lacks, at a price.
func storeChecks(able objstore.Capabilities) []report.Check {
	const mostSkew = 5 * time.Minute // S3 refuses requests from 15 minutes on
	wish := func(name string, ok bool, price string) report.Check {
		if ok {
			return report.Check{Name: name, Status: report.OK}
		}
		return report.Check{Name: name, Status: report.Warning, Detail: price}
	}
	return []report.Check{
		wish("conditional-put", able.PutConditional, "the store overwrites taken keys: objects get keys nobody can read"),
		wish("conditional-multipart", able.CompleteConditional, "large uploads overwrite taken keys: large objects get keys nobody can read"),
		wish("checksum", able.ChecksumVerified && able.ChecksumReturned, "the store confirms no checksum: each object is read back"),
		wish("checksum-multipart", able.FullObjectMultipart, "the store confirms no checksum of large objects: each is read back"),
		wish("clock", able.ClockSkew.Abs() < mostSkew, fmt.Sprintf("the store's clock differs by %v", able.ClockSkew.Round(time.Second))),
		wish("versioning", able.Versioning == "Enabled", "the bucket keeps no old versions: a deleted object is gone for good"),
		wish("left-over-uploads", able.LifecycleAborts, "no rule aborts multipart uploads that a crash has left: they cost money unseen"),
		wish("probe-objects", len(able.LeftBehind) == 0, fmt.Sprintf("%d objects of the probe could not be deleted", len(able.LeftBehind))),
	}
}
