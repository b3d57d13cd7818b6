// Package storetest holds what every store must do, as tests. A new store runs
// it against its real counterpart:
//
//	storetest.Run(t, func(t *testing.T) storetest.Store {
//		s := &mystore.Store{}
//		... s.Init(ctx, options), and whatever makes Conditional known ...
//		return s
//	})
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore"
)

// Store is a store that can both take and give objects.
type Store interface {
	Create(ctx context.Context, key string, body io.ReaderAt, size int64, metadata map[string]string) (object.Proof, error)
	Head(ctx context.Context, key string) (object.Info, error)
	Conditional(size int64) bool
	Download(ctx context.Context, key string, dst io.WriterAt, accept func(object.Info) error) (object.Proof, error)
}

// PartSize is the part size that stores under test must be given, where they
// send large objects in parts. The tests use sizes around it.
const PartSize = 5 << 20

// Run tests a store. open returns a store ready for use, always with the same
// place behind it; objects of previous tests may be there.
func Run(t *testing.T, open func(t *testing.T) Store) {
	for name, test := range map[string]func(*testing.T, Store, string){
		"ObjectsComeBackAsTheyWere":         comeBack,
		"MetadataComesBack":                 metadataComesBack,
		"CreateReadsEachByteOnce":           readsOnce,
		"ATakenKeyIsLeftAlone":              takenKey,
		"OfManyRacersOneWins":               racers,
		"AChangedBodyLeavesNoObject":        changedBody,
		"AnUnreadableBodyLeavesNoObject":    unreadableBody,
		"ACancelledCreateLeavesNoObject":    cancelled,
		"ACancelledDownloadIsNoSuccess":     cancelledDownload,
		"AMissingObjectIsNotExist":          missing,
		"ARefusedDownloadWritesNothing":     refusedDownload,
		"AFullDiskEndsTheDownload":          fullDisk,
		"AmbiguousKeysAreRefused":           ambiguousKeys,
		"OddKeysAreStoredOrRefused":         oddKeys,
		"AKeyBelowAnObjectIsNotMistaken":    nestedKeys,
		"TwoStoresOfOnePlaceSeeTheSame":     func(t *testing.T, s Store, prefix string) { twoStores(t, s, open(t), prefix) },
		"ADownloadIsOfTheWholeObjectOrNone": parallelDownloads,
		"AListingNamesWhatWasCreated":       listed,
		"OnlyTheObjectNamedIsDeleted":       deleted,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t), "storetest/"+object.NewID()+"/") })
	}
}

// Bytes makes n bytes that differ from one seed to the next.
func Bytes(seed uint64, n int) []byte {
	b := make([]byte, n)
	var chacha [32]byte
	chacha[0], chacha[1] = byte(seed), byte(seed>>8)
	_, _ = rand.NewChaCha8(chacha).Read(b) // never fails
	return b
}

// Buffer is an io.WriterAt in memory, for many goroutines.
type Buffer struct {
	mu sync.Mutex
	b  []byte
}

// WriteAt grows the buffer as far as needed.
func (w *Buffer) WriteAt(p []byte, off int64) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if end := int(off) + len(p); end > len(w.b) {
		w.b = append(w.b, make([]byte, end-len(w.b))...)
	}
	return copy(w.b[off:], p), nil
}

// Bytes are the bytes written so far.
func (w *Buffer) Bytes() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b
}

func accept(object.Info) error { return nil }

// Meta is metadata with an attempt id, as upload makes it.
func Meta() map[string]string {
	return map[string]string{object.MetaAttempt: object.NewID(), "coldbrick-format": "1"}
}

// Key is a key for one object of this size: below prefix where the store leaves
// taken keys alone, and else one that nobody else can have.
func Key(s Store, prefix string, size int) string {
	if s.Conditional(int64(size)) {
		return prefix + fmt.Sprint(size)
	}
	return object.NonceKey(prefix, gluster.GFID{1})
}

