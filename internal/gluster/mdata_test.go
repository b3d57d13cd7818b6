package gluster

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"
)

// What is read of a value says what the value says, and nothing is read of what
// has another layout.
func FuzzMdata(f *testing.F) {
	captured := []byte("\x01\x00\x00\x00\x00\x00\x00\x00\x00" + // version, flags
		"\x00\x00\x00\x00\x67\x1a\x2b\x3c\x00\x00\x00\x00\x07\x5b\xcd\x15" +
		"\x00\x00\x00\x00\x63\xb2\x4a\x25\x00\x00\x00\x00\x07\x5b\xcd\x15" +
		"\x00\x00\x00\x00\x63\xb2\x4a\x25\x00\x00\x00\x00\x00\x00\x00\x00")
	f.Add(captured)
	f.Add(captured[:len(captured)-1])
	f.Add(append([]byte{2}, captured[1:]...))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, value []byte) {
		m, err := ParseMdata(value)
		if known := len(value) == len(captured) && value[0] == 1; known != (err == nil) {
			t.Fatalf("%x: %v", value, err)
		}
		if err != nil {
			return
		}
		var again []byte
		for _, at := range []time.Time{m.Ctime, m.Mtime, m.Atime} {
			again = binary.BigEndian.AppendUint64(again, uint64(at.Unix()))
			again = binary.BigEndian.AppendUint64(again, uint64(at.Nanosecond()))
		}
		for i := range 3 {
			const size = 16
			told, value := again[i*size:][:size], value[9+i*size:][:size]
			sec, nsec := int64(binary.BigEndian.Uint64(value)), binary.BigEndian.Uint64(value[8:])
			if sec == max(min(sec, farthest), -farthest) && nsec < 1e9 && !bytes.Equal(told, value) {
				t.Errorf("%x is told as %x", value, told)
			}
		}
	})
}
