package translator

import (
	"bytes"
	"context"
	"errors"
	"hash/crc32"
	"io/fs"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/workers"
)

const testBlock = 64 << 10 // the least that a setting allows

// shelf is a bucket whose requests are counted, and can be held up.
type shelf struct {
	bucket
	mu     sync.Mutex
	heads  int
	ranges map[int64]int // by offset
	wait   func(ctx context.Context)
}

func (*shelf) Init(context.Context, map[string]string) error { return nil }
func (*shelf) Fini() error                                   { return nil }

func (s *shelf) Head(ctx context.Context, key string) (object.Info, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heads++
	return s.bucket.Head(ctx, key)
}

func (s *shelf) ReadRange(ctx context.Context, key string, info object.Info, b []byte, off int64) (uint32, error) {
	if s.wait != nil {
		s.wait(ctx)
	}
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ranges[off]++
	return s.bucket.ReadRange(ctx, key, info, b, off)
}

func (s *shelf) replace(o stored) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bucket["dir/f"] = o
}

func (s *shelf) asked() (heads, ranges int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.ranges {
		ranges += n
	}
	return s.heads, ranges
}

// remoteScene is a stub with an object of size bytes, and an instance that reads it.
func remoteScene(size int, query string) (*scene, *shelf, *Instance) {
	s := newScene()
	content := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(content) // never fails
	s.stub.Size = int64(size)
	s.pointer.Proof = &object.Stamped{Size: int64(size), Mtime: mtime, CRC32: crc32.ChecksumIEEE(content)}
	s.object = objectOf(func(m *object.Metadata) { m.Size = int64(size) })
	s.object.data, s.object.info.Size, s.object.info.ETag = content, int64(size), `"1"`
	s.object.info.CRC32 = crc32.ChecksumIEEE(content)
	s.brick.xattrs[gluster.XattrPointer] = string(s.pointer.Encode())
	delete(s.brick.xattrs, gluster.XattrDownload)
	s.stub.File = s.brick
	store := &shelf{bucket: bucket{"dir/f": s.object}, ranges: map[int64]int{}}
	i := NewInstance(NewStores(func() Store { return store }), "", Settings{Bucket: "b", KeyID: "i", Secret: "s",
		Hostname: "http://h?read-block=64KiB&read-cache=1MiB" + query})
	return s, store, i
}

func (s *scene) read(i *Instance, off int64, size int) ([]byte, error) {
	b := make([]byte, size)
	_, _, err := i.Read(context.Background(), s.stub, b, off)
	return b, err
}

func TestRemoteReadsAreOfTheObject(t *testing.T) {
	s, store, i := remoteScene(40*testBlock+77, "")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				size := 1 + rand.IntN(3*testBlock)
				off := rand.Int64N(s.stub.Size - int64(size))
				got, err := s.read(i, off, size)
				if err != nil || !bytes.Equal(got, s.object.data[off:off+int64(size)]) {
					t.Errorf("%d at %d: %v", size, off, err)
				}
			}
		})
	}
	wg.Wait()
	if heads, _ := store.asked(); heads != 1 {
		t.Errorf("the object was looked at %d times", heads)
	}
	c := i.client.cache
	c.mu.Lock()
	if c.used > c.limit {
		t.Errorf("%d bytes are cached, %d may be", c.used, c.limit)
	}
	c.mu.Unlock()
	for _, op := range s.brick.ops {
		if op != "get "+gluster.XattrPointer {
			t.Errorf("a read did %q", op)
		}
	}
}

// Who reads on is read ahead of, and gets each block once; who looks at the
// beginning alone costs one block.
func TestReadAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, store, i := remoteScene(16*testBlock, "")
		if _, err := s.read(i, 0, 4096); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if _, ranges := store.asked(); ranges != 1 {
			t.Errorf("the first page cost %d blocks", ranges)
		}
		for off := int64(0); off < s.stub.Size; off += 4096 {
			if _, err := s.read(i, off, 4096); err != nil {
				t.Fatal(err)
			}
			if off == 6*testBlock {
				synctest.Wait()
				if _, ranges := store.asked(); ranges <= 7 {
					t.Error("nothing was read ahead")
				}
			}
		}
		for off, n := range store.ranges {
			if n != 1 {
				t.Errorf("the block at %d was asked for %d times", off, n)
			}
		}
		time.Sleep(2 * idleStore)
		synctest.Wait()
		if c := i.client.cache; c.used != 0 || len(c.objects) != 0 {
			t.Errorf("an idle client keeps %d bytes of %d objects", c.used, len(c.objects))
		}
	})
}