func create(t *testing.T, s Store, key string, body []byte) object.Proof {
	t.Helper()
	proof, err := s.Create(t.Context(), key, bytes.NewReader(body), int64(len(body)), Meta())
	if err != nil {
		t.Fatalf("create %q: %v", key, err)
	}
	if want := (object.Proof{Size: int64(len(body)), CRC32: crc32.ChecksumIEEE(body), Reads: int64(len(body))}); proof != want {
		t.Fatalf("proof %+v, want %+v", proof, want)
	}
	return proof
}

// mustHold fails unless the store has body under key.
func mustHold(t *testing.T, s Store, key string, body []byte) {
	t.Helper()
	var got Buffer
	var told object.Info
	calls := 0
	proof, err := s.Download(t.Context(), key, &got, func(info object.Info) error {
		told = info
		calls++
		return nil
	})
	if err != nil {
		t.Fatalf("download %q: %v", key, err)
	}
	if !bytes.Equal(got.Bytes(), body) {
		t.Fatalf("%q: %d bytes came back, not the %d stored", key, len(got.Bytes()), len(body))
	}
	sum := crc32.ChecksumIEEE(body)
	if proof.Size != int64(len(body)) || proof.CRC32 != sum {
		t.Fatalf("%q: proof %+v, want %d bytes, %08x", key, proof, len(body), sum)
	}
	head, err := s.Head(t.Context(), key)
	if err != nil {
		t.Fatalf("head %q: %v", key, err)
	}
	for _, info := range []object.Info{told, head} {
		if info.Size != int64(len(body)) || info.HasCRC32 && info.CRC32 != sum {
			t.Fatalf("%q: told %+v of %d bytes, %08x", key, info, len(body), sum)
		}
		if age := time.Since(info.Modified); age < -time.Hour || age > time.Hour {
			t.Fatalf("%q: modified %v", key, info.Modified)
		}
	}
	if calls != 1 {
		t.Fatalf("%q: accept called %d times", key, calls)
	}
}

func mustNotExist(t *testing.T, s Store, key string) {
	t.Helper()
	if info, err := s.Head(t.Context(), key); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("head %q: %+v, %v; want fs.ErrNotExist", key, info, err)
	}
}

func comeBack(t *testing.T, s Store, prefix string) {
	for _, size := range []int{0, 1, 4096, 65537, PartSize - 1, PartSize, PartSize + 1, 2*PartSize + 17} {
		key := Key(s, prefix, size)
		body := Bytes(uint64(size), size)
		create(t, s, key, body)
		mustHold(t, s, key, body)
	}
}

