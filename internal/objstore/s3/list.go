package s3

import (
	"context"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/coldbrick/coldbrick/internal/objstore"
)

// List visits the objects whose keys begin with prefix. An error of visit ends it.
func (s *Store) List(ctx context.Context, prefix string, visit func(objstore.Listed) error) error {
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
			if !strings.HasPrefix(key, prefix) { // not every server honours it
				continue
			}
			if err := visit(objstore.Listed{Key: key, Size: aws.ToInt64(o.Size), Modified: aws.ToTime(o.LastModified)}); err != nil {
				return err
			}
		}
	}
	return nil
}
