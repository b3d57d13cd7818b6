package gluster

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func mustRead(t testing.TB, pattern string) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", pattern))
	if err != nil || len(files) == 0 {
		t.Fatalf("no captured output %s: %v", pattern, err)
	}
	texts := make(map[string][]byte)
	for _, file := range files {
		if texts[strings.TrimPrefix(file, "testdata/")], err = os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
	}
	return texts
}

func mustGraph(t testing.TB, text []byte) Graph {
	t.Helper()
	g, err := ParseVolfile(text)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// names the types of the translators, bottom up, each once.
func names(g Graph) string {
	var all []string
	for _, x := range g {
		if !slices.Contains(all, x.Type) {
			all = append(all, x.Type)
		}
	}
	return strings.Join(all, " ")
}

func TestCapturedVolfiles(t *testing.T) {
	for name, want := range map[string]struct{ stamping, recall string }{
		"distribute": {
			"protocol/client cluster/distribute features/cloudsync features/utime debug/io-stats",
			"protocol/client cluster/distribute features/utime performance/write-behind performance/io-threads debug/io-stats",
		},
		"arbiter": {
			"protocol/client cluster/replicate cluster/distribute features/cloudsync features/utime debug/io-stats",
			"protocol/client cluster/replicate cluster/distribute features/utime performance/write-behind debug/io-stats",
		},
		"2x3": {
			"protocol/client cluster/replicate cluster/distribute features/cloudsync features/utime debug/io-stats",
			"protocol/client cluster/replicate cluster/distribute features/utime performance/write-behind debug/io-stats",
		},
	} {
		for _, file := range []string{"getspec-" + name + ".vol", "meta-" + name + "/volfile"} {
			g := mustGraph(t, mustRead(t, file)[file])
			stamping, err := g.ForStamping()
			if err != nil || names(stamping) != want.stamping {
				t.Errorf("%s for stamping: %s, %v", file, names(stamping), err)
			}
			recall, err := g.ForRecall()
			if err != nil || names(recall) != want.recall {
				t.Errorf("%s for recall: %s, %v", file, names(recall), err)
			}
			for _, derived := range []Graph{stamping, recall} {
				text, err := derived.Encode()
				if err != nil {
					t.Fatal(err)
				}
				for _, gone := range []string{"s3plugin", "storetype", "fake-secret-key", "process-uuid", "volfile-key", "meta-autoload",
					"performance/quick-read", "performance/md-cache", "performance/open-behind", "performance/io-cache", "performance/read-ahead", "performance/nl-cache"} {
					if bytes.Contains(text, []byte(gone)) {
						t.Errorf("derived from %s: has %s", file, gone)
					}
				}
				for _, kept := range []string{"username", "password", "remote-subvolume", "remote-host", "send-gids"} {
					if !bytes.Contains(text, []byte("option "+kept)) {
						t.Errorf("derived from %s: has no %s", file, kept)
					}
				}
				if len(derived.Of(TypeClient)) != len(g.Of(TypeClient)) {
					t.Errorf("derived from %s: %d of %d bricks", file, len(derived.Of(TypeClient)), len(g.Of(TypeClient)))
				}
			}
		}
		// Stamping must see each answer of the bricks as it is.
		if stamping, err := mustGraph(t, mustRead(t, "getspec-"+name+".vol")["getspec-"+name+".vol"]).ForStamping(); err != nil || strings.Contains(names(stamping), "performance/") {
			t.Errorf("%s for stamping: %s, %v", name, names(stamping), err)
		}
		// What a mount says of itself is the volume as glusterd has it.
		live := mustGraph(t, mustRead(t, "meta-"+name+"/volfile")["meta-"+name+"/volfile"])
		spec := mustGraph(t, mustRead(t, "getspec-"+name+".vol")["getspec-"+name+".vol"])
		a, errA := live.ForRecall()
		b, errB := spec.ForRecall()
		if err := errors.Join(errA, errB); err != nil || !a.SameShape(b) {
			t.Errorf("%s: the mount's graph differs from glusterd's: %s, %s, %v", name, names(a), names(b), err)
		}
	}
}

const small = `# comment
volume a
    type protocol/client
    option remote-host "with \"quotes\" and \\"
    option remote-subvolume  /b with  spaces
end-volume

volume b
    type features/cloudsync
    option cloudsync on
    subvolumes a
end-volume
volume c
	type performance/quick-read
	subvolumes b
end-volume
`

func TestWhatIsUnderWhat(t *testing.T) {
	g := mustGraph(t, []byte(small))
	for _, tt := range []struct {
		below, above string
		want         bool
	}{
		{TypeClient, TypeCloudsync, true},
		{TypeClient, TypeQuickRead, true},
		{TypeCloudsync, TypeQuickRead, true},
		{TypeQuickRead, TypeCloudsync, false},
		{TypeCloudsync, TypeCloudsync, false},
		{TypeReaddirAhead, TypeCloudsync, false},
	} {
		if got := g.Under(tt.below, tt.above); got != tt.want {
			t.Errorf("%s under %s: %v", tt.below, tt.above, got)
		}
	}
}

func TestVolfileValues(t *testing.T) {
	g := mustGraph(t, []byte(small))
	if got := g[0].Option("remote-host"); got != `with "quotes" and \` {
		t.Errorf("quoted value: %q", got)
	}
	if got := g[0].Option("remote-subvolume"); got != "/b with  spaces" {
		t.Errorf("unquoted value: %q", got)
	}
	if got := g[0].Option("none"); got != "" {
		t.Errorf("absent value: %q", got)
	}
}

func TestVolfileOfUnknownFormIsRefused(t *testing.T) {
	for name, text := range map[string]string{
		"empty":             "",
		"truncated":         "volume a\ntype b\n",
		"cut in a word":     strings.TrimSuffix(small, "ume\n"),
		"no type":           "volume a\nend-volume\n",
		"two types":         "volume a\ntype b\ntype c\nend-volume\n",
		"same name":         "volume a\ntype b\nend-volume\nvolume a\ntype b\nend-volume\n",
		"nested":            "volume a\ntype b\nvolume c\nend-volume\n",
		"unknown subvolume": "volume a\ntype b\nsubvolumes c\nend-volume\n",
		"itself":            "volume a\ntype b\nsubvolumes a\nend-volume\n",
		"no value":          "volume a\ntype b\noption c\nend-volume\n",
		"open quote":        "volume a\ntype b\noption c \"d\nend-volume\n",
		"after quote":       "volume a\ntype b\noption c \"d\" e\nend-volume\n",
		"twice":             "volume a\ntype b\noption c d\noption c e\nend-volume\n",
		"statement outside": "option c d\n",
		"HTML":              "<html>\n",
		"command in name":   "volume `id`\ntype b\nend-volume\n",
	} {
		if g, err := ParseVolfile([]byte(text)); !errors.Is(err, ErrVolfile) {
			t.Errorf("%s: %v, %v", name, g, err)
		}
	}
}

// glusterfs runs what is between backticks in a volume file.
func TestVolfileWithACommandIsNotWritten(t *testing.T) {
	g := mustGraph(t, []byte("volume a\ntype b\noption c x`reboot`\nend-volume\n"))
	if text, err := g.Encode(); !errors.Is(err, ErrVolfile) || strings.Contains(err.Error(), "reboot") {
		t.Errorf("written: %s, %v", text, err)
	}
}

func TestNoGraphForStampingWithoutCloudsync(t *testing.T) {
	g := mustGraph(t, []byte("volume a\ntype protocol/client\nend-volume\n"))
	if _, err := g.ForStamping(); !errors.Is(err, ErrVolfile) {
		t.Error(err)
	}
}

func TestSecretsDoNotPrintThemselves(t *testing.T) {
	g := mustGraph(t, []byte(strings.Replace(small, "cloudsync on", "s3plugin-seckey SEKRIT", 1)))
	held := struct{ Key Secret }{NewSecret("SEKRIT")}
	options := Options{"features.s3plugin-seckey": NewSecret("SEKRIT")}
	hidden := struct{ graph Graph }{g} // fmt does not call methods there
	for _, value := range []any{g, &g, g[1], held, &held, options, hidden, &hidden, []any{held}, NewSecret("SEKRIT")} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			if text := fmt.Sprintf(verb, value); strings.Contains(text, "SEKRIT") || strings.Contains(text, fmt.Sprintf("%x", "SEKRIT")) {
				t.Errorf("%s of %T: %s", verb, value, text)
			}
		}
		if text, err := json.Marshal(value); err != nil || bytes.Contains(text, []byte("SEKRIT")) {
			t.Errorf("JSON of %T: %s, %v", value, text, err)
		}
	}
	if _, err := ParseVolfile([]byte("volume a\ntype b\noption password \"SEKRIT\nend-volume\n")); err == nil || strings.Contains(err.Error(), "SEKRIT") {
		t.Errorf("error of the parser: %v", err)
	}
}

// What is read can be written and read again, and whatever is derived is itself
// a volume file, without what had to go.
func FuzzVolfile(f *testing.F) {
	f.Add([]byte(small))
	for _, text := range mustRead(f, "getspec-*.vol") {
		f.Add(text[:min(len(text), 4<<10)]) // larger seeds make the fuzzer crawl
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		g, err := ParseVolfile(text)
		if err != nil {
			return
		}
		stamping, err := g.ForStamping()
		if err == nil && (!stamping.Has(TypeCloudsync) || stamping.Storetype() != "" || stamping.Has(TypeQuickRead)) {
			t.Fatalf("for stamping: %s", names(stamping))
		}
		recall, err := g.ForRecall()
		if err == nil && recall.Has(TypeCloudsync) {
			t.Fatalf("for recall: %s", names(recall))
		}
		for _, g := range []Graph{g, stamping, recall} {
			text, err := g.Encode()
			if err != nil || len(g) == 0 {
				continue
			}
			again, err := ParseVolfile(text)
			if err != nil || !sameGraph(again, g) {
				t.Fatalf("%q is read back as %v, %v", text, again, err)
			}
		}
	})
}

func sameGraph(a, b Graph) bool {
	return slices.EqualFunc(a, b, func(a, b Xlator) bool {
		return a.Name == b.Name && a.Type == b.Type && slices.Equal(a.Subvolumes, b.Subvolumes) &&
			slices.EqualFunc(a.Options, b.Options, func(a, b Option) bool {
				return a.Key == b.Key && a.Value.Reveal() == b.Value.Reveal()
			})
	})
}