func metadataComesBack(t *testing.T, s Store, prefix string) {
	for _, size := range []int{10, PartSize + 1} {
		key := Key(s, prefix, size)
		want := Meta()
		want["coldbrick-path"] = strings.Repeat("QUJD", 340)
		want["coldbrick-mtime"] = "-5.123456789"
		if _, err := s.Create(t.Context(), key, bytes.NewReader(make([]byte, size)), int64(size), want); err != nil {
			t.Fatal(err)
		}
		info, err := s.Head(t.Context(), key)
		if err != nil || !maps.Equal(info.Metadata, want) {
			t.Fatalf("head: %v, %v; want %v", info.Metadata, err, want)
		}
		if _, err := s.Download(t.Context(), key, &Buffer{}, func(info object.Info) error {
			if !maps.Equal(info.Metadata, want) {
				t.Errorf("download: %v, want %v", info.Metadata, want)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
}

// meter counts the bytes that are read of a body.
type meter struct {
	io.ReaderAt
	read atomic.Int64
}

func (m *meter) ReadAt(b []byte, off int64) (int, error) {
	n, err := m.ReaderAt.ReadAt(b, off)
	m.read.Add(int64(n))
	return n, err
}

func readsOnce(t *testing.T, s Store, prefix string) {
	for _, size := range []int{100, 3*PartSize + 1} {
		m := &meter{ReaderAt: bytes.NewReader(Bytes(1, size))}
		proof, err := s.Create(t.Context(), Key(s, prefix, size), m, int64(size), Meta())
		if err != nil {
			t.Fatal(err)
		}
		if m.read.Load() != int64(size) || proof.Reads != int64(size) {
			t.Errorf("%d bytes read of %d, %d told", m.read.Load(), size, proof.Reads)
		}
	}
}

func takenKey(t *testing.T, s Store, prefix string) {
	for _, size := range []int{100, PartSize + 1} {
		key := Key(s, prefix, size)
		first := Bytes(1, size)
		create(t, s, key, first)
		if !s.Conditional(int64(size)) {
			continue // then nobody gives it a key twice
		}
		for _, second := range [][]byte{Bytes(2, size), first} {
			proof, err := s.Create(t.Context(), key, bytes.NewReader(second), int64(size), Meta())
			if !errors.Is(err, fs.ErrExist) {
				t.Fatalf("second create: %v, want fs.ErrExist", err)
			}
			if proof.Reads == int64(size) && proof.CRC32 != crc32.ChecksumIEEE(second) {
				t.Fatalf("proof %+v is not of the bytes that were read", proof)
			}
		}
		mustHold(t, s, key, first)
	}
}

func racers(t *testing.T, s Store, prefix string) {
	const n = 16
	create(t, s, prefix+"first", []byte("a store may probe at the first create"))
	for _, size := range []int{1000, PartSize + 1} {
		if !s.Conditional(int64(size)) {
			continue
		}
		key := Key(s, prefix, size)
		var won [n]bool
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				_, err := s.Create(t.Context(), key, bytes.NewReader(Bytes(uint64(i), size)), int64(size), Meta())
				switch won[i] = err == nil; {
				case err != nil && !errors.Is(err, fs.ErrExist):
					t.Errorf("racer %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		winner := -1
		for i := range won {
			if won[i] && winner >= 0 {
				t.Fatalf("%d bytes: racers %d and %d both won", size, winner, i)
			} else if won[i] {
				winner = i
			}
		}
		if winner < 0 {
			t.Fatalf("%d bytes: nobody won", size)
		}
		mustHold(t, s, key, Bytes(uint64(winner), size))
	}
}

func changedBody(t *testing.T, s Store, prefix string) {
	for _, size := range []int{100, PartSize, 2*PartSize + 5} {
		for _, delta := range []int{-1, 1, -size, PartSize} {
			key := Key(s, prefix+fmt.Sprint(delta, "/"), size)
			_, err := s.Create(t.Context(), key, bytes.NewReader(make([]byte, size+delta)), int64(size), Meta())
			if !errors.Is(err, object.ErrChanged) {
				t.Errorf("%d bytes given as %d: %v, want object.ErrChanged", size+delta, size, err)
			}
			mustNotExist(t, s, key)
		}
	}
}

type failing struct {
	io.ReaderAt
	from int64
	err  error
}

func (f failing) ReadAt(b []byte, off int64) (int, error) {
	if off+int64(len(b)) > f.from {
		return 0, f.err
	}
	return f.ReaderAt.ReadAt(b, off)
}

func unreadableBody(t *testing.T, s Store, prefix string) {
	cause := errors.New("remote I/O error of the test")
	for _, size := range []int64{100, 3 * PartSize} {
		key := Key(s, prefix, int(size))
		body := failing{bytes.NewReader(make([]byte, size)), size / 2, cause}
		if _, err := s.Create(t.Context(), key, body, size, Meta()); !errors.Is(err, cause) {
			t.Errorf("%d bytes: %v, want the cause", size, err)
		}
		mustNotExist(t, s, key)
	}
}

func cancelled(t *testing.T, s Store, prefix string) {
	create(t, s, prefix+"first", []byte("a store may probe at the first create"))
	for _, size := range []int64{100, 3 * PartSize} {
		ctx, cancel := context.WithCancel(t.Context())
		key := Key(s, prefix, int(size))
		body := readerAt(func(b []byte, off int64) (int, error) {
			if off >= size {
				return 0, io.EOF
			}
			if off+int64(len(b)) > size/2 {
				cancel()
			}
			return len(b), nil
		})
		if _, err := s.Create(ctx, key, body, size, Meta()); !errors.Is(err, context.Canceled) {
			t.Errorf("%d bytes: %v, want context.Canceled", size, err)
		}
		cancel()
		mustNotExist(t, s, key)
	}
}

// Parts that were never begun must not be taken for parts that are done.
func cancelledDownload(t *testing.T, s Store, prefix string) {
	key := Key(s, prefix, 8*PartSize)
	create(t, s, key, make([]byte, 8*PartSize))
	for range 5 {
		ctx, cancel := context.WithCancel(t.Context())
		proof, err := s.Download(ctx, key, writerAt(func(b []byte, _ int64) (int, error) {
			cancel()
			return len(b), nil
		}), accept)
		cancel()
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%+v, %v; want context.Canceled", proof, err)
		}
	}
}

type readerAt func([]byte, int64) (int, error)

func (f readerAt) ReadAt(b []byte, off int64) (int, error) { return f(b, off) }

func missing(t *testing.T, s Store, prefix string) {
	mustNotExist(t, s, prefix+"none")
	mustNotExist(t, s, prefix+"none/below/none")
	_, err := s.Download(t.Context(), prefix+"none", &Buffer{}, func(object.Info) error {
		t.Error("accept was called for nothing")
		return nil
	})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("download: %v, want fs.ErrNotExist", err)
	}
}

func refusedDownload(t *testing.T, s Store, prefix string) {
	no := errors.New("not the object I wanted")
	for _, size := range []int{100, 2 * PartSize} {
		key := Key(s, prefix, size)
		create(t, s, key, make([]byte, size))
		var dst Buffer
		if _, err := s.Download(t.Context(), key, &dst, func(object.Info) error { return no }); !errors.Is(err, no) {
			t.Errorf("download: %v, want accept's error", err)
		}
		if len(dst.Bytes()) != 0 {
			t.Errorf("%d bytes were written", len(dst.Bytes()))
		}
	}
}

type writerAt func([]byte, int64) (int, error)

func (f writerAt) WriteAt(b []byte, off int64) (int, error) { return f(b, off) }

func fullDisk(t *testing.T, s Store, prefix string) {
	full := errors.New("no space left in the test")
	for _, size := range []int{100, 3 * PartSize} {
		key := Key(s, prefix, size)
		create(t, s, key, make([]byte, size))
		if _, err := s.Download(t.Context(), key, writerAt(func(b []byte, off int64) (int, error) {
			if off >= int64(size/2) {
				return 0, full
			}
			return len(b), nil
		}), accept); size > 100 && !errors.Is(err, full) {
			t.Errorf("%d bytes: %v, want the cause", size, err)
		}
	}
}

func ambiguousKeys(t *testing.T, s Store, prefix string) {
	for _, key := range []string{
		"", "/", ".", "..", "../x", "/etc/passwd", "../../../../etc/passwd", prefix + "../x", prefix + "a/../b",
		prefix + "a/./b", prefix + "a//b", prefix + "a/", "/" + prefix + "a", prefix + "..", prefix + "\xff", prefix + "\x00", prefix + "a\r",
		prefix + strings.Repeat("k", 1024),
	} {
		if _, err := s.Create(t.Context(), key, strings.NewReader("x"), 1, Meta()); !errors.Is(err, object.ErrKey) {
			t.Errorf("create %q: %v, want object.ErrKey", key, err)
		}
		if _, err := s.Head(t.Context(), key); !errors.Is(err, object.ErrKey) {
			t.Errorf("head %q: %v, want object.ErrKey", key, err)
		}
		if _, err := s.Download(t.Context(), key, &Buffer{}, accept); !errors.Is(err, object.ErrKey) {
			t.Errorf("download %q: %v, want object.ErrKey", key, err)
		}
	}
}

func oddKeys(t *testing.T, s Store, prefix string) {
	long := strings.Repeat("long name/", 120)
	for i, name := range []string{
		"with space", " leading", "trailing ", "new\nline", "tab\t", `quote"'` + "`", "%2F", "%", "a+b", "?a=b&c#d", "*", "-dash", "--", "~", "back\\slash",
		"ünï", "u\u0308", "コ", "\U0001f9ca", "...", ". ", "a..b", "<&>", "a:b;c", "{}[]|^", "$HOME", "\u2028",
		strings.Repeat("a", 255), strings.Repeat("é", 127), strings.Repeat("a", 255) + "/" + strings.Repeat("b", 255), strings.Repeat("d/", 100) + "deep",
		(long + "end")[len(prefix)+len(long)+3-object.MaxKey:],
	} {
		key, body := prefix+name, Bytes(uint64(i), 50)
		_, err := s.Create(t.Context(), key, bytes.NewReader(body), 50, Meta())
		if errors.Is(err, object.ErrKey) {
			mustBeGone(t, s, key)
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", key, err)
			continue
		}
		mustHold(t, s, key, body)
	}
}

// mustBeGone: a refused key holds nothing; to ask for it may be refused too.
func mustBeGone(t *testing.T, s Store, key string) {
	t.Helper()
	if _, err := s.Head(t.Context(), key); !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, object.ErrKey) {
		t.Errorf("head %q: %v, want fs.ErrNotExist or object.ErrKey", key, err)
	}
}

func nestedKeys(t *testing.T, s Store, prefix string) {
	for _, order := range [][2]string{{"d", "d/x"}, {"e/x", "e"}} {
		first, second := prefix+order[0], prefix+order[1]
		create(t, s, first, []byte("first"))
		_, err := s.Create(t.Context(), second, strings.NewReader("second"), 6, Meta())
		switch {
		case errors.Is(err, object.ErrKey):
			mustBeGone(t, s, second)
		case err != nil:
			t.Errorf("%q beside %q: %v", second, first, err)
		default:
			mustHold(t, s, second, []byte("second"))
		}
		mustHold(t, s, first, []byte("first"))
	}
}

func twoStores(t *testing.T, a, b Store, prefix string) {
	create(t, a, prefix+"a", []byte("of a"))
	mustHold(t, b, prefix+"a", []byte("of a"))
	if b.Conditional(4) {
		if _, err := b.Create(t.Context(), prefix+"a", strings.NewReader("of b"), 4, Meta()); !errors.Is(err, fs.ErrExist) {
			t.Errorf("create over the other's object: %v, want fs.ErrExist", err)
		}
	}
}

func parallelDownloads(t *testing.T, s Store, prefix string) {
	body := Bytes(9, 4*PartSize+1)
	key := Key(s, prefix, len(body))
	create(t, s, key, body)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			var dst Buffer
			proof, err := s.Download(t.Context(), key, &dst, accept)
			if err != nil || proof.Size != int64(len(body)) || !bytes.Equal(dst.Bytes(), body) {
				t.Errorf("%+v, %v, %d bytes", proof, err, len(dst.Bytes()))
			}
		})
	}
	wg.Wait()
}

