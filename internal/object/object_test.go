package object

import (
	"hash/crc32"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/coldbrick/coldbrick/internal/gluster"
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
			Mtime: time.Unix(sec, nsec&0x1fffffff), Mode: mode, UID: 7, GID: 8, Attempt: NewID()}
		got, err := DecodeMetadata(m.Encode())
		if err != nil {
			t.Fatal(err)
		}
		if len(path) > maxMetaPath {
			m.Path = ""
		}
		if !got.Mtime.Equal(m.Mtime) {
			t.Fatalf("mtime %v became %v", m.Mtime, got.Mtime)
		}
		got.Mtime = m.Mtime
		if !reflect.DeepEqual(got, m) {
			t.Fatalf("%+v became %+v", m, got)
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
