package run

import (
	"context"
	"slices"
	"strings"

	"golang.org/x/time/rate"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore"
	"github.com/coldbrick/coldbrick/internal/objstore/stores"
	"github.com/coldbrick/coldbrick/internal/volume"
)

// StoreSettings say which store holds the objects.
type StoreSettings struct {
	Name      string            // as stores.All lists it
	Volume    string            // whose credentials this host may keep; "" if nothing tells it
	Options   map[string]string // of all stores. They hold secrets
	Given     map[string]bool   // settings that somebody has set; of the others those of the volume hold
	Bandwidth int64             // bytes a second over all files; 0: no limit
}

func (s StoreSettings) keyPrefix() string { return s.Options["key-prefix"] }

// kind is the store in use.
func (s StoreSettings) kind() (objstore.Kind, error) {
	kind, ok := stores.All.Find(s.Name)
	if !ok {
		return kind, Usagef("--store: unknown store %q: it is one of %s", s.Name, strings.Join(stores.All.Names(), ", "))
	}
	return kind, nil
}

// coldClass refuses, unless the user wants just that, to archive to a class whose
// objects cannot be read at once.
func (s Settings) coldClass() error {
	class := s.Store.class()
	if s.ColdClass || !object.NeedsThaw(class) {
		return nil
	}
	return Usagef("--storage-class %s: %s; GLACIER_IR can be read at once, and allow-cold-class = true allows this one", class, readersOfCold)
}

// readersOfCold is what readers of stubs get.
const readersOfCold = "whoever reads an archived file gets an error (EREMOTE) until coldbrick recall --thaw has had its object restored, which takes hours and is charged"

// class is the storage class of objects, where the store has such.
func (s StoreSettings) class() string {
	kind, err := s.kind()
	if err != nil || !slices.ContainsFunc(kind.Options, func(o objstore.Option) bool { return o.Name == classOption }) {
		return ""
	}
	return s.Options[classOption]
}

const classOption = "storage-class"

// check refuses a store that is not there, that lacks what it needs, or that would
// keep its objects in the volume itself, before anything is touched. The bricks
// are those known beyond what the mount tells.
func (s StoreSettings) check(mount *volume.Mount, bricks []string) error {
	kind, err := s.kind()
	if err != nil {
		return err
	}
	values, err := s.options(kind, mount.Graph)
	if err != nil {
		return err
	}
	for _, o := range kind.Options {
		if o.Required != "" && values[o.Name] == "" {
			return UsageError{o.Missing()}
		}
		if o.Outside && values[o.Name] != "" {
			if err := mount.CheckOutside(values[o.Name], bricks); err != nil {
				return Usagef("--%s: %w", o.Name, err)
			}
		}
	}
	return nil
}

// theStore is what a request that is sent again waits for.
const theStore = "the store"

// open prepares the store. noted, which may be nil, learns of multipart uploads; ui of
// requests that are sent again.
func (s StoreSettings) open(ctx context.Context, ui UI, graph gluster.Graph, noted func(key, id string) error) (objstore.Store, *Meter, error) {
	const least, most = 64 << 10, 1 << 20 // bytes in one go: smooth, but not a call for each packet
	meter := &Meter{Limiter: rate.NewLimiter(rate.Inf, most)}
	if s.Bandwidth > 0 {
		meter.Limiter = rate.NewLimiter(rate.Limit(s.Bandwidth), int(min(max(s.Bandwidth/10, least), most)))
	}
	kind, err := s.kind()
	if err != nil {
		return nil, nil, err
	}
	options, err := s.options(kind, graph)
	if err != nil {
		return nil, nil, err
	}
	store := kind.New(objstore.Deps{Limiter: meter, OnUpload: noted, OnThrottle: func() { meter.Throttled.Add(1) },
		OnAnswer: func(err error) { ui.Retrying(theStore, err) }})
	if err := store.Init(ctx, options); err != nil {
		if flag, ok := strings.CutPrefix(err.Error(), "store option "); ok {
			return nil, nil, Usagef("--%s", flag)
		}
		return nil, nil, UsageError{err}
	}
	return store, meter, nil
}

// whereIn says for people where the objects are.
func (s StoreSettings) whereIn(graph gluster.Graph) string {
	where := s.Name
	kind, err := s.kind()
	if err != nil {
		return where
	}
	options, err := s.options(kind, graph)
	if err != nil {
		return where
	}
	for _, name := range []string{"bucket", "endpoint-url", "store-dir"} {
		if value := options[name]; value != "" {
			where += ", " + name + " " + value
		}
	}
	return where
}

// OfVolume are the settings of the store that the volume, or the file of its keys, gives
// where nobody has set others. They hold secrets.
func (s *Session) OfVolume(ctx context.Context) (map[string]string, error) {
	kind, err := s.Store.kind()
	if err != nil {
		return nil, err
	}
	found, err := s.look(ctx)
	if err != nil {
		return nil, err
	}
	values, err := s.Store.options(kind, found.mount.Graph)
	if err != nil {
		return nil, err
	}
	for name, value := range values {
		if s.Store.Given[name] || value == s.Store.Options[name] {
			delete(values, name)
		}
	}
	return values, nil
}

// options are those of objstore.Store.Init. They hold secrets. What nobody has set is
// taken from the options of the volume, as they stand in its graph, and the
// credentials also from the file that this host keeps for the volume.
func (s StoreSettings) options(kind objstore.Kind, graph gluster.Graph) (map[string]string, error) {
	values := map[string]string{}
	for _, name := range objstore.Common {
		values[name] = s.Options[name]
	}
	for _, o := range kind.Options {
		values[o.Name] = s.Options[o.Name]
	}
	if kind.FromVolume == nil {
		return values, nil
	}
	given := func(name string) bool { return s.Given[name] }
	if err := kind.FromVolume(values, given, graph.CloudsyncOption); err != nil {
		return nil, UsageError{err}
	}
	if kind.FromHost != nil && s.Volume != "" {
		if err := kind.FromHost(values, given, s.Volume); err != nil {
			return nil, UsageError{err}
		}
	}
	return values, nil
}
