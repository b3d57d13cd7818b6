package s3

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"golang.org/x/sys/unix"
)

// KeysDir is where VOLUME.toml holds the credentials of a volume, for coldbrick and its
// plugin alike, so that they need not stand in `gluster volume info`.
const KeysDir = "/etc/coldbrick"

// KeysFile is the file with the credentials of a volume.
func KeysFile(dir, volume string) string { return filepath.Join(dir, volume+".toml") }

// Keys is the content of VOLUME.toml.
type Keys struct {
	ID      string `toml:"access-key-id,omitempty"`
	Secret  string `toml:"secret-access-key,omitempty"`
	Token   string `toml:"session-token,omitempty"`
	Profile string `toml:"profile,omitempty"`
}

// Encode is the file that ReadKeys reads.
func (k Keys) Encode() ([]byte, error) { return toml.Marshal(k) }

// Into adds the credentials to options of Init. otherID belongs to a secret without an
// id of its own.
func (k Keys) Into(options map[string]string, otherID string) {
	set := func(name, value string) {
		if value != "" {
			options[name] = value
		}
	}
	set("profile", k.Profile)
	if k.Secret != "" {
		set("access-key-id", cmp.Or(k.ID, otherID))
		set("secret-access-key", k.Secret)
		set("session-token", k.Token)
	}
}

// maxKeys bounds VOLUME.toml, in bytes.
const maxKeys = 64 << 10

// ReadKeys reads the credentials of a volume. What others than root could have
// written, or may read, is an error.
func ReadKeys(dir, volume string) (Keys, error) {
	if volume == "" || strings.ContainsAny(volume, "/\x00") {
		return Keys{}, fs.ErrNotExist // no name that glusterd gives
	}
	path := KeysFile(dir, volume)
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return Keys{}, err
	}
	defer f.Close() // read only
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return Keys{}, fmt.Errorf("stat %s: %w", path, err)
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return Keys{}, fmt.Errorf("%s: is not a regular file", path)
	case st.Uid != 0:
		return Keys{}, fmt.Errorf("%s: belongs to user %d, not to root", path, st.Uid)
	case st.Mode&0o077 != 0:
		return Keys{}, fmt.Errorf("%s: others may read or write it (mode %04o): chmod 600", path, st.Mode&0o7777)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKeys))
	if err != nil {
		return Keys{}, fmt.Errorf("read %s: %w", path, err)
	}
	var k Keys
	if err := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields().Decode(&k); err != nil {
		return Keys{}, fmt.Errorf("%s: %s", path, where(err))
	}
	if k.ID != "" && k.Secret == "" {
		return Keys{}, fmt.Errorf("%s: access-key-id without secret-access-key", path)
	}
	return k, nil
}

// where tells the place of a mistake. The decoder's own text quotes the line,
// and that can be the secret.
func where(err error) string {
	var syntax *toml.DecodeError
	var unknown *toml.StrictMissingError
	switch {
	case errors.As(err, &unknown) && len(unknown.Errors) > 0:
		return "unknown key " + strings.Join(unknown.Errors[0].Key(), ".")
	case errors.As(err, &syntax):
		line, column := syntax.Position()
		return fmt.Sprintf("line %d, column %d: cannot be read", line, column)
	}
	return "cannot be read"
}
