package safety

import (
	"testing"

	"github.com/coldbrick/coldbrick/internal/objstore"
	"github.com/coldbrick/coldbrick/internal/objstore/dir"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/testkit/memory"
)

// Whatever keeps the contract of a store is one: here those that are no S3 server, the
// example of docs/stores.md among them.
func TestAnyStoreTakesFilesAndGivesThemBack(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		kind    objstore.Kind
		options map[string]string
	}{
		{dir.Kind, map[string]string{"store-dir": t.TempDir()}},
		{memory.Kind, map[string]string{"memory-place": t.Name()}},
	} {
		t.Run(tt.kind.Name, func(t *testing.T) {
			g := newGround(t)
			store := tt.kind.New(objstore.Deps{})
			check(t, store.Init(t.Context(), tt.options))
			defer func() { check(t, store.Fini()) }()
			for path, data := range map[string][]byte{"one byte": randomBytes(1), "dir/odd \"' %2F+": randomBytes(300_000), "large": randomBytes(40 << 20)} {
				g.Write(path, data, longAgo)
				a, r := g.archiver(), g.recaller()
				a.Store, r.Plugin = store, store
				res := a.Archive(t.Context(), g.file(path))
				if res.Outcome != outcome.Archived || res.Key != path {
					t.Fatalf("archive %q: %+v", path, res)
				}
				g.mustBeStub(path, path)
				if res := r.Recall(t.Context(), path, g.GFID(path)); res.Outcome != outcome.Recalled {
					t.Fatalf("recall %q: %+v", path, res)
				}
				g.mustRead(path, data)
				g.mustBeUnmarked(path)
			}
		})
	}
}
