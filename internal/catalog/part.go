package catalog

import (
	"bufio"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"os"
	"sync"

	"github.com/coldbrick/coldbrick/internal/extsort"
	"github.com/coldbrick/coldbrick/internal/object"
)

// partWriter writes lines of JSON, compressed, to a file on this host, until the scan
// is complete. Lines may come from several goroutines.
type partWriter struct {
	file *os.File

	mu     sync.Mutex
	zip    *gzip.Writer
	out    *bufio.Writer
	sha    hash.Hash
	crc    hash.Hash32
	lines  int64
	failed error // the first error; no line is written after it
}

func newPartWriter(dir string) (*partWriter, error) {
	f, err := extsort.TempFile(dir)
	if err != nil {
		return nil, err
	}
	w := &partWriter{file: f, sha: sha256.New(), crc: crc32.NewIEEE()}
	w.out = bufio.NewWriterSize(io.MultiWriter(f, w.sha, w.crc), 1<<20)
	w.zip, err = gzip.NewWriterLevel(w.out, gzip.BestSpeed)
	if err != nil {
		f.Close()
		return nil, err
	}
	return w, nil
}

// write adds a line. Nobody reads those of a nil partWriter.
func (w *partWriter) write(v any) error {
	if w == nil {
		return nil
	}
	line, err := json.Marshal(v)
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.failed != nil:
		return w.failed
	case err == nil && len(line) > longestLine:
		err = fmt.Errorf("a line of %d bytes", len(line))
	case err == nil:
		_, err = w.zip.Write(append(line, '\n'))
	}
	w.failed = err
	w.lines++
	return err
}

// upload ends the part and stores it.
func (w *partWriter) upload(ctx context.Context, store Store, key string) (Part, error) {
	if err := errors.Join(w.failed, w.zip.Close(), w.out.Flush()); err != nil {
		return Part{}, fmt.Errorf("write a catalog: %w", err)
	}
	size, err := w.file.Seek(0, io.SeekEnd)
	if err != nil {
		return Part{}, err
	}
	part := Part{Bytes: size, CRC32: w.crc.Sum32(), SHA256: hex.EncodeToString(w.sha.Sum(nil)), Lines: w.lines}
	proof, err := store.Create(ctx, key, w.file, size, nil)
	if err != nil {
		return Part{}, fmt.Errorf("store %s: %w", key, err)
	}
	if proof.Size != part.Bytes || proof.CRC32 != part.CRC32 {
		return Part{}, fmt.Errorf("store %s: %w", key, object.ErrCorrupt) // what was read for the store is not what was written
	}
	return part, nil
}

func (w *partWriter) close() { w.file.Close() }

// longestLine bounds the memory of a reader. The longest path and all attributes that
// Linux lets a file have, in base64, are less.
const longestLine = 2 << 20

// fetched is a part on this host, proven to be what the manifest says.
type fetched struct {
	file *os.File
	key  string
	part Part
}

func (f *fetched) invalid(format string, args ...any) error {
	return fmt.Errorf("%s: %w: %w", f.key, ErrInvalid, fmt.Errorf(format, args...))
}

// fetch brings a part into a file in dir.
func fetch(ctx context.Context, store Store, dir, key string, part Part) (*fetched, error) {
	file, err := extsort.TempFile(dir)
	if err != nil {
		return nil, err
	}
	f := &fetched{file, key, part}
	if err := f.download(ctx, store); err != nil {
		file.Close()
		return nil, err
	}
	return f, nil
}

func (f *fetched) download(ctx context.Context, store Store) error {
	_, err := store.Download(ctx, f.key, f.file, func(info object.Info) error {
		if info.Size != f.part.Bytes {
			return f.invalid("it has %d bytes, not %d", info.Size, f.part.Bytes)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read a catalog: %w", err)
	}
	sha, crc := sha256.New(), crc32.NewIEEE()
	size, err := io.Copy(io.MultiWriter(sha, crc), io.NewSectionReader(f.file, 0, f.part.Bytes+1))
	switch {
	case err != nil:
		return err
	case size != f.part.Bytes, crc.Sum32() != f.part.CRC32, hex.EncodeToString(sha.Sum(nil)) != f.part.SHA256:
		return f.invalid("its checksum is another than that of the manifest")
	}
	return nil
}

// eachLine visits the lines of a part.
func eachLine[T any](ctx context.Context, f *fetched, visit func(T) error) error {
	zip, err := gzip.NewReader(bufio.NewReaderSize(io.NewSectionReader(f.file, 0, f.part.Bytes), 1<<20))
	if err != nil {
		return f.invalid("%w", err)
	}
	lines := bufio.NewScanner(zip)
	lines.Buffer(make([]byte, 64<<10), longestLine+1)
	var n int64
	for lines.Scan() {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		var v T
		if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
			return f.invalid("line %d: %w", n+1, err)
		}
		n++
		if err := visit(v); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return f.invalid("%w", err)
	}
	if n != f.part.Lines {
		return f.invalid("it has %d lines, not %d", n, f.part.Lines)
	}
	return nil
}
