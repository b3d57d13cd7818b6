package rebuild

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/catalog"
	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/stub"
	"github.com/coldbrick/coldbrick/internal/volume"
)

// errGFIDTaken means that a file or directory of the volume has the gfid already, under
// another name.
var errGFIDTaken = errors.New("the volume has a file of this gfid under another name")

// make makes an entry with its gfid, empty and owned by root. One that an earlier run
// has made is well. The error is errGFIDTaken if the volume has it elsewhere, EEXIST if
// another one is there.
func (b *Builder) make(at string, e catalog.Entry) error {
	found, err := b.identify(at)
	switch {
	case err != nil:
		return err
	case found == e.GFID.Inode():
		return nil
	case found != 0:
		return unix.EEXIST
	}
	// Gluster itself refuses a gfid that is in use only if it is a file's, and on the brick
	// that has it.
	lives, err := b.lives(e.GFID)
	if err != nil {
		return err
	}
	if lives {
		adopted, err := b.adopt(at, e)
		if err == nil && !adopted {
			err = errGFIDTaken
		}
		return err
	}
	parent, err := b.Volume.Open(path.Dir(at), unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer parent.Close()
	err = volume.Set(parent, gluster.VirtualNewFile, gluster.NewFile(path.Base(at), e.GFID, e.Mode, e.Rdev, string(e.Target)))
	if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOMEM) { // what Gluster says of a taken gfid
		return errGFIDTaken
	}
	return err
}

// adopt takes an entry from the stage, where a run with another Under, or a version before
// this one, has left it: under its gfid, or under its name. It moves it to where it is made
// now, and reports whether it was there.
func (b *Builder) adopt(at string, e catalog.Entry) (bool, error) {
	for _, name := range []string{e.GFID.String(), path.Base(string(e.Path))} {
		if b.stage+"/"+name == at {
			continue
		}
		found, err := b.identify(b.stage + "/" + name)
		if err != nil {
			return false, err
		}
		if found != e.GFID.Inode() {
			continue
		}
		stage, err := b.Volume.Open(b.stage, unix.O_RDONLY|unix.O_DIRECTORY)
		if err != nil {
			return false, err
		}
		defer stage.Close()
		to, err := b.Volume.Open(path.Dir(at), unix.O_RDONLY|unix.O_DIRECTORY)
		if err != nil {
			return false, err
		}
		defer to.Close()
		return true, move(stage, name, to, path.Base(at))
	}
	return false, nil
}

// lives reports whether the volume has a file or directory of this gfid. All bricks must
// be up for an answer: one that is down may have it.
func (b *Builder) lives(gfid gluster.GFID) (bool, error) {
	found, err := b.identify(gluster.VirtualGFIDDir + "/" + gfid.String())
	if err != nil || found != 0 {
		return found != 0, err
	}
	return false, b.Volume.Children()
}

