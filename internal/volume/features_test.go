package volume

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/testkit"
)

// judged are the verdicts of checks by name, those that are OK left out.
func judged(t *testing.T, checks []outcome.Check) map[string]outcome.Verdict {
	t.Helper()
	failed(t, checks) // that they are well formed
	found := map[string]outcome.Verdict{}
	for _, c := range checks {
		if c.Verdict == outcome.OK {
			continue
		}
		found[c.Name] = c.Verdict
		if c.Fix == "" || strings.Contains(c.Fix, "%") || strings.Contains(c.Reason+c.Fix, "\n") {
			t.Errorf("%s does not say in one line what to do: %q", c.Name, c.Fix)
		}
	}
	return found
}

// Of each feature all words of Gluster count, and one that nobody knows counts as on.
func TestOtherFeaturesAreRefusedByName(t *testing.T) {
	for _, tt := range []struct {
		option  string
		check   string
		verdict outcome.Verdict
		on, off []string
	}{
		{"features.bitrot", CheckBitrot, outcome.Bad, []string{"on", "Enable", "yes", "1", "TRUE", "banana"}, []string{"off", "disable", "NO", "0", "false", ""}},
		{"features.worm", CheckWORM, outcome.Bad, []string{"on", "enable"}, []string{"off", "disable", ""}},
		{"features.worm-file-level", CheckWORMFiles, outcome.Bad, []string{"on", "yes"}, []string{"off", "no", ""}},
		{"features.read-only", CheckReadOnly, outcome.Bad, []string{"on", "1"}, []string{"off", "0", ""}},
		{"feature.simple-quota-pass-through", CheckSimpleQuota, outcome.Bad, []string{"off", "false"}, []string{"on", "true", ""}},
		{"features.quota", CheckQuota, outcome.Warning, []string{"on", "enable"}, []string{"off", "disable", ""}},
		{"locks.mandatory-locking", CheckMandatoryLocking, outcome.Bad, []string{"forced", "file", "banana"}, []string{"off", "optimal", ""}},
		{"geo-replication.indexing", CheckGeoReplication, outcome.Bad, []string{"on", "enable"}, []string{"off", "disable", ""}},
	} {
		for _, word := range append(tt.on, tt.off...) {
			v := &Volume{Options: gluster.Options{tt.option: gluster.NewSecret(word)}}
			v.Name = "vol"
			got := judged(t, v.checkFeatures())
			want := map[string]outcome.Verdict{}
			if slices.Contains(tt.on, word) {
				want[tt.check] = tt.verdict
			}
			if len(got) != len(want) || got[tt.check] != want[tt.check] {
				t.Errorf("%s %q: %v, want %v", tt.option, word, got, want)
			}
		}
	}
}

func TestGeoReplicationThatKeepsAttributesIsAWarning(t *testing.T) {
	for _, tt := range []struct {
		name     string
		sessions []gluster.GeoSession
		want     outcome.Verdict
		fix      string
	}{
		{"nothing known of sessions", nil, outcome.Bad, "geo-replication.indexing off"},
		{"sends attributes", []gluster.GeoSession{{Secondary: "h::s"}}, outcome.Bad, "geo-replication vol h::s config sync-xattrs false"},
		{"keeps them", []gluster.GeoSession{{Secondary: "h::s", KeepsXattrs: true}}, outcome.Warning, ""},
		{"one of two sends them", []gluster.GeoSession{{Secondary: "h::s", KeepsXattrs: true}, {Secondary: "g::s"}}, outcome.Bad, "vol g::s config"},
	} {
		v := &Volume{Options: gluster.Options{"geo-replication.indexing": gluster.NewSecret("on")}, GeoSessions: tt.sessions}
		v.Name = "vol"
		checks := v.checkFeatures()
		if got := judged(t, checks)[CheckGeoReplication]; got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
		for _, c := range checks {
			if c.Name == CheckGeoReplication && !strings.Contains(c.Fix, tt.fix) {
				t.Errorf("%s: %q does not say %q", tt.name, c.Fix, tt.fix)
			}
		}
	}
}