// listed: a store that can list its objects names them as they were created, and no
// others.
func listed(t *testing.T, s Store, prefix string) {
	store, ok := s.(objstore.Lister)
	if !ok || !s.Conditional(3) { // then nobody gives it such a key
		return
	}
	var keys []string
	for _, name := range []string{"p/a", "p/a.object", "p/d.dir/x", "p/d.object/x", "p/d/x.more", "p/ü/ü", "p/d.tmp/x", "q/no"} {
		create(t, s, prefix+name, []byte("123"))
		keys = append(keys, prefix+name)
	}
	slices.Sort(keys)
	for _, under := range []string{"p/", "p/d", "", "q/no", "none/"} {
		var got, want []string
		err := store.List(t.Context(), prefix+under, func(o objstore.Listed) error {
			if o.Size != 3 || o.Modified.IsZero() {
				t.Errorf("%+v", o)
			}
			got = append(got, o.Key)
			return nil
		})
		for _, key := range keys {
			if strings.HasPrefix(key, prefix+under) {
				want = append(want, key)
			}
		}
		var parts []string
		partsErr := objstore.ListAll(t.Context(), store, prefix+under, 8, func(o objstore.Listed) error {
			parts = append(parts, o.Key)
			return nil
		})
		slices.Sort(got)
		slices.Sort(parts)
		if err := errors.Join(err, partsErr); err != nil || !slices.Equal(got, want) || !slices.Equal(parts, want) {
			t.Errorf("below %q: %q, in parts %q, want %q: %v", prefix+under, got, parts, want, err)
		}
	}
	stop := errors.New("enough")
	if err := store.List(t.Context(), prefix, func(objstore.Listed) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("the visitor's error became %v", err)
	}
}

