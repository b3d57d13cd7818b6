package object

import (
	"crypto/rand"
	"encoding/hex"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/coldbrick/coldbrick/internal/gluster"
)

// MaxKey is the longest key of S3, in bytes.
const MaxKey = 1024

// ReservedPrefix begins every key that is not a path. A file with an element that
// ends so anywhere in its path gets a nonce key: what is below vol2/.coldbrick in
// one volume is the reserved area of another one with the prefix vol2/, and what is
// below vol2-.coldbrick that of one with the prefix vol2-.
const ReservedPrefix = reserved + "/"

const reserved = ".coldbrick"

// PathKey is the readable key of the file at path, relative to the volume root.
// ok is false when no store may be trusted with it as it is: too long, not
// UTF-8, control characters, or elements that stores and proxies rewrite. Such
// a file is kept under a NonceKey.
func PathKey(prefix, path string) (key string, ok bool) {
	key = prefix + path
	if len(key) > MaxKey || !utf8.ValidString(key) || slices.ContainsFunc(strings.Split(path, "/"), isReserved) {
		return "", false
	}
	for _, r := range key {
		// XML 1.0, in which stores list keys, has no other control
		// characters; net/http and proxies disagree on the rest.
		if r < 0x20 && r != '\n' && r != '\t' || r == 0x7f || r == 0xfffe || r == 0xffff {
			return "", false
		}
	}
	for element := range strings.SplitSeq(key, "/") {
		if element == "" || element == "." || element == ".." {
			return "", false
		}
	}
	return key, true
}

func isReserved(element string) bool { return strings.HasSuffix(element, reserved) }

// NonceKey is a key that no other file and no other attempt can have.
func NonceKey(prefix string, gfid gluster.GFID) string {
	return prefix + ReservedPrefix + gfid.String() + "/" + NewID()
}

// VolumeKey is the key of the object that says that a volume has objects under a
// prefix.
func VolumeKey(prefix, volumeID string) string {
	return prefix + ReservedPrefix + "volumes/" + volumeID
}

// SignedVolumeKey is the key of the object by which a host that knows the volume's
// catalog secret vouches for that registration.
func SignedVolumeKey(prefix, volumeID string) string {
	return VolumeKey(prefix, volumeID) + ".signed"
}

// CatalogKey is the key of one part of a catalog. scan is a NewID, so nobody else has
// the key. With part "" it is what all keys of that catalog begin with, and with scan
// "" too, those of all catalogs of the volume.
func CatalogKey(prefix, volumeID, scan, part string) string {
	key := CatalogsPrefix(prefix) + volumeID + "/"
	if scan != "" {
		key += scan + "/" + part
	}
	return key
}

// CatalogsPrefix is what the keys of all catalogs of all volumes begin with.
func CatalogsPrefix(prefix string) string { return prefix + ReservedPrefix + "catalogs/" }

// IsRecord reports whether a key under a prefix is that of one of coldbrick's own
// records, such as a catalog, and not that of a file's data.
func IsRecord(prefix, key string) bool {
	rest, ok := strings.CutPrefix(key, prefix+ReservedPrefix)
	owner, _, _ := strings.Cut(rest, "/")
	_, err := gluster.ParseGFID(owner)
	return ok && err != nil
}

// GarbageKey is the key of one part of a run of gc: list is a NewID. With part "" it is
// what all keys of that list begin with, and with list "" too, those of all.
func GarbageKey(prefix, list, part string) string {
	key := prefix + ReservedPrefix + "gc/"
	if list != "" {
		key += list + "/" + part
	}
	return key
}

// IntentKey is the key of one part of an intent to refer to objects anew, which is
// named by a NewID. With part "" it is what all keys of that intent begin with, and with
// intent "" too, those of all.
func IntentKey(prefix, intent, part string) string {
	key := prefix + ReservedPrefix + "intents/"
	if intent != "" {
		key += intent + "/" + part
	}
	return key
}

// ErasedKey is the key of the object that says that a file was erased on purpose. For
// the zero GFID it is what all such keys begin with.
func ErasedKey(prefix string, gfid gluster.GFID) string {
	key := prefix + ReservedPrefix + "erased/"
	if !gfid.IsZero() {
		key += gfid.String()
	}
	return key
}

// IsData reports whether a key below the prefix of a volume can be that of a file's
// object: one that PathKey or NonceKey makes.
func IsData(prefix, key string) bool {
	rest, below := strings.CutPrefix(key, prefix)
	if !below {
		return false
	}
	if nonce, ok := strings.CutPrefix(rest, ReservedPrefix); ok {
		gfid, id, _ := strings.Cut(nonce, "/")
		_, err := gluster.ParseGFID(gfid)
		raw, hexErr := hex.DecodeString(id)
		return err == nil && hexErr == nil && len(raw) == 16
	}
	_, ok := PathKey(prefix, rest)
	return ok
}

// NewID is 128 random bits in hexadecimal: the name of a run or an attempt.
func NewID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	return hex.EncodeToString(b[:])
}
