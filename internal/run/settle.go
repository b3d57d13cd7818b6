package run

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
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
	formerly []string         // ids of the volumes that this one was rebuilt from
	replicas *volume.Replicas // nil on a volume without replication
	plugin   recall.Plugin
	self     owner.Owner
}

// settle clears away what previous runs on this brick have left, before anything
// new begins: multipart uploads that nobody will finish, stamps that ended half
// way, and files that were stamped while a brick was down. By now all bricks are
// up and nothing waits for self-heal, so such a file has its data back under the
// stub, and nobody can read it. Only a store that cannot be used ends the run: what
// else cannot be cleared away is told, and the next run tries again.
func (l *leftovers) settle(ctx context.Context) error {
	left, err := record.Open(l.records(), l.self)
	if err != nil {
		return err
	}
	warned := false
	for _, u := range left {
		if !l.isHere(u) {
			continue // its own next run knows the store and the volume
		}
		settled := true
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
				if ends(ctx, err) {
					return fmt.Errorf("left by run %s: %w", u.Owner.Run, err)
				}
				if err != nil {
					l.Log.Warn("an upload of a dead run was not aborted", "key", e.Key, "run", u.Owner.Run, "err", err)
					settled = false
					continue
				}
				l.Log.Info("aborted upload of a dead run", "key", e.Key, "run", u.Owner.Run)
			}
		}
		suspects := u.Degraded
		for _, e := range u.Proven {
			unsound, err := l.halfStamped(ctx, e)
			switch {
			case ends(ctx, err):
				return err
			case err != nil:
				l.unseen(e, err)
				settled = false
			case unsound:
				suspects = append(suspects, e)
			}
		}
		if len(suspects) > 0 {
			fixed, err := l.fix(ctx, suspects)
			if err != nil {
				return err
			}
			settled = settled && fixed
		}
		if !settled {
			continue // fsck tells more, and the next run tries again
		}
		if err := u.Settle(); err != nil {
			return fmt.Errorf("run record: %w", err)
		}
	}
	return nil
}

// ends reports whether an error that was met on one file keeps the run from going on.
func ends(ctx context.Context, err error) bool {
	return errors.Is(err, object.ErrStore) || err != nil && ctx.Err() != nil
}

// unseen tells of a file that cannot be looked at.
func (l *leftovers) unseen(e record.Entry, err error) {
	l.Log.Warn("whether a dead run has left this file whole is not known: the next run looks again", "path", string(e.Path), "gfid", e.GFID, "err", err)
}

// isHere reports whether a run was one on this brick. Earlier versions wrote down its
// name as it was typed: that may be another one, and if it is relative, another brick's,
// of which no file is here.
func (l *leftovers) isHere(u record.Unsettled) bool {
	if u.Brick == l.brick.Dir() {
		return true
	}
	named, err := os.Stat(u.Brick)
	if err != nil {
		return false
	}
	here, err := os.Stat(l.brick.Dir())
	if err != nil || !os.SameFile(named, here) {
		return false
	}
	return filepath.IsAbs(u.Brick) || slices.ContainsFunc(slices.Concat(u.Proven, u.Degraded), func(e record.Entry) bool {
		return e.GFID != nil && l.holds(*e.GFID)
	})
}

func (l *leftovers) holds(gfid gluster.GFID) bool {
	f, err := l.brick.Lookup(gfid.HandlePath())
	if err != nil {
		return false
	}
	f.Close() // nothing was opened
	return true
}

// halfStamped reports whether a file that a run had proven, and has left no word of
// since, is on the brick neither a whole stub nor a whole local file, or a stub whose
// bytes another replica has kept: the process or the host died within its stamp, or
// before it had looked at what came of it. It costs little, since such a run may have
// been of a version that left no word of any file.
func (l *leftovers) halfStamped(ctx context.Context, e record.Entry) (bool, error) {
	if e.GFID == nil {
		return false, nil
	}
	f, err := l.brick.OpenRegular(e.GFID.HandlePath())
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
		if attrs.RemoteKey != e.Key { // the brick did not know its path, or it was archived again
			return true, nil
		}
		return l.torn(ctx, string(e.Path), *e.GFID)
	}
	return false, nil
}

// torn reports whether a replica of a stub has its bytes, or waits for self-heal.
func (l *leftovers) torn(ctx context.Context, path string, gfid gluster.GFID) (bool, error) {
	if l.replicas == nil {
		return false, nil
	}
	file, err := l.stamping.OpenRegular(path)
	if volume.Gone(err) {
		return false, nil // renamed or deleted: fsck finds it under its new name
	}
	if err != nil {
		return false, err
	}
	defer file.Close() // read only
	st, err := volume.StatAsOpened(file)
	if err != nil || st.Inode != gfid.Inode() {
		return false, err
	}
	return l.replicas.Torn(ctx, file, path)
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
		Volume: l.brick.VolumeID, Formerly: l.formerly, BarrierLimit: barrierPatience, Distributed: l.mount.Graph.Distributed(),
	}
	if l.replicas != nil {
		r.Replicas = l.replicas
		r.Torn = func(ctx context.Context, file *os.File, path string, _ gluster.GFID) (bool, error) {
			return l.replicas.Torn(ctx, file, path)
		}
	}
	all = true
	patient := time.Now().Add(mendPatience)
	for _, entry := range suspects {
		sound, err := l.mend(ctx, &r, entry, patient)
		if ends(ctx, err) {
			return false, err
		}
		if err != nil {
			l.unseen(entry, err)
		}
		all = all && sound
	}
	return all, nil
}

// How long the files of dead runs may need, in all, until they can be mended, and how
// often that is tried. The brick of a host that was cut off keeps a run's lock until it
// notices, for up to 42 s (server.tcp-user-timeout); a heal may be on its last file.
const (
	mendPatience = time.Minute
	mendPause    = time.Second
)

// mend makes one file sound, and reports whether it is. What cannot be done before
// patient is over is told.
func (l *leftovers) mend(ctx context.Context, r *recall.Recaller, entry record.Entry, patient time.Time) (sound bool, err error) {
	var gfid gluster.GFID
	if entry.GFID != nil {
		gfid = *entry.GFID
	}
	for {
		e, err := r.Examine(ctx, string(entry.Path), gfid, recall.Head)
		var left *outcome.Left
		if errors.As(err, &left) || volume.Gone(err) {
			return true, nil // renamed or deleted: fsck finds it under its new name
		}
		if err != nil {
			return false, err
		}
		unsound, mayPass := l.repair(ctx, r, e)
		if len(unsound) == 0 && !e.Busy {
			return true, nil
		}
		if !mayPass || !time.Now().Add(mendPause).Before(patient) {
			for _, f := range unsound {
				l.print(report.Finding(f))
			}
			if len(unsound) == 0 {
				err = volume.ErrLocked
			}
			return false, err
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(mendPause):
		}
	}
}

// repair mends what can be mended, and gives what is still wrong. That may pass unless
// the object is.
func (l *leftovers) repair(ctx context.Context, r *recall.Recaller, e recall.Examined) (unsound []outcome.Finding, mayPass bool) {
	mayPass = true
	for _, f := range r.Repair(ctx, e) {
		switch {
		case f.Severity == outcome.Remark:
		case f.Repaired:
			l.Log.Info("fixed a file that had been made a stub only in part", "path", e.Path, "gfid", e.GFID)
		default:
			unsound = append(unsound, f)
			mayPass = mayPass && f.Severity != outcome.Grave
		}
	}
	return unsound, mayPass
}
