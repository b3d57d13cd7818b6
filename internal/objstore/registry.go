package objstore

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/coldbrick/coldbrick/internal/gluster"
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
	longestEntry       = 32 << 20 // a list of candidates of gc
)

// Registry is a store that volumes can be registered in; every Store is.
type Registry interface {
	Create(ctx context.Context, key string, body io.ReaderAt, size int64, metadata map[string]string) (object.Proof, error)
	Download(ctx context.Context, key string, dst io.WriterAt, accept func(object.Info) error) (object.Proof, error)
}

// ErrNested means that a key prefix is below that of another volume.
var ErrNested = errors.New("key prefixes of volumes must not be nested")

// Register makes sure that the store knows that a volume has objects under a
// prefix. It comes before the first of them. A volume that is new there is refused
// (ErrNested) below the prefix of another one: a path of that one and a path of this
// volume may want one key. With the secret of the volume's catalogs, which may be
// empty, the registration is vouched for besides.
func Register(ctx context.Context, store Registry, prefix, volumeID, secret string) error {
	key := object.VolumeKey(prefix, volumeID)
	text := registrationOf(volumeID)
	err := write(ctx, store, key, text, func() error { return notNested(ctx, store, prefix, volumeID) }, func(found []byte) error {
		var r registration
		if err := json.Unmarshal(found, &r); err != nil || r.Volume != volumeID {
			return errors.New("the object does not name the volume")
		}
		return nil
	})
	if err == nil && secret != "" {
		key = object.SignedVolumeKey(prefix, volumeID)
		err = write(ctx, store, key, Seal(secret, key, text), nil, func(found []byte) error {
			_, err := Unseal(secret, key, found)
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("register the volume at %s: %w", key, err)
	}
	return nil
}

// write makes sure that an object is there that passes the check: it writes text if
// there is none, unless may, which can be nil, forbids it.
func write(ctx context.Context, store Registry, key string, text []byte, may func() error, check func([]byte) error) error {
	there := func() error {
		found, err := ReadSmall(ctx, store, key)
		if err != nil {
			return err
		}
		return check(found)
	}
	err := there()
	// Who may not list is not told that an object is missing.
	if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	if may != nil {
		if err := may(); err != nil {
			return err
		}
	}
	_, err = store.Create(ctx, key, bytes.NewReader(text), int64(len(text)), nil)
	if errors.Is(err, fs.ErrExist) { // another brick was first
		err = there()
	}
	if errors.Is(err, fs.ErrPermission) {
		err = fmt.Errorf("%w: %w", object.ErrStore, err)
	}
	return err
}

// notNested looks for volumes whose prefix is the beginning of this one. Who may not
// list is not told of them.
func notNested(ctx context.Context, store Registry, prefix, volumeID string) error {
	lister, ok := store.(Lister)
	if !ok {
		return nil
	}
	for _, above := range PrefixesAbove(prefix) {
		ids, err := Volumes(ctx, lister, above)
		if err != nil && !errors.Is(err, fs.ErrPermission) {
			return err
		}
		for _, id := range ids {
			if id != volumeID {
				return fmt.Errorf("%w: %q is below %q of volume %s; give volumes prefixes beside each other, such as vol1/ and vol2/",
					ErrNested, prefix, above, id)
			}
		}
	}
	return nil
}

// PrefixesAbove are the prefixes that a prefix is below: the empty one, and each
// directory.
func PrefixesAbove(prefix string) (all []string) {
	for i := range len(prefix) {
		if i == 0 || prefix[i-1] == '/' {
			all = append(all, prefix[:i])
		}
	}
	return all
}

// Seal gives a text a keyed checksum that holds under this key alone.
func Seal(secret, key string, text []byte) []byte {
	return fmt.Appendf(bytes.Clone(text), "%x\n", seal(secret, key, text))
}

// ErrSeal means that a text was not written by a host that knows the secret, or not
// under this key.
var ErrSeal = errors.New("the keyed checksum is missing or wrong: the object was changed, or written with another catalog-secret")

// Unseal is the inverse of Seal.
func Unseal(secret, key string, sealed []byte) (text []byte, err error) {
	const length = 2*sha256.Size + 1
	if len(sealed) < length {
		return nil, ErrSeal
	}
	text = sealed[:len(sealed)-length]
	if !hmac.Equal(fmt.Appendf(nil, "%x\n", seal(secret, key, text)), sealed[len(text):]) {
		return nil, ErrSeal
	}
	return text, nil
}

func seal(secret, key string, text []byte) []byte {
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "coldbrick\x00%d\x00%s\x00", len(key), key)
	mac.Write(text)
	return mac.Sum(nil)
}

// ReadSmall reads an object that is known to be small.
func ReadSmall(ctx context.Context, store Registry, key string) ([]byte, error) {
	var text memory
	_, err := store.Download(ctx, key, &text, text.fit)
	return text, err
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

// Volumes lists the ids of the volumes that are registered under a prefix.
func Volumes(ctx context.Context, store Lister, prefix string) (ids []string, err error) {
	dir := object.VolumeKey(prefix, "")
	err = store.List(ctx, dir, func(o Listed) error {
		id := strings.TrimPrefix(o.Key, dir)
		if _, err := gluster.ParseGFID(id); err == nil {
			ids = append(ids, id)
		}
		return nil
	})
	return ids, err
}
