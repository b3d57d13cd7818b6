package run

import (
	"context"
	"maps"
	"strings"

	"golang.org/x/time/rate"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/objstore"
	"github.com/coldbrick/coldbrick/internal/record"
	"github.com/coldbrick/coldbrick/internal/volume"
	"github.com/coldbrick/coldbrick/recall"
)

// StoreSettings say which store holds the objects.
type StoreSettings struct {
	Name      string            // as Stores lists it
	Options   map[string]string // of recall.Plugin.Init. They hold secrets
	Unset     map[string]bool   // options that nobody has set: those of the volume hold
	Bandwidth int64             // bytes a second over all files; 0: no limit
}

func (s StoreSettings) keyPrefix() string { return s.Options["key-prefix"] }

// Stores lists the stores, in the order of the manual.
func Stores() recall.Registry { return registry(nil, nil) }

// registry lists the stores, in the order of the manual. log, which may be nil,
// learns of multipart uploads.
func registry(limiter objstore.Limiter, log *record.Log) recall.Registry {
	noteUpload := func(key, id string) error {
		if log == nil {
			return nil
		}
		return log.Append(record.Entry{Phase: record.Uploading, Key: key, Upload: id})
	}
	return recall.Registry{
		{
			Name: "s3", Library: "cloudsyncs3.so",
			Description: "a bucket on any server that speaks S3",
			New:         func() recall.Plugin { return &objstore.S3{Limiter: limiter, OnUpload: noteUpload} },
		},
		{
			Name:        "dir",
			Description: "files in a directory, for tape gateways and NFS; recalled by coldbrick recall alone",
			New:         func() recall.Plugin { return &objstore.Dir{Limiter: limiter} },
		},
	}
}

// check refuses a store that is not there, that lacks what it needs, or that would
// keep its objects in the volume itself, before anything is touched. The bricks
// are those known beyond what the mount tells.
func (s StoreSettings) check(mount *volume.Mount, bricks []string) error {
	if _, ok := Stores().Find(s.Name); !ok {
		var names []string
		for _, s := range Stores() {
			names = append(names, s.Name)
		}
		return Usagef("--store: unknown store %q: it is one of %s", s.Name, strings.Join(names, ", "))
	}
	o, err := s.options(mount.Graph)
	switch {
	case err != nil:
		return err
	case s.Name == "s3" && o["bucket"] == "":
		return Usagef("no bucket given: write --bucket NAME")
	case s.Name == "dir" && o["dir"] == "":
		return Usagef("no directory given: write --store-dir DIR")
	case s.Name == "dir":
		if err := mount.CheckOutside(o["dir"], bricks); err != nil {
			return Usagef("--store-dir: %w", err)
		}
	}
	return nil
}

// open prepares the store. log, which may be nil, learns of multipart uploads.
func (s StoreSettings) open(ctx context.Context, graph gluster.Graph, log *record.Log) (recall.Plugin, *Meter, error) {
	const least, most = 64 << 10, 1 << 20 // bytes in one go: smooth, but not a call for each packet
	meter := &Meter{Limiter: rate.NewLimiter(rate.Inf, most)}
	if s.Bandwidth > 0 {
		meter.Limiter = rate.NewLimiter(rate.Limit(s.Bandwidth), int(min(max(s.Bandwidth/10, least), most)))
	}
	kind, ok := registry(meter, log).Find(s.Name)
	if !ok {
		return nil, nil, Usagef("--store: unknown store %q", s.Name)
	}
	options, err := s.options(graph)
	if err != nil {
		return nil, nil, err
	}
	plugin := kind.New()
	if err := plugin.Init(ctx, options); err != nil {
		return nil, nil, UsageError{err}
	}
	return plugin, meter, nil
}

// options are those of recall.Plugin.Init. They hold secrets. What nobody has set
// is taken from the options of the volume, as they stand in its graph.
func (s StoreSettings) options(graph gluster.Graph) (map[string]string, error) {
	o := maps.Clone(s.Options)
	if s.Name != "s3" {
		return o, nil
	}
	s3, ok, err := graph.S3()
	if err != nil && (s.Unset["bucket"] || s.Unset["endpoint-url"]) {
		return nil, UsageError{err}
	}
	if !ok {
		return o, nil
	}
	for name, value := range map[string]string{
		"bucket": s3.Bucket, "endpoint-url": s3.Endpoint, "region": s3.Region, "ca-bundle": s3.CABundle,
	} {
		if s.Unset[name] {
			o[name] = value
		}
	}
	if s.Unset["access-key-id"] && s.Unset["secret-access-key"] { // they belong together
		o["access-key-id"], o["secret-access-key"] = s3.KeyID.Reveal(), s3.SecretKey.Reveal()
	}
	return o, nil
}
