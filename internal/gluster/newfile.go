package gluster

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// NewFile is the value of VirtualNewFile that makes an entry of this name and gfid,
// owned by root: mode is its st_mode, rdev that of a device, and target that of a
// symlink. The layout is that of ga_newfile_parse_args.
func NewFile(name string, gfid GFID, mode uint32, rdev uint64, target string) []byte {
	const permissions = 0o7777
	b := make([]byte, 8, 64+len(name)+len(target)) // uid and gid: another owner than root may not be allowed to create it
	b = append(append(b, gfid.String()...), 0)
	kind := mode & unix.S_IFMT
	if kind == unix.S_IFLNK {
		mode = kind | 0o777
	}
	b = binary.BigEndian.AppendUint32(b, mode)
	b = append(append(b, name...), 0)
	const noUmask = 0
	switch kind {
	case unix.S_IFLNK:
		return append(append(b, target...), 0)
	case unix.S_IFDIR:
		b = binary.BigEndian.AppendUint32(b, mode&permissions)
	default:
		b = binary.BigEndian.AppendUint32(b, mode&permissions)
		b = binary.BigEndian.AppendUint32(b, uint32(rdev))
	}
	return binary.BigEndian.AppendUint32(b, noUmask)
}
