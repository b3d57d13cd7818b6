package s3

import (
	"context"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
)

// Volumes lists the ids of the volumes that are registered under a prefix.
func (s *Store) Volumes(ctx context.Context, prefix string) ([]string, error) {
	n, err := s.session()
	if err != nil {
		return nil, err
	}
	dir := object.VolumeKey(prefix, "")
	var ids []string
	pages := s3.NewListObjectsV2Paginator(n.client, &s3.ListObjectsV2Input{Bucket: &n.bucket, Prefix: &dir})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, n.explain(ctx, "list volumes", err)
		}
		for _, o := range page.Contents {
			id, ok := strings.CutPrefix(aws.ToString(o.Key), dir)
			if _, err := gluster.ParseGFID(id); ok && err == nil {
				ids = append(ids, id)
			}
		}
	}
	return ids, nil
}
