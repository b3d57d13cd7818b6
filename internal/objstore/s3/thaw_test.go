package s3

import (
	"bytes"
	"errors"
	"io/fs"
	"net/http"
	"strings"
	"testing"

	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore/storetest"
	"github.com/coldbrick/coldbrick/internal/testkit"
)

var week = object.Thaw{Tier: object.ThawBulk, Days: 7}

// From put to expiry, every answer of a store to a thaw.
func TestAThawIsAskedForAndSeen(t *testing.T) {
	for kind, size := range sizes {
		t.Run(kind, func(t *testing.T) {
			server := testkit.S3(t)
			proxy := testkit.FaultProxy(t, server)
			glacier := proxy.Glacier()
			s := newS3(t, optionsOf(server, proxy.Endpoint), "storage-class", "DEEP_ARCHIVE")
			body := storetest.Bytes(1, size)
			proof, err := createBytes(t, s, "k", body)
			if err != nil {
				t.Fatal(err)
			}
			access := func(want object.Access) object.Info {
				t.Helper()
				info, err := s.Head(t.Context(), "k")
				if err != nil || info.Access != want || info.Class != "DEEP_ARCHIVE" || info.CRC32 != proof.CRC32 {
					t.Fatalf("%+v, %v; want access %d", info, err, want)
				}
				return info
			}
			frozen := access(object.Frozen)
			if _, err := downloadBytes(t, s, "k"); !errors.Is(err, object.ErrCold) {
				t.Errorf("read although frozen: %v", err)
			}
			for range 2 { // 202, then 409
				if err := s.Thaw(t.Context(), "k", frozen, week); err != nil {
					t.Fatal(err)
				}
				access(object.Thawing)
			}
			glacier.Finish("k")
			access(object.Readable)
			if err := s.Thaw(t.Context(), "k", frozen, week); err != nil { // 200
				t.Fatal(err)
			}
			if got, err := downloadBytes(t, s, "k"); err != nil || !bytes.Equal(got, body) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			glacier.Freeze("k", "DEEP_ARCHIVE")
			access(object.Frozen)
			for i, want := range []int{http.StatusAccepted, http.StatusConflict, http.StatusOK} {
				if got := glacier.Asked("k")[i]; got != (testkit.RestoreRequest{Status: want, Days: 7, Tier: "Bulk"}) {
					t.Errorf("request %d: %+v", i, got)
				}
			}
		})
	}
}

// What INTELLIGENT_TIERING has put away is seen by HEAD alone, and comes back for good.
func TestAnArchiveTierIsThawedWithoutDays(t *testing.T) {
	s, proxy, _ := faulty(t)
	if _, err := createBytes(t, s, "k", []byte("x")); err != nil {
		t.Fatal(err)
	}
	head := testkit.Match{Method: http.MethodHead, Key: "k"}
	proxy.On(head, testkit.Edit(func(header http.Header, body []byte) []byte {
		header.Set("x-amz-storage-class", "INTELLIGENT_TIERING")
		header.Set("x-amz-archive-status", "ARCHIVE_ACCESS")
		return body
	}))
	glacier := proxy.Glacier()
	glacier.Freeze("k", "INTELLIGENT_TIERING")
	info, err := s.Head(t.Context(), "k")
	if err != nil || info.Access != object.Frozen {
		t.Fatalf("%+v, %v", info, err)
	}
	if err := s.Thaw(t.Context(), "k", info, week); err != nil {
		t.Fatal(err)
	}
	if got := glacier.Asked("k"); len(got) != 1 || got[0].Days != 0 {
		t.Errorf("%+v", got)
	}
}

func TestARefusedThawSaysWhy(t *testing.T) {
	for _, tt := range []struct {
		status int
		code   string
		kind   error // nil: that of one request
		tries  int
	}{
		{http.StatusForbidden, "AccessDenied", fs.ErrPermission, 1},
		{http.StatusForbidden, "InvalidAccessKeyId", object.ErrStore, 1},
		{http.StatusServiceUnavailable, noExpeditedRoom, nil, 1}, // it would be the same for hours
		{http.StatusServiceUnavailable, "SlowDown", nil, 4},
	} {
		t.Run(tt.code, func(t *testing.T) {
			s, proxy, _ := faulty(t)
			if _, err := createBytes(t, s, "k", []byte("x")); err != nil {
				t.Fatal(err)
			}
			restore := testkit.Match{Method: http.MethodPost, Key: "k", Query: []string{"restore"}}
			proxy.On(restore, testkit.Refuse(tt.status, tt.code))
			err := s.Thaw(t.Context(), "k", object.Info{}, week)
			if err == nil || !strings.Contains(err.Error(), tt.code) || tt.kind != nil && !errors.Is(err, tt.kind) {
				t.Errorf("%v", err)
			}
			if n := len(proxy.Requests(restore)); n != tt.tries {
				t.Errorf("%d requests, want %d", n, tt.tries)
			}
		})
	}
}

// Catalogs and registrations are read by every run: a class for cold files is not theirs.
func TestRecordsAreNotKeptCold(t *testing.T) {
	server := testkit.S3(t)
	proxy := testkit.FaultProxy(t, server)
	glacier := proxy.Glacier()
	s := newS3(t, optionsOf(server, proxy.Endpoint), "storage-class", "GLACIER", "key-prefix", "v/")
	const id = "11111111-2222-3333-4444-555555555555"
	catalog := object.CatalogKey("v/", id, object.NewID(), "tree")
	nonce := "v/.coldbrick/" + id + "/" + object.NewID()
	for key, want := range map[string]string{
		object.VolumeKey("v/", id): "", catalog: "", nonce: "GLACIER", "v/dir/f": "GLACIER",
	} {
		if _, err := createBytes(t, s, key, []byte("x")); err != nil {
			t.Fatal(err)
		}
		if got := glacier.Class(key); got != want {
			t.Errorf("%s is in class %q, not %q", key, got, want)
		}
	}
}
