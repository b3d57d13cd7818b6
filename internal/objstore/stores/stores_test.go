package stores

import (
	"cmp"
	"errors"
	"strings"
	"testing"

	"github.com/coldbrick/coldbrick/internal/objstore"
)

// An option is declared once: what is in the list is what Init reads, and its setting
// is nobody else's.
func TestAnOptionIsDeclaredOnce(t *testing.T) {
	settings := map[string]string{"store": "all stores"}
	for _, name := range objstore.Common {
		settings[name] = "all stores"
	}
	for _, kind := range All {
		if kind.Name == "" || kind.Description == "" || kind.New == nil {
			t.Errorf("%+v lacks something", kind)
		}
		known := append([]string{}, objstore.Common...)
		for _, o := range kind.Options {
			known = append(known, o.Name)
			if owner := settings[o.Name]; owner != "" {
				t.Errorf("%s of %s is an option of %s", o.Name, kind.Name, owner)
			}
			settings[o.Name] = kind.Name
			if o.Usage == "" || !o.Secret && strings.Count(o.Usage, "`") != 2 {
				t.Errorf("the help of %s names no value: %q", o.Name, o.Usage)
			}
		}
		for _, name := range known {
			if err := kind.New(objstore.Deps{}).Init(t.Context(), map[string]string{name: "\x00"}); errors.Is(err, objstore.ErrNoOption) {
				t.Errorf("%s is listed, and Init of %s does not know it", name, kind.Name)
			}
		}
		if err := kind.New(objstore.Deps{}).Init(t.Context(), map[string]string{"no-such-option": "1"}); !errors.Is(err, objstore.ErrNoOption) {
			t.Errorf("%s takes any option: %v", kind.Name, err)
		}
	}
}

// A run says what it cannot be without in the words of the command line.
func TestWhatIsMissingIsNamed(t *testing.T) {
	want := map[string]string{"bucket": "no bucket given: write --bucket NAME", "store-dir": "no directory given: write --store-dir DIR"}
	for _, kind := range All {
		for _, o := range kind.Options {
			if o.Required == "" {
				continue
			}
			if got := o.Missing().Error(); got != cmp.Or(want[o.Name], got) || !strings.Contains(got, "--"+o.Name) {
				t.Errorf("%q, want %q", got, want[o.Name])
			}
			delete(want, o.Name)
		}
	}
	if len(want) != 0 {
		t.Errorf("not required: %v", want)
	}
}