// deleted: a store that can delete deletes the object that was looked at, and no other
// that has its key by then, is beside it or below it.
func deleted(t *testing.T, s Store, prefix string) {
	store, ok := s.(objstore.Deleter)
	if !ok {
		return
	}
	head := func(key string) object.Info {
		t.Helper()
		info, err := s.Head(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	beside := []string{Key(s, prefix+"d/below/", 3), Key(s, prefix+"d/beside/", 3), Key(s, prefix+"e/", 3)}
	for _, key := range beside {
		create(t, s, key, []byte("123"))
	}
	for _, size := range []int{0, 3, PartSize + 1} {
		key, body := Key(s, prefix+"d/", size), Bytes(1, size)
		create(t, s, key, body)
		if lister, ok := s.(objstore.Lister); ok {
			if err := lister.List(t.Context(), key, func(o objstore.Listed) error {
				// A listing makes nothing older than it is, but for parts of a second. Some
				// servers date an object in parts from its last part in a listing alone.
				if info := head(o.Key); o.Size != info.Size || info.Modified.Sub(o.Modified) >= time.Second {
					t.Errorf("listed %+v, head %+v", o, info)
				}
				return nil
			}); err != nil {
				t.Error(err)
			}
		}
		other := head(key)
		other.Metadata = Meta()
		if err := store.Delete(t.Context(), key, other); !errors.Is(err, object.ErrChanged) {
			t.Errorf("delete of another attempt's object: %v, want object.ErrChanged", err)
		}
		other = head(key)
		other.Modified = other.Modified.Add(-time.Hour)
		if err := store.Delete(t.Context(), key, other); !errors.Is(err, object.ErrChanged) {
			t.Errorf("delete of an older object: %v, want object.ErrChanged", err)
		}
		mustHold(t, s, key, body)
		is := head(key)
		if err := store.Delete(t.Context(), key, is); err != nil {
			t.Fatalf("delete: %v", err)
		}
		mustNotExist(t, s, key)
		if err := store.Delete(t.Context(), key, is); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("delete once more: %v, want fs.ErrNotExist", err)
		}
		if s.Conditional(int64(size)) { // the key is free again
			create(t, s, key, body)
			mustHold(t, s, key, body)
		}
	}
	for _, key := range beside {
		mustHold(t, s, key, []byte("123"))
	}
	if err := store.Delete(t.Context(), prefix+"../x", object.Info{}); !errors.Is(err, object.ErrKey) {
		t.Errorf("an ambiguous key: %v", err)
	}
}
