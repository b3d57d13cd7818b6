package s3

import (
	"bytes"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore"
	"github.com/coldbrick/coldbrick/internal/testkit"
)

const (
	volumeOne = "11111111-2222-4333-8444-555555555555"
	volumeTwo = "66666666-7777-4888-8999-aaaaaaaaaaaa"
)

func TestAVolumeIsRegisteredOnce(t *testing.T) {
	server := testkit.S3(t)
	proxy := testkit.FaultProxy(t, server)
	s := newS3(t, optionsOf(server, proxy.Endpoint), "key-prefix", "p/")
	key := object.VolumeKey("p/", volumeOne)
	puts := func() int { return len(proxy.Requests(testkit.Match{Method: http.MethodPut, Key: key})) }

	// The answer to the only PUT is lost.
	proxy.On(testkit.Match{Method: http.MethodPut, Key: key, Times: 1}, testkit.LoseReply())
	for range 2 {
		if err := objstore.Register(t.Context(), s, "p/", volumeOne, ""); err != nil {
			t.Fatal(err)
		}
	}
	if n := puts(); n != 2 { // the lost one, and the SDK's second try
		t.Errorf("%d requests to write it", n)
	}
	got, err := downloadBytes(t, s, key)
	if want := `{"coldbrick":"volume","format":1,"volume":"` + volumeOne + "\"}\n"; err != nil || string(got) != want {
		t.Errorf("%q, %v", got, err)
	}

	// All bricks of a volume at once.
	var errs [8]error
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = objstore.Register(t.Context(), s, "p/", volumeTwo, "") })
	}
	wg.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		t.Error(err)
	}
	ids, err := objstore.Volumes(t.Context(), s, "p/")
	if err != nil || !slices.Equal(ids, []string{volumeOne, volumeTwo}) {
		t.Errorf("registered: %q, %v", ids, err)
	}
	if ids, err := objstore.Volumes(t.Context(), s, ""); err != nil || len(ids) != 0 {
		t.Errorf("registered under no prefix: %q, %v", ids, err)
	}
}

// Every writer writes the same bytes, so a store that overwrites does no harm.
func TestAStoreThatOverwritesTakesRegistrationsAll(t *testing.T) {
	server := testkit.S3(t)
	proxy := testkit.FaultProxy(t, server)
	proxy.On(testkit.Match{Method: http.MethodPut}, proxy.IgnoreHeader("If-None-Match"))
	s := newS3(t, optionsOf(server, proxy.Endpoint))
	for range 2 {
		if err := objstore.Register(t.Context(), s, "", volumeOne, ""); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(proxy.Requests(testkit.Match{Method: http.MethodPut, Key: object.VolumeKey("", volumeOne)})); n != 1 {
		t.Errorf("%d requests to write it", n)
	}
	if _, err := s.Create(t.Context(), "readable", bytes.NewReader(nil), 0, nil); !errors.Is(err, object.ErrKey) {
		t.Errorf("another readable key: %v", err)
	}
}

func TestARegistrationThatCannotBeEndsTheRun(t *testing.T) {
	server := testkit.S3(t)
	proxy := testkit.FaultProxy(t, server)
	s := newS3(t, optionsOf(server, proxy.Endpoint))
	proxy.On(testkit.Match{Method: http.MethodPut, Key: object.VolumeKey("", volumeOne)}, testkit.Refuse(403, "AccessDenied"))
	err := objstore.Register(t.Context(), s, "", volumeOne, "")
	if !errors.Is(err, object.ErrStore) || !strings.Contains(err.Error(), volumeOne) {
		t.Errorf("denied: %v", err)
	}
	// What is at the key is not the volume's.
	for prefix, text := range map[string]string{"empty/": "", "null/": "null", "other/": `{"volume":"` + volumeOne + `"}`} {
		if _, err := s.Create(t.Context(), object.VolumeKey(prefix, volumeTwo), strings.NewReader(text), int64(len(text)), nil); err != nil {
			t.Fatal(err)
		}
		if err := objstore.Register(t.Context(), s, prefix, volumeTwo, ""); err == nil {
			t.Errorf("%q was taken for a registration", text)
		}
	}
}

func TestCatalogKeysCannotCollide(t *testing.T) {
	scan := object.NewID()
	for key, want := range map[string]bool{
		object.CatalogKey("", volumeOne, scan, "x"):           true,
		object.CatalogKey("p/", volumeOne, scan, "x"):         true,
		object.CatalogKey("p/", volumeOne, "latest", "x"):     false,
		object.CatalogKey("p/", "volume", scan, "x"):          false,
		object.CatalogKey("p/", volumeOne, scan, "x/y"):       false,
		"x" + object.CatalogKey("", volumeOne, scan, "x"):     false,
		object.CatalogKey("", volumeOne, "", "") + scan + "x": false,
	} {
		if got := isCatalogKey(key); got != want {
			t.Errorf("%q: %v", key, got)
		}
	}
}
