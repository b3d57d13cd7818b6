package safety

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/copied"
	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore/s3"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/owner"
	"github.com/coldbrick/coldbrick/internal/record"
	"github.com/coldbrick/coldbrick/internal/testkit"
	"github.com/coldbrick/coldbrick/recall"
	"github.com/coldbrick/coldbrick/upload"
)

// Sizes of subjects: one PUT, one that a recall enters in the index besides, and a
// multipart upload of two parts.
const (
	partSize = 5 << 20
	single   = 70_001
	entered  = 1 << 20
	parted   = partSize + 50_003
)

// proving is a ground for many subjects at once, each a file that something is
// done to, with a mount that only looks.
type proving struct {
	*ground
	Reader string       // a mount with cloudsync that does nothing but read
	Hasty  *s3.Store    // a store that does not wait long for an answer
	made   atomic.Int64 // subjects
	self   owner.Owner  // of this process
	Copies *copied.Index
}

func newProving(t *testing.T, options ...testkit.Option) *proving {
	t.Helper()
	p := &proving{ground: newGround(t, options...)}
	p.Reader = p.NewMount(t)
	p.Store = p.storeWith(nil)
	p.Copies = p.index()
	p.Hasty = p.storeWith(map[string]string{"idle-timeout": "8s"})
	var err error
	p.self, err = owner.Self(object.NewID())
	check(t, err)
	return p
}

// fileSystems are grounds whose bricks have the file systems that people run.
type fileSystems [2]*proving

func onXFSAndExt4(t *testing.T) fileSystems {
	t.Helper()
	return fileSystems{newProving(t, testkit.BrickOn("xfs")), newProving(t, testkit.Ext4(256))}
}

// of is the ground of the cell with this number: by the sequence of Thue and Morse, so
// that no row or column of a table falls to one file system alone.
func (f fileSystems) of(number int) *proving { return f[bits.OnesCount(uint(number))%2] }

func (p *proving) storeOptions() map[string]string {
	return map[string]string{
		"endpoint-url": p.Proxy.Endpoint, "bucket": p.S3.Bucket, "region": p.S3.Region,
		"access-key-id": p.S3.AccessKey, "secret-access-key": p.S3.SecretKey, "part-size": fmt.Sprint(partSize),
	}
}

func (p *proving) storeWith(more map[string]string) *s3.Store {
	p.t.Helper()
	options := p.storeOptions()
	for name, value := range more {
		options[name] = value
	}
	store := &s3.Store{}
	check(p.t, store.Init(p.t.Context(), options))
	_, err := store.Probe(p.t.Context())
	check(p.t, err)
	return store
}

// deadRun is the owner that a run of a process leaves which is dead by now.
func (p *proving) deadRun() owner.Owner {
	o := p.self
	o.Run = object.NewID()
	o.Start++ // no living process
	return o
}

// subject is one file, and what it must always hold.
type subject struct {
	*proving
	path  string
	data  []byte
	sum   [sha256.Size]byte
	mtime time.Time
	gfid  gluster.GFID

	impatient bool // with the store
}

func (s *subject) store() *s3.Store {
	if s.impatient {
		return s.Hasty
	}
	return s.Store
}

// subject makes a cold file.
func (p *proving) subject(size int) (*subject, error) {
	s := &subject{proving: p, path: fmt.Sprintf("subject %d", p.made.Add(1)), data: randomBytes(size), mtime: longAgo}
	s.sum = sha256.Sum256(s.data)
	if err := os.WriteFile(s.Path(s.path), s.data, 0o644); err != nil {
		return nil, err
	}
	if err := os.Chtimes(s.Path(s.path), s.mtime, s.mtime); err != nil {
		return nil, err
	}
	value := make([]byte, len(s.gfid))
	if _, err := unix.Lgetxattr(s.BrickPath(s.path), gluster.XattrGFID, value); err != nil {
		return nil, fmt.Errorf("gfid: %w", err)
	}
	var err error
	s.gfid, err = gluster.GFIDFromBytes(value)
	return s, err
}

