// Package dir keeps objects as files in a directory.
package dir

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore"
)

// Kind is the dir store.
var Kind = objstore.Kind{
	Name:        "dir",
	Description: "files in a directory, for tape gateways and NFS; recalled by coldbrick recall alone",
	Options: []objstore.Option{
		{Name: "store-dir", Usage: "the `DIR` of the dir store", Required: "directory", Outside: true},
	},
	New: func(d objstore.Deps) objstore.Store { return &Store{Limiter: d.Limiter} },
}

// Store keeps objects in a directory, such as the front of a tape library or an
// NFS export. Set its fields before Init, and do not copy it. Its methods may be
// called from many goroutines.
//
// The object video/a.mov is the directory video/a.mov.object with the bytes in
// "data" and what is known of them in "info.json". Both become visible at once,
// by renaming the directory, which no file system does onto one that is not
// empty. Plain files, rather than extended attributes, survive every copy.
type Store struct {
	// Limiter bounds the bandwidth of all transfers; nil means unlimited.
	Limiter objstore.Limiter

	current atomic.Pointer[session]
}

// Files of an object, and the suffixes that only this package gives to names.
const (
	dataFile, infoFile = "data", "info.json"
	objectSuffix       = ".object" // an object
	escapedSuffix      = ".dir"    // a directory whose own name ends in one of these
	moreSuffix         = ".more"   // a name that is too long, cut: the rest is inside
	tempSuffix         = ".tmp"    // an object being written
)

// dirBuffer is what is read and written at a time.
const dirBuffer = 1 << 20

// dirInfo is the content of info.json.
type dirInfo struct {
	Version  int               `json:"version"`
	Size     int64             `json:"size"`
	CRC32    string            `json:"crc32"` // eight hexadecimal digits
	Metadata map[string]string `json:"metadata"`
}

const dirInfoVersion = 1

// session is what Init made of one set of options.
type session struct {
	root    *os.File // O_PATH
	name    string   // for messages
	buffers *objstore.Buffers
	limiter objstore.Limiter
}

// Init opens the directory named by the option "store-dir", which must exist: to make
// it would hide that it is not mounted. It writes nothing. Of the other options
// it honours jobs.
func (d *Store) Init(ctx context.Context, opts map[string]string) error {
	return d.Reconfigure(ctx, opts)
}

// Reconfigure is Init once more. What is under way goes on in the old
// directory.
func (d *Store) Reconfigure(_ context.Context, opts map[string]string) error {
	var path string
	jobs := objstore.DefaultJobs
	for name, value := range opts {
		var err error
		switch {
		case name == "store-dir":
			path = value
		case name == "jobs":
			jobs, err = objstore.ParseJobs(value)
		case !slices.Contains(objstore.Common, name):
			err = objstore.ErrNoOption
		}
		if err != nil {
			return fmt.Errorf("store option %s: %w", name, err)
		}
	}
	if path == "" {
		return errors.New("store option store-dir: is missing")
	}
	root, err := os.OpenFile(path, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return &objstore.Error{Op: "open " + path, Kind: object.ErrStore, Text: cause(err)}
	}
	// The old root is closed by the garbage collector, when its last
	// operation has ended.
	d.current.Store(&session{root: root, name: path, buffers: objstore.NewBuffers(jobs * dirBuffer), limiter: d.Limiter})
	return nil
}

// Fini forgets the directory. Operations under way still end well.
func (d *Store) Fini() error {
	d.current.Store(nil)
	return nil
}

func (d *Store) session(key string) (*session, error) {
	if err := objstore.CheckKey(key); err != nil {
		return nil, err
	}
	if n := d.current.Load(); n != nil {
		return n, nil
	}
	return nil, objstore.ErrClosed
}

// Conditional is true: a rename never replaces an object.
func (d *Store) Conditional(int64) bool { return true }

// Head tells about an object, fs.ErrNotExist if there is none.
func (d *Store) Head(_ context.Context, key string) (object.Info, error) {
	n, err := d.session(key)
	if err != nil {
		return object.Info{}, err
	}
	data, info, err := n.open(key)
	if err != nil {
		return object.Info{}, err
	}
	return info, data.Close()
}

