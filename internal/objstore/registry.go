package objstore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/coldbrick/coldbrick/internal/object"
)

// registration is the object object.VolumeKey: a volume has objects under this
// prefix. Its bytes are the same whenever and by whomever it is written; its time
// is the store's.
type registration struct {
	Volume string `json:"volume"`
}

func registrationOf(volumeID string) []byte {
	return fmt.Appendf(nil, `{"coldbrick":"volume","format":%d,"volume":%q}`+"\n", registrationFormat, volumeID)
}

const (
	registrationFormat = 1
	longestEntry       = 64 << 10 // what a later format may add included
)

// Registry is a store that volumes can be registered in; every Store is.
type Registry interface {
	Create(ctx context.Context, key string, body io.ReaderAt, size int64, metadata map[string]string) (object.Proof, error)
	Download(ctx context.Context, key string, dst io.WriterAt, accept func(object.Info) error) (object.Proof, error)
}

// Register makes sure that the store knows that a volume has objects under a
// prefix. It comes before the first of them.
func Register(ctx context.Context, store Registry, prefix, volumeID string) error {
	key := object.VolumeKey(prefix, volumeID)
	registered := func() error {
		var text memory
		_, err := store.Download(ctx, key, &text, text.fit)
		if err != nil {
			return err
		}
		var r registration
		if err := json.Unmarshal(text, &r); err != nil || r.Volume != volumeID {
			return errors.New("the object does not name the volume")
		}
		return nil
	}
	err := registered()
	// Who may not list is not told that an object is missing.
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		text := registrationOf(volumeID)
		_, err = store.Create(ctx, key, bytes.NewReader(text), int64(len(text)), nil)
		if errors.Is(err, fs.ErrExist) { // another brick was first
			err = registered()
		}
		if errors.Is(err, fs.ErrPermission) {
			err = fmt.Errorf("%w: %w", object.ErrStore, err)
		}
	}
	if err != nil {
		return fmt.Errorf("register the volume at %s: %w", key, err)
	}
	return nil
}

// memory takes a small object.
type memory []byte

func (m *memory) fit(info object.Info) error {
	if info.Size > longestEntry {
		return fmt.Errorf("%d bytes are too many", info.Size)
	}
	*m = make(memory, info.Size)
	return nil
}

// WriteAt takes no more than what fit was told.
func (m *memory) WriteAt(b []byte, off int64) (int, error) {
	if off+int64(len(b)) > int64(len(*m)) {
		return 0, io.ErrShortWrite
	}
	return copy((*m)[off:], b), nil
}
