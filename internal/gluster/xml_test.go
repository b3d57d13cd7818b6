package gluster

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

func captured(t testing.TB, name string) []byte {
	t.Helper()
	return mustRead(t, name)[name]
}

func TestCapturedVolumeInfo(t *testing.T) {
	for name, want := range map[string]string{
		"distribute":     "Distribute started=true id=true replica=1 arbiters=0 disperse=0 sets=[d d d]",
		"replica3":       "Replicate started=true id=true replica=3 arbiters=0 disperse=0 sets=[ddd]",
		"arbiter":        "Replicate started=true id=true replica=3 arbiters=1 disperse=0 sets=[dda]",
		"2x3":            "Distributed-Replicate started=true id=true replica=3 arbiters=0 disperse=0 sets=[ddd ddd]",
		"disperse":       "Disperse started=true id=true replica=1 arbiters=0 disperse=3 sets=[d d d]",
		"stopped":        "Distribute started=false id=true replica=1 arbiters=0 disperse=0 sets=[d d]",
		"removing-brick": "Distribute started=true id=true replica=1 arbiters=0 disperse=0 sets=[d d d d]",
	} {
		infos, err := ParseVolumeInfo(captured(t, "volume-info-"+name+".xml"))
		if err != nil || len(infos) != 1 {
			t.Errorf("%s: %v", name, err)
			continue
		}
		v := infos[0]
		var sets []string
		for _, set := range v.Sets() {
			text := ""
			for _, b := range set {
				if b.HostUUID == "" || b.Host == "" || !strings.HasPrefix(b.Dir, "/") {
					t.Errorf("%s: brick %+v", name, b)
				}
				text += map[bool]string{true: "a", false: "d"}[b.Arbiter]
			}
			sets = append(sets, text)
		}
		got := fmt.Sprintf("%s started=%t id=%t replica=%d arbiters=%d disperse=%d sets=%v",
			v.TypeText, v.Started, len(v.ID) == 36, v.ReplicaCount, v.ArbiterCount, v.DisperseCount, sets)
		if got != want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, want)
		}
	}
	infos, err := ParseVolumeInfo(captured(t, "volume-info-distribute.xml"))
	if err != nil {
		t.Fatal(err)
	}
	o := infos[0].ChangedOptions
	if !o.On("features.cloudsync") || o.On("performance.quick-read") || o.Get("features.s3plugin-bucketid") == "" {
		t.Errorf("options: %v", o)
	}
	all, err := ParseVolumeInfo(captured(t, "volume-info-all.xml"))
	if err != nil || len(all) != 6 {
		t.Errorf("all: %d, %v", len(all), err)
	}
	_, err = ParseVolumeInfo(captured(t, "volume-info-missing.xml"))
	var cli *CLIError
	if !errors.As(err, &cli) || !cli.NoVolume() {
		t.Errorf("missing volume: %v", err)
	}
}

