package record

import (
	"testing"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/owner"
)

func TestOnlyWhatEndedRunsLeftIsUnsettled(t *testing.T) {
	dir := t.TempDir()
	self, err := owner.Self("now")
	if err != nil {
		t.Fatal(err)
	}
	begin := func(run string, alive bool, entries ...Entry) *Log {
		o := self
		o.Run = run
		if !alive {
			o.Start++
		}
		log, err := Create(dir, o, "/brick")
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if err := log.Append(e); err != nil {
				t.Fatal(err)
			}
		}
		return log
	}
	gfid := gluster.GFID{7}
	begin("alive", true, Entry{Phase: Uploading, Key: "theirs", Upload: "u0"})
	begin("dead", false,
		Entry{Phase: Uploading, Key: "half", Upload: "u1"},
		Entry{Phase: Uploading, Key: "done", Upload: "u2"},
		Entry{Phase: Proven, Key: "done", GFID: &gfid})
	ended := begin("ended", true, Entry{Phase: Degraded, Key: "k", GFID: &gfid})
	if err := ended.Close(); err != nil {
		t.Fatal(err)
	}

	list, err := Open(dir, self)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]Unsettled{}
	for _, u := range list {
		got[u.Owner.Run] = u
	}
	if len(got) != 2 || len(got["dead"].Uploads) != 1 || got["dead"].Uploads[0].Upload != "u1" || len(got["ended"].Degraded) != 1 {
		t.Fatalf("unsettled: %+v", list)
	}
	for _, u := range list {
		if err := u.Settle(); err != nil {
			t.Fatal(err)
		}
	}
	if list, err = Open(dir, self); err != nil || len(list) != 0 {
		t.Fatalf("after settling: %+v, %v", list, err)
	}
	entries, err := Find(dir, gfid)
	if err != nil || len(entries) != 2 {
		t.Fatalf("of one file: %+v, %v", entries, err)
	}
}