// archive is a run of archive on the subject alone. edit, if not nil, changes
// how it is done.
func (s *subject) archive(edit func(*upload.Archiver)) upload.Result {
	run := s.deadRun()
	log, err := record.Create(filepath.Join(s.StateDir, "runs"), run, s.BrickDir())
	if err != nil {
		return upload.Result{Outcome: outcome.Failed, Reason: outcome.IOError, Err: err}
	}
	defer log.Close() // of no effect on what is on disk; its last line is for other tests
	a := &upload.Archiver{
		Mount: s.Stamping, Brick: s.Brick, Store: s.store(), Log: log, Owner: run,
		Volume: s.ID, ColdBefore: time.Now().Add(-5 * time.Second),
	}
	if edit != nil {
		edit(a)
	}
	return a.Archive(context.Background(), gluster.File{Path: s.path, GFID: s.gfid, Size: int64(len(s.data)), Mtime: s.mtime})
}

func (s *subject) recaller() *recall.Recaller {
	return &recall.Recaller{
		Files: s.Files, Barrier: s.Stamping, Plugin: s.store(), Owner: s.deadRun(),
		Volume: s.ID, BarrierLimit: time.Minute, Copies: []recall.Copies{{Brick: s.Brick, Index: s.Copies}},
	}
}

// recall is a run of recall on the subject alone.
func (s *subject) recall(edit func(*recall.Recaller)) recall.Result {
	r := s.recaller()
	if edit != nil {
		edit(r)
	}
	return r.Recall(context.Background(), s.path, s.gfid)
}

// archived makes the subject a stub.
func (s *subject) archived() error {
	if res := s.archive(nil); res.Outcome != outcome.Archived || res.Err != nil {
		return fmt.Errorf("archive: %s %s: %w", res.Outcome, res.Reason, res.Err)
	}
	return nil
}

// cutRecall recalls until before a step, and then does nothing more, as if the
// process had been killed there.
func (s *subject) cutRecall(at recall.Step) {
	dead := make(chan struct{})
	go func() {
		defer close(dead)
		s.recall(func(r *recall.Recaller) {
			r.At = func(step recall.Step, _ string) error {
				if step == at {
					runtime.Goexit()
				}
				return nil
			}
		})
	}()
	<-dead
}

// cutArchive is the same for an archive.
func (s *subject) cutArchive(at upload.Step) {
	dead := make(chan struct{})
	go func() {
		defer close(dead)
		s.archive(func(a *upload.Archiver) {
			a.At = func(step upload.Step, _ gluster.File) error {
				if step == at {
					runtime.Goexit()
				}
				return nil
			}
		})
	}()
	<-dead
}

// errUnreadable means that a reader got an error, which is allowed while the
// file is not local; wrong bytes never are.
var errUnreadable = errors.New("unreadable")

// read reads the subject as a client that sees it for the first time. An error
// that is not errUnreadable is the loss that must not be.
func (s *subject) read() error {
	f, err := os.Open(filepath.Join(s.Reader, s.path))
	if err != nil {
		return fmt.Errorf("%w: %w", errUnreadable, err)
	}
	defer f.Close() // read only
	sum := sha256.New()
	n, err := io.Copy(sum, onlyReader{f})
	if err != nil {
		return fmt.Errorf("%w: %w", errUnreadable, err)
	}
	if got := sum.Sum(nil); !bytes.Equal(got, s.sum[:]) {
		return fmt.Errorf("a reader gets %d bytes without an error that are not the %d written", n, len(s.data))
	}
	return nil
}

// onlyReader hides what io.Copy would take a short cut by.
type onlyReader struct{ io.Reader }

// neverWrong is what must hold at every instant.
func (s *subject) neverWrong() error {
	if err := s.read(); err != nil && !errors.Is(err, errUnreadable) {
		return err
	}
	return nil
}