// link gives a file another name.
func (b *Builder) link(from, to string, gfid gluster.GFID) error {
	found, err := b.identify(to)
	switch {
	case err != nil:
		return err
	case found == gfid.Inode():
		return nil // by an earlier run
	case found != 0:
		return unix.EEXIST
	}
	old, err := b.Volume.Open(path.Dir(from), unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer old.Close()
	next, err := b.Volume.Open(path.Dir(to), unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer next.Close()
	return unix.Linkat(int(old.Fd()), path.Base(from), int(next.Fd()), path.Base(to), 0)
}

// unlink removes a name.
func (b *Builder) unlink(at string, flags int) error {
	dir, err := b.Volume.Open(path.Dir(at), unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := unix.Unlinkat(int(dir.Fd()), path.Base(at), flags); err != nil {
		return fmt.Errorf("remove %s: %w", at, err)
	}
	return nil
}

// proven returns an error, and its reason, unless the store has the object of a stub:
// made from this file, with the bytes that were proven of it.
func (b *Builder) proven(ctx context.Context, e catalog.Entry) (outcome.Reason, error) {
	if e.Kind != catalog.Stub {
		return "", nil
	}
	info, err := b.Store.Head(ctx, string(e.Key))
	if errors.Is(err, fs.ErrNotExist) {
		return outcome.ObjectMissing, err
	}
	if err != nil {
		return outcome.StoreRefused, err
	}
	origin := stub.Origin{GFID: e.GFID, Volumes: append([]string{b.From}, b.Formerly...), Size: e.Size}
	proof := (*object.Stamped)(nil)
	if e.Pointer != nil {
		proof = e.Pointer.Proof
	}
	if proof != nil {
		origin.Mtime = &proof.Mtime // users may have changed the stub's own
	}
	switch _, err := origin.Made(info); {
	case errors.Is(err, object.ErrCorrupt):
		return outcome.ObjectCorrupt, err
	case err != nil:
		return outcome.ObjectForeign, err
	case proof != nil && info.HasCRC32 && info.CRC32 != proof.CRC32:
		return outcome.ObjectCorrupt, fmt.Errorf("%w: CRC-32 %08x, not %08x", object.ErrCorrupt, info.CRC32, proof.CRC32)
	}
	return "", nil
}

// describe gives an entry all that it has besides its name: marks, owner, mode,
// attributes, and times last. It may be done twice. cs.remote, by which a file becomes
// a stub, comes after all other marks.
func (b *Builder) describe(at string, e catalog.Entry) error {
	f, err := b.Volume.Open(at, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	if st.Ino != e.GFID.Inode() || st.Mode&unix.S_IFMT != e.Mode&unix.S_IFMT {
		return errOther
	}
	self := "/proc/self/fd/" + strconv.Itoa(int(f.Fd())) // the inode, whatever its name leads to
	if e.Kind == catalog.Stub {
		for _, mark := range b.marks(e) {
			if err := unix.Setxattr(self, mark.name, mark.value, 0); err != nil {
				return fmt.Errorf("%s: %w", mark.name, err)
			}
		}
	}
	if err := unix.Fchownat(int(f.Fd()), "", int(e.UID), int(e.GID), unix.AT_EMPTY_PATH); err != nil {
		return os.NewSyscallError("chown", err)
	}
	if e.Kind != catalog.Symlink {
		if err := unix.Chmod(self, e.Mode&0o7777); err != nil {
			return os.NewSyscallError("chmod", err)
		}
	}
	var values []error // that users chose: they cost this name alone
	for _, x := range e.Xattrs {
		if err := unix.Setxattr(self, string(x.Name), x.Value, 0); err != nil {
			values = append(values, fmt.Errorf("%q: %w", x.Name, err))
		}
	}
	if e.XattrsCut {
		values = append(values, errors.New("it had too many attributes for the catalog"))
	}
	times := []unix.Timespec{e.Atime.Timespec(), e.Mtime.Timespec()}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, self, times, 0); err != nil {
		values = append(values, os.NewSyscallError("utimensat", err))
	}
	if values != nil {
		return fmt.Errorf("%w: %w", errValues, errors.Join(values...))
	}
	return nil
}

// errValues means that an entry is there, but not all that it had.
var errValues = errors.New("rebuilt, but without some of its attributes")

// errOther means that an entry has the name of another one that was made.
var errOther = errors.New("it is another file by now")

type mark struct {
	name  string
	value []byte
}

// marks are what makes a file a stub, in the order in which they are set.
func (b *Builder) marks(e catalog.Entry) []mark {
	pointer := object.Pointer{GFID: e.GFID, Volume: b.From, Key: string(e.Key)}
	if e.Pointer != nil {
		pointer = *e.Pointer
	}
	const block = 512
	blocks := cmp.Or(e.Blocks, (e.Size+block-1)/block)
	var marks []mark
	if e.Guessed {
		marks = []mark{{gluster.XattrRebuilt, []byte("1")}}
	}
	return append(marks, []mark{
		{gluster.XattrPointer, pointer.Encode()},
		{gluster.XattrObjectSize, strconv.AppendInt(nil, e.Size, 10)},
		{gluster.XattrBlockSize, []byte("4096")},
		{gluster.XattrNumBlocks, []byte(gluster.NumBlocks(e.Size, blocks))},
		{gluster.XattrRemote, []byte(e.Key)},
	}...)
}
