// Package gluster holds what coldbrick knows about GlusterFS: the names of its
// extended attributes, how their values are encoded, and what they mean. It
// only encodes, decodes and derives; it touches no file and decides nothing.
//
// Each fact was measured on GlusterFS 10.3; docs/gluster.md names the test that
// proves it.
package gluster

import "strings"

// Extended attributes that GlusterFS keeps on the files of a brick.
const (
	XattrGFID       = "trusted.gfid"                 // 16 bytes, on every file and directory
	XattrVolumeID   = "trusted.glusterfs.volume-id"  // 16 bytes, on the brick root of a glusterd volume
	XattrMdata      = "trusted.glusterfs.mdata"      // times as clients see them, see Mdata
	XattrLinkto     = "trusted.glusterfs.dht.linkto" // a DHT pointer to another brick, not a file
	XattrGFID2Path  = "trusted.gfid2path."           // prefix; value is "<parent gfid>/<basename>"
	XattrAFR        = "trusted.afr."                 // prefix; pending counters, see AFRPending
	XattrShard      = "trusted.glusterfs.shard."     // prefix; a sharded file
	XattrEC         = "trusted.ec."                  // prefix; a fragment of a disperse volume
	XattrRemote     = "trusted.glusterfs.cs.remote"  // the object's key; its presence makes a stub
	XattrDownload   = "trusted.glusterfs.cs.downloading"
	XattrObjectSize = "trusted.glusterfs.cs.object_size" // decimal bytes; overrides the visible size while present
	XattrBlockSize  = "trusted.glusterfs.cs.block_size"
	XattrNumBlocks  = "trusted.glusterfs.cs.num_blocks"

	XattrWORM      = "trusted.worm_file"        // made while features.worm-file-level was on
	XattrRetention = "trusted.reten_state"      // WORM's state: "BITS/RETENTION/AUTO-COMMIT", see worm-helper.c
	XattrBadFile   = "trusted.bit-rot.bad-file" // the scrubber found other bytes than were signed: EIO for everybody

	// XattrStamp is never stored: setting it to the decimal mtime in seconds
	// asks the brick to turn the file into a stub.
	XattrStamp = "trusted.glusterfs.csou.complete"
)

// Virtual extended attributes that a FUSE mount answers.
const (
	VirtualGFID     = "glusterfs.gfid.string" // gfid as text
	VirtualPath     = "glusterfs.gfidtopath"  // current path with a leading slash
	VirtualPathinfo = "trusted.glusterfs.pathinfo"
	VirtualGuard    = "trusted.coldbrick.guard" // version of the guard, by coldbrick's plugin

	// VirtualNewFile, set on a directory of a mount with features/gfid-access, makes an
	// entry in it with a chosen gfid; see NewFile.
	VirtualNewFile = "glusterfs.gfid.newfile"
)

// VirtualGFIDDir is the directory, in the root of such a mount, in which every file and
// directory can be looked up by its gfid.
const VirtualGFIDDir = ".gfid"

// Extended attributes of coldbrick's own. GlusterFS keeps trusted.* attributes
// through stamping, rebalance and self-heal.
const (
	XattrPointer  = "trusted.coldbrick.object"   // which object holds, or is about to hold, the data
	XattrRecall   = "trusted.coldbrick.recall"   // notes of a recall under way
	XattrRecalled = "trusted.coldbrick.recalled" // when the last recall ended: decimal seconds
	XattrPin      = "trusted.coldbrick.pin"      // on a file or directory: never archive
	XattrFormerly = "trusted.coldbrick.formerly" // on the root: ids of the volumes that this one was rebuilt from
	XattrRebuilt  = "trusted.coldbrick.rebuilt"  // on a stub that was made without a catalog
)

// AnonymousInodeDir is the prefix of a directory that replicate keeps in the
// brick root.
const AnonymousInodeDir = ".glusterfs-anonymous-inode-"

// TrashHandle is a symlink in the root of a brick on which features.trash was ever
// on. It leads to the directory of deleted files, in the brick root too, which the
// option features.trash-dir can rename.
const TrashHandle = ".glusterfs/00/00/00000000-0000-0000-0000-000000000005"

// ProbePrefix begins the names of the scratch files in the root of a volume by which
// coldbrick finds out what a mount tells of stubs. There is no object behind them.
const ProbePrefix = ".coldbrick-probe-"

// RebuildPrefix begins the names of the directories in the root of a volume in which
// rebuild makes what it then moves into place.
const RebuildPrefix = ".coldbrick-rebuild-"

// IsInternal reports whether name, an entry of the brick root (of no other
// directory), belongs to GlusterFS or coldbrick and not to users.
func IsInternal(name string) bool {
	switch name {
	case ".glusterfs", ".shard", ".trashcan":
		return true
	}
	for _, prefix := range []string{AnonymousInodeDir, ProbePrefix, RebuildPrefix} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// AFRPending reports whether the value of a trusted.afr.* attribute blames a
// brick: any of its three counters (data, metadata, entry) is not zero.
func AFRPending(value []byte) bool {
	for _, b := range value {
		if b != 0 {
			return true
		}
	}
	return false
}
