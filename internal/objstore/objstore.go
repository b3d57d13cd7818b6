// Package objstore is what a store of objects is: its contract, the description from
// which coldbrick makes flags and configuration, and what stores share. Each store is
// a package below: s3 (any server that speaks S3; the only one that imports the AWS
// SDK) and dir (files in a directory, for tape gateways and NFS). Package stores lists
// them, and package storetest has the contract as tests. docs/stores.md says how to
// write one.
//
// A store creates an object only where none is, and reports success only after the
// copy is proven; it cannot overwrite one, and only one that is a Deleter can delete one.
// Stores satisfy the interfaces that upload and recall declare. A key that a store or a proxy could take
// for another one is refused in every operation, with object.ErrKey: keys to read come
// from attributes of files, and those may be hostile.
//
// The errors of stores are one line each and never hold a secret.
package objstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/coldbrick/coldbrick/internal/object"
)

// Store is the contract. Its methods may be called from many goroutines. Before Init
// and after Fini, operations answer ErrClosed; those that are under way then go on
// with what they began with.
type Store interface {
	// Init prepares the store. It neither writes nor needs the store to be in reach.
	Init(ctx context.Context, options map[string]string) error
	// Reconfigure is Init once more, for operations that begin later.
	Reconfigure(ctx context.Context, options map[string]string) error
	// Fini releases what Init took.
	Fini() error

	// Create stores size bytes of body under key if nothing is there. It returns nil
	// only after the size and CRC-32 of the bytes that it read are confirmed by the
	// store itself, and reads each byte once. fs.ErrExist means that the key is
	// taken, object.ErrKey that it is refused, object.ErrChanged that body does not
	// have size bytes, object.ErrStore that no object can be stored now. A Create that
	// fails leaves no object, or one of the same attempt (object.MetaAttempt).
	Create(ctx context.Context, key string, body io.ReaderAt, size int64, metadata map[string]string) (object.Proof, error)
	// Conditional reports whether a Create of so many bytes is known to leave a taken
	// key alone, also when several race for it. Where it is not, only keys that
	// nobody else can have are used.
	Conditional(size int64) bool
	// Head tells about an object; fs.ErrNotExist if there is none.
	Head(ctx context.Context, key string) (object.Info, error)
	// Download writes the whole object to dst, in any order and by many goroutines,
	// after accept, which is called once, has agreed to what it is. It returns size
	// and CRC-32 of the bytes written, and an error unless they are the whole object.
	Download(ctx context.Context, key string, dst io.WriterAt, accept func(object.Info) error) (object.Proof, error)
}

// Prober is a store that has to find out what it can be relied on for, and whether it
// can be used at all (object.ErrStore). The others know without asking.
type Prober interface {
	Probe(ctx context.Context) (Capabilities, error)
	// Reuse goes by an earlier probe of the same Account that was Proven, if what
	// can be looked at cheaply still holds.
	Reuse(ctx context.Context) bool
	// Account names what the finding of a probe holds for.
	Account(ctx context.Context) (string, error)
}

// Lister is a store that can tell what is in it.
type Lister interface {
	// List visits the objects whose keys begin with prefix, in no order. An error of
	// visit ends it.
	List(ctx context.Context, prefix string, visit func(Listed) error) error
}

// Thawer is a store that may hold objects that cannot be read at once. Head tells of
// each whether it can be (object.Access).
type Thawer interface {
	// Thaw asks the store to make an object readable that is object.Frozen by what
	// Head told. It returns once the store has agreed, hours before the object can be
	// read. If somebody has asked before, or it can be read by now, that is as good.
	Thaw(ctx context.Context, key string, info object.Info, how object.Thaw) error
}

// Deleter is a store that can delete objects.
type Deleter interface {
	// Delete deletes the object under key if it is, as far as the store can be asked,
	// still the one that a Head told of: else object.ErrChanged. That none is there is
	// fs.ErrNotExist. A bucket that keeps versions keeps this one. It is asked for once:
	// after an error that is none of these the object may or may not be there, and the
	// request may still be on its way.
	Delete(ctx context.Context, key string, is object.Info) error
}

// Versioner is a store that may keep what was deleted or overwritten, as versions.
type Versioner interface {
	// KeepsVersions reports whether it does. That it cannot tell, or that versions
	// could be overwritten, is an error.
	KeepsVersions(ctx context.Context) (bool, error)
	// Versions visits all versions of the objects whose keys begin with prefix, also
	// the markers of those that were deleted, in no order. An error of visit ends it.
	Versions(ctx context.Context, prefix string, visit func(Version) error) error
	// HeadVersion tells of one version that is no marker.
	HeadVersion(ctx context.Context, key, id string) (VersionInfo, error)
	// DeleteVersion deletes one version for good. It is asked for once, but no other
	// version will ever have its id. What an answer says of one that is gone differs
	// from server to server; fs.ErrPermission means that the store has refused, as for a Lock.
	DeleteVersion(ctx context.Context, key, id string) error
}

