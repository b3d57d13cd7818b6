package recall

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/owner"
)

// formerNotes is how the first release reads notes.
type formerNotes struct {
	Version int          `json:"v"`
	GFID    gluster.GFID `json:"gfid"`
	Key     string       `json:"key"`
	Size    int64        `json:"size"`
	Mtime   time.Time    `json:"mtime"`
	Atime   time.Time    `json:"atime"`
	Keep    bool         `json:"keep,omitempty"`
	Attempt string       `json:"attempt"`
	Owner   owner.Owner  `json:"owner"`
}

// decodeFormerly is its DecodeNotes. On an error it changes nothing on the file: it
// reads notes in newNotes and in takeOver before it sets its first attribute.
func decodeFormerly(b []byte) (n formerNotes, err error) {
	if err := json.Unmarshal(b, &n); err != nil {
		return formerNotes{}, err
	}
	if n.Version != 1 {
		return formerNotes{}, fmt.Errorf("version %d is unknown", n.Version)
	}
	return n, nil
}

// Hosts are upgraded over weeks. The first release leaves the notes of this one
// alone, since it knows nothing of its lock; this one reads those of the first.
func TestNotesPassBetweenReleases(t *testing.T) {
	want := Notes{
		GFID: gluster.GFID{1, 15: 2}, Key: "dir/a file", Size: 70001, Keep: true, Host: "h",
		Mtime: gluster.Time{Sec: 1672628645, Nsec: 123456789}, Atime: gluster.Time{Sec: -1, Nsec: 5},
	}
	const id = "1025ba967dd2e35f7e2776bcbfe2f12b"
	for _, tt := range []struct {
		version int
		run     string
		pointed string // by the pointer
		value   string // as it stood on a file
	}{
		{1, id, "", `{"v":1,"gfid":"01000000-0000-0000-0000-000000000002","key":"dir/a file","size":70001,` +
			`"mtime":"2023-01-02T03:04:05.123456789Z","atime":"1969-12-31T23:59:59.000000005Z","keep":true,"attempt":"a1",` +
			`"owner":{"run":"` + id + `","host":"h","id":"i","boot":"b","pidns":"pid:[4026531836]","pid":7,"start":8}}`},
		{2, id[:runShown], "", "2 01000000-0000-0000-0000-000000000002 70001 1672628645.123456789 -1.000000005 keep 1025ba96 h dir/a file"},
		{2, id[:runShown], want.Key, "2 01000000-0000-0000-0000-000000000002 70001 1672628645.123456789 -1.000000005 keep 1025ba96 h "},
	} {
		got, err := DecodeNotes([]byte(tt.value), tt.pointed)
		if err != nil {
			t.Fatalf("%s: %v", tt.value, err)
		}
		want.Version, want.Run, want.attempt, want.owner = tt.version, tt.run, "", owner.Owner{}
		if tt.version == 1 {
			want.attempt = "a1"
			want.owner = owner.Owner{Run: id, Host: "h", ID: "i", Boot: "b", PIDNS: "pid:[4026531836]", PID: 7, Start: 8}
		}
		if got != want {
			t.Errorf("%s: read as %+v", tt.value, got)
		}
		if now := want.encode(tt.pointed); tt.version == notesVersion && string(now) != tt.value {
			t.Errorf("%s: written as %s now", tt.value, now)
		}
		previous, err := decodeFormerly([]byte(tt.value))
		if (err == nil) != (tt.version == 1) || err == nil && (previous.Key != want.Key || previous.Size != want.Size) {
			t.Errorf("%s: the first release reads %+v, %v", tt.value, previous, err)
		}
	}
	for _, later := range []string{"3 x", `{"v":3}`, `{"v":2}`, ""} {
		if _, err := DecodeNotes([]byte(later), ""); err == nil {
			t.Errorf("notes %q of a later release are read", later)
		}
	}
}
