package objstore

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/testkit"
)

// Each store lists the keys that were created, as they are, and no others.
func TestListNamesWhatWasCreated(t *testing.T) {
	dir := &Dir{}
	if err := dir.Init(t.Context(), map[string]string{"dir": t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	server := testkit.S3(t)
	for name, store := range map[string]interface {
		lister
		Registry
	}{"dir": dir, "s3": newS3(t, optionsOf(server, server.Endpoint))} {
		t.Run(name, func(t *testing.T) {
			keys := []string{"p/a", "p/a.object", "p/d.dir/x", "p/d.object/x", "p/d/x.more", "p/ü/ü", "p/d.tmp/x", "q/no"}
			if name == "dir" { // a server that keeps files in directories has no room for such a name
				keys = append(keys, "p/"+strings.Repeat("long", 80)+"/y", "p/"+strings.Repeat("ü", 200))
			}
			for _, key := range keys {
				if _, err := store.Create(t.Context(), key, strings.NewReader("123"), 3, nil); err != nil {
					t.Fatalf("%q: %v", key, err)
				}
			}
			for _, prefix := range []string{"p/", "p/d", "", "q/no", "none/"} {
				var got, want []string
				err := store.List(t.Context(), prefix, func(o Listed) error {
					if o.Size != 3 || o.Modified.IsZero() {
						t.Errorf("%+v", o)
					}
					got = append(got, o.Key)
					return nil
				})
				for _, key := range keys {
					if strings.HasPrefix(key, prefix) {
						want = append(want, key)
					}
				}
				got = slices.DeleteFunc(got, func(key string) bool { return strings.HasPrefix(key, object.ReservedPrefix) }) // of the probe
				slices.Sort(got)
				slices.Sort(want)
				if err != nil || !slices.Equal(got, want) {
					t.Errorf("below %q: %q, want %q: %v", prefix, got, want, err)
				}
			}
			if err := store.List(t.Context(), "p/", func(Listed) error { return io.ErrClosedPipe }); !errors.Is(err, io.ErrClosedPipe) {
				t.Errorf("the visitor's error became %v", err)
			}
		})
	}
}

// A registration that was not written by who knows the secret is found out.
func TestARegistrationIsSealed(t *testing.T) {
	d := &Dir{}
	if err := d.Init(t.Context(), map[string]string{"dir": t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	// One from before there was a secret stays as it is.
	for _, secret := range []string{"", "the secret", "the secret", ""} {
		if err := Register(t.Context(), d, "", volumeOne, secret); err != nil {
			t.Fatal(err)
		}
	}
	if err := Register(t.Context(), d, "", volumeOne, "another"); !errors.Is(err, ErrSeal) {
		t.Errorf("with another secret: %v", err)
	}
	if ids, err := d.Volumes(t.Context(), ""); err != nil || !slices.Equal(ids, []string{volumeOne}) {
		t.Errorf("%q, %v", ids, err)
	}
	planted := []byte(`{"coldbrick":"volume","format":1,"volume":"` + volumeTwo + "\"}\n0000\n")
	if _, err := d.Create(t.Context(), object.SignedVolumeKey("", volumeTwo), bytes.NewReader(planted), int64(len(planted)), nil); err != nil {
		t.Fatal(err)
	}
	if err := Register(t.Context(), d, "", volumeTwo, "the secret"); !errors.Is(err, ErrSeal) {
		t.Errorf("a planted one: %v", err)
	}
}

func TestASealHoldsUnderItsKeyAlone(t *testing.T) {
	sealed := Seal("secret", "key", []byte("text"))
	if text, err := Unseal("secret", "key", sealed); err != nil || string(text) != "text" {
		t.Fatalf("%q, %v", text, err)
	}
	for _, tt := range []struct {
		secret, key string
		sealed      []byte
	}{
		{"other", "key", sealed}, {"secret", "other", sealed}, {"secret", "key", sealed[1:]},
		{"secret", "key", append([]byte("x"), sealed...)}, {"secret", "key", sealed[:len(sealed)-1]}, {"secret", "key", nil},
	} {
		if text, err := Unseal(tt.secret, tt.key, tt.sealed); !errors.Is(err, ErrSeal) {
			t.Errorf("%q %q %q: %q, %v", tt.secret, tt.key, tt.sealed, text, err)
		}
	}
}

func TestAVolumeIsRefusedBelowAnothersPrefix(t *testing.T) {
	d := &Dir{}
	if err := d.Init(t.Context(), map[string]string{"dir": t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(Register(t.Context(), d, "a/b/", volumeTwo, ""))
	must(Register(t.Context(), d, "a/", volumeOne, "")) // was not there when the other one began
	must(Register(t.Context(), d, "a/b/", volumeTwo, ""))
	must(Register(t.Context(), d, "c/", volumeTwo, ""))
	must(Register(t.Context(), d, "a/x/", volumeOne, "")) // its own
	if err := Register(t.Context(), d, "a/c/", volumeTwo, ""); !errors.Is(err, ErrNested) || !strings.Contains(err.Error(), volumeOne) {
		t.Errorf("below another's: %v", err)
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
