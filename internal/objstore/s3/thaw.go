package s3

import (
	"context"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore"
)

// noExpeditedRoom is how AWS refuses an expedited thaw for which it has no capacity.
const noExpeditedRoom = "GlacierExpeditedRetrievalNotAvailable"

// accessOf reads x-amz-restore, x-amz-storage-class and x-amz-archive-status. The last
// is that of an object that INTELLIGENT_TIERING has moved to one of its archive tiers.
func accessOf(out *s3.HeadObjectOutput) object.Access {
	restore := aws.ToString(out.Restore)
	switch {
	case strings.Contains(restore, `ongoing-request="true"`):
		return object.Thawing
	case strings.Contains(restore, `ongoing-request="false"`):
		return object.Readable // until the day it also names
	case object.NeedsThaw(string(out.StorageClass)), out.ArchiveStatus != "":
		return object.Frozen
	}
	return object.Readable
}

var _ objstore.Thawer = (*Store)(nil)

// Thaw sends RestoreObject. An object of INTELLIGENT_TIERING comes back for good, so
// no number of days is said of it.
func (s *Store) Thaw(ctx context.Context, key string, info object.Info, how object.Thaw) error {
	if err := objstore.CheckKey(key); err != nil {
		return err
	}
	n, err := s.session()
	if err != nil {
		return err
	}
	tier := map[string]types.Tier{
		object.ThawBulk: types.TierBulk, object.ThawStandard: types.TierStandard, object.ThawExpedited: types.TierExpedited,
	}[how.Tier]
	in := &s3.RestoreObjectInput{Bucket: &n.bucket, Key: &key, RestoreRequest: &types.RestoreRequest{
		Days: aws.Int32(int32(how.Days)), GlacierJobParameters: &types.GlacierJobParameters{Tier: tier},
	}}
	if info.Class == string(types.StorageClassIntelligentTiering) {
		in.RestoreRequest.Days = nil
	}
	_, err = n.client.RestoreObject(ctx, in)
	if statusOf(err) == http.StatusConflict || codeOf(err) == "ObjectAlreadyInActiveTierError" {
		return nil // RestoreAlreadyInProgress: another run was first, or the store itself
	}
	return n.explain(ctx, "restore object", err)
}
