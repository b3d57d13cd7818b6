package s3

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/feature/s3/manager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// sendParts cuts in.Body into parts, sends them by as many workers, and
// completes the upload. It never aborts: api's owner does.
//
// feature/s3/manager is deprecated in favour of feature/s3/transfermanager,
// which is not yet 1.0 and copies every body through memory of its own; this
// function is all there is to replace.
func sendParts(ctx context.Context, api multipartAPI, in *s3.PutObjectInput, partSize int64, workers int) error {
	uploader := manager.NewUploader(api, func(u *manager.Uploader) { //nolint:staticcheck // see above
		u.PartSize = partSize
		u.Concurrency = workers
		u.LeavePartsOnError = true
	})
	_, err := uploader.Upload(ctx, in) //nolint:staticcheck // see above
	return err
}
