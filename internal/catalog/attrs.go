package catalog

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
)

// attrs are extended attributes by name.
type attrs map[string][]byte

func (a attrs) has(name string) bool { _, ok := a[name]; return ok }

// tries is how often something is read anew that somebody is changing.
const tries = 100

// readAttrs reads those attributes of an entry of the directory that was entered that
// want names. What was listed and has vanished means that they are read anew, so that
// all were there at one instant.
func (l *looker) readAttrs(name string, want func(name string) bool) (attrs, error) {
	entry := append([]byte(name), 0)
	var err error
	for range tries {
		var names []byte
		names, err = whole(l.names, func(buf []byte) (int, error) { return l.attrs.List(&entry[0], buf) })
		crowded := errors.Is(err, unix.E2BIG)
		if crowded {
			names, err = l.probe(&entry[0])
		}
		if err != nil {
			return nil, err
		}
		var all attrs
		if crowded {
			all = attrs{leftOut: nil}
		}
		room := mostRestored
		for len(names) > 0 {
			attr := names // its name, and the NUL that ends it
			var raw, value []byte
			raw, names, _ = bytes.Cut(names, []byte{0})
			name := string(raw)
			if !want(name) {
				continue
			}
			value, err = whole(l.value, func(buf []byte) (int, error) { return l.attrs.Get(&entry[0], &attr[0], buf) })
			if err != nil {
				err = fmt.Errorf("%s: %w", name, err)
				break
			}
			if all == nil {
				all = attrs{}
			}
			if restored(name) {
				if room -= len(name) + len(value); room < 0 {
					all[leftOut] = nil
					continue
				}
			}
			all[name] = bytes.Clone(value)
		}
		if crowded && err == nil && all.has(gluster.XattrRecall) {
			err = errors.New("more attributes than can be listed: a claim to the notes of its recall may be one")
		}
		if !errors.Is(err, unix.ENODATA) {
			return all, err
		}
	}
	return nil, err
}

// exact are the names of attributes that a scan must know, and that can be asked for: all
// but those of claims, which are on files with notes of a recall alone. Of users' own
// those that give access are among them.
var exact = slices.Concat([]string{
	gluster.XattrGFID, gluster.XattrLinkto, gluster.XattrMdata, gluster.XattrPointer, gluster.XattrRecall,
	gluster.XattrRemote, gluster.XattrDownload, gluster.XattrObjectSize, gluster.XattrNumBlocks,
	"system.posix_acl_access", "system.posix_acl_default", "security.capability", "security.NTACL",
}, keyless)

// probe finds which attributes of exact an entry has, as a listing would. On XFS a file's
// owner can give it more than Linux lists. A key that moves to another attribute is there
// before it leaves the one that it had: so it is not missed if two looks see the same.
func (l *looker) probe(entry *byte) ([]byte, error) {
	var before []byte
	for range tries {
		var names []byte
		for _, name := range exact {
			attr := append([]byte(name), 0)
			_, err := whole(l.value, func(buf []byte) (int, error) { return l.attrs.Get(entry, &attr[0], buf) })
			switch {
			case err == nil:
				names = append(names, attr...)
			case !errors.Is(err, unix.ENODATA) && !errors.Is(err, unix.EOPNOTSUPP):
				return nil, fmt.Errorf("%s: %w", name, err)
			}
		}
		if before != nil && bytes.Equal(before, names) {
			return names, nil
		}
		before = append([]byte{}, names...)
	}
	return nil, errors.New("its attributes change again and again")
}

// largest is the most that Linux lets a value have, and a list of names. Nearly all fit
// into usual, and the kernel clears a buffer as large as ours for each call.
const (
	largest = 64 << 10
	usual   = 1 << 10
)

// whole is what read fills: of buf, or of a larger one.
func whole(buf []byte, read func([]byte) (int, error)) ([]byte, error) {
	for {
		n, err := read(buf)
		switch {
		case err == nil:
			return buf[:n], nil
		case errors.Is(err, unix.ERANGE) && len(buf) < largest:
			buf = make([]byte, largest)
		case !errors.Is(err, unix.EINTR):
			return nil, err
		}
	}
}

// mostRestored is how many bytes of attributes that users can set go into the tree, for
// each name: on XFS one file can have any number of them, and its owner must not be
// able to keep the brick from being written down. leftOut stands for the others.
const (
	mostRestored = 256 << 10
	leftOut      = "\x00left out"
)

const ours = "trusted.coldbrick."

// refers reports whether an attribute may hold a key: what a later version may have
// added to ours included, which read refuses.
func refers(name string) bool {
	return name == gluster.XattrRemote || strings.HasPrefix(name, ours)
}

// describes reports whether an attribute belongs into the tree.
func describes(name string) bool {
	switch name {
	case gluster.XattrGFID, gluster.XattrMdata, gluster.XattrDownload, gluster.XattrObjectSize, gluster.XattrNumBlocks, gluster.XattrLinkto:
		return true
	}
	return refers(name) || restored(name)
}

// restored reports whether an attribute is one that a rebuilt file gets again: users'
// own, ACLs, what Samba and the kernel keep for users, and the pin.
func restored(name string) bool {
	return strings.HasPrefix(name, "user.") || strings.HasPrefix(name, "system.posix_acl_") ||
		strings.HasPrefix(name, "security.") && name != "security.selinux" || name == gluster.XattrPin
}

// Attributes of ours that hold no key, besides vouches.
var keyless = []string{gluster.XattrRecalled, gluster.XattrPin, gluster.XattrFormerly, gluster.XattrRebuilt, gluster.XattrRoom}

// Recalling is what the notes of a recall say of the file.
type Recalling struct {
	Key          string
	Size         int64
	Atime, Mtime gluster.Time
}

// said is what a file's attributes say of objects.
type said struct {
	keys    []string // all that it refers to
	pointer *object.Pointer
	notes   *Recalling
}

// read finds the keys in the attributes of a file. What cannot be understood is an
// error: it may name an object.
func (s *scanner) read(a attrs) (said, error) {
	var found said
	add := func(key string) {
		if key != "" && !slices.Contains(found.keys, key) {
			found.keys = append(found.keys, key)
		}
	}
	add(string(a[gluster.XattrRemote]))
	pointed := ""
	if value, ok := a[gluster.XattrPointer]; ok {
		p, err := object.DecodePointer(value)
		if err != nil {
			return said{}, err
		}
		found.pointer, pointed = &p, p.Key
		add(p.Key)
	}
	for name, value := range a {
		switch {
		case name == gluster.XattrRecall, strings.HasPrefix(name, gluster.XattrRecall+"."):
			notes, err := s.Notes(value, pointed)
			if err != nil {
				return said{}, err
			}
			add(notes.Key)
			if name == gluster.XattrRecall {
				found.notes = &notes
			}
		case name == gluster.XattrPointer || !strings.HasPrefix(name, ours) || slices.Contains(keyless, name), strings.HasPrefix(name, gluster.XattrVouch):
		default:
			return said{}, fmt.Errorf("%s is unknown to this version, and may name an object", name)
		}
	}
	return found, nil
}
