package s3

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/coldbrick/coldbrick/internal/objstore"
)

// KeepsVersions asks whether the bucket keeps versions. One that has stopped to is
// refused: what it has under the version id "null" is overwritten, and a request to
// delete it could meet another object.
func (s *Store) KeepsVersions(ctx context.Context) (bool, error) {
	n, err := s.session()
	if err != nil {
		return false, err
	}
	out, err := n.client.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: &n.bucket})
	switch {
	case err != nil:
		return false, n.explain(ctx, "ask whether the bucket keeps versions", err)
	case out.Status == types.BucketVersioningStatusSuspended:
		return false, fmt.Errorf("bucket %q has kept versions and does not any more: enable versioning again", n.bucket)
	}
	return out.Status == types.BucketVersioningStatusEnabled, nil
}

// Versions visits all versions of the objects whose keys begin with prefix.
func (s *Store) Versions(ctx context.Context, prefix string, visit func(objstore.Version) error) error {
	n, err := s.session()
	if err != nil {
		return err
	}
	see := func(v objstore.Version) error {
		if !strings.HasPrefix(v.Key, prefix) { // not every server honours it
			return nil
		}
		return visit(v)
	}
	pages := s3.NewListObjectVersionsPaginator(n.client, &s3.ListObjectVersionsInput{Bucket: &n.bucket, Prefix: &prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return n.explain(ctx, "list versions", err)
		}
		for _, o := range page.Versions {
			if err := see(objstore.Version{
				Listed: objstore.Listed{Key: aws.ToString(o.Key), Size: aws.ToInt64(o.Size), Modified: aws.ToTime(o.LastModified)},
				ID:     aws.ToString(o.VersionId), Latest: aws.ToBool(o.IsLatest),
			}); err != nil {
				return err
			}
		}
		for _, o := range page.DeleteMarkers {
			if err := see(objstore.Version{
				Listed: objstore.Listed{Key: aws.ToString(o.Key), Modified: aws.ToTime(o.LastModified)},
				ID:     aws.ToString(o.VersionId), Latest: aws.ToBool(o.IsLatest), Marker: true,
			}); err != nil {
				return err
			}
		}
	}
	return nil
}

// HeadVersion tells of one version, and until when the store lets nobody delete it.
func (s *Store) HeadVersion(ctx context.Context, key, id string) (v objstore.VersionInfo, err error) {
	if err := objstore.CheckKey(key); err != nil {
		return v, err
	}
	n, err := s.session()
	if err != nil {
		return v, err
	}
	v.Info, v.Lock, err = n.headVersion(ctx, key, &id)
	return v, err
}

// DeleteVersion deletes one version, or delete marker. No other can get its id.
func (s *Store) DeleteVersion(ctx context.Context, key, id string) error {
	if err := objstore.CheckKey(key); err != nil {
		return err
	}
	n, err := s.session()
	if err != nil {
		return err
	}
	if id == "" {
		return errors.New("delete version: no version is named")
	}
	_, err = n.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &n.bucket, Key: &key, VersionId: &id}, once)
	if code := codeOf(err); code == "NoSuchVersion" {
		return &objstore.Error{Op: "delete version", Kind: fs.ErrNotExist}
	}
	return n.explain(ctx, "delete version", err)
}
