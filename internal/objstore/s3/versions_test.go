package s3

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/coldbrick/coldbrick/internal/objstore"
	"github.com/coldbrick/coldbrick/internal/testkit"
)

func versionsOf(t *testing.T, s *Store, prefix string) (all []objstore.Version) {
	t.Helper()
	if err := s.Versions(t.Context(), prefix, func(v objstore.Version) error { all = append(all, v); return nil }); err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(all, func(a, b objstore.Version) int { return strings.Compare(a.Key, b.Key) })
	return all
}

func setVersioning(t *testing.T, s *Store, status types.BucketVersioningStatus) {
	t.Helper()
	n := s.current.Load()
	if _, err := n.client.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{
		Bucket: &n.bucket, VersioningConfiguration: &types.VersioningConfiguration{Status: status},
	}); err != nil {
		t.Fatal(err)
	}
}

// One version alone is deleted, what is under a lock says until when, and a bucket whose
// versions can be overwritten is refused.
func TestVersionsAreDeletedOneByOne(t *testing.T) {
	server := testkit.S3(t, testkit.WithVersions())
	s := newS3(t, optionsOf(server, server.Endpoint))
	if keeps, err := s.KeepsVersions(t.Context()); keeps || err != nil {
		t.Fatalf("a new bucket keeps versions: %v, %v", keeps, err)
	}
	setVersioning(t, s, types.BucketVersioningStatusEnabled)
	if keeps, err := s.KeepsVersions(t.Context()); !keeps || err != nil {
		t.Fatalf("it keeps versions: %v, %v", keeps, err)
	}
	for _, body := range []string{"first", "second"} {
		// By hand: If-None-Match fails on versitygw after a delete, which on AWS it does not.
		n := s.current.Load()
		if _, err := n.client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &n.bucket, Key: aws.String("below/k"), Body: strings.NewReader(body)}); err != nil {
			t.Fatal(err)
		}
		info, err := s.Head(t.Context(), "below/k")
		if err == nil {
			err = s.Delete(t.Context(), "below/k", info)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := createBytes(t, s, "other", []byte("another")); err != nil {
		t.Fatal(err)
	}
	all := versionsOf(t, s, "below/")
	markers, latest := 0, 0
	var first objstore.Version
	for _, v := range all {
		switch {
		case v.Marker:
			markers++
		case v.Size == int64(len("first")):
			first = v
		}
		if v.Latest {
			latest++
		}
	}
	if len(all) != 4 || markers != 2 || latest != 1 || first.ID == "" {
		t.Fatalf("%+v", all)
	}
	info, err := s.HeadVersion(t.Context(), "below/k", first.ID)
	if err != nil || info.Size != first.Size || info.Lock.Holds(time.Now()) {
		t.Errorf("%+v, %v", info, err)
	}
	if err := s.DeleteVersion(t.Context(), "below/k", first.ID); err != nil {
		t.Fatal(err)
	}
	if left := versionsOf(t, s, "below/"); len(left) != 3 || slices.ContainsFunc(left, func(v objstore.Version) bool { return v.ID == first.ID }) {
		t.Errorf("%+v", left)
	}
	for _, v := range versionsOf(t, s, "below/") {
		if err := s.DeleteVersion(t.Context(), v.Key, v.ID); err != nil {
			t.Errorf("%+v: %v, of %+v", v, err, all)
		}
	}
	if left := versionsOf(t, s, ""); len(left) != 1 || left[0].Key != "other" {
		t.Errorf("%+v", left)
	}
	setVersioning(t, s, types.BucketVersioningStatusSuspended)
	if _, err := s.KeepsVersions(t.Context()); err == nil || !strings.Contains(err.Error(), "enable versioning again") {
		t.Errorf("a bucket that has stopped: %v", err)
	}
}

func TestALockedVersionStays(t *testing.T) {
	server := testkit.S3(t, testkit.WithVersions())
	s := newS3(t, optionsOf(server, server.Endpoint))
	n := s.current.Load()
	bucket := "locked"
	if _, err := n.client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &bucket, ObjectLockEnabledForBucket: aws.Bool(true)}); err != nil {
		t.Fatal(err)
	}
	server.Bucket = bucket
	s = newS3(t, optionsOf(server, server.Endpoint))
	n = s.current.Load()
	if _, err := createBytes(t, s, "k", []byte("kept")); err != nil {
		t.Fatal(err)
	}
	until := time.Now().Add(time.Hour)
	if _, err := n.client.PutObjectRetention(t.Context(), &s3.PutObjectRetentionInput{Bucket: &bucket, Key: aws.String("k"),
		Retention: &types.ObjectLockRetention{Mode: types.ObjectLockRetentionModeCompliance, RetainUntilDate: &until}}); err != nil {
		t.Fatal(err)
	}
	all := versionsOf(t, s, "")
	if len(all) != 1 {
		t.Fatalf("%+v", all)
	}
	info, err := s.HeadVersion(t.Context(), "k", all[0].ID)
	if err != nil || !info.Lock.Holds(time.Now()) || info.Lock.Until.Sub(until).Abs() > time.Minute {
		t.Errorf("%+v, %v", info.Lock, err)
	}
	if err := s.DeleteVersion(t.Context(), "k", all[0].ID); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("deleted: %v", err)
	}
	if len(versionsOf(t, s, "")) != 1 {
		t.Error("it is gone")
	}
}
