package record

import (
	"bytes"
	"encoding/json"
	"math"
	"testing"

	"github.com/coldbrick/coldbrick/internal/gluster"
)

// A client's clock makes the ctime, and a record that one file's times could end
// would end the run.
func FuzzARecordKeepsAnyTime(f *testing.F) {
	for _, sec := range []int64{0, -1, 13569465600 /* 2400 */, 253402300800 /* 10000 */, math.MinInt64, math.MaxInt64} {
		f.Add(sec, uint32(999_999_999), "path\xff", "key")
	}
	f.Fuzz(func(t *testing.T, sec int64, nsec uint32, path, key string) {
		at := gluster.Time{Sec: sec, Nsec: int32(nsec % 1_000_000_000)}
		line, err := json.Marshal(Entry{Phase: Proven, Path: []byte(path), Key: key, Mtime: &at, Ctime: &at})
		if err != nil {
			t.Fatal(err)
		}
		err = Read(bytes.NewReader(append(line, '\n')), func(e Entry) error {
			if *e.Mtime != at || *e.Ctime != at || string(e.Path) != path {
				t.Errorf("%v became %+v", at, e)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzReadNeverPanics(f *testing.F) {
	f.Add([]byte(`{"phase":"proven","time":"2026-11-24T22:28:00Z","mtime":"2023-01-02T03:04:05.123456789Z","size":7}`))
	f.Add([]byte(`{"phase":"proven","mtime":"253402300800.000000000"}`))
	f.Add([]byte("{\"phase\":1}\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		_ = Read(bytes.NewReader(b), func(Entry) error { return nil }) // an error is an answer
	})
}