// Create stores size bytes of body under key only if nothing is there. Before
// the object becomes visible it is on the disk and was read back from there.
func (d *Store) Create(ctx context.Context, key string, body io.ReaderAt, size int64, metadata map[string]string) (object.Proof, error) {
	n, err := d.session(key)
	if err != nil {
		return object.Proof{}, err
	}
	parentPath, name := objectPath(key)
	parent, err := n.makeDirs(parentPath)
	switch {
	case errors.Is(err, unix.ENOTDIR): // something that is not ours is in the way
		return object.Proof{}, &objstore.Error{Op: "create directory", Kind: object.ErrKey, Text: cause(err)}
	case errors.Is(err, fs.ErrNotExist): // the root itself
		return object.Proof{}, n.rootGone()
	case err != nil:
		return object.Proof{}, dirError("create directory", err)
	}
	defer parent.Close()

	temp := object.NewID() + tempSuffix
	if err := unix.Mkdirat(int(parent.Fd()), temp, 0o700); err != nil {
		return object.Proof{}, dirError("create object", err)
	}
	proof, err := n.write(ctx, parent, temp, body, size, metadata)
	if err == nil {
		err = n.publish(parent, temp, name, key, metadata[object.MetaAttempt])
	}
	if err != nil {
		removeTemp(parent, temp)
	}
	return proof, err
}

// write makes the object's directory, whole and on the disk.
func (n *session) write(ctx context.Context, parent *os.File, temp string, body io.ReaderAt, size int64, metadata map[string]string) (object.Proof, error) {
	dir, err := openBeneath(parent, temp, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return object.Proof{}, dirError("create object", err)
	}
	defer dir.Close()
	data, err := openBeneath(dir, dataFile, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL, 0o600)
	if err != nil {
		return object.Proof{}, dirError("create object", err)
	}
	defer data.Close()

	buf, err := n.buffers.Get(ctx, dirBuffer)
	if err != nil {
		return object.Proof{}, err
	}
	defer n.buffers.Put(buf)
	proof := object.Proof{Size: size}
	for proof.Reads < size {
		chunk := buf[:min(int64(len(buf)), size-proof.Reads)]
		if err := n.pay(ctx, len(chunk)); err != nil {
			return proof, err
		}
		if err := objstore.ReadFull(body, chunk, proof.Reads); err != nil {
			return proof, err
		}
		if _, err := data.WriteAt(chunk, proof.Reads); err != nil {
			return proof, dirError("write object", err)
		}
		proof.CRC32 = crc32.Update(proof.CRC32, crc32.IEEETable, chunk)
		proof.Reads += int64(len(chunk))
	}
	if err := objstore.CheckEnd(body, size); err != nil {
		return proof, err
	}
	if err := data.Sync(); err != nil {
		return proof, dirError("write object", err)
	}
	// What is read now should come from the disk or the server, not from
	// this host's memory.
	if err := unix.Fadvise(int(data.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		return proof, dirError("read back", err)
	}
	sum, err := n.checksum(ctx, data, size, buf)
	if err != nil {
		return proof, err
	}
	if sum != proof.CRC32 {
		return proof, &objstore.Error{Op: "read back", Kind: object.ErrCorrupt}
	}

	text, err := json.Marshal(dirInfo{dirInfoVersion, size, fmt.Sprintf("%08x", proof.CRC32), metadata})
	if err != nil {
		return proof, err
	}
	info, err := openBeneath(dir, infoFile, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o600)
	if err != nil {
		return proof, dirError("write object", err)
	}
	_, err = info.Write(append(text, '\n'))
	if err := errors.Join(err, info.Sync(), info.Close(), dir.Sync()); err != nil {
		return proof, dirError("write object", err)
	}
	return proof, nil
}

// checksum reads a file that should have size bytes.
func (n *session) checksum(ctx context.Context, f *os.File, size int64, buf []byte) (uint32, error) {
	var sum uint32
	for off := int64(0); off < size; {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		got, err := f.ReadAt(buf[:min(int64(len(buf)), size-off)], off)
		if got == 0 && err != nil {
			return 0, dirError("read back", err)
		}
		sum = crc32.Update(sum, crc32.IEEETable, buf[:got])
		off += int64(got)
	}
	return sum, nil
}

// publish gives the written object its name, unless that is taken.
func (n *session) publish(parent *os.File, temp, name, key, attempt string) error {
	fd := int(parent.Fd())
	err := unix.Renameat2(fd, temp, fd, name, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.ENOTSUP) {
		// NFS, and others that know no flags. No object's directory is ever
		// empty, and onto such a one there is no rename.
		err = unix.Renameat(fd, temp, fd, name)
	}
	if err != nil {
		// An NFS server that repeats a request whose answer was lost reports
		// an error of its own success.
		data, info, openErr := n.open(key)
		if openErr != nil {
			return dirError("create object", err)
		}
		data.Close()
		if attempt == "" || info.Metadata[object.MetaAttempt] != attempt {
			return &objstore.Error{Op: "create object", Kind: fs.ErrExist}
		}
	}
	if err := parent.Sync(); err != nil {
		return dirError("create object", err)
	}
	return nil
}

// removeTemp drops what a failed create has written. What it cannot remove is
// never seen as an object.
func removeTemp(parent *os.File, temp string) {
	for _, name := range []string{temp + "/" + dataFile, temp + "/" + infoFile} {
		_ = unix.Unlinkat(int(parent.Fd()), name, 0)
	}
	_ = unix.Unlinkat(int(parent.Fd()), temp, unix.AT_REMOVEDIR)
}

// Download writes the whole object to dst after accept returned nil, and
// compares it with the checksum noted at its creation.
func (d *Store) Download(ctx context.Context, key string, dst io.WriterAt, accept func(object.Info) error) (object.Proof, error) {
	n, err := d.session(key)
	if err != nil {
		return object.Proof{}, err
	}
	data, info, err := n.open(key)
	if err != nil {
		return object.Proof{}, err
	}
	defer data.Close()
	if err := accept(info); err != nil {
		return object.Proof{}, err
	}
	buf, err := n.buffers.Get(ctx, dirBuffer)
	if err != nil {
		return object.Proof{}, err
	}
	defer n.buffers.Put(buf)
	var got object.Proof
	for {
		if err := n.pay(ctx, len(buf)); err != nil {
			return got, err
		}
		count, readErr := data.ReadAt(buf, got.Size)
		if count > 0 {
			if _, err := dst.WriteAt(buf[:count], got.Size); err != nil {
				return got, fmt.Errorf("write: %w", err)
			}
			got.CRC32 = crc32.Update(got.CRC32, crc32.IEEETable, buf[:count])
			got.Size += int64(count)
			got.Reads = got.Size
		}
		if errors.Is(readErr, io.EOF) {
			break
		}
		if readErr != nil {
			return got, dirError("read object", readErr)
		}
		if got.Size > info.Size {
			break
		}
	}
	switch {
	case got.Size != info.Size:
		return got, &objstore.Error{Op: "read object", Kind: object.ErrChanged}
	case info.HasCRC32 && got.CRC32 != info.CRC32:
		return got, &objstore.Error{Op: "read object", Kind: object.ErrCorrupt,
			Text: fmt.Sprintf("CRC-32 %08x read, %08x noted by the store", got.CRC32, info.CRC32)}
	}
	return got, nil
}

// pay waits for the bandwidth limit, and ends with ctx.
func (n *session) pay(ctx context.Context, bytes int) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return objstore.Pay(ctx, n.limiter, bytes)
}

