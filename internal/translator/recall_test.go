package translator

import (
	"bytes"
	"context"
	"errors"
	"hash/crc32"
	"io"
	"io/fs"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/workers"
)

var (
	ours  = gluster.GFID{1, 15: 1}
	other = gluster.GFID{1, 15: 2}
	mtime = gluster.Time{Sec: 1672628645, Nsec: 123456789}
)

const volumeID = "0f5b1d5a-2c7f-4a36-9c1d-1fd0ab7d6b11"

// brick is a file in memory that can fail, or die, at any operation.
type brick struct {
	mu     sync.Mutex
	data   []byte
	xattrs map[string]string
	ops    []string
	fail   func(op string) error // before each operation
}

var errDied = errors.New("the client is dead")

func (b *brick) do(op string) error {
	if b.fail != nil {
		if err := b.fail(op); err != nil {
			return err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ops = append(b.ops, op)
	return nil
}

func (b *brick) WriteAt(p []byte, off int64) (int, error) {
	if err := b.do("write"); err != nil {
		return 0, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if need := int(off) + len(p); need > len(b.data) {
		b.data = append(b.data, make([]byte, need-len(b.data))...)
	}
	return copy(b.data[off:], p), nil
}

func (b *brick) Truncate(size int64) error {
	if err := b.do("truncate"); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.data = append(b.data[:min(size, int64(len(b.data)))], make([]byte, max(0, size-int64(len(b.data))))...)
	return nil
}

func (b *brick) Sync() error { return b.do("sync") }

func (b *brick) Close() {}

func (b *brick) Xattr(name string) ([]byte, error) {
	if err := b.do("get " + name); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	value, ok := b.xattrs[name]
	if !ok {
		return nil, unix.ENODATA
	}
	return []byte(value), nil
}

func (b *brick) SetXattr(name string, value []byte, flags int) error {
	if err := b.do("set " + name); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.xattrs[name]; !ok && flags == unix.XATTR_REPLACE {
		return unix.ENODATA
	}
	b.xattrs[name] = string(value)
	return nil
}

func (b *brick) RemoveXattr(name string) error {
	if err := b.do("remove " + name); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.xattrs[name]; !ok {
		return unix.ENODATA
	}
	delete(b.xattrs, name)
	return nil
}

func (b *brick) marks() gluster.Marks {
	b.mu.Lock()
	defer b.mu.Unlock()
	has := func(name string) bool { _, ok := b.xattrs[name]; return ok }
	return gluster.Marks{
		Remote: has(gluster.XattrRemote), RemoteKey: b.xattrs[gluster.XattrRemote],
		Downloading: has(gluster.XattrDownload), ObjectSize: has(gluster.XattrObjectSize),
		BlockSize: has(gluster.XattrBlockSize), NumBlocks: has(gluster.XattrNumBlocks),
	}
}

func (b *brick) state() gluster.State {
	m := b.marks()
	b.mu.Lock()
	defer b.mu.Unlock()
	return m.State(int64(len(b.data)))
}

// bucket is a store in memory.
type bucket map[string]stored

type stored struct {
	data   []byte
	info   object.Info
	during func() // while the body is on its way
	err    error  // after half of it
}

func (b bucket) Download(_ context.Context, key string, dst io.WriterAt, accept func(object.Info) error) (object.Proof, error) {
	o, ok := b[key]
	if !ok {
		return object.Proof{}, fs.ErrNotExist
	}
	if err := accept(o.info); err != nil {
		return object.Proof{}, err
	}
	half := len(o.data) / 2
	if _, err := dst.WriteAt(o.data[half:], int64(half)); err != nil {
		return object.Proof{}, err
	}
	if o.during != nil {
		o.during()
	}
	if o.err != nil {
		return object.Proof{}, o.err
	}
	if _, err := dst.WriteAt(o.data[:half], 0); err != nil {
		return object.Proof{}, err
	}
	return object.Proof{Size: int64(len(o.data)), CRC32: crc32.ChecksumIEEE(o.data)}, nil
}

func (b bucket) Head(_ context.Context, key string) (object.Info, error) {
	o, ok := b[key]
	if !ok {
		return object.Info{}, fs.ErrNotExist
	}
	return o.info, o.err
}

func (b bucket) ReadRange(_ context.Context, key string, info object.Info, p []byte, off int64) (uint32, error) {
	o, ok := b[key]
	switch {
	case !ok:
		return 0, fs.ErrNotExist
	case o.info.ETag != info.ETag:
		return 0, object.ErrChanged
	case o.err != nil:
		return 0, o.err
	}
	copy(p, o.data[off:])
	return crc32.ChecksumIEEE(p), nil
}

// scene is a stub as the translator gives it, and its object, both as coldbrick
// makes them.
type scene struct {
	brick   *brick
	stub    Stub
	bucket  bucket
	object  stored
	pointer object.Pointer
	noted   bool // the pointer stands on the file
	late    chan error
}

var data = []byte("the data of the file")

func newScene() *scene {
	size := int64(len(data))
	return &scene{
		brick: &brick{xattrs: map[string]string{
			gluster.XattrRemote: "dir/f", gluster.XattrDownload: "1", gluster.XattrObjectSize: "20",
			gluster.XattrBlockSize: "4096", gluster.XattrNumBlocks: "01",
		}},
		stub: Stub{GFID: ours, Remote: "dir/f", Size: size, Mtime: mtime},
		object: stored{data: data, info: object.Info{
			Size: size, CRC32: crc32.ChecksumIEEE(data), HasCRC32: true,
			Metadata: object.Metadata{Volume: volumeID, GFID: ours, Path: "dir/f", Size: size, Mtime: mtime}.Encode(),
		}},
		pointer: object.Pointer{GFID: ours, Volume: volumeID, Key: "dir/f",
			Proof: &object.Stamped{Size: size, Mtime: mtime, CRC32: crc32.ChecksumIEEE(data)}},
		noted:  true,
		bucket: bucket{},
		late:   make(chan error, 1),
	}
}

func (s *scene) recall() (Result, error) {
	if s.noted {
		s.brick.xattrs[gluster.XattrPointer] = string(s.pointer.Encode())
	}
	s.stub.File = s.brick
	if _, ok := s.bucket["dir/f"]; !ok {
		s.bucket["dir/f"] = s.object
	}
	stores := NewStores(func() Store { return opened{s.bucket} })
	i := NewInstance(stores, "", Settings{Bucket: "b", KeyID: "i", Secret: "s"})
	return i.Recall(context.Background(), s.stub, func(err error) { s.late <- err })
}

// opened is a bucket as a Store.
type opened struct{ bucket }

func (opened) Init(context.Context, map[string]string) error { return nil }
func (opened) Fini() error                                   { return nil }

// finish does what the translator does after success.
func (s *scene) finish() {
	if s.brick.RemoveXattr(gluster.XattrRemote) == nil {
		_ = s.brick.RemoveXattr(gluster.XattrDownload)
	}
}

func foreignObject() stored {
	o := newScene().object
	o.info.Metadata = nil
	return o
}

func objectOf(edit func(*object.Metadata)) stored {
	o := newScene().object
	m, err := object.DecodeMetadata(o.info.Metadata)
	if err != nil {
		panic(err)
	}
	edit(&m)
	o.info.Metadata = m.Encode()
	return o
}

func TestRecallTakesTheObjectOfThisFileAndNoOther(t *testing.T) {
	for _, tt := range []struct {
		name string
		edit func(*scene)
		want string // the key; empty: an error and a stub
	}{
		{"as archived", func(*scene) {}, "dir/f"},
		{"no pointer", func(s *scene) { s.noted = false }, "dir/f"},
		{"a pointer that came with a copy", func(s *scene) { s.pointer.GFID, s.pointer.Key = other, "copied" }, "dir/f"},
		{"a pointer of a previous life", func(s *scene) {
			s.pointer.Key, s.pointer.Recalled, s.object = "previous", true, foreignObject()
			s.pointer.Proof.CRC32++
		}, "dir/f"},
		{"cs.remote is empty", func(s *scene) { s.stub.Remote = ""; s.brick.xattrs[gluster.XattrRemote] = "" }, "dir/f"},
		{"cs.remote is empty and no pointer", func(s *scene) { s.stub.Remote = ""; s.noted = false }, ""},
		{"stamped and not yet rewritten", func(s *scene) {
			s.pointer.Key, s.pointer.Proof = ".coldbrick/nonce", nil
			s.bucket[".coldbrick/nonce"] = s.object
			s.bucket["dir/f"] = objectOf(func(m *object.Metadata) { m.GFID = other })
		}, ".coldbrick/nonce"},
		{"two keys, and the pointer's object is older", func(s *scene) {
			s.pointer.Key, s.pointer.Proof = "previous", nil
			s.bucket["previous"] = objectOf(func(m *object.Metadata) { m.Mtime.Nsec-- })
		}, ""},
		{"a file that was touched since", func(s *scene) { s.stub.Mtime.Sec += 3600 }, "dir/f"},
		{"an object of another file", func(s *scene) { s.object = objectOf(func(m *object.Metadata) { m.GFID = other }) }, ""},
		{"the same without pointer", func(s *scene) {
			s.noted, s.object = false, objectOf(func(m *object.Metadata) { m.GFID = other })
		}, ""},
		{"an object of another volume", func(s *scene) { s.object = objectOf(func(m *object.Metadata) { m.Volume = "another" }) }, ""},
		{"a longer object", func(s *scene) { s.object.data = append(s.object.data[:20:20], 0); s.object.info.Size++ }, ""},
		{"made by a script", func(s *scene) { s.noted, s.object = false, foreignObject() }, "dir/f"},
		{"made by a script where ours should be", func(s *scene) { s.object = foreignObject() }, ""},
		{"metadata of a later version", func(s *scene) { s.object.info.Metadata["coldbrick-format"] = "2" }, ""},
		{"a pointer of a later version", func(s *scene) {
			s.noted = false
			s.brick.xattrs[gluster.XattrPointer] = `{"v":3}`
		}, ""},
		{"wrong bytes, the store knows better", func(s *scene) {
			s.noted, s.object.data = false, bytes.Repeat([]byte("x"), len(data))
		}, ""},
		{"wrong bytes, the pointer knows better", func(s *scene) {
			s.object.data, s.object.info.HasCRC32 = bytes.Repeat([]byte("x"), len(data)), false
		}, ""},
		{"the store ends halfway", func(s *scene) { s.object.err = io.ErrUnexpectedEOF }, ""},
		{"no object", func(s *scene) { s.noted, s.stub.Remote = false, "gone" }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newScene()
			tt.edit(s)
			res, err := s.recall()
			if tt.want == "" {
				if err == nil {
					t.Fatalf("recalled %q", res.Key)
				}
				if s.brick.state() != gluster.Remote || len(s.brick.data) != 0 || !s.brick.marks().AnySize() {
					t.Errorf("no stub any more: %d bytes, %q", len(s.brick.data), s.brick.xattrs)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			s.finish()
			if res.Key != tt.want || s.brick.state() != gluster.Local || !bytes.Equal(s.brick.data, data) {
				t.Errorf("key %q, %s, %q", res.Key, s.brick.state(), s.brick.data)
			}
			if m := s.brick.marks(); !m.Clean() {
				t.Errorf("left behind: %+v", m)
			}
			if s.brick.xattrs[gluster.XattrRecalled] == "" {
				t.Error("the time of the recall is not noted")
			}
		})
	}
}

func TestBytesThatNothingVouchesForAreReported(t *testing.T) {
	s := newScene()
	s.noted, s.object = false, foreignObject()
	s.object.info.HasCRC32 = false
	res, err := s.recall()
	if err != nil || res.Unproven == "" {
		t.Errorf("%+v, %v", res, err)
	}
}

// A coldbrick recall that claims the file waits for the translator's lock, then
// relies on what it has left on the file. Touching anything would lose data: the
// translator truncates what a plugin reports as failed.
func TestAClaimedFileIsLeftAlone(t *testing.T) {
	for _, tt := range []struct {
		name string
		edit func(*scene)
	}{
		{"and the download went well", func(*scene) {}},
		{"and the download fails", func(s *scene) { s.object.err = io.ErrUnexpectedEOF }},
		{"and the bytes are wrong", func(s *scene) { s.object.data = bytes.Repeat([]byte("x"), len(data)) }},
		{"and the key had to be rewritten", func(s *scene) { s.stub.Remote = "another" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newScene()
			s.object.during = func() {
				delete(s.brick.xattrs, gluster.XattrRemote)
				s.brick.ops = nil // what came before the claim was right
			}
			tt.edit(s)
			res, err := s.recall()
			if err != nil || !res.Claimed {
				t.Fatalf("%+v, %v", res, err)
			}
			if m := s.brick.marks(); m.Remote || !m.Downloading || !m.ObjectSize {
				t.Errorf("%+v", m)
			}
			for _, op := range s.brick.ops {
				if strings.HasPrefix(op, "truncate") || strings.HasPrefix(op, "remove") {
					t.Errorf("did %q", op)
				}
			}
		})
	}
}

// Wherever the client dies, the file is not local unless it is whole, and it
// carries what fsck needs: key, size and checksum.
func TestAClientMayDieAtAnyPoint(t *testing.T) {
	for _, tt := range []struct {
		name string
		edit func(*scene)
	}{
		{"archived by coldbrick", func(*scene) {}},
		{"archived by a script", func(s *scene) { s.noted, s.object = false, foreignObject() }},
		{"not yet noted", func(s *scene) { s.pointer.Proof = nil }},
		{"key not yet rewritten", func(s *scene) { s.brick.xattrs[gluster.XattrRemote], s.stub.Remote = "x", "x" }},
	} {
		for after := 0; ; after++ {
			s := newScene()
			tt.edit(s)
			left := after
			s.brick.fail = func(string) error {
				if left--; left < 0 {
					return errDied
				}
				return nil
			}
			if _, err := s.recall(); err == nil {
				s.finish()
			}
			dead := left < 0
			s.brick.fail = nil
			m := s.brick.marks()
			if s.brick.state() == gluster.Local && !bytes.Equal(s.brick.data, data) {
				t.Fatalf("%s: local with wrong data after %q", tt.name, s.brick.ops)
			}
			if s.brick.state() != gluster.Local && !m.ObjectSize {
				p, err := object.DecodePointer([]byte(s.brick.xattrs[gluster.XattrPointer]))
				if err != nil || p.GFID != ours || p.Key != "dir/f" || p.Proof == nil ||
					p.Proof.Size != s.stub.Size || p.Proof.CRC32 != crc32.ChecksumIEEE(data) {
					t.Fatalf("%s: nothing tells fsck how to fix it after %q: %+v, %v", tt.name, s.brick.ops, p, err)
				}
			}
			if !dead {
				if s.brick.state() != gluster.Local {
					t.Fatalf("%s: ends as %s", tt.name, s.brick.state())
				}
				break
			}
		}
	}
}

// An error of the brick that passes leaves a clean stub, whichever operation it
// hits; the sizes come back if they were removed.
func TestAFailureOfTheBrickLeavesAStub(t *testing.T) {
	for at := 0; ; at++ {
		s := newScene()
		n := 0
		var hit string
		s.brick.fail = func(op string) error {
			if n++; n == at+1 {
				hit = op
				return unix.EIO
			}
			return nil
		}
		_, err := s.recall()
		if hit == "" {
			break
		}
		if err == nil {
			if hit != "set "+gluster.XattrRecalled {
				t.Errorf("no error from %q", hit)
			}
			continue
		}
		m := s.brick.marks()
		if s.brick.state() != gluster.Remote || !m.ObjectSize || !m.BlockSize || !m.NumBlocks || s.brick.xattrs[gluster.XattrObjectSize] != "20" {
			t.Errorf("after EIO of %q: %s, %q", hit, s.brick.state(), s.brick.xattrs)
		}
	}
}

// A mistake of ours, wherever it is met, costs the one reader an error: the file is
// a stub without a mark of the recall, and the client lives on.
func TestAPanicLeavesAStub(t *testing.T) {
	for at := 0; ; at++ {
		s := newScene()
		n, hit := 0, ""
		s.brick.fail = func(op string) error {
			if n++; n == at+1 {
				hit = op
				panic("a mistake")
			}
			return nil
		}
		_, err := s.recall()
		if hit == "" {
			break
		}
		var mistake *workers.PanicError
		switch m := s.brick.marks(); {
		case hit == "set "+gluster.XattrRecalled && err == nil: // a note that nobody depends on
		case !errors.As(err, &mistake) || len(mistake.Stack) == 0:
			t.Errorf("in %q: %v", hit, err)
		case s.brick.state() != gluster.Remote || len(s.brick.data) != 0 || !m.ObjectSize || !m.BlockSize || !m.NumBlocks:
			t.Errorf("after a panic in %q: %s, %q", hit, s.brick.state(), s.brick.xattrs)
		}
	}
}

// The same of the store's side.
func TestAPanicOfTheStoreLeavesAStub(t *testing.T) {
	for name, store := range map[string]Store{
		"Init":     panicking{init: true},
		"Download": panicking{},
	} {
		s := newScene()
		s.stub.File = s.brick
		i := NewInstance(NewStores(func() Store { return store }), "", Settings{Bucket: "b"})
		_, err := i.Recall(t.Context(), s.stub, func(err error) { t.Error(err) })
		var mistake *workers.PanicError
		if !errors.As(err, &mistake) || s.brick.state() != gluster.Remote || len(s.brick.data) != 0 {
			t.Errorf("%s: %v, %s", name, err, s.brick.state())
		}
	}
}

type panicking struct{ init bool }

func (p panicking) Init(context.Context, map[string]string) error {
	if p.init {
		panic("a mistake")
	}
	return nil
}

func (panicking) Fini() error { panic("a mistake") }

func (panicking) Head(context.Context, string) (object.Info, error) { panic("a mistake") }

func (panicking) ReadRange(context.Context, string, object.Info, []byte, int64) (uint32, error) {
	panic("a mistake")
}

func (panicking) Download(_ context.Context, _ string, dst io.WriterAt, accept func(object.Info) error) (object.Proof, error) {
	if _, err := dst.WriteAt(data[:5], 0); err != nil {
		return object.Proof{}, err
	}
	panic("a mistake")
}
