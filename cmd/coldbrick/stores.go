package main

import (
	"context"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/spf13/cobra"
	"golang.org/x/time/rate"

	"github.com/coldbrick/coldbrick/internal/config"
	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/objstore"
	"github.com/coldbrick/coldbrick/internal/record"
	"github.com/coldbrick/coldbrick/internal/report"
	"github.com/coldbrick/coldbrick/internal/volume"
	"github.com/coldbrick/coldbrick/recall"
)

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

func newStores(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "stores",
		Short: "List the store plugins",
		Long: `List the store plugins: the name for --store, the library that Gluster loads for
it, and what it is.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.configure(cmd, nil); err != nil {
				return err
			}
			for _, s := range registry(nil, nil) {
				if err := a.out.Print(report.Store{Name: s.Name, Library: s.Library, Description: s.Description}); err != nil {
					return err
				}
			}
			return nil
		},
	}
	a.uses(cmd, []string{"json"})
	return cmd
}

// checkStore refuses a store that is not there, that lacks what it needs, or that
// would keep its objects in the volume itself, before anything is touched. The
// bricks are those known beyond what the mount tells.
func (a *app) checkStore(mount *volume.Mount, bricks []string) error {
	reg := registry(nil, nil)
	if _, ok := reg.Find(a.store); !ok {
		var names []string
		for _, s := range reg {
			names = append(names, s.Name)
		}
		return usagef("--store: unknown store %q: it is one of %s", a.store, strings.Join(names, ", "))
	}
	o, err := a.storeOptions(mount.Graph)
	switch {
	case err != nil:
		return err
	case a.store == "s3" && o["bucket"] == "":
		return usagef("no bucket given: write --bucket NAME")
	case a.store == "dir" && o["dir"] == "":
		return usagef("no directory given: write --store-dir DIR")
	case a.store == "dir":
		if err := mount.CheckOutside(o["dir"], bricks); err != nil {
			return usagef("--store-dir: %w", err)
		}
	}
	return nil
}

// meter counts the bytes on their way to and from a store, and bounds their rate.
type meter struct {
	*rate.Limiter
	moved atomic.Int64
}

// WaitN lets n bytes pass.
func (m *meter) WaitN(ctx context.Context, n int) error {
	err := m.Limiter.WaitN(ctx, n)
	if err == nil {
		m.moved.Add(int64(n))
	}
	return err
}

// openStore prepares the store in use.
func (a *app) openStore(ctx context.Context, graph gluster.Graph, log *record.Log) (recall.Plugin, error) {
	const least, most = 64 << 10, 1 << 20 // bytes in one go: smooth, but not a call for each packet
	a.meter = &meter{Limiter: rate.NewLimiter(rate.Inf, most)}
	if a.bwlimit > 0 {
		a.meter.Limiter = rate.NewLimiter(rate.Limit(a.bwlimit), int(min(max(a.bwlimit/10, least), most)))
	}
	s, ok := registry(a.meter, log).Find(a.store)
	if !ok {
		return nil, usagef("--store: unknown store %q", a.store)
	}
	options, err := a.storeOptions(graph)
	if err != nil {
		return nil, err
	}
	plugin := s.New()
	if err := plugin.Init(ctx, options); err != nil {
		return nil, usageError{err}
	}
	return plugin, nil
}

// storeOptions are the options of recall.Plugin.Init. They hold secrets. What
// nobody has set is taken from the options of the volume, as they stand in its
// graph.
func (a *app) storeOptions(graph gluster.Graph) (map[string]string, error) {
	o := map[string]string{
		"bucket": a.bucket, "endpoint-url": a.endpointURL, "region": a.region, "profile": a.profile,
		"ca-bundle": a.caBundle, "storage-class": a.storClass, "key-prefix": a.keyPrefix, "dir": a.storeDir,
		"part-size": strconv.FormatInt(a.partSize.Bytes(), 10), "jobs": strconv.Itoa(a.jobs.Int()),
		"access-key-id": a.accessKeyID.Reveal(), "secret-access-key": a.secretAccessKey.Reveal(),
		"session-token": a.sessionToken.Reveal(),
	}
	if a.store != "s3" {
		return o, nil
	}
	unset := func(name string) bool { return a.origins[name] == config.FromDefault }
	s3, ok, err := graph.S3()
	if err != nil && (unset("bucket") || unset("endpoint-url")) {
		return nil, usageError{err}
	}
	if !ok {
		return o, nil
	}
	for name, value := range map[string]string{
		"bucket": s3.Bucket, "endpoint-url": s3.Endpoint, "region": s3.Region, "ca-bundle": s3.CABundle,
	} {
		if unset(name) {
			o[name] = value
		}
	}
	if unset("access-key-id") && unset("secret-access-key") { // they belong together
		o["access-key-id"], o["secret-access-key"] = s3.KeyID.Reveal(), s3.SecretKey.Reveal()
	}
	return o, nil
}