func TestRemoteReadsRefuseWhatARecallRefuses(t *testing.T) {
	for name, edit := range map[string]func(*scene, *shelf){
		"an object of another file": func(s *scene, b *shelf) {
			o := s.object
			o.info.Metadata = objectOf(func(m *object.Metadata) { m.GFID = other }).info.Metadata
			b.replace(o)
		},
		"an object of another volume": func(s *scene, b *shelf) {
			o := s.object
			o.info.Metadata = objectOf(func(m *object.Metadata) { m.Volume = "another" }).info.Metadata
			b.replace(o)
		},
		"another size":   func(s *scene, _ *shelf) { s.stub.Size++ },
		"no object":      func(_ *scene, b *shelf) { delete(b.bucket, "dir/f") },
		"wrong bytes":    func(s *scene, b *shelf) { o := s.object; o.data = bytes.Repeat([]byte("x"), len(o.data)); b.replace(o) },
		"a sick brick":   func(s *scene, _ *shelf) { s.brick.fail = func(string) error { return unix.EIO } },
		"a sick store":   func(s *scene, b *shelf) { o := s.object; o.err = errors.New("sick"); b.replace(o) },
		"later pointers": func(s *scene, _ *shelf) { s.brick.xattrs[gluster.XattrPointer] = `{"v":9}` },
	} {
		s, store, i := remoteScene(testBlock, "")
		edit(s, store)
		if _, err := s.read(i, 0, 100); err == nil {
			t.Errorf("%s: read", name)
		}
	}
}

// The store itself knows that its object is not what was archived.
func TestAnObjectWithAnotherChecksumIsNotEvenAskedFor(t *testing.T) {
	s, store, i := remoteScene(8*testBlock, "")
	o := s.object
	o.info.CRC32++
	store.replace(o)
	if _, err := s.read(i, testBlock, 100); !errors.Is(err, ErrObject) {
		t.Error(err)
	}
	if _, ranges := store.asked(); ranges != 0 {
		t.Errorf("%d ranges were asked for", ranges)
	}
}

// Another object in place of the first, whoever made it and however often it is
// tried; a minute later a reader begins anew.
func TestTwoObjectsAreNeverMixed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, store, i := remoteScene(8*testBlock, "")
		if _, err := s.read(i, 0, 100); err != nil {
			t.Fatal(err)
		}
		second := s.object
		second.data = bytes.Repeat([]byte("x"), len(second.data))
		second.info.ETag, second.info.HasCRC32 = `"2"`, false
		store.replace(second)
		for _, off := range []int64{5 * testBlock, 5 * testBlock, 0, 3 * testBlock} {
			if _, err := s.read(i, off, 100); !errors.Is(err, object.ErrChanged) || ReadError(err) != unix.EREMOTE {
				t.Errorf("at %d: %v", off, err)
			}
		}
		time.Sleep(refusalTime + time.Second)
		if got, err := s.read(i, 3*testBlock, 100); err != nil || !bytes.Equal(got, second.data[:100]) {
			t.Errorf("a minute later: %q, %v", got, err)
		}
		time.Sleep(2 * idleStore)
	})
}

// A large object that is read to its end is held against its checksum then.
func TestAnObjectReadToItsEndIsProven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, store, i := remoteScene(8*testBlock+1, "")
		wrong := s.object
		wrong.data = bytes.Clone(wrong.data)
		wrong.data[3*testBlock] ^= 1
		store.replace(wrong)
		var err error
		off := int64(0)
		for ; err == nil && off < s.stub.Size; off += 4096 {
			_, err = s.read(i, off, int(min(4096, s.stub.Size-off)))
		}
		if !errors.Is(err, object.ErrCorrupt) || ReadError(err) != unix.EIO {
			t.Errorf("read to %d: %v", off, err)
		}
		if _, err := s.read(i, 8*testBlock, 1); !errors.Is(err, object.ErrCorrupt) {
			t.Errorf("the last block alone, again: %v", err)
		}
		time.Sleep(2 * idleStore)
	})
}

func TestAChangedFileIsNotReadFromTheCache(t *testing.T) {
	for name, edit := range map[string]func(*scene){
		"mtime":   func(s *scene) { s.stub.Mtime.Sec++ },
		"pointer": func(s *scene) { delete(s.brick.xattrs, gluster.XattrPointer) },
		"remote":  func(s *scene) { s.stub.Remote = "dir/f2" },
	} {
		s, store, i := remoteScene(testBlock, "")
		if _, err := s.read(i, 0, 100); err != nil {
			t.Fatal(err)
		}
		delete(store.bucket, "dir/f")
		edit(s)
		if _, err := s.read(i, 0, 100); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("another %s: %v", name, err)
		}
	}
}

func TestReadersOfAStoreThatHangsGetAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, store, i := remoteScene(40*testBlock, "")
		store.wait = func(ctx context.Context) { <-ctx.Done() }
		began := time.Now()
		var wg sync.WaitGroup
		for n := range 40 { // more than may be on their way at once
			wg.Go(func() {
				if !i.Begin(func(ctx context.Context) {
					if _, _, err := i.Read(ctx, s.stub, make([]byte, 10), int64(n)*testBlock); err == nil {
						t.Error("no error")
					}
				}) {
					t.Error("not begun")
				}
			})
		}
		wg.Wait()
		i.round.reads.Wait()
		if took := time.Since(began); took > readPatience {
			t.Errorf("took %v", took)
		}
		store.wait = nil
		synctest.Wait()
		time.Sleep(fetchPatience) // for those that had not even begun
		if _, err := s.read(i, 0, 100); err != nil {
			t.Errorf("the store is back: %v", err)
		}
		time.Sleep(2 * idleStore)
	})
}

func TestEndingAnswersAllReads(t *testing.T) {
	for name, end := range map[string]func(*Instance){"a previous graph": func(i *Instance) { i.End(false) }, "the last one": (*Instance).Close} {
		t.Run(name, func(t *testing.T) {
			s, store, i := remoteScene(20*testBlock, "")
			held := make(chan struct{})
			defer close(held)
			store.wait = func(context.Context) { <-held }
			answered := make(chan error, 10)
			for n := range 10 {
				i.Begin(func(ctx context.Context) {
					_, _, err := i.Read(ctx, s.stub, make([]byte, 10), int64(n)*testBlock)
					answered <- err
				})
			}
			end(i)
			if len(answered) != 10 {
				t.Fatalf("%d of 10 reads were answered", len(answered))
			}
			for range 10 {
				if err := <-answered; !errors.Is(err, errEnding) {
					t.Error(err)
				}
			}
			if begun := i.Begin(func(context.Context) {}); begun != (name == "a previous graph") {
				t.Errorf("another read: %v", begun)
			}
		})
	}
}

func TestAPanicCostsOneRemoteRead(t *testing.T) {
	s, _, _ := remoteScene(testBlock, "")
	i := NewInstance(NewStores(func() Store { return panicking{} }), "", Settings{Bucket: "b"})
	var mistake *workers.PanicError
	if _, err := s.read(i, 0, 10); !errors.As(err, &mistake) {
		t.Error(err)
	}
}

func TestReadsOutsideAFile(t *testing.T) {
	s, store, i := remoteScene(testBlock, "")
	for _, tt := range []struct {
		off  int64
		size int
		ok   bool
	}{{0, 0, true}, {-1, 1, false}, {testBlock, 1, false}, {testBlock - 1, 1, true}, {1<<63 - 1, 1, false}, {0, testBlock + 1, false}} {
		if _, err := s.read(i, tt.off, tt.size); (err == nil) != tt.ok {
			t.Errorf("%d at %d: %v", tt.size, tt.off, err)
		}
	}
	if _, ranges := store.asked(); ranges != 1 {
		t.Errorf("%d ranges were asked for", ranges)
	}
}

// The hour is one of a clock that nobody sets.
func TestARecallLimitCountsAnHour(t *testing.T) {
	m := newMeter()
	limit := Limit{Recalls: 3, Bytes: 100}
	take := func(size int64, after time.Duration) (func(), error) { return m.take(limit, size, m.began.Add(after)) }
	must := func(ok bool, size int64, after time.Duration) func() {
		t.Helper()
		undo, err := take(size, after)
		if (err == nil) != ok || err != nil && !errors.Is(err, ErrLimit) {
			t.Errorf("%d bytes after %v: %v", size, after, err)
		}
		return undo
	}
	must(false, 101, 0) // would never fit
	must(true, 50, 0)
	must(true, 50, time.Minute)
	must(false, 1, 2*time.Minute)
	must(false, 1, 60*time.Minute)
	must(true, 50, 61*time.Minute) // the first is older than an hour
	undo := must(true, 0, 61*time.Minute)
	must(false, 0, 61*time.Minute)
	undo()
	must(true, 0, 61*time.Minute)
	must(true, 100, 10000*time.Hour)
	undo() // far too late
	must(false, 1, 10000*time.Hour)
	if _, err := m.take(Limit{}, 1<<62, m.began.Add(10000*time.Hour)); err != nil {
		t.Errorf("no limit: %v", err)
	}
}

func TestARefusedRecallLeavesAStub(t *testing.T) {
	s := newScene()
	s.stub.File = s.brick
	i := NewInstance(NewStores(func() Store { return opened{bucket{"dir/f": s.object}} }), "",
		Settings{Hostname: "http://h?recall-limit=10B", Bucket: "b", KeyID: "i", Secret: "s"})
	_, err := i.Recall(t.Context(), s.stub, func(error) {})
	if m := s.brick.marks(); !errors.Is(err, ErrLimit) || m.Downloading || s.brick.state() != gluster.Remote || len(s.brick.data) != 0 {
		t.Errorf("%v: %+v", err, m)
	}
}
