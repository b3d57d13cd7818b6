package volume

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/outcome"
)

// CheckAttributes is the name of the check of a brick's room for attributes.
const CheckAttributes = "attribute-room"

// ext4 keeps all attributes of a file in what its inode has left, and in one
// block. The block has a header and ends with four bytes of zeros; each attribute
// has an entry with its name, less the namespace, and its value elsewhere, both
// padded to four bytes (fs/ext4/xattr.h). Other file systems of bricks have no
// such limit.
const (
	ext4BlockHeader = 32
	ext4End         = 4
	ext4Entry       = 16
)

// ext4Need is what attributes take of the block, given the sizes of their values
// by name.
func ext4Need(sizes map[string]int) (need int) {
	const pad = 3
	for name, size := range sizes {
		if _, local, ok := strings.Cut(name, "."); ok {
			name = local
		}
		need += (ext4Entry+len(name)+pad)&^pad + (size+pad)&^pad
	}
	return need
}

// ext4Fits reports whether these attributes are sure to fit, set in any order.
// The room in the inode is left out: what is there, and what will be, depends on
// the order in which they came.
func ext4Fits(blockSize int, sizes map[string]int) bool {
	return ext4Need(sizes) <= blockSize-ext4BlockHeader-ext4End
}

// AttributesFit reports whether an open file of a brick is sure to have room for
// more attributes, or for those that it has with larger values. more has the
// sizes of their values by name.
func AttributesFit(f *os.File, more map[string]int) (bool, error) {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &fs); err != nil {
		return false, &os.PathError{Op: "statfs", Path: f.Name(), Err: err}
	}
	if fs.Type != unix.EXT4_SUPER_MAGIC {
		return true, nil
	}
	names, err := List(f)
	if err != nil {
		return false, err
	}
	sizes := map[string]int{}
	for _, name := range names {
		value, err := Get(f, name)
		if errors.Is(err, unix.ENODATA) {
			continue // removed in the meantime
		}
		if err != nil {
			return false, err
		}
		sizes[name] = len(value)
	}
	for name, size := range more {
		sizes[name] = max(sizes[name], size)
	}
	return ext4Fits(int(fs.Bsize), sizes), nil
}

// CheckAttributes tells how much room the brick has for attributes of a file.
func (b *Brick) CheckAttributes() outcome.Check {
	var fs unix.Statfs_t
	var st unix.Stat_t
	if err := errors.Join(unix.Fstatfs(b.Fd(), &fs), unix.Fstat(b.Fd(), &st)); err != nil {
		return outcome.Check{Name: CheckAttributes, Verdict: outcome.Bad, Reason: fmt.Sprintf("brick %s: %v", b.Dir(), err)}
	}
	if fs.Type != unix.EXT4_SUPER_MAGIC {
		return outcome.Check{Name: CheckAttributes, Verdict: outcome.OK, Reason: "the file system of " + b.Dir() + " does not limit the attributes of a file"}
	}
	inodes := "an inode size that could not be read"
	if size, err := ext4InodeSize(st.Dev); err == nil {
		inodes = fmt.Sprintf("inodes of %d bytes", size)
	}
	return outcome.Check{Name: CheckAttributes, Verdict: outcome.Warning,
		Reason: fmt.Sprintf("%s is on ext4, with %s: all attributes of a file share a block of %d bytes, and a file that has many of its own is left alone", b.Dir(), inodes, fs.Bsize),
		Fix:    "make new bricks on XFS, with inodes of 512 bytes"}
}

// ext4InodeSize reads the superblock of a device.
func ext4InodeSize(dev uint64) (int, error) {
	const superblock, magicAt, inodeSizeAt, magic = 1024, 0x38, 0x58, 0xef53
	device, err := os.Readlink(fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(dev), unix.Minor(dev)))
	if err != nil {
		return 0, err
	}
	f, err := os.Open("/dev/" + filepath.Base(device))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var b [inodeSizeAt + 2]byte
	if _, err := f.ReadAt(b[:], superblock); err != nil {
		return 0, err
	}
	if binary.LittleEndian.Uint16(b[magicAt:]) != magic {
		return 0, errors.New("no superblock of ext4 on " + f.Name())
	}
	return int(binary.LittleEndian.Uint16(b[inodeSizeAt:])), nil
}
