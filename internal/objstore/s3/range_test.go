package s3

import (
	"bytes"
	"context"
	"errors"
	"hash/crc32"
	"io/fs"
	"net/http"
	"os"
	"testing"

	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore/storetest"
	"github.com/coldbrick/coldbrick/internal/testkit"
)

func TestARangeIsOfTheVersionThatWasSeen(t *testing.T) {
	s, proxy, server := faulty(t)
	body := storetest.Bytes(1, 2*partSize+1)
	if _, err := createBytes(t, s, "k", body); err != nil {
		t.Fatal(err)
	}
	info, err := s.Head(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ off, size int }{{0, 1}, {1, 4096}, {partSize - 1, 2}, {0, len(body)}, {len(body) - 1, 1}} {
		got := make([]byte, tt.size)
		sum, err := s.ReadRange(t.Context(), "k", info, got, int64(tt.off))
		if want := body[tt.off : tt.off+tt.size]; err != nil || !bytes.Equal(got, want) || sum != crc32.ChecksumIEEE(want) {
			t.Errorf("%d at %d: %v", tt.size, tt.off, err)
		}
	}
	got := make([]byte, 100)
	proxy.On(testkit.Match{Method: http.MethodGet, Times: 1}, testkit.CutBody(10))
	if _, err := s.ReadRange(t.Context(), "k", info, got, 7); err != nil || !bytes.Equal(got, body[7:107]) {
		t.Errorf("a body that was cut: %v", err)
	}
	for name, fault := range map[string]testkit.Fault{
		"another range":   testkit.WrongHeader("Content-Range", "bytes 8-107/100000"),
		"another version": testkit.WrongHeader("ETag", `"another"`),
	} {
		proxy.On(testkit.Match{Method: http.MethodGet}, fault)
		if _, err := s.ReadRange(t.Context(), "k", info, got, 7); err == nil {
			t.Errorf("%s: no error", name)
		}
		proxy.Clear()
	}
	if _, err := s.ReadRange(t.Context(), "k", info, got, info.Size-99); err == nil {
		t.Error("read past the end")
	}
	noTag := info
	noTag.ETag = ""
	if _, err := s.ReadRange(t.Context(), "k", noTag, got, 0); err == nil {
		t.Error("read an object without versions")
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.ReadRange(cancelled, "k", info, got, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}

	if err := os.Remove(server.ObjectFile("k")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ReadRange(t.Context(), "k", info, got, 0); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no object: %v", err)
	}
	if _, err := createBytes(t, s, "k", storetest.Bytes(2, len(body))); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ReadRange(t.Context(), "k", info, got, 0); !errors.Is(err, object.ErrChanged) {
		t.Errorf("another object: %v", err)
	}
}
