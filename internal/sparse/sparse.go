// Package sparse fills files without storing their zeros: what was a hole when a
// file was archived is one again after its recall. A store knows no holes, it
// keeps them as zeros.
package sparse

import (
	"bytes"
	"fmt"
	"io"
	"sync"
)

// blockSize is what most file systems allocate at a time, in bytes. No smaller
// hole exists there.
const blockSize = 4096

var zeros [blockSize]byte

// File is a file to be filled.
type File interface {
	io.WriterAt
	Truncate(size int64) error
}

// Writer fills a file and leaves out blocks that are nothing but zeros, so a
// file that had none may get holes as well: nobody who reads it can tell. It may
// be used by many goroutines, and a range may be written again with the bytes it
// had before, but not with others.
type Writer struct {
	file File

	mu  sync.Mutex
	end int64 // of what was written
}

// Empty gives a Writer for a file that it empties first, for what is left out
// keeps what the file has there. That holds for each replica by itself, so the
// size that a volume tells is not enough to spare the truncation.
func Empty(file File) (*Writer, error) {
	if err := file.Truncate(0); err != nil {
		return nil, fmt.Errorf("truncate: %w", err)
	}
	return &Writer{file: file}, nil
}

// WriteAt implements io.WriterAt.
func (w *Writer) WriteAt(b []byte, off int64) (int, error) {
	begin := 0 // of data that is still to be written
	for at := 0; at < len(b); {
		next := min(len(b), at+blockSize-int((off+int64(at))%blockSize))
		if !bytes.Equal(b[at:next], zeros[:next-at]) {
			at = next
			continue
		}
		if err := w.write(b[begin:at], off+int64(begin)); err != nil {
			return begin, err
		}
		at, begin = next, next
	}
	if err := w.write(b[begin:], off+int64(begin)); err != nil {
		return begin, err
	}
	return len(b), nil
}

func (w *Writer) write(b []byte, off int64) error {
	if len(b) == 0 {
		return nil
	}
	if _, err := w.file.WriteAt(b, off); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.end = max(w.end, off+int64(len(b)))
	return nil
}

// Finish gives the file its size where it ends in a hole. All that belongs to it
// was written.
func (w *Writer) Finish(size int64) error {
	if w.end >= size {
		return nil
	}
	if err := w.file.Truncate(size); err != nil {
		return fmt.Errorf("truncate to %d bytes: %w", size, err)
	}
	return nil
}
