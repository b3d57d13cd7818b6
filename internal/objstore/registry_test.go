package objstore_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore"
	"github.com/coldbrick/coldbrick/internal/objstore/dir"
)

const (
	volumeOne = "11111111-2222-4333-8444-555555555555"
	volumeTwo = "66666666-7777-4888-8999-aaaaaaaaaaaa"
)

func newDir(t *testing.T) *dir.Store {
	t.Helper()
	d := &dir.Store{}
	if err := d.Init(t.Context(), map[string]string{"store-dir": t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	return d
}

// A registration that was not written by who knows the secret is found out.
func TestARegistrationIsSealed(t *testing.T) {
	d := newDir(t)
	// One from before there was a secret stays as it is.
	for _, secret := range []string{"", "the secret", "the secret", ""} {
		if err := objstore.Register(t.Context(), d, "", volumeOne, secret); err != nil {
			t.Fatal(err)
		}
	}
	if err := objstore.Register(t.Context(), d, "", volumeOne, "another"); !errors.Is(err, objstore.ErrSeal) {
		t.Errorf("with another secret: %v", err)
	}
	if ids, err := objstore.Volumes(t.Context(), d, ""); err != nil || !slices.Equal(ids, []string{volumeOne}) {
		t.Errorf("%q, %v", ids, err)
	}
	planted := []byte(`{"coldbrick":"volume","format":1,"volume":"` + volumeTwo + "\"}\n0000\n")
	if _, err := d.Create(t.Context(), object.SignedVolumeKey("", volumeTwo), bytes.NewReader(planted), int64(len(planted)), nil); err != nil {
		t.Fatal(err)
	}
	if err := objstore.Register(t.Context(), d, "", volumeTwo, "the secret"); !errors.Is(err, objstore.ErrSeal) {
		t.Errorf("a planted one: %v", err)
	}
}

func TestASealHoldsUnderItsKeyAlone(t *testing.T) {
	sealed := objstore.Seal("secret", "key", []byte("text"))
	if text, err := objstore.Unseal("secret", "key", sealed); err != nil || string(text) != "text" {
		t.Fatalf("%q, %v", text, err)
	}
	for _, tt := range []struct {
		secret, key string
		sealed      []byte
	}{
		{"other", "key", sealed}, {"secret", "other", sealed}, {"secret", "key", sealed[1:]},
		{"secret", "key", append([]byte("x"), sealed...)}, {"secret", "key", sealed[:len(sealed)-1]}, {"secret", "key", nil},
	} {
		if text, err := objstore.Unseal(tt.secret, tt.key, tt.sealed); !errors.Is(err, objstore.ErrSeal) {
			t.Errorf("%q %q %q: %q, %v", tt.secret, tt.key, tt.sealed, text, err)
		}
	}
}

func TestAVolumeIsRefusedBelowAnothersPrefix(t *testing.T) {
	d := newDir(t)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(objstore.Register(t.Context(), d, "a/b/", volumeTwo, ""))
	must(objstore.Register(t.Context(), d, "a/", volumeOne, "")) // was not there when the other one began
	must(objstore.Register(t.Context(), d, "a/b/", volumeTwo, ""))
	must(objstore.Register(t.Context(), d, "c/", volumeTwo, ""))
	must(objstore.Register(t.Context(), d, "a/x/", volumeOne, "")) // its own
	if err := objstore.Register(t.Context(), d, "a/c/", volumeTwo, ""); !errors.Is(err, objstore.ErrNested) || !strings.Contains(err.Error(), volumeOne) {
		t.Errorf("below another's: %v", err)
	}
}

func TestPrefixesAbove(t *testing.T) {
	for prefix, want := range map[string][]string{"": nil, "a/": {""}, "a/b/": {"", "a/"}, "a-": {""}, "a/b": {"", "a/"}} {
		if got := objstore.PrefixesAbove(prefix); !slices.Equal(got, want) {
			t.Errorf("above %q: %q, want %q", prefix, got, want)
		}
	}
}
