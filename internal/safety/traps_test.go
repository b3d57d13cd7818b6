package safety

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/testkit"
)

// Gluster compares the mtime with the stamp as decimal strings. Of the times for
// which that goes wrong none is ever sent.
func TestNoTrapOfTheStampCheckReachesTheVolume(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	data := randomBytes(5000)
	for name, mtime := range map[string]time.Time{
		"nine digits": time.Unix(999_999_999, 0),
		"1970":        time.Unix(100, 0),
		"zero":        time.Unix(0, 0),
		"negative":    time.Unix(-5, 0),
		"future":      time.Now().Add(24 * time.Hour),
		"far future":  time.Unix(99_999_999_999, 0),
	} {
		g.Write(name, data, mtime)
		res := g.archive(name)
		if res.Reason != outcome.MtimeOutOfRange && res.Reason != outcome.TooWarm {
			t.Errorf("%s: %s %s: %v", name, res.Outcome, res.Reason, res.Err)
		}
		g.mustRead(name, data)
		g.mustBeUnmarked(name)
	}
	g.Write("first of ten digits", data, time.Unix(1_000_000_000, 999_999_999))
	g.mustArchive("first of ten digits")
}

// A store, or a proxy before it, that ignores conditions would let one object
// replace another. There only keys are used that nobody else can have.
func TestWhereConditionsAreIgnoredNoKeyCanCollide(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	g.Proxy.On(testkit.Match{}, g.Proxy.IgnoreHeader("If-None-Match"))
	g.Store = g.newStore(g.Proxy.Endpoint)
	for _, size := range []int{5000, 20 << 20} {
		if g.Store.Conditional(int64(size)) {
			t.Fatal("the probe believes in conditions that are ignored")
		}
		first, second := randomBytes(size), randomBytes(size)
		g.Write("a", first, longAgo)
		if key := g.mustArchive("a").Key; !strings.HasPrefix(key, object.ReservedPrefix) {
			t.Fatalf("key %q", key)
		}
		check(t, os.Rename(g.Path("a"), g.Path("b")))
		g.Write("a", second, longAgo)
		g.mustArchive("a")
		for path, want := range map[string][]byte{"a": second, "b": first} {
			g.mustRecall(path)
			g.mustRead(path, want)
		}
	}
}
