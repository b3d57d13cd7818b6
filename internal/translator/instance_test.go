package translator

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coldbrick/coldbrick/internal/gluster"
)

// counted is a store that counts those that are open.
type counted struct {
	bucket
	open    *atomic.Int32
	options map[string]string
}

func (c *counted) Init(_ context.Context, options map[string]string) error {
	if options["bucket"] == "refused" {
		return errors.New("no such bucket")
	}
	c.open.Add(1)
	c.options = options
	return nil
}

func (c *counted) Fini() error { c.open.Add(-1); return nil }

func TestStoresAreSharedAndClosedWhenIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var open atomic.Int32
		stores := NewStores(func() Store { return &counted{bucket: bucket{"dir/f": newScene().object}, open: &open} })
		// As many instances as a mount has after so many graph switches.
		for range 50 {
			i := NewInstance(stores, t.TempDir(), Settings{Volume: "v", Bucket: "b", KeyID: "i", Secret: "s"})
			s := newScene()
			s.stub.File = s.brick
			if _, err := i.Recall(t.Context(), s.stub, nil); err != nil {
				t.Fatal(err)
			}
		}
		if n := open.Load(); n != 1 {
			t.Errorf("%d stores are open for one set of options", n)
		}
		time.Sleep(idleStore - time.Second)
		if n := open.Load(); n != 1 {
			t.Errorf("%d stores are open before the end of the idle time", n)
		}
		time.Sleep(2 * time.Second)
		if n := open.Load(); n != 0 || len(stores.open) != 0 {
			t.Errorf("%d stores are open, %d known, after the idle time", n, len(stores.open))
		}
	})
}

func TestReconfigureWhileARecallRuns(t *testing.T) {
	var open atomic.Int32
	stores := NewStores(func() Store { return &counted{bucket: bucket{}, open: &open} })
	i := NewInstance(stores, t.TempDir(), Settings{Volume: "v", Bucket: "old", KeyID: "i", Secret: "s"})
	store, release, err := i.store(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i.Reconfigure(Settings{Volume: "v", Bucket: "new", KeyID: "i", Secret: "s"})
	if got := store.(*counted).options["bucket"]; got != "old" || open.Load() != 1 {
		t.Errorf("the recall under way lost its store: %q, %d open", got, open.Load())
	}
	release()
	store, release, err = i.store(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if got := store.(*counted).options["bucket"]; got != "new" {
		t.Errorf("the next recall has %q", got)
	}
}

// A stub whose store cannot be opened must not stay in the state that the
// translator has put it into.
func TestWrongSettingsLeaveAStub(t *testing.T) {
	var open atomic.Int32
	stores := NewStores(func() Store { return &counted{bucket: bucket{}, open: &open} })
	for name, settings := range map[string]Settings{
		"nothing set":  {},
		"no key id":    {Bucket: "b", Secret: "hunter2"},
		"store's Init": {Bucket: "refused"},
	} {
		s := newScene()
		s.stub.File = s.brick
		_, err := NewInstance(stores, t.TempDir(), settings).Recall(t.Context(), s.stub, nil)
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
		if s.brick.state() != gluster.Remote {
			t.Errorf("%s: %s", name, s.brick.state())
		}
	}
}
