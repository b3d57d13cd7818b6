package volume

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/outcome"
)

// captured makes the gluster command answer with outputs of a real cluster: the
// keys are its arguments.
func captured(t *testing.T, answers map[string]string) {
	t.Helper()
	testdata, err := filepath.Abs("../gluster/testdata")
	if err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	script.WriteString("#!/bin/sh\ncase \"$*\" in\n")
	for args, file := range answers {
		fmt.Fprintf(&script, "'--mode=script %s') cat '%s/%s' ;;\n", args, testdata, file)
	}
	fmt.Fprintf(&script, "*'uuid get') echo '<cliOutput><opRet>0</opRet><uuidGenerate><uuid>%s</uuid></uuidGenerate></cliOutput>' ;;\n", firstHost(t))
	fmt.Fprintf(&script, "*volume\\ get*) cat '%s/volume-get-all.xml' ;;\n", testdata)
	script.WriteString("*) echo 'unexpected call' >&2; exit 1 ;;\nesac\n")
	fakeGluster(t, script.String())
}

func fakeGluster(t *testing.T, script string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/gluster", []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

// firstHost is the host of the first brick of the captured volumes.
func firstHost(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../gluster/testdata/volume-info-replica3.xml")
	if err != nil {
		t.Fatal(err)
	}
	infos, err := gluster.ParseVolumeInfo(text)
	if err != nil {
		t.Fatal(err)
	}
	return infos[0].Bricks[0].HostUUID
}

func TestVolumeAsTheClusterKnowsIt(t *testing.T) {
	for name, tt := range map[string]struct {
		volume string
		files  [3]string // info, status, heal summary
		places string
		failed []string
	}{
		"distribute": {
			"distribute", [3]string{"volume-info-distribute.xml", "volume-status-distribute.xml"},
			"0 active here, 1 active, 2 active", nil,
		},
		"replica": {
			"replica3", [3]string{"volume-info-replica3.xml", "volume-status-replica3.xml", "heal-summary-healthy.xml"},
			"0 active here, 0 passive, 0 passive", nil,
		},
		"a brick down": {
			"replica3", [3]string{"volume-info-replica3.xml", "volume-status-brick-down.xml", "heal-summary-brick-down.xml"},
			"0 behind here, 0 down, 0 behind", []string{CheckBricks, CheckHeals},
		},
		"to heal": {
			"replica3", [3]string{"volume-info-replica3.xml", "volume-status-replica3.xml", "heal-summary-pending.xml"},
			"0 behind here, 0 active, 0 behind", []string{CheckHeals},
		},
		"rebalance": {
			"distribute", [3]string{"volume-info-distribute.xml", "volume-status-rebalancing.xml"},
			"0 active here, 1 active, 2 active", []string{CheckRebalance},
		},
		"after a rebalance": {
			"distribute", [3]string{"volume-info-distribute.xml", "volume-status-rebalanced.xml"},
			"0 active here, 1 active, 2 active", nil,
		},
		"remove-brick": {
			"distribute", [3]string{"volume-info-removing-brick.xml", "volume-status-removing-brick.xml"},
			"0 active here, 1 active, 2 active, 3 active here", []string{CheckRebalance},
		},
		"stopped": {
			"shard", [3]string{"volume-info-stopped.xml"},
			"0 down here, 1 down", []string{CheckStarted, CheckBricks},
		},
	} {
		t.Run(name, func(t *testing.T) {
			captured(t, map[string]string{
				"--xml volume info " + tt.volume:                   tt.files[0],
				"--xml volume status " + tt.volume:                 tt.files[1],
				"--xml volume heal " + tt.volume + " info summary": tt.files[2],
			})
			v, err := Discover(t.Context(), tt.volume)
			if err != nil {
				t.Fatal(err)
			}
			var places []string
			for _, p := range v.Places() {
				places = append(places, fmt.Sprintf("%d %s%s", p.Set, p.Role, map[bool]string{true: " here"}[p.Here]))
			}
			if got := strings.Join(places, ", "); got != tt.places {
				t.Errorf("places: %s, want %s", got, tt.places)
			}
			if got := failed(t, v.Checks()); !slices.Equal(got, tt.failed) {
				t.Errorf("failed checks: %v, want %v", got, tt.failed)
			}
			for _, verb := range []string{"%v", "%+v", "%#v"} {
				if strings.Contains(fmt.Sprintf(verb, v), "fake-secret") {
					t.Errorf("%s shows a secret", verb)
				}
			}
		})
	}
}

func TestArbiterIsNeverActive(t *testing.T) {
	text, err := os.ReadFile("../gluster/testdata/volume-info-arbiter.xml")
	if err != nil {
		t.Fatal(err)
	}
	infos, err := gluster.ParseVolumeInfo(text)
	if err != nil {
		t.Fatal(err)
	}
	v := &Volume{VolumeInfo: infos[0]}
	up := func(which ...bool) {
		v.Status.Nodes = nil
		for i, online := range which {
			b := v.Bricks[i]
			v.Status.Nodes = append(v.Status.Nodes, gluster.NodeStatus{HostUUID: b.HostUUID, Dir: b.Dir, Online: online})
		}
	}
	for want, online := range map[string][]bool{
		"[active passive arbiter]": {true, true, true},
		"[down active arbiter]":    {false, true, true},
		"[down down arbiter]":      {false, false, true},
	} {
		up(online...)
		var roles []Role
		for _, p := range v.Places() {
			roles = append(roles, p.Role)
		}
		if fmt.Sprint(roles) != want {
			t.Errorf("up %v: %v, want %s", online, roles, want)
		}
	}
}

func TestFromVolumeDescribesAVolumeWithoutAMount(t *testing.T) {
	captured(t, map[string]string{
		"--xml volume info distribute": "volume-info-distribute.xml", "system:: getspec distribute": "getspec-distribute.vol",
		"--xml volume info nosuch": "volume-info-missing.xml", "--xml volume info shard": "no-glusterd.txt",
		"--xml volume info 2x3": "volume-info-distribute.xml",
	})
	m, err := FromVolume(t.Context(), "distribute")
	if err != nil {
		t.Fatal(err)
	}
	if m.Volume != "distribute" || len(m.Graph.Of(gluster.TypeClient)) != 3 || !strings.HasPrefix(m.Version, "1") {
		t.Errorf("%+v", m)
	}
	if err := m.Unchanged(t.Context()); err != nil {
		t.Error(err)
	}
	for name, want := range map[string]string{"s3plugin-bucketid": "archive", "s3plugin-seckey": "fake-secret-key", "s3plugin-none": ""} {
		if got := m.Graph.CloudsyncOption(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	for name, want := range map[string]error{
		"nosuch": ErrNoVolume, "shard": ErrNoCLI, "2x3": ErrNoVolume,
		"": ErrNoVolume, "--help": ErrNoVolume, "a b": ErrNoVolume, "../x": ErrNoVolume, "all": nil,
	} {
		_, errMount := FromVolume(t.Context(), name)
		_, errVolume := Discover(t.Context(), name)
		for _, err := range []error{errMount, errVolume} {
			if want == nil && err != nil { // any error will do
				continue
			}
			if !errors.Is(err, want) || strings.Contains(fmt.Sprint(err), "fake-secret") {
				t.Errorf("%q: %v, want %v", name, err, want)
			}
		}
	}
}

// The graph of a volume without replicas does not know the volume's id.
func TestTheVolumeIDOfAPureDistributeVolume(t *testing.T) {
	captured(t, map[string]string{
		"--xml volume info distribute": "volume-info-distribute.xml", "system:: getspec distribute": "getspec-distribute.vol",
		"--xml volume info replica3": "volume-info-replica3.xml", "system:: getspec replica3": "getspec-replica3.vol",
		"--xml volume info nosuch": "volume-info-missing.xml", "--xml volume info shard": "no-glusterd.txt",
	})
	const distribute = "aa151094-9ab9-4866-80d9-d3d96b7b6faa"
	ask := func(m *Mount, want string) {
		t.Helper()
		if id, err := m.AskVolumeID(t.Context()); err != nil || id != want {
			t.Errorf("%s: %q, %v, want %q", m.Volume, id, err, want)
		}
	}
	m, err := FromVolume(t.Context(), "distribute")
	if err != nil {
		t.Fatal(err)
	}
	if id := m.VolumeID(); id != "" {
		t.Errorf("the graph knows %s: nobody need be asked", id)
	}
	ask(m, distribute)
	text, err := os.ReadFile("../gluster/testdata/getspec-distribute.vol")
	if err != nil {
		t.Fatal(err)
	}
	other := *m // of another cluster, with a volume of the same name
	if other.Graph, err = gluster.ParseVolfile(bytes.ReplaceAll(text, []byte("remote-host node"), []byte("remote-host other"))); err != nil {
		t.Fatal(err)
	}
	ask(&other, "")
	for _, name := range []string{"nosuch", "shard", ""} {
		unknown := *m
		unknown.Volume = name
		ask(&unknown, "")
	}
	m, err = FromVolume(t.Context(), "replica3")
	if err != nil {
		t.Fatal(err)
	}
	ask(m, m.VolumeID())
}

func TestGlusterThatHangsOrIsMissing(t *testing.T) {
	fakeGluster(t, "#!/bin/sh\nsleep 120\n")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if _, err := Discover(ctx, "vol"); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) > time.Minute {
		t.Errorf("after %v: %v", time.Since(begin), err)
	}
	if c := NotAsked(ErrNoCLI); c.Verdict != outcome.Warning || Unsafe([]outcome.Check{c}) != nil {
		t.Error(c)
	}
}

// glusterd answers one command at a time, and all hosts ask at the same minute.
func TestABusyClusterIsAskedAgain(t *testing.T) {
	testdata, err := filepath.Abs("../gluster/testdata")
	if err != nil {
		t.Fatal(err)
	}
	count := t.TempDir() + "/count"
	fakeGluster(t, fmt.Sprintf(`#!/bin/sh
echo x >>'%s'
case $(wc -l <'%[1]s') in
1) echo '<cliOutput><opRet>-1</opRet><opErrno>30802</opErrno><opErrstr>Another transaction is in progress for vol. Please try again after some time.</opErrstr></cliOutput>' ;;
2) echo '<cliOutput><opRet>-1</opRet><opErrno>30800</opErrno><opErrstr>Locking failed on node2. Please check log file for details.</opErrstr></cliOutput>' ;;
*) cat '%s/volume-info-distribute.xml' ;;
esac
`, count, testdata))
	if info, err := volumeInfo(t.Context(), "distribute"); err != nil || len(info.Bricks) != 3 {
		t.Errorf("%+v, %v", info, err)
	}
}