// Tidier is a store in which runs that died leave data that no listing shows.
type Tidier interface {
	// Tidy removes such data of keys that begin with prefix, and maybe of others. What
	// a run that lives may be writing stays.
	Tidy(ctx context.Context, prefix string) error
}

// Version is what a listing tells of a version of an object.
type Version struct {
	Listed
	ID     string
	Latest bool
	Marker bool // that the object was deleted: it has no data
}

// VersionInfo is what the store knows of a version.
type VersionInfo struct {
	object.Info
	Lock Lock
}

// Lock is a promise of the store that nobody can delete a version.
type Lock struct {
	Until time.Time `json:"until,omitzero"`
	Hold  bool      `json:"hold,omitempty"` // until somebody ends it
}

// Holds reports whether the lock is in force.
func (l Lock) Holds(now time.Time) bool { return l.Hold || l.Until.After(now) }

func (l Lock) String() string {
	if l.Hold {
		return "a legal hold"
	}
	return "an object lock until " + l.Until.UTC().Format(time.DateTime)
}

// Listed is what a listing tells of an object.
type Listed struct {
	Key      string
	Size     int64
	Modified time.Time // by the store's clock
}

// Capabilities are what a Probe saw a store do. What was not seen is false.
type Capabilities struct {
	// PutConditional: a PUT with If-None-Match leaves a taken key alone, also
	// when several race for it.
	PutConditional bool
	// CompleteConditional: so does the completion of a multipart upload.
	CompleteConditional bool
	// ChecksumVerified: a PUT with a wrong CRC-32 is refused, so that a
	// success is a proof.
	ChecksumVerified bool
	// ChecksumReturned: HEAD shows the CRC-32 of an object put with one.
	ChecksumReturned bool
	// FullObjectMultipart: a multipart upload is refused if the CRC-32 of the
	// whole is wrong, and HEAD shows it afterwards.
	FullObjectMultipart bool

	ClockSkew       time.Duration // the store's clock minus this host's
	Versioning      string        // "Enabled", "Suspended", VersioningOff, or empty: not told
	LifecycleTold   bool          // whether what follows was told
	LifecycleAborts bool          // a lifecycle rule aborts left-over multipart uploads
	LeftBehind      []string      // probe objects that could not be deleted
}

// VersioningOff is the Versioning of a bucket that keeps no old versions. S3 has no word
// for it.
const VersioningOff = "Off"

// Versioned reports whether the bucket has versions, of which a delete takes none.
func (c *Capabilities) Versioned() bool { return c.Versioning != "" && c.Versioning != VersioningOff }

// Proven reports whether the store was seen to do all that coldbrick can make
// use of.
func (c *Capabilities) Proven() bool {
	return c.PutConditional && c.CompleteConditional && c.ChecksumVerified && c.ChecksumReturned && c.FullObjectMultipart
}

// Limiter bounds the bytes per second over all transfers of a store;
// *rate.Limiter of golang.org/x/time/rate is one.
type Limiter interface {
	WaitN(ctx context.Context, n int) error
	Burst() int
}

// Pay takes n bytes from a limit, or none if it is nil, in pieces that it can give.
func Pay(ctx context.Context, limiter Limiter, n int) error {
	for limiter != nil && n > 0 {
		chunk := max(1, min(n, limiter.Burst()))
		if err := limiter.WaitN(ctx, chunk); err != nil {
			return err
		}
		n -= chunk
	}
	return nil
}

// ErrClosed is what every operation answers before Init and after Fini.
var ErrClosed = errors.New("store is not initialised")

// CheckKey refuses keys that are ambiguous somewhere: versitygw, for one,
// stores "a//b" and "a/x/../b" as "a/b". No path below a volume's root looks
// like that, so nothing is lost.
func CheckKey(key string) error {
	if _, ok := object.PathKey(key, ""); !ok {
		return fmt.Errorf("%w: %.200q", object.ErrKey, key)
	}
	return nil
}

// ReadFull fills b with the bytes of body at off. Too few of them mean that the
// file was cut in the meantime.
func ReadFull(body io.ReaderAt, b []byte, off int64) error {
	n, err := body.ReadAt(b, off)
	switch {
	case n == len(b):
		return nil
	case err == nil || errors.Is(err, io.EOF):
		return fmt.Errorf("body ends at byte %d: %w", off+int64(n), object.ErrChanged)
	default:
		return fmt.Errorf("read body at byte %d: %w", off+int64(n), err)
	}
}

// CheckEnd reports a body that has grown past size.
func CheckEnd(body io.ReaderAt, size int64) error {
	var one [1]byte
	n, err := body.ReadAt(one[:], size)
	switch {
	case n > 0:
		return fmt.Errorf("body goes on after byte %d: %w", size, object.ErrChanged)
	case errors.Is(err, io.EOF):
		return nil
	default:
		return fmt.Errorf("read body at byte %d: %w", size, err)
	}
}

// Discard takes the bytes of a read-back.
type Discard struct{}

// WriteAt drops b.
func (Discard) WriteAt(b []byte, _ int64) (int, error) { return len(b), nil }
