package object

import (
	"encoding/json"
	"hash/crc32"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/owner"
)

func FuzzCombineCRC32EqualsCRC32OfTheWhole(f *testing.F) {
	f.Add([]byte(""), []byte("b"))
	f.Add([]byte("a"), []byte(""))
	f.Add([]byte("first part"), []byte(strings.Repeat("second", 1000)))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		got := CombineCRC32(crc32.ChecksumIEEE(a), crc32.ChecksumIEEE(b), int64(len(b)))
		if want := crc32.ChecksumIEEE(append(append([]byte{}, a...), b...)); got != want {
			t.Fatalf("combined %08x, whole %08x", got, want)
		}
	})
}

func TestPathKeyKeepsReadableNamesAndRefusesTheRest(t *testing.T) {
	for _, tt := range []struct {
		path string
		ok   bool
	}{
		{"video/a.mov", true},
		{"with space/new\nline/quote\"'/%2F+?#", true},
		{"-leading", true},
		{"ünï/コ", true},
		{strings.Repeat("a", 255), true},
		{strings.Repeat("a/", 511) + "ab", true},   // 1024
		{strings.Repeat("a/", 511) + "abc", false}, // 1025
		{"bad\xffutf8", false},
		{"bell\a", false},
		{"a//b", false},
		{"a/../b", false},
		{"./a", false},
		{"/a", false},
		{"a/", false},
		{"", false},
		{".coldbrick/x", false},
		{"x/.coldbrick/x", false},
		{"vol2-.coldbrick/volumes/x", false}, // of a neighbour with the prefix vol2-
	} {
		key, ok := PathKey("", tt.path)
		if ok != tt.ok || ok && key != tt.path {
			t.Errorf("PathKey(%q) = %q, %v", tt.path, key, ok)
		}
	}
	if key, ok := PathKey("vol1/", "a"); key != "vol1/a" || !ok {
		t.Errorf("with prefix: %q, %v", key, ok)
	}
}

func FuzzMetadataSurvivesTheStore(f *testing.F) {
	f.Add("dir/a\xff", int64(5), int64(-5), int64(123456789), uint32(0o644))
	f.Fuzz(func(t *testing.T, path string, size, sec, nsec int64, mode uint32) {
		m := Metadata{Volume: "v", GFID: gluster.GFID{1, 15: 2}, Path: path, Size: size,
			Mtime: gluster.Time{Sec: sec, Nsec: int32(nsec & 0x1fffffff)}, Mode: mode, UID: 7, GID: 8, Attempt: NewID()}
		got, err := DecodeMetadata(m.Encode())
		if err != nil {
			t.Fatal(err)
		}
		if len(path) > maxMetaPath {
			m.Path = ""
		}
		if !reflect.DeepEqual(got, m) {
			t.Fatalf("%+v became %+v", m, got)
		}
	})
}

// formerPointer is how the first release reads a pointer.
type formerPointer struct {
	Version int          `json:"v"`
	GFID    gluster.GFID `json:"gfid"`
	Volume  string       `json:"volume"`
	Key     string       `json:"key"`
	Attempt string       `json:"attempt"`
	Owner   owner.Owner  `json:"owner"`
	Time    time.Time    `json:"time"`
	Proof   *struct {
		Size  int64     `json:"size"`
		Mtime time.Time `json:"mtime"`
		CRC32 uint32    `json:"crc32"`
	} `json:"proof,omitempty"`
	Recalled bool `json:"recalled,omitempty"`
}

// Hosts and clients are upgraded over weeks: the first release reads what this one
// writes, and the other way round.
func TestPointersPassBetweenReleases(t *testing.T) {
	gfid := gluster.GFID{1, 15: 2}
	mtime := gluster.Time{Sec: 1672628645, Nsec: 123456789}
	proof := Stamped{Size: 7, Mtime: mtime, CRC32: 9}
	ours := Pointer{GFID: gfid, Volume: "v", Key: "dir/f", Attempt: "a",
		Proof: &proof}
	var theirs formerPointer
	if err := json.Unmarshal(ours.Encode(), &theirs); err != nil {
		t.Fatal(err)
	}
	if theirs.Version != 1 || theirs.GFID != gfid || theirs.Key != "dir/f" || theirs.Proof.Size != 7 ||
		theirs.Proof.CRC32 != 9 || !theirs.Proof.Mtime.Equal(mtime.Std()) {
		t.Errorf("the first release reads %+v", theirs)
	}
	if len(ours.Encode()) > 280 {
		t.Errorf("a pointer of %d bytes: %s", len(ours.Encode()), ours.Encode())
	}

	// Of a run that is at work, which the first release knows by its process.
	ours = Pointer{GFID: gfid, Key: "dir/f", Attempt: "a", Owner: owner.Owner{Run: "r", Boot: "b", PID: 7, Start: 8}, Time: mtime.Std(), Locks: true}
	theirs = formerPointer{}
	if err := json.Unmarshal(ours.Encode(), &theirs); err != nil {
		t.Fatal(err)
	}
	if theirs.Owner != ours.Owner || !theirs.Time.Equal(ours.Time) || theirs.Proof != nil || ours.Unlocked() {
		t.Errorf("the first release reads %+v", theirs)
	}

	// As the first release wrote it.
	const written = `{"v":1,"gfid":"01000000-0000-0000-0000-000000000002","volume":"v","key":"dir/f","attempt":"a",` +
		`"owner":{"run":"1025ba967dd2e35f7e2776bcbfe2f12b","host":"h","id":"i","boot":"b","pidns":"pid:[4026531836]","pid":7,"start":8},` +
		`"time":"2026-11-24T22:28:00.733844282Z","proof":{"size":7,"mtime":"2023-01-02T03:04:05.123456789Z","crc32":9}}`
	got, err := DecodePointer([]byte(written))
	if err != nil || got.GFID != gfid || got.Key != "dir/f" || *got.Proof != proof || got.Owner.PID != 7 || got.Time.IsZero() {
		t.Errorf("read %+v, %v", got, err)
	}
	// Its run is done. Before it was, nothing but its process told whether it lived.
	if working := got; got.Unlocked() {
		t.Error("a pointer with its proof is that of a run at work")
	} else if working.Proof = nil; !working.Unlocked() {
		t.Error("nobody is at work")
	}
}

// Users set the mtime of a stub to whatever they like, and a recall notes it.
func FuzzAPointerKeepsAnyTime(f *testing.F) {
	for _, sec := range []int64{0, -1, 253402300800 /* year 10000 */, 13569465600 /* 2400 */, math.MinInt64, math.MaxInt64} {
		f.Add(sec, uint32(999_999_999), "key")
	}
	f.Fuzz(func(t *testing.T, sec int64, nsec uint32, key string) {
		p := Pointer{Key: strings.ToValidUTF8(key, ""), Proof: &Stamped{Mtime: gluster.Time{Sec: sec, Nsec: int32(nsec % 1_000_000_000)}}}
		got, err := DecodePointer(p.Encode())
		if err != nil || got.Key != p.Key || *got.Proof != *p.Proof {
			t.Fatalf("%+v became %+v, %v", p, got, err)
		}
	})
}

func FuzzDecodePointerNeverPanics(f *testing.F) {
	f.Add(Pointer{GFID: gluster.GFID{1}, Key: "k", Proof: &Stamped{Size: 1}}.Encode())
	f.Add([]byte(`{"v":1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := DecodePointer(b)
		if err != nil {
			return
		}
		again, err := DecodePointer(p.Encode())
		if err != nil || !reflect.DeepEqual(again, p) {
			t.Fatalf("%+v became %+v, %v", p, again, err)
		}
	})
}
