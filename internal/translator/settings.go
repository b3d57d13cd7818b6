package translator

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/coldbrick/coldbrick/internal/objstore/s3"
)

// Settings are the volume options by which Gluster describes the store, as the
// translator has them.
type Settings struct {
	Volume   string // name of the volume
	Hostname string // features.s3plugin-hostname: HOST, HOST:PORT or a URL
	Bucket   string // features.s3plugin-bucketid
	KeyID    string // features.s3plugin-keyid
	Secret   string // features.s3plugin-seckey
	Refused  string // why no file may be recalled, whatever the rest says; or ""
}

// Tuning is what the query of a hostname sets of the plugin, not of the store.
type Tuning struct {
	GuardOff    bool  // sizes pass as Gluster has them
	ReadBlock   int64 // bytes that a remote read asks the store for at once
	ReadCache   int64 // bytes that the cache of remote reads may hold
	RecallLimit Limit
}

// own are the names of what Tuning has, s3.OfPlugin, and how each is read.
var own = map[string]func(t *Tuning, value string) error{
	"guard": func(t *Tuning, value string) error {
		t.GuardOff = value == "off"
		if value != "on" && !t.GuardOff {
			return errors.New("guard is neither on nor off")
		}
		return nil
	},
	"read-block": func(t *Tuning, value string) (err error) {
		t.ReadBlock, err = sizeWithin(value, 64<<10, 16<<20)
		return err
	},
	"read-cache": func(t *Tuning, value string) (err error) {
		t.ReadCache, err = sizeWithin(value, 1<<20, 16<<30)
		return err
	},
	"recall-limit": func(t *Tuning, value string) (err error) {
		t.RecallLimit, err = parseLimit(value)
		return err
	},
}

func sizeWithin(value string, least, most uint64) (int64, error) {
	n, err := humanize.ParseBytes(value)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%q is not a size", value)
	case n < least || n > most:
		return 0, fmt.Errorf("%s is not between %s and %s", value, humanize.IBytes(least), humanize.IBytes(most))
	}
	return int64(n), nil
}

// ParseTuning reads it from a hostname. What cannot be read is left at its default.
func ParseTuning(hostname string) (Tuning, error) {
	t := Tuning{ReadBlock: 1 << 20, ReadCache: 64 << 20}
	_, text, _ := strings.Cut(hostname, "?")
	query, err := url.ParseQuery(text)
	if err != nil {
		return t, errors.New("the query of the URL cannot be read")
	}
	var wrong []error
	for _, name := range slices.Sorted(maps.Keys(own)) {
		if !query.Has(name) {
			continue
		}
		read := t
		if err := own[name](&read, query.Get(name)); err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", name, err))
			continue
		}
		t = read
	}
	if t.ReadCache < fetches*t.ReadBlock {
		wrong = append(wrong, fmt.Errorf("read-cache: has no room for %d blocks of %s", fetches, humanize.IBytes(uint64(t.ReadBlock))))
		t.ReadCache = fetches * t.ReadBlock
	}
	return t, errors.Join(wrong...)
}

// Options are the store's own. The credentials are those of the volume's
// options, else of the file that keysDir has for the volume; without either
// the store asks the AWS chain. Errors never hold a secret.
func (s Settings) Options(keysDir string) (map[string]string, error) {
	if s.Refused != "" {
		return nil, errors.New(s.Refused)
	}
	options, err := s3.Endpoint(s.Hostname)
	if err == nil {
		_, err = ParseTuning(s.Hostname)
	}
	if err != nil {
		return nil, fmt.Errorf("features.s3plugin-hostname: %w", err)
	}
	if s.Bucket == "" {
		return nil, errors.New("features.s3plugin-bucketid is not set")
	}
	options["bucket"] = s.Bucket
	if s.Secret != "" {
		if s.KeyID == "" {
			return nil, errors.New("features.s3plugin-keyid is not set, but features.s3plugin-seckey is")
		}
		options["access-key-id"], options["secret-access-key"] = s.KeyID, s.Secret
		return options, nil
	}
	keys, err := s3.ReadKeys(keysDir, s.Volume)
	if errors.Is(err, fs.ErrNotExist) {
		return options, nil
	}
	if err != nil {
		return nil, err
	}
	keys.Into(options, s.KeyID)
	return options, nil
}
