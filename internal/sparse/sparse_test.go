package sparse

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func newFile(t *testing.T) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func allocated(t *testing.T, f *os.File) int64 {
	t.Helper()
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	return st.Blocks * 512
}

// What a file held before, where its zeros lie, in which pieces and in which
// order they come: the bytes are the same, whoever reads them.
func TestTheBytesAreTheSame(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 200 {
		data := make([]byte, r.IntN(300_000))
		for at := 0; at < len(data); {
			n := min(1+r.IntN(20_000), len(data)-at)
			if r.IntN(2) == 0 {
				for i := range n {
					data[at+i] = byte(r.Uint32())
				}
			}
			at += n
		}
		f := newFile(t)
		if _, err := f.Write(bytes.Repeat([]byte("previous"), 100_000)); err != nil {
			t.Fatal(err)
		}
		w, err := Empty(f)
		if err != nil {
			t.Fatal(err)
		}
		var writers sync.WaitGroup
		for at := 0; at < len(data); {
			n := min(1+r.IntN(50_000), len(data)-at)
			piece, off := data[at:at+n], int64(at)
			again := r.IntN(4) == 0
			writers.Go(func() {
				for range map[bool]int{false: 1, true: 2}[again] {
					if n, err := w.WriteAt(piece, off); n != len(piece) || err != nil {
						t.Errorf("wrote %d of %d bytes: %v", n, len(piece), err)
					}
				}
			})
			at += n
		}
		writers.Wait()
		if err := w.Finish(int64(len(data))); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(f.Name()); err != nil || !bytes.Equal(got, data) {
			t.Fatalf("round %d: %d bytes of %d, or others: %v", round, len(got), len(data), err)
		}
	}
}

func TestHolesAreHoles(t *testing.T) {
	const size = 8 << 20
	for _, tt := range []struct {
		name string
		data []int64 // offsets of a byte that is not zero
	}{
		{"data at both ends", []int64{0, size - 1}},
		{"the last block is a hole", []int64{5 << 20}},
		{"nothing but a hole", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			data := make([]byte, size)
			for _, off := range tt.data {
				data[off] = 1
			}
			f := newFile(t)
			w, err := Empty(f)
			if err != nil {
				t.Fatal(err)
			}
			for off := int64(0); off < size; off += 256 << 10 {
				if _, err := w.WriteAt(data[off:off+256<<10], off); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Finish(size); err != nil {
				t.Fatal(err)
			}
			if got, err := os.ReadFile(f.Name()); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d bytes, or others: %v", len(got), err)
			}
			if got := allocated(t, f); got > 64<<10 {
				t.Errorf("%d bytes are allocated", got)
			}
		})
	}
}

// nowhere takes everything.
type nowhere struct{}

func (nowhere) WriteAt(b []byte, _ int64) (int, error) { return len(b), nil }
func (nowhere) Truncate(int64) error                   { return nil }

// Looking for zeros must not be what a recall waits for.
func BenchmarkWriteAt(b *testing.B) {
	for name, fill := range map[string]byte{"zeros": 0, "data": 1} {
		b.Run(name, func(b *testing.B) {
			data := bytes.Repeat([]byte{fill}, 256<<10)
			w, err := Empty(nowhere{})
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				if _, err := w.WriteAt(data, 0); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
