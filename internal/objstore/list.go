package objstore

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/object"
)

// Listed is what a listing tells of an object.
type Listed struct {
	Key      string
	Size     int64
	Modified time.Time // by the store's clock
}

// lister is what both stores do.
type lister interface {
	List(ctx context.Context, prefix string, visit func(Listed) error) error
}

// List visits the objects whose keys begin with prefix. An error of visit ends it.
func (s *S3) List(ctx context.Context, prefix string, visit func(Listed) error) error {
	n, err := s.session()
	if err != nil {
		return err
	}
	pages := s3.NewListObjectsV2Paginator(n.client, &s3.ListObjectsV2Input{Bucket: &n.bucket, Prefix: &prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return n.explain(ctx, "list objects", err)
		}
		for _, o := range page.Contents {
			key := aws.ToString(o.Key)
			if !strings.HasPrefix(key, prefix) { // not every server heeds it
				continue
			}
			if err := visit(Listed{key, aws.ToInt64(o.Size), aws.ToTime(o.LastModified)}); err != nil {
				return err
			}
		}
	}
	return nil
}

// List visits the objects whose keys begin with prefix, in no order. An error of visit
// ends it.
func (d *Dir) List(ctx context.Context, prefix string, visit func(Listed) error) error {
	n := d.current.Load()
	if n == nil {
		return errClosed
	}
	parent := prefix[:strings.LastIndexByte(prefix, '/')+1]
	if parent != "" {
		if err := checkKey(parent + "x"); err != nil {
			return err
		}
	}
	place, _ := objectPath(parent + "x")
	err := n.list(ctx, place, parent, func(o Listed) error {
		if !strings.HasPrefix(o.Key, prefix) {
			return nil
		}
		return visit(o)
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// list visits the objects below the directory place, whose keys begin with key.
func (n *dirSession) list(ctx context.Context, place, key string, visit func(Listed) error) error {
	if place == "" {
		place = "."
	}
	dir, err := openBeneath(n.root, place, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return dirError("list objects", err)
	}
	names, err := dir.Readdirnames(-1)
	dir.Close()
	if err != nil {
		return dirError("list objects", err)
	}
	for _, name := range names {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if own, ok := strings.CutSuffix(name, objectSuffix); ok {
			err = n.listOne(key+own, visit)
		} else if own, ok := strings.CutSuffix(name, moreSuffix); ok {
			err = n.list(ctx, place+"/"+name, key+own, visit)
		} else if !strings.HasSuffix(name, tempSuffix) {
			err = n.list(ctx, place+"/"+name, key+strings.TrimSuffix(name, escapedSuffix)+"/", visit)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // deleted meanwhile, or not a directory of ours
			return err
		}
	}
	return nil
}

func (n *dirSession) listOne(key string, visit func(Listed) error) error {
	if _, ok := object.PathKey(key, ""); !ok {
		return nil
	}
	data, info, err := n.open(key)
	if err != nil {
		return err
	}
	data.Close()
	return visit(Listed{key, info.Size, info.Modified})
}
