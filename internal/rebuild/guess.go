package rebuild

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/catalog"
	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore"
	"github.com/coldbrick/coldbrick/internal/workers"
)

// Guess is a tree that the metadata of objects tells of, where there is no catalog. It
// has every file that was ever archived and whose object is there, also those that were
// deleted since, under the name that each had when it was archived. Directories belong to
// root, who alone can enter them: what they were before is not known.
type Guess struct {
	Left []Left // objects that are no file of the tree

	entries []catalog.Entry // directories before what is in them
}

// Left is an object that a Guess does not use.
type Left struct {
	Key, Path string
	Why       string
}

// Nameless is the directory of files whose objects do not know their names.
const Nameless = "coldbrick-without-name"

// Objects is a store that lists what it has.
type Objects interface {
	Store
	List(ctx context.Context, prefix string, visit func(objstore.Listed) error) error
}

// claim is an object that would be the file of a name.
type claim struct {
	key      string
	made     object.Metadata
	info     object.Info
	modified time.Time
}

// newer compares by when the file was last changed, and then by when the object was made.
func newer(a, b claim) int {
	return cmp.Or(b.made.Mtime.Compare(a.made.Mtime), b.modified.Compare(a.modified), cmp.Compare(a.key, b.key))
}

// GuessTree asks for all objects below a prefix that were made from files of a volume.
func GuessTree(ctx context.Context, store Objects, prefix, volumeID string, jobs int) (*Guess, error) {
	var claims []claim
	var mu sync.Mutex
	err := workers.Run(ctx, max(jobs, 1), func(ctx context.Context, emit func(context.Context, objstore.Listed) error) error {
		return objstore.ListAll(ctx, store, prefix, jobs, func(o objstore.Listed) error {
			if !object.IsData(prefix, o.Key) {
				return nil
			}
			return emit(ctx, o)
		})
	}, func(ctx context.Context, o objstore.Listed) error {
		info, err := store.Head(ctx, o.Key)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", o.Key, err)
		}
		made, err := object.DecodeMetadata(info.Metadata)
		if errors.Is(err, object.ErrForeign) || err == nil && made.Volume != volumeID {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", o.Key, err)
		}
		mu.Lock()
		defer mu.Unlock()
		claims = append(claims, claim{o.Key, made, info, o.Modified})
		return nil
	})
	if err != nil {
		return nil, err
	}
	g := &Guess{}
	g.choose(claims, prefix)
	return g, nil
}

// choose takes of each file, and of each name, the newest object.
func (g *Guess) choose(claims []claim, prefix string) {
	slices.SortFunc(claims, newer)
	files := map[gluster.GFID]bool{}
	names := map[string]claim{}
	dirs := map[string]gluster.Time{} // with the newest time of what is below
	for _, c := range claims {
		name := c.name(prefix)
		why := ""
		_, taken := names[name]
		switch {
		case c.info.Size != c.made.Size:
			why = "it has another size than the file"
		case !usable(name):
			why = "no file can have its name"
		case files[c.made.GFID]:
			why = "there is a newer object of the file"
		case taken:
			why = "there is a newer file of the name"
		}
		if why != "" {
			g.Left = append(g.Left, Left{c.key, name, why})
			continue
		}
		files[c.made.GFID], names[name] = true, c
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			if _, known := dirs[dir]; !known { // the newest file comes first
				dirs[dir] = c.made.Mtime
			}
		}
	}
	for name, c := range names {
		if _, is := dirs[name]; is {
			g.Left = append(g.Left, Left{c.key, name, "others have its name as a directory"})
			continue
		}
		g.entries = append(g.entries, c.entry(name))
	}
	for name, t := range dirs {
		g.entries = append(g.entries, catalog.Entry{Kind: catalog.Directory, Path: catalog.Bytes(name), GFID: directoryOf(name, claims),
			Mode: unix.S_IFDIR | 0o700, Atime: t, Mtime: t})
	}
	slices.SortFunc(g.Left, func(a, b Left) int { return strings.Compare(a.Key, b.Key) })
	slices.SortFunc(g.entries, func(a, b catalog.Entry) int { return strings.Compare(string(a.Path), string(b.Path)) })
}

// name is the path of the file at archive time.
func (c claim) name(prefix string) string {
	if c.made.Path != "" {
		return c.made.Path
	}
	if rest := strings.TrimPrefix(c.key, prefix); !strings.HasPrefix(rest, object.ReservedPrefix) {
		return rest // it was too long for the metadata
	}
	return Nameless + "/" + c.made.GFID.String()
}

// usable reports whether a file of a volume can have a path. Who can write to the bucket
// can write any.
func usable(name string) bool {
	if !filepath.IsLocal(name) || path.Clean(name) != name || name == "." || strings.ContainsRune(name, 0) {
		return false
	}
	for element := range strings.SplitSeq(name, "/") {
		if len(element) > unix.NAME_MAX {
			return false
		}
	}
	top, _, _ := strings.Cut(name, "/")
	return !gluster.IsInternal(top) && top != gluster.VirtualGFIDDir
}

// entry is the stub. No seal vouches for metadata, so it makes nobody's program setuid.
func (c claim) entry(name string) catalog.Entry {
	e := catalog.Entry{
		Kind: catalog.Stub, Path: catalog.Bytes(name), GFID: c.made.GFID, Key: catalog.Bytes(c.key), Guessed: true,
		Mode: unix.S_IFREG | c.made.Mode&0o777, UID: c.made.UID, GID: c.made.GID,
		Atime: c.made.Mtime, Mtime: c.made.Mtime, Size: c.made.Size,
	}
	if c.info.HasCRC32 {
		e.Pointer = &object.Pointer{GFID: c.made.GFID, Volume: c.made.Volume, Key: c.key, Attempt: c.made.Attempt,
			Proof: &object.Stamped{Size: c.made.Size, Mtime: c.made.Mtime, CRC32: c.info.CRC32}}
	}
	return e
}

// directoryOf is the gfid of a directory: the same in each run, so that the next one
// goes on with what this one has made.
func directoryOf(name string, claims []claim) (g gluster.GFID) {
	sum := sha256.Sum256([]byte("coldbrick directory\x00" + claims[0].made.Volume + "\x00" + name))
	copy(g[:], sum[:])
	g[6] = g[6]&0x0f | 0x80 // a UUID of version 8, variant 1
	g[8] = g[8]&0x3f | 0x80
	return g
}

// Files is how many files there are.
func (g *Guess) Files() (n int64) {
	for _, e := range g.entries {
		if e.Kind == catalog.Stub {
			n++
		}
	}
	return n
}

// Tree visits the entries.
func (g *Guess) Tree(ctx context.Context, visit func(catalog.Entry) error) error {
	for _, e := range g.entries {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := visit(e); err != nil {
			return err
		}
	}
	return nil
}
