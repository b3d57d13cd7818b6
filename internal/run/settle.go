package run

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/owner"
	"github.com/coldbrick/coldbrick/internal/record"
	"github.com/coldbrick/coldbrick/internal/report"
	"github.com/coldbrick/coldbrick/internal/volume"
	"github.com/coldbrick/coldbrick/recall"
)

// leftovers is what previous runs on a brick have left, and what it takes to clear
// that away.
type leftovers struct {
	*Session
	mount    *volume.Mount
	brick    *volume.Brick
	stamping *volume.Private
	replicas *volume.Replicas // nil on a volume without replication
	plugin   recall.Plugin
	self     owner.Owner
}

// settle clears away what previous runs on this brick have left, before anything
// new begins: multipart uploads that nobody will finish, stamps that ended half
// way, and files that were stamped while a brick was down. By now all bricks are
// up and nothing waits for self-heal, so such a file has its data back under the
// stub, and nobody can read it.
func (l *leftovers) settle(ctx context.Context) error {
	left, err := record.Open(l.records(), l.self)
	if err != nil {
		return err
	}
	warned := false
	for _, u := range left {
		if u.Brick != l.brick.Dir() {
			continue // its own next run knows the store and the volume
		}
		if uploader, ok := l.plugin.(interface {
			AbortUpload(ctx context.Context, key, id string) error
		}); ok {
			for _, e := range u.Uploads {
				err := uploader.AbortUpload(ctx, e.Key, e.Upload)
				if errors.Is(err, fs.ErrPermission) { // it costs money, and no run can change that
					if !warned {
						l.Log.Warn("multipart uploads of dead runs stay in the bucket: these credentials may not abort them; "+
							"a lifecycle rule with AbortIncompleteMultipartUpload does", "err", err)
						warned = true
					}
					continue
				}
				if err != nil {
					return fmt.Errorf("left by run %s: %w", u.Owner.Run, err)
				}
				l.Log.Info("aborted upload of a dead run", "key", e.Key, "run", u.Owner.Run)
			}
		}
		suspects := u.Degraded
		for _, e := range u.Proven {
			unsound, err := halfStamped(l.brick, e)
			if err != nil {
				return err
			}
			if unsound {
				suspects = append(suspects, e)
			}
		}
		fixed := true
		if len(suspects) > 0 {
			if fixed, err = l.fix(ctx, suspects); err != nil {
				return err
			}
		}
		if !fixed {
			continue // fsck tells more, and the next run tries again
		}
		if err := u.Settle(); err != nil {
			return fmt.Errorf("run record: %w", err)
		}
	}
	return nil
}

// halfStamped reports whether a file that a run had proven, and has left no word of
// since, is on the brick neither a whole stub nor a whole local file: the process
// or the host died within its stamp. It costs little, since such a run may have
// been of a version that left no word of any file.
func halfStamped(brick *volume.Brick, e record.Entry) (bool, error) {
	if e.GFID == nil {
		return false, nil
	}
	f, err := brick.OpenRegular(e.GFID.HandlePath())
	if volume.Gone(err) {
		return false, nil // deleted
	}
	if err != nil {
		return false, err
	}
	defer f.Close() // read-only
	attrs, err := volume.ReadAttrs(f)
	if err != nil {
		return false, err
	}
	st, err := volume.StatOf(f)
	if err != nil {
		return false, err
	}
	switch attrs.State(st.Size) {
	case gluster.Repair:
		return true, nil
	case gluster.Local:
		return attrs.AnySize(), nil
	case gluster.Remote:
		return attrs.RemoteKey != e.Key, nil // the brick did not know its path, or it was archived again
	}
	return false, nil
}

// fix makes files local again that have their data under a stub, if only on one of
// the bricks: a self-heal has brought it back, or it was never freed. It reports
// whether all are sound.
func (l *leftovers) fix(ctx context.Context, suspects []record.Entry) (all bool, err error) {
	files, err := l.mount.Private(ctx, volume.ForRecall)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, files.Close()) }()
	r := recall.Recaller{
		Files: files, Barrier: l.stamping, Plugin: l.plugin, Owner: l.self,
		Volume: l.brick.VolumeID, BarrierLimit: barrierPatience, Distributed: l.mount.Graph.Distributed(),
	}
	if l.replicas != nil {
		r.Replicas = l.replicas
		r.Torn = func(ctx context.Context, file *os.File, path string, _ gluster.GFID) (bool, error) {
			return l.replicas.Torn(ctx, file, path)
		}
	}
	all = true
	for _, entry := range suspects {
		var gfid gluster.GFID
		if entry.GFID != nil {
			gfid = *entry.GFID
		}
		e, err := r.Examine(ctx, string(entry.Path), gfid, recall.Head)
		var left *outcome.Left
		if errors.As(err, &left) || volume.Gone(err) {
			continue // renamed or deleted: fsck finds it under its new name
		}
		if err != nil {
			return false, err
		}
		for _, f := range r.Repair(ctx, e) {
			if f.Severity == outcome.Remark {
				continue
			}
			if f.Repaired {
				l.Log.Info("fixed a file that had been made a stub only in part", "path", e.Path, "gfid", e.GFID)
				continue
			}
			all = false
			l.print(report.Finding(f))
		}
	}
	return all, nil
}