func TestCapturedVolumeStatus(t *testing.T) {
	for name, want := range map[string]string{
		"distribute":     "online=3/3 tasks=[]",
		"replica3":       "online=3/3 tasks=[]",
		"brick-down":     "online=2/3 tasks=[]",
		"rebalancing":    "online=4/4 tasks=[Rebalance busy=true]",
		"rebalanced":     "online=4/4 tasks=[Rebalance busy=false]",
		"removing-brick": "online=4/4 tasks=[Remove brick busy=true]",
	} {
		s, err := ParseVolumeStatus(captured(t, "volume-status-"+name+".xml"))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		online, bricks := 0, 0
		for _, n := range s.Nodes {
			if strings.HasPrefix(n.Dir, "/") {
				bricks++
				if s.Online(BrickInfo{HostUUID: n.HostUUID, Dir: n.Dir}) {
					online++
				}
			}
		}
		var tasks []string
		for _, task := range s.Tasks {
			if len(task.ID) != len("769a31a8-d4d9-4fc1-98d5-3569f903ac23") {
				t.Errorf("%s: id of a task is %q", name, task.ID)
			}
			tasks = append(tasks, fmt.Sprintf("%s busy=%t", task.Type, task.Busy()))
		}
		if got := fmt.Sprintf("online=%d/%d tasks=%v", online, bricks, tasks); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
	for _, name := range []string{"missing", "stopped"} {
		var cli *CLIError
		if _, err := ParseVolumeStatus(captured(t, "volume-status-"+name+".xml")); !errors.As(err, &cli) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCapturedRebalanceStatus(t *testing.T) {
	for name, want := range map[string]string{
		"running":   "in progress true, in progress true, in progress true",
		"completed": "completed false, completed false, completed false",
	} {
		tasks, err := ParseRebalanceStatus(captured(t, "rebalance-status-"+name+".xml"))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var got []string
		for _, task := range tasks {
			got = append(got, fmt.Sprintf("%s %t", task.Text, task.Busy()))
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	var cli *CLIError
	if _, err := ParseRebalanceStatus(captured(t, "rebalance-status-never.xml")); !errors.As(err, &cli) {
		t.Errorf("never: %v", err)
	}
}

func TestCapturedClients(t *testing.T) {
	bricks, err := ParseVolumeClients(captured(t, "volume-clients-replica3.xml"))
	if err != nil || len(bricks) != 3 {
		t.Fatalf("%+v, %v", bricks, err)
	}
	var from []string
	for _, addr := range bricks[0].From {
		from = append(from, addr.String())
	}
	want := []string{"10.66.0.1", "10.66.0.2", "10.66.0.3", "10.66.0.1", "10.66.0.2"}
	if bricks[0].Dir != "/srv/replica3-1" || bricks[0].HostUUID == "" || !slices.Equal(from, want) {
		t.Errorf("%+v", bricks[0])
	}
	// Two of its four bricks are on one host, and nodeCount is 5.
	if bricks, err := ParseVolumeClients(captured(t, "volume-clients-distribute.xml")); err != nil || len(bricks) != 4 {
		t.Errorf("%+v, %v", bricks, err)
	}
}

func TestCapturedClientNames(t *testing.T) {
	text := captured(t, "client-list-replica3.txt")
	names, err := ParseClientNames(text)
	if want := map[string]int{"glustershd": 3, "fuse": 1, "coldbrick": 2, "unknown": 1}; err != nil || !maps.Equal(names, want) {
		t.Errorf("%v, %v; want %v", names, err, want)
	}
	for i := range bytes.Index(text, []byte("total clients")) {
		if names, err := ParseClientNames(text[:i]); err == nil {
			t.Fatalf("cut at %d of %d bytes it is taken for %v", i, len(text), names)
		}
	}
}

func TestEachServerHasItsDaemons(t *testing.T) {
	s, err := ParseVolumeStatus(captured(t, "volume-status-replica3.xml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range s.Nodes {
		if got := s.Daemons(n.HostUUID); got != 1 {
			t.Errorf("%s has %d daemons", n.HostUUID, got)
		}
	}
}

func TestCapturedHealSummary(t *testing.T) {
	for name, want := range map[string]string{
		"healthy":    "[true 0/0/0 true 0/0/0 true 0/0/0]",
		"brick-down": "[true 4/4/0 false 0/0/0 true 4/4/0]",
		"pending":    "[true 4/4/0 true 0/0/0 true 4/4/0]",
	} {
		heals, err := ParseHealSummary(captured(t, "heal-summary-"+name+".xml"))
		var got []string
		for _, h := range heals {
			got = append(got, fmt.Sprintf("%t %d/%d/%d", h.Connected, h.Entries, h.Pending, h.SplitBrain))
		}
		if err != nil || fmt.Sprint(got) != want {
			t.Errorf("%s: %v, %v; want %s", name, got, err, want)
		}
	}
	for _, name := range []string{"missing", "not-replicated"} {
		var cli *CLIError
		if _, err := ParseHealSummary(captured(t, "heal-summary-"+name+".xml")); !errors.As(err, &cli) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCapturedVolumeOptions(t *testing.T) {
	o, err := ParseVolumeOptions(captured(t, "volume-get-all.xml"))
	if err != nil || len(o) < 300 {
		t.Fatalf("%d options, %v", len(o), err)
	}
	for name, want := range map[string]string{
		"performance.quick-read": "off", "features.ctime": "on", "features.shard": "off", "features.cloudsync": "on",
		"client.event-threads": "2", "storage.reserve": "1", "cluster.subvols-per-directory": "",
	} {
		if got := o.Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if _, err := ParseVolumeOptions(captured(t, "volume-get-missing.xml")); err == nil {
		t.Error("options of a missing volume")
	}
}

func TestHostUUID(t *testing.T) {
	const text = `<cliOutput><opRet>0</opRet><uuidGenerate><uuid>6351acc8-9969-4a03-8d97-fcb62e6b8f06</uuid></uuidGenerate></cliOutput>`
	if id, err := ParseUUID([]byte(text)); err != nil || id != "6351acc8-9969-4a03-8d97-fcb62e6b8f06" {
		t.Errorf("%q, %v", id, err)
	}
}

// parsers by the file name of what they read.
var parsers = map[string]func([]byte) error{
	"volume-clients": func(b []byte) error { _, err := ParseVolumeClients(b); return err },
	"volume-info":    func(b []byte) error { _, err := ParseVolumeInfo(b); return err },
	"volume-status":  func(b []byte) error { _, err := ParseVolumeStatus(b); return err },
	"volume-get":     func(b []byte) error { _, err := ParseVolumeOptions(b); return err },
	"heal-summary":   func(b []byte) error { _, err := ParseHealSummary(b); return err },
	"geo-status":     func(b []byte) error { _, err := ParseGeoSessions(b); return err },
	"geo-sync":       func(b []byte) error { _, err := ParseGeoSyncXattrs(b); return err },
}

// An answer that was cut off, wherever, is an error: an empty volume, or one
// without its last brick or its running rebalance, would be archived.
func TestTruncatedAnswerIsAnError(t *testing.T) {
	for prefix, parse := range parsers {
		for name, text := range mustRead(t, prefix+"-*.xml") {
			if parse(text) != nil || strings.HasSuffix(name, "quick-read.xml") {
				continue
			}
			whole := strings.TrimRight(string(text), "\n")
			for i := 0; i < len(whole); i += 1 + len(whole)/700 {
				if err := parse([]byte(whole[:i])); err == nil {
					t.Fatalf("%s cut at %d of %d bytes is taken for whole", name, i, len(whole))
				}
			}
		}
	}
	for name, text := range mustRead(t, "no-glusterd.txt") {
		for _, parse := range parsers {
			if err := parse(text); err == nil {
				t.Errorf("%s is taken for an answer", name)
			}
		}
	}
}

func TestUnknownElementsAreIgnored(t *testing.T) {
	for prefix, parse := range parsers {
		for name, text := range mustRead(t, prefix+"-*.xml") {
			more := strings.NewReplacer("<opErrno>", "<future a='b'><x/>text</future><opErrno>", "<name>", "<new/><name>", "<node>", "<node><new>1</new>").
				Replace(string(text))
			if a, b := parse(text), parse([]byte(more)); fmt.Sprint(a) != fmt.Sprint(b) {
				t.Errorf("%s: %v, with unknown elements %v", name, a, b)
			}
		}
	}
}

func FuzzXML(f *testing.F) {
	for prefix := range parsers {
		for _, text := range mustRead(f, prefix+"-*.xml") {
			if len(text) < 4<<10 { // larger seeds make the fuzzer crawl
				f.Add(text)
			}
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if infos, err := ParseVolumeInfo(text); err == nil {
			for _, v := range infos {
				bricks := 0
				for _, set := range v.Sets() {
					bricks += len(set)
				}
				if bricks != len(v.Bricks) || bricks == 0 {
					t.Fatalf("%d bricks in sets, %d in all", bricks, len(v.Bricks))
				}
			}
		}
		for _, parse := range parsers {
			_ = parse(text) // must not panic
		}
	})
}

func TestCapturedGeoReplication(t *testing.T) {
	sessions, err := ParseGeoSessions(captured(t, "geo-status-created.xml"))
	if err != nil || len(sessions) != 1 || !strings.HasPrefix(sessions[0].Secondary, "node1::") || strings.Contains(sessions[0].Secondary[len("node1::"):], ":") {
		t.Errorf("sessions %+v, %v", sessions, err)
	}
	value, err := ParseGeoSyncXattrs(captured(t, "geo-sync-xattrs.xml"))
	if err != nil || !IsOn(value) {
		t.Errorf("sync-xattrs %q, %v", value, err)
	}
	var cli *CLIError
	if _, err := ParseGeoSyncXattrs(captured(t, "geo-sync-missing.xml")); !errors.As(err, &cli) {
		t.Errorf("missing session: %v", err)
	}
	for _, text := range []string{
		"geo-replication command failed\n",
		"<cliOutput><opRet>0</opRet></cliOutput>",
		"<cliOutput><opRet>0</opRet><geoRep><volume><sessions><session><session_secondary>odd</session_secondary></session></sessions></volume></geoRep></cliOutput>",
	} {
		if sessions, err := ParseGeoSessions([]byte(text)); err == nil {
			t.Errorf("%q: %v", text, sessions)
		}
	}
	const other = "<cliOutput><opRet>0</opRet><geoRep><volume><sessions><session><session_secondary>u:ssh://geo@host::vol:id</session_secondary></session></sessions></volume></geoRep></cliOutput>"
	if sessions, err := ParseGeoSessions([]byte(other)); err != nil || sessions[0].Secondary != "geo@host::vol" {
		t.Errorf("with a user: %v, %v", sessions, err)
	}
}
