package safety

import (
	"os"
	"testing"
	"time"

	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/testkit"
)

func TestAFileComesBackAsItWas(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	for path, data := range map[string][]byte{
		"one byte":                   randomBytes(1),
		"dir/with\nnewline \"' %2F+": randomBytes(300_000),
		"-dash":                      randomBytes(4096),
		"not utf-8 \xff\xfe":         randomBytes(5000),
		"multipart":                  randomBytes(40 << 20),
	} {
		g.Write(path, data, longAgo)
		res := g.mustArchive(path)
		if _, readable := object.PathKey("", path); readable && res.Key != path {
			t.Errorf("%q has key %q", path, res.Key)
		}
		if res := g.archive(path); res.Outcome != outcome.Skipped || res.Reason != outcome.AlreadyRemote {
			t.Errorf("%q archived twice: %+v", path, res)
		}
		g.mustRecall(path)
		g.mustRead(path, data)
		g.mustBeUnmarked(path)
		st, err := os.Stat(g.Path(path))
		check(t, err)
		if !st.ModTime().Equal(longAgo) {
			t.Errorf("%q has mtime %v, had %v", path, st.ModTime(), longAgo)
		}
		appended, err := os.OpenFile(g.Path(path), os.O_APPEND|os.O_WRONLY, 0)
		check(t, err)
		_, err = appended.WriteString("more")
		check(t, err)
		check(t, appended.Close())
		g.mustRead(path, append(data, "more"...))
	}
}

func TestANewFileAtAnOldNameGetsAnObjectOfItsOwn(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	first, second := randomBytes(1000), randomBytes(1000)
	g.Write("a", first, longAgo)
	if res := g.mustArchive("a"); res.Key != "a" {
		t.Fatalf("first key %q", res.Key)
	}
	check(t, os.Rename(g.Path("a"), g.Path("b")))
	g.Write("a", second, longAgo)
	if res := g.mustArchive("a"); res.Key == "a" {
		t.Fatal("the second file was archived under the first one's key")
	}
	g.mustRecall("a")
	g.mustRecall("b")
	g.mustRead("b", first)
	g.mustRead("a", second)
}

func TestAFileTooWarmByASecondStays(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	data := randomBytes(100)
	g.Write("f", data, time.Now().Add(-time.Minute))
	a := g.archiver()
	a.ColdBefore = g.file("f").Mtime // exactly as old as the limit is too warm
	if res := a.Archive(t.Context(), g.file("f")); res.Reason != outcome.TooWarm {
		t.Fatalf("%+v", res)
	}
	g.mustBeUnmarked("f")
	g.mustRead("f", data)
}

func TestASecondRunUploadsNothing(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	for _, path := range []string{"a", "dir/b", "dir/deep/c"} {
		g.Write(path, randomBytes(2000), longAgo)
	}
	g.Write("warm", randomBytes(2000), time.Now())
	if got := g.archiveAll(); len(got) != 3 {
		t.Fatalf("first run: %v", got)
	}
	before := len(g.Proxy.Requests(testkit.Match{Method: "PUT"}))
	if got := g.archiveAll(); len(got) != 0 {
		t.Errorf("second run: %v", got)
	}
	if after := len(g.Proxy.Requests(testkit.Match{Method: "PUT"})); after != before {
		t.Errorf("the second run sent %d PUTs", after-before)
	}
}