// fix is fsck --repair.
func (s *subject) fix() (recall.Examined, error) {
	r := s.recaller()
	e, err := r.Examine(context.Background(), s.path, s.gfid, recall.Head)
	if err != nil {
		return e, fmt.Errorf("examine: %w", err)
	}
	for _, f := range r.Repair(context.Background(), e) {
		if f.Severity != outcome.Remark && !f.Repaired {
			return e, fmt.Errorf("not repaired: %s: %s", f.Class, f.Detail)
		}
	}
	if e, err = r.Examine(context.Background(), s.path, s.gfid, recall.Head); err != nil {
		return e, fmt.Errorf("examine again: %w", err)
	}
	for _, f := range e.Findings {
		if f.Severity != outcome.Remark {
			return e, fmt.Errorf("found after the repair: %s: %s", f.Class, f.Detail)
		}
	}
	return e, nil
}

// settle holds the subject against the promise after something went wrong and
// again, the plain re-run, was done: fsck --repair finds nothing that stays,
// the file is local or can be recalled, it is what it was, nothing is left on
// it, and it can be written.
func (s *subject) settle() error {
	if err := s.neverWrong(); err != nil {
		return fmt.Errorf("after the re-run: %w", err)
	}
	e, err := s.fix()
	if err != nil {
		return err
	}
	if err := s.neverWrong(); err != nil {
		return fmt.Errorf("after the repair: %w", err)
	}
	switch e.State {
	case outcome.StateLocal, outcome.StateCopied:
	case outcome.StateRemote:
		if res := s.recall(nil); res.Outcome != outcome.Recalled || res.Err != nil {
			return fmt.Errorf("recall at the end: %s %s: %w", res.Outcome, res.Reason, res.Err)
		}
	default:
		return fmt.Errorf("ends as %s", e.State)
	}
	return s.whole()
}

// whole means: local, as it was, and an ordinary file.
func (s *subject) whole() error {
	if err := s.read(); err != nil {
		return fmt.Errorf("at the end: %w", err)
	}
	name := filepath.Join(s.Reader, s.path)
	st, err := os.Stat(name)
	if err != nil {
		return err
	}
	if !st.ModTime().Equal(s.mtime) {
		return fmt.Errorf("mtime is %v, was %v", st.ModTime(), s.mtime)
	}
	left, err := leftOn(s.BrickPath(s.path))
	if err != nil {
		return err
	}
	if len(left) > 0 {
		return fmt.Errorf("%q are left on it", left)
	}
	const more = "more"
	f, err := os.OpenFile(s.Path(s.path), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(more)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("append: %w", err)
	}
	s.sum = sha256.Sum256(append(bytes.Clone(s.data), more...))
	if err := s.read(); err != nil {
		return fmt.Errorf("after appending: %w", err)
	}
	return os.Remove(s.Path(s.path)) // of thousands of subjects
}

// leftOn are the attributes of coldbrick's and cloudsync's making that have no business
// on a local file: all but the time of its recall, and a pointer that says that the data
// is back.
func leftOn(path string) ([]string, error) {
	names, err := xattrNames(path)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(ours(names), func(name string) bool {
		if name != gluster.XattrPointer {
			return name == gluster.XattrRecalled
		}
		value := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(path, name, value)
		if err != nil {
			return false
		}
		p, err := object.DecodePointer(value[:n])
		return err == nil && p.Recalled && p.Recall == ""
	}), nil
}

// ours are the attributes of coldbrick's and cloudsync's making.
func ours(names []string) (found []string) {
	for _, name := range names {
		if strings.HasPrefix(name, "trusted.coldbrick.") || strings.HasPrefix(name, "trusted.glusterfs.cs.") {
			found = append(found, name)
		}
	}
	return found
}

func xattrNames(path string) ([]string, error) {
	buf := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, buf)
	if err != nil {
		return nil, fmt.Errorf("list xattrs: %w", err)
	}
	return strings.Split(strings.TrimRight(string(buf[:n]), "\x00"), "\x00"), nil
}