func TestCloudsyncIsOnInAllOfGlustersWords(t *testing.T) {
	for word, want := range map[string]outcome.Verdict{"on": outcome.OK, "enable": outcome.OK, "Yes": outcome.OK, "1": outcome.OK, "TRUE": outcome.OK, "off": outcome.Bad, "disable": outcome.Bad, "0": outcome.Bad} {
		graph, err := gluster.ParseVolfile([]byte("volume c\n type features/cloudsync\n option cloudsync " + word + "\nend-volume\n"))
		if err != nil {
			t.Fatal(err)
		}
		if c := (&Mount{Graph: graph}).checkCloudsync(""); c.Verdict != want {
			t.Errorf("%s: %v", word, c)
		}
	}
}

// Where glusterd does not answer, the volume file that it made for the brick tells.
func TestFeaturesAreSeenInTheBricksOwnVolumeFile(t *testing.T) {
	v := testkit.NewVolume(t)
	b, err := OpenBrick(v.BrickDir())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	vols := t.TempDir()
	if graph, err := b.graph(vols); graph != nil || err != nil {
		t.Errorf("no volume file: %v, %v", graph, err)
	}
	write := func(name, id, dir string) {
		t.Helper()
		text := "volume own-posix\n type storage/posix\n option volume-id " + id + "\n option directory " + dir + "\nend-volume\n" +
			"volume s\n type features/bitrot-stub\n option bitrot disable\n subvolumes own-posix\nend-volume\n" +
			"volume w\n type features/worm\n option worm-file-level enable\n option worm off\n subvolumes s\nend-volume\n"
		if err := os.MkdirAll(filepath.Dir(vols+"/"+name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(vols+"/"+name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("other/other.node1.b.vol", b.VolumeID, "/elsewhere")
	write("previous/previous.node1.b.vol", testkit.NewVolume(t).ID, b.Dir())
	if graph, err := b.graph(vols); graph != nil || err != nil {
		t.Errorf("only those of others: %v, %v", graph, err)
	}
	link := t.TempDir() + "/link"
	if err := os.Symlink(b.Dir(), link); err != nil {
		t.Fatal(err)
	}
	write("own/own.node1.b.vol", b.VolumeID, link)
	graph, err := b.graph(vols)
	if err != nil || graph == nil {
		t.Fatalf("%v, %v", graph, err)
	}
	got := judged(t, featuresOf(graph))
	if len(got) != 1 || got[CheckWORMFiles] != outcome.Bad {
		t.Errorf("%v", got)
	}
	if err := Unsafe(featuresOf(graph)); !strings.Contains(err.Error(), "gluster volume set own features.worm-file-level off") {
		t.Errorf("%v does not say what to do", err)
	}
}

func TestARecallIsRefusedWhereItWouldWaitForItself(t *testing.T) {
	const answer = `<cliOutput><opRet>0</opRet><opErrno>0</opErrno><opErrstr/><volGetopts><count>1</count>` +
		`<Opt><Option>locks.mandatory-locking</Option><Value>%s</Value></Opt></volGetopts></cliOutput>`
	for value, want := range map[string]outcome.Verdict{"forced": outcome.Bad, "file": outcome.Bad, "optimal": outcome.OK, "off (DEFAULT)": outcome.OK} {
		fakeGluster(t, "#!/bin/sh\necho '"+fmt.Sprintf(answer, value)+"'\n")
		err := Recallable(t.Context(), "vol")
		if (err != nil) != (want == outcome.Bad) {
			t.Errorf("%s: %v", value, err)
		}
		var unsafe *UnsafeError
		if want == outcome.Bad && (!errors.As(err, &unsafe) || !strings.Contains(err.Error(), "not safe to recall: mandatory-locking: ") ||
			!strings.Contains(err.Error(), "gluster volume set vol locks.mandatory-locking off")) {
			t.Errorf("%s: %v", value, err)
		}
	}
	fakeGluster(t, "#!/bin/sh\nexit 1\n")
	var unsafe *UnsafeError
	if err := Recallable(t.Context(), "vol"); err == nil || errors.As(err, &unsafe) {
		t.Errorf("glusterd has not answered: %v", err)
	}
}

func TestWORMIsOffOnlyIfGlusterdSaysSo(t *testing.T) {
	fakeGluster(t, "#!/bin/sh\nexit 1\n")
	if WORMOff(t.Context(), "vol") {
		t.Error("glusterd has not answered")
	}
	captured(t, nil) // an answer to any volume get
	if !WORMOff(t.Context(), "vol") {
		t.Error("glusterd has said off")
	}
	if WORMOff(t.Context(), "-x") {
		t.Error("no name of a volume")
	}
}