// open opens the bytes of an object and reads what is known of them. An object
// whose info.json was lost on the way still has its bytes.
func (n *session) open(key string) (*os.File, object.Info, error) {
	parent, name := objectPath(key)
	dir := name
	if parent != "" {
		dir = parent + "/" + name
	}
	data, err := openBeneath(n.root, dir+"/"+dataFile, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	var root unix.Stat_t
	switch {
	case err == nil:
	case unix.Fstat(int(n.root.Fd()), &root) != nil || root.Nlink == 0:
		return nil, object.Info{}, n.rootGone() // or every object would seem to be missing
	default:
		return nil, object.Info{}, dirError("open object", err)
	}
	info, err := n.info(data, dir)
	if err != nil {
		data.Close()
		return nil, object.Info{}, err
	}
	return data, info, nil
}

func (n *session) rootGone() error {
	return &objstore.Error{Op: "open " + n.name, Kind: object.ErrStore, Text: "the directory is gone"}
}

func (n *session) info(data *os.File, dir string) (object.Info, error) {
	stat, err := data.Stat()
	if err != nil {
		return object.Info{}, dirError("open object", err)
	}
	if !stat.Mode().IsRegular() {
		return object.Info{}, &objstore.Error{Op: "open object", Kind: object.ErrCorrupt, Text: "is no regular file"}
	}
	info := object.Info{Size: stat.Size(), Modified: stat.ModTime(), Metadata: map[string]string{}}
	f, err := openBeneath(n.root, dir+"/"+infoFile, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return info, nil
	}
	if err != nil {
		return object.Info{}, dirError("open object", err)
	}
	defer f.Close()
	var noted dirInfo
	var sum uint32
	err = json.NewDecoder(io.LimitReader(f, 1<<20)).Decode(&noted)
	if err == nil {
		_, err = fmt.Sscanf(noted.CRC32, "%08x", &sum)
	}
	switch {
	case err != nil || noted.Version != dirInfoVersion:
		return object.Info{}, &objstore.Error{Op: "open object", Kind: object.ErrCorrupt, Text: infoFile + " is not readable"}
	case noted.Size != info.Size:
		return object.Info{}, &objstore.Error{Op: "open object", Kind: object.ErrCorrupt,
			Text: fmt.Sprintf("has %d bytes, %d were stored", info.Size, noted.Size)}
	}
	info.CRC32, info.HasCRC32 = sum, true
	if noted.Metadata != nil {
		info.Metadata = noted.Metadata
	}
	return info, nil
}

// objectPath is where an object lies below the root: its parent directory, empty
// for the root itself, and the name of the object's own directory. Different
// keys have different places, none of which is a directory on the way to
// another; "d" and "d/x" may both be.
func objectPath(key string) (parent, name string) {
	elements := strings.Split(key, "/")
	last := len(elements) - 1
	var path []string
	for _, e := range elements[:last] {
		path, e = cutLong(path, e)
		path = append(path, escape(e))
	}
	path, rest := cutLong(path, elements[last])
	return strings.Join(path, "/"), rest + objectSuffix
}

// cutLong moves the beginning of a name that is too long into directories of
// its own, in whole characters.
func cutLong(path []string, name string) ([]string, string) {
	const longest = 255 - len(objectSuffix)
	for len(name) > longest {
		cut := 200
		for cut > 0 && name[cut]&0xc0 == 0x80 { // within a UTF-8 sequence
			cut--
		}
		path, name = append(path, name[:cut]+moreSuffix), name[cut:]
	}
	return path, name
}

// escape keeps the names of directories apart from those that this package
// makes up.
func escape(name string) string {
	for _, suffix := range []string{objectSuffix, escapedSuffix, moreSuffix, tempSuffix} {
		if strings.HasSuffix(name, suffix) {
			return name + escapedSuffix
		}
	}
	return name
}

// makeDirs opens the directory at path below the root, and makes what is
// missing of it, durably.
func (n *session) makeDirs(path string) (*os.File, error) {
	const flags = unix.O_RDONLY | unix.O_DIRECTORY
	if path == "" {
		path = "."
	}
	dir, err := openBeneath(n.root, path, flags, 0)
	if !errors.Is(err, fs.ErrNotExist) {
		return dir, err
	}
	if dir, err = openBeneath(n.root, ".", flags, 0); err != nil {
		return nil, err
	}
	for name := range strings.SplitSeq(path, "/") {
		if err := unix.Mkdirat(int(dir.Fd()), name, 0o700); err == nil {
			err = dir.Sync()
			if err != nil {
				dir.Close()
				return nil, err
			}
		} else if !errors.Is(err, fs.ErrExist) {
			dir.Close()
			return nil, err
		}
		next, err := openBeneath(dir, name, flags, 0)
		dir.Close()
		if err != nil {
			return nil, err
		}
		dir = next
	}
	return dir, nil
}

// openBeneath opens a path below dir, and nothing else, whatever the path and
// whoever plants symbolic links.
func openBeneath(dir *os.File, path string, flags int, mode uint64) (*os.File, error) {
	for {
		fd, err := unix.Openat2(int(dir.Fd()), path, &unix.OpenHow{
			Flags:   uint64(flags) | unix.O_CLOEXEC,
			Mode:    mode,
			Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
		})
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN): // a rename raced with the look-up
			time.Sleep(time.Millisecond)
		case err != nil:
			return nil, err
		default:
			return os.NewFile(uintptr(fd), path), nil
		}
	}
}

// dirError turns an error of the store's file system into one of a known kind.
// Its errno is not wrapped: callers must not take it for one of the volume.
func dirError(op string, err error) error {
	e := &objstore.Error{Op: op, Text: cause(err)}
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR):
		e.Kind, e.Text = fs.ErrNotExist, ""
	case errors.Is(err, fs.ErrPermission):
		e.Kind, e.Text = fs.ErrPermission, ""
	case errors.Is(err, unix.ENAMETOOLONG), errors.Is(err, unix.ELOOP), errors.Is(err, unix.EXDEV), errors.Is(err, unix.EILSEQ):
		e.Kind = object.ErrKey
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT), errors.Is(err, unix.EROFS), errors.Is(err, unix.ESTALE):
		e.Kind = object.ErrStore
	}
	return e
}

// cause is the bare reason of a file system's error.
func cause(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	return objstore.OneLine(err.Error(), nil)
}
