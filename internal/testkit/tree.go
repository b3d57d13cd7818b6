package testkit

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coldbrick/coldbrick/internal/gluster"
)

// TreeOption shapes a Tree.
type TreeOption func(*treeConfig)

type treeConfig struct {
	files int
	big   int64
}

// Files is the number of files in the tree, of at least 100.
func Files(n int) TreeOption { return func(c *treeConfig) { c.files = n } }

// Big adds one file of so many bytes, named "big".
func Big(size int64) TreeOption { return func(c *treeConfig) { c.big = size } }

// Tree fills dir with files as users really have them, every one to be archived
// by the default policy: names with spaces, newlines, quotes, "%2F", "+" and
// leading dashes, that are not UTF-8 or 255 bytes long; directories twelve deep,
// a path longer than the 1,024 bytes of an S3 key; sizes from 1 byte to 5 MiB +- 1,
// the least size of a multipart upload's part. It returns the paths of the files,
// relative to dir. The same options make the same tree.
func Tree(t testing.TB, dir string, options ...TreeOption) []string {
	t.Helper()
	config := &treeConfig{files: 1000}
	for _, o := range options {
		o(config)
	}
	const mib = 1 << 20
	type file struct {
		path string
		size int64
	}
	deep := strings.Repeat("d/", 12)
	wide := strings.Repeat(strings.Repeat("w", 200)+"/", 6)
	files := []file{
		{"one byte", 1},
		{"part-1", 5*mib - 1},
		{"part", 5 * mib},
		{"part+1", 5*mib + 1},
		{deep + "bottom", 4097},
		{wide + "too long for a key", 100},
		{"dir/" + strings.Repeat("n", 255), 255},
		{"dir/" + strings.Repeat("\u00e9", 127) + "x", 255}, // 255 bytes of UTF-8
	}
	if config.big > 0 {
		files = append(files, file{"big", config.big})
	}
	for _, name := range []string{
		"with space", " leading", "trailing ", "new\nline", "tab\there", "cr\rhere", "bell\a", "del\x7f",
		`"double"`, "'single'", "`back`", `back\slash`, "$HOME", "$(touch pwned)", ";rm", "a&b", "a|b", "a<b>c", "*", "?", "[a]", "{b}", "~", "!x",
		"%2F", "%", "%%", "%41", "%zz", "a+b", "a%20b", "a=b", "a,b", "a:b", "a@b", "#x", "a?versionId=null",
		"-rf", "--help", "-", "...", ".hidden", "..a", "a..",
		"latin1-\xe9", "\xff\xfe", "\xc3", "\xed\xa0\x80", // not UTF-8: a lone byte, a cut sequence, a surrogate
		"nfc-\u00e9", "nfd-e\u0301", "\u202eltr", "\u200b", "\U0001f9ca", "\u4e2d\u6587",
		"UPPER", "upper", "index.html", "file.tar.gz", "CON", "part.1", ".glusterfs", ".shard", ".coldbrick", ".trashcan",
	} {
		files = append(files, file{"odd names/" + name, 1 + int64(len(files)%50)*97}, file{name + "/in it", 11})
	}
	files = slices.DeleteFunc(files, func(f file) bool { // elsewhere such a name is a user's
		first, _, _ := strings.Cut(f.path, "/")
		return gluster.IsInternal(first)
	})
	for i := len(files); i < config.files; i++ {
		files = append(files, file{fmt.Sprintf("many/%02d/%d/file-%04d", i%17, i%5, i), 1 + int64(i*i%9001)})
	}

	var paths []string
	source := rand.NewChaCha8([32]byte{})
	for i, f := range files {
		name := dir + "/" + f.path
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		w, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, fs.FileMode(0o600|i%2*0o044))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(w, source, f.size); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		mtime := Old.Add(time.Duration(i) * 1_000_000_007) // a prime: other nanoseconds in every file
		if err := os.Chtimes(name, mtime, mtime); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, f.path)
	}
	return paths
}

// File is what must be the same after a file was archived and recalled.
type File struct {
	SHA256  string // hexadecimal
	Size    int64
	MtimeNS int64 // since 1970, in nanoseconds
	Mode    fs.FileMode
}

// Snapshot reads every regular file below dir.
func Snapshot(t testing.TB, dir string) map[string]File {
	t.Helper()
	files := map[string]File{}
	sum := sha256.New()
	err := filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		f, err := snapshot(name, sum)
		files[strings.TrimPrefix(name, dir+"/")] = f
		return err
	})
	if err != nil {
		t.Fatalf("snapshot %s: %v", dir, err)
	}
	return files
}

func snapshot(name string, sum hash.Hash) (File, error) {
	f, err := os.Open(name)
	if err != nil {
		return File{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return File{}, err
	}
	sum.Reset()
	n, err := io.Copy(sum, f)
	if err != nil {
		return File{}, err
	}
	if n != info.Size() {
		time.Sleep(2 * time.Second) // longer than a mount caches
		later, err := os.ReadFile(name)
		shown := fmt.Errorf("%q: stat shows %d bytes, read gives %d, and %d two seconds later", name, info.Size(), n, len(later))
		return File{}, errors.Join(shown, err)
	}
	return File{
		SHA256:  fmt.Sprintf("%x", sum.Sum(nil)),
		Size:    n,
		MtimeNS: info.ModTime().UnixNano(),
		Mode:    info.Mode(),
	}, nil
}

// SameFiles fails the test for every file that is not in both, or differs.
func SameFiles(t testing.TB, before, after map[string]File) {
	t.Helper()
	for path, b := range before {
		switch a, ok := after[path]; {
		case !ok:
			t.Errorf("%q is gone", path)
		case a != b:
			t.Errorf("%q was %+v and is %+v", path, b, a)
		}
	}
	for path := range after {
		if _, ok := before[path]; !ok {
			t.Errorf("%q is new", path)
		}
	}
}
