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

// Split tells of the objects right below prefix, and of the prefixes below it.
func (s *Store) Split(ctx context.Context, prefix string) (objects []objstore.Listed, below []string, whole bool, err error) {
	n, err := s.session()
	if err != nil {
		return nil, nil, false, err
	}
	page, err := n.client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &n.bucket, Prefix: &prefix, Delimiter: aws.String("/")})
	if err != nil {
		return nil, nil, false, n.explain(ctx, "list objects", err)
	}
	whole = !aws.ToBool(page.IsTruncated)
	for _, o := range page.Contents {
		if rest, ok := strings.CutPrefix(aws.ToString(o.Key), prefix); !ok || strings.Contains(rest, "/") { // not every server honours the delimiter
			return nil, nil, false, nil
		}
		objects = append(objects, objstore.Listed{Key: aws.ToString(o.Key), Size: aws.ToInt64(o.Size), Modified: aws.ToTime(o.LastModified)})
	}
	for _, p := range page.CommonPrefixes {
		part := aws.ToString(p.Prefix)
		if rest, ok := strings.CutPrefix(part, prefix); !ok || strings.Index(rest, "/") != len(rest)-1 {
			return nil, nil, false, nil
		}
		below = append(below, part)
	}
	return objects, below, whole, nil
}
