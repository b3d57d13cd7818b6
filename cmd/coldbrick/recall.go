package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/owner"
	"github.com/coldbrick/coldbrick/internal/report"
	"github.com/coldbrick/coldbrick/internal/workers"
	"github.com/coldbrick/coldbrick/recall"
)

// barrierPatience bounds the wait for a client's own recall of the same file.
const barrierPatience = time.Minute

func newOwner() (owner.Owner, error) { return owner.Self(object.NewID()) }

func newRecall(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "recall PATH...",
		Short: "Bring the data of stubs back",
		Long: `Bring the data of archived files back to the volume. PATH is a path on any mount
of the volume; all paths must be on one. A file becomes readable only when size
and checksum were verified, with the times it had. Objects stay in the store.

With --to or --stdout the data goes elsewhere, and the stub stays a stub. That is
the way while a rebalance or remove-brick moves files: then nothing is recalled
onto the volume.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			paths := &pathList{app: a, args: args}
			defer paths.close()
			if err := a.configure(cmd, paths.mount); err != nil {
				return err
			}
			if err := a.recallUsage(); err != nil {
				return err
			}
			return a.finish("recall", report.Recalled, a.recall(cmd.Context(), paths))
		},
	}
	a.uses(cmd, pathFlags, []string{"to", "stdout", "state-dir"}, storeFlags, outputFlags)
	return cmd
}

func (a *app) recallUsage() error {
	switch {
	case a.stdoutData && a.to != "":
		return usagef("--stdout and --to exclude each other")
	case a.stdoutData && a.json:
		return usagef("--stdout and --json exclude each other: both write to standard output")
	}
	return nil
}

// recall brings back the files that the user named.
func (a *app) recall(ctx context.Context, paths *pathList) error {
	elsewhere := a.to != "" || a.stdoutData
	return a.onGround(ctx, paths, true, !elsewhere, func(g *ground, find func(context.Context, func(context.Context, recall.Target) error) error) error {
		jobs := a.jobs.Int()
		one := func(ctx context.Context, t recall.Target) recall.Result {
			return g.recaller.Recall(ctx, t.Path, t.GFID)
		}
		switch {
		case a.stdoutData:
			jobs = 1 // one after the other
			one = func(ctx context.Context, t recall.Target) recall.Result { return a.pour(ctx, g, t) }
		case a.to != "":
			root, err := os.OpenRoot(a.to)
			if err != nil {
				return usageError{fmt.Errorf("--to: %w", err)}
			}
			defer root.Close()
			one = func(ctx context.Context, t recall.Target) recall.Result { return fetchTo(ctx, g, root, t) }
		}
		gauge := gauge{meter: a.meter}
		a.startBar("recalling", byBytes, &gauge)
		err := causeOf(ctx, recall.Run(ctx, jobs, find, one, func(r recall.Result) {
			a.tally.Add(r.Outcome, r.Reason, r.Size)
			if r.Outcome == report.Recalled {
				gauge.files.Add(1)
				gauge.bytes.Add(r.Size)
			}
			a.print(report.File{Path: r.Path, GFID: r.GFID, Size: r.Size,
				Outcome: r.Outcome, Reason: r.Reason, Key: r.Key, Err: r.Err})
		}))
		if err == nil && a.recursive && g.moves != nil && g.moves.moved(ctx) {
			err = errMoved
		}
		return err
	})
}

// pour writes the data of a file to stdout, after it was verified as a whole in
// an unnamed file.
func (a *app) pour(ctx context.Context, g *ground, t recall.Target) recall.Result {
	fail := func(err error) recall.Result {
		return recall.Result{Path: t.Path, GFID: t.GFID, Outcome: report.Failed, Reason: report.IOError, Err: err}
	}
	dst, err := os.OpenFile(os.TempDir(), os.O_RDWR|unix.O_TMPFILE, 0o600)
	if err != nil {
		return fail(err)
	}
	defer dst.Close()
	r := g.recaller.Fetch(ctx, t.Path, t.GFID, dst)
	if r.Outcome != report.Recalled {
		return r
	}
	if _, err := dst.Seek(0, io.SeekStart); err != nil {
		return fail(err)
	}
	if _, err := io.Copy(a.stdout, dst); err != nil {
		a.stop.drain(err)
		return fail(err)
	}
	return r
}

func newStatus(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status PATH...",
		Short: "Say where the data of files is",
		Long: `Say for each path on a mount of the volume where its data is: local (on the
volume), remote (in the store), recalling, or broken, with the reason. With
--check the store is asked as well: copied means that a valid object exists and
the data is still here. Nothing is changed.

-v shows all that ties each file to its object: gfid, cs.remote, pointer and
proof, with --check the object, and what the run records of this host tell of the
file. It reads all records for each file.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			paths := &pathList{app: a, args: args}
			defer paths.close()
			if err := a.configure(cmd, paths.mount); err != nil {
				return err
			}
			return a.finish("status", "", a.status(cmd.Context(), paths))
		},
	}
	a.uses(cmd, pathFlags, []string{"check", "state-dir"}, storeFlags, outputFlags)
	return cmd
}

// status prints the state of the files that the user named.
func (a *app) status(ctx context.Context, paths *pathList) error {
	depth := recall.Marks
	if a.check {
		depth = recall.Head
	}
	jobs := a.jobs.Int()
	if !a.recursive && a.filesFrom == "" {
		jobs = 1 // in the order of the arguments
	}
	err := a.onGround(ctx, paths, a.check, false, func(g *ground, find func(context.Context, func(context.Context, recall.Target) error) error) error {
		return causeOf(ctx, workers.Run(ctx, jobs, find, func(ctx context.Context, t recall.Target) error {
			e, err := g.recaller.Examine(ctx, t.Path, gluster.GFID{}, depth)
			if err != nil {
				if errors.Is(err, object.ErrStore) {
					return err
				}
				a.failed(t.Path, report.IOError, err)
				return nil
			}
			a.tally.Add(report.Outcome(e.State), "", e.Size)
			l := located(e)
			if a.verbose {
				if l.Chain, err = a.chain(e); err != nil {
					return err
				}
			}
			a.print(l)
			return nil
		}))
	})
	if err == nil && a.tally.Outcome(report.Outcome(report.StateBroken)).Files > 0 {
		err = errProblems
	}
	return err
}

// located is the record of an examined file; what is wrong with it becomes its
// reason.
func located(e recall.Examined) report.Located {
	l := report.Located{Path: e.Path, GFID: e.GFID, Size: e.Size, State: e.State, Key: e.Key}
	var found []error
	for _, f := range e.Findings {
		if f.Severity == report.Remark {
			continue
		}
		if l.Reason == "" {
			l.Reason = report.Reason(f.Class)
		}
		text := f.Class.Meaning()
		if f.Detail != "" {
			text += ": " + f.Detail
		}
		found = append(found, errors.New(text))
	}
	l.Err = errors.Join(found...)
	return l
}
