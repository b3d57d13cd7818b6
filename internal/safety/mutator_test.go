package safety

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/testkit"
	"github.com/coldbrick/coldbrick/upload"
)

// rounds is how often the mutator strikes: 50 in make test, as many as
// COLDBRICK_SOAK_ROUNDS says in make soak.
func rounds(t *testing.T) int {
	t.Helper()
	n, err := strconv.Atoi(os.Getenv("COLDBRICK_SOAK_ROUNDS"))
	if err != nil {
		return 50
	}
	return n
}

// A writer changes files on a mount of its own at random moments of their
// archive. Its own log of what it wrote is the oracle: whatever name it left a
// file under must hold, directly or after a recall, the last content that its
// writes were acknowledged for.
func TestARacingWriterLosesNothing(t *testing.T) {
	t.Parallel()
	raceAWriter(t, rounds(t), false)
}

// The writer strikes while a copy is made, while it is released or archived, or between
// the two.
func TestARacingWriterOfCopiesLosesNothing(t *testing.T) {
	t.Parallel()
	raceAWriter(t, rounds(t)/2, true)
}

func raceAWriter(t *testing.T, rounds int, ofCopies bool) {
	t.Helper()
	g := newGround(t)
	clock := testkit.NewClock(t)
	theirs := g.NewMount(t, testkit.WithClock(clock))
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	outcomes := map[string]int{}
	instants := 0 // what docs/safety.md calls the last window
	for round := range rounds {
		path := fmt.Sprintf("d%d/f", round)
		m := &mutator{t: t, root: theirs, path: path, random: random}
		m.content = randomBytes(1 + random.IntN(20_000))
		g.Write(path, m.content, longAgo)
		clock.Set(t, 0)
		all := m.changes()
		if random.IntN(3) == 0 {
			all = m.unseen(clock)
		}
		change := all[random.IntN(len(all))]

		a, file := g.archiver(), g.file(path)
		copied := func() {}
		struck := a
		if ofCopies {
			keep := g.archiver()
			keep.Keep, keep.Index = true, g.index()
			a.Index, a.Release = keep.Index, random.IntN(2) == 0
			copied = func() { keep.Archive(t.Context(), file) }
			if random.IntN(3) == 0 {
				struck = keep
			}
		}
		steps := upload.Steps()
		if change.early {
			steps = steps[:slices.Index(steps, upload.StepStamp)+1]
		}
		strike := steps[random.IntN(len(steps))]
		delay := time.Duration(random.IntN(3000)) * time.Microsecond
		var writing sync.WaitGroup
		struck.At = before(strike, func() {
			writing.Go(func() {
				time.Sleep(delay)
				change.do()
			})
			if round%2 == 0 || change.early {
				writing.Wait() // so that some come in time, however busy the machine
			}
		})
		copied()
		res := a.Archive(t.Context(), file)
		writing.Wait()
		outcomes[string(res.Outcome)+" "+string(res.Reason)]++
		if res.Reason == outcome.Broken && strings.Contains(res.Err.Error(), "at the instant of the stamp") {
			t.Logf("round %d, %s %v into %s: %v", round, change.name, delay, strike, res.Err)
			if instants++; instants > 1+rounds/500 {
				t.Errorf("more than the brick's own last window explains")
			}
			continue
		}
		if res.Outcome == outcome.Failed {
			t.Errorf("round %d, %s %v into %s: %s: %v", round, change.name, delay, strike, res.Reason, res.Err)
		}
		if m.path == "" {
			continue // deleted
		}
		if marks := g.BrickMarks(m.path); marks.Remote {
			if back := g.recall(m.path); back.Outcome != outcome.Recalled {
				t.Errorf("round %d, %s %v into %s: recall: %s: %v", round, change.name, delay, strike, back.Reason, back.Err)
				continue
			}
		}
		got, err := os.ReadFile(g.BrickPath(m.path)) // a mount may show its page cache
		check(t, err)
		if !bytes.Equal(got, m.content) {
			t.Errorf("round %d, %s %v into %s (%s %s): %d bytes that differ from the %d of the writer's log",
				round, change.name, delay, strike, res.Outcome, res.Reason, len(got), len(m.content))
		}
	}
	t.Logf("outcomes: %v", outcomes)
	if outcomes["archived "] == 0 || len(outcomes) < 2 {
		t.Errorf("the writer never came too late, or always: %v", outcomes)
	}
}

// mutator knows what one file must hold: its log.
type mutator struct {
	t       *testing.T
	root    string
	path    string // "" once deleted
	content []byte // as acknowledged: written and synced
	random  *rand.Rand
}

type change struct {
	name string
	do   func()
	// A hole that is punched into a stub hangs a client without a plugin for ever
	// (seen on 10.3, as do other fallocates): it must come before the stamp.
	early bool
}

func (m *mutator) changes() []change {
	return []change{
		{name: "append", do: func() {
			m.edit(os.O_WRONLY|os.O_APPEND, func(f *os.File) error {
				_, err := f.Write([]byte("appended"))
				return err
			}, func() { m.content = append(m.content, "appended"...) })
		}},
		{name: "overwrite", do: func() {
			fresh := bytes.Repeat([]byte("new!"), len(m.content)/4+1)[:len(m.content)]
			m.edit(os.O_WRONLY, func(f *os.File) error {
				_, err := f.WriteAt(fresh, 0)
				return err
			}, func() { m.content = fresh })
		}},
		{name: "overwrite and put the mtime back", do: func() {
			fresh := bytes.Repeat([]byte("old?"), len(m.content)/4+1)[:len(m.content)]
			m.edit(os.O_WRONLY, func(f *os.File) error {
				_, err := f.WriteAt(fresh, 0)
				return errors.Join(err, f.Sync(), os.Chtimes(f.Name(), longAgo, longAgo))
			}, func() { m.content = fresh })
		}},
		{name: "truncate", do: func() {
			half := len(m.content) / 2
			m.edit(os.O_WRONLY, func(f *os.File) error { return f.Truncate(int64(half)) },
				func() { m.content = m.content[:half] })
		}},
		{name: "map", do: func() {
			fresh := bytes.Repeat([]byte("map."), len(m.content)/4+1)[:len(m.content)]
			m.edit(os.O_RDWR, func(f *os.File) error {
				mapped, err := unix.Mmap(int(f.Fd()), 0, len(fresh), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
				if err != nil {
					return err
				}
				// A page of a stub gives SIGBUS: only what can be
				// read is written.
				defer func() { _ = unix.Munmap(mapped) }() // it is mapped
				if _, err := f.ReadAt(make([]byte, 1), 0); err != nil {
					return err
				}
				if err := store(mapped, fresh); err != nil {
					return err
				}
				return unix.Msync(mapped, unix.MS_SYNC)
			}, func() { m.content = fresh })
		}},
		{name: "rename", do: func() { m.must(os.Rename(m.name(m.path), m.name(m.path+".moved"))); m.path += ".moved" }},
		{name: "rename the directory", do: func() {
			dir := m.path[:len(m.path)-len("/f")]
			m.must(os.Rename(m.name(dir), m.name(dir+".moved")))
			m.path = dir + ".moved/f"
		}},
		{name: "link", do: func() { m.must(os.Link(m.name(m.path), m.name(m.path+".link"))) }},
		{name: "replace", do: func() {
			fresh := []byte("another file under the same name")
			m.must(os.WriteFile(m.name(m.path+".new"), fresh, 0o644))
			m.must(os.Chtimes(m.name(m.path+".new"), longAgo, longAgo))
			m.must(os.Rename(m.name(m.path+".new"), m.name(m.path)))
			m.content = fresh
		}},
		{name: "unlink", do: func() { m.must(os.Remove(m.name(m.path))); m.path = "" }},
	}
}

// unseen are the changes of which a mount shows nothing: holes, and writes by a
// clock that is behind, with the mtime put back. And the clock is stepped.
func (m *mutator) unseen(clock *testkit.Clock) []change {
	hole := func() {
		to := m.random.IntN(len(m.content)) + 1
		m.edit(os.O_RDWR, func(f *os.File) error {
			return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, int64(to))
		}, func() { m.content = append(make([]byte, to), m.content[to:]...) })
	}
	rewrite := func() {
		fresh := bytes.Repeat([]byte("slow"), len(m.content)/4+1)[:len(m.content)]
		m.edit(os.O_WRONLY, func(f *os.File) error {
			_, err := f.WriteAt(fresh, 0)
			return errors.Join(err, f.Sync(), os.Chtimes(f.Name(), longAgo, longAgo))
		}, func() { m.content = fresh })
	}
	set := func(ahead time.Duration) { clock.Set(m.t, ahead) }
	return []change{
		{name: "punch", do: hole, early: true},
		{name: "punch by a slow clock", do: func() { set(behind); hole() }, early: true},
		{name: "overwrite by a slow clock and put the mtime back", do: func() { set(behind); rewrite() }},
		{name: "overwrite by a fast clock and put the mtime back", do: func() { set(-behind); rewrite() }},
		{name: "step the clock between two overwrites", do: func() { set(behind); rewrite(); set(-behind); rewrite() }},
	}
}

// edit opens the file and lets do write; written is called if all of it was
// acknowledged. A write that is refused is no loss: the writer knows.
func (m *mutator) edit(flags int, do func(*os.File) error, written func()) {
	f, err := os.OpenFile(m.name(m.path), flags, 0)
	if err != nil {
		m.must(err)
		return
	}
	err = do(f)
	if syncErr := f.Sync(); err == nil {
		err = syncErr
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		written()
	} else if !errors.Is(err, unix.EREMOTE) && !errors.Is(err, unix.EIO) && !errors.Is(err, errBus) {
		m.t.Errorf("write: %v", err)
	}
}

func (m *mutator) name(path string) string { return m.root + "/" + path }

func (m *mutator) must(err error) {
	if err != nil {
		m.t.Error(err)
	}
}

var errBus = errors.New("SIGBUS")

// store copies into a mapping whose pages may be gone.
func store(mapped, fresh []byte) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if recover() != nil {
			err = errBus
		}
	}()
	copy(mapped, fresh)
	return nil
}

// Both names of a file, and of two files, that had the same name at different
// times: every one keeps an object of its own.
func TestNamesThatComeBackDoNotCollide(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	first, second := randomBytes(3000), randomBytes(3000)

	g.Write("recreated", first, longAgo)
	g.mustArchive("recreated")
	check(t, os.Remove(g.Path("recreated")))
	g.Write("recreated", second, longAgo)
	g.mustArchive("recreated")
	g.mustRecall("recreated")
	g.mustRead("recreated", second)

	g.Write("linked", first, longAgo)
	check(t, os.Link(g.Path("linked"), g.Path("link")))
	if res := g.archive("linked"); res.Reason != outcome.HardLinked {
		t.Fatalf("hard link: %+v", res)
	}
	check(t, os.Remove(g.Path("link")))
	g.mustArchive("linked")
	check(t, os.Link(g.Path("linked"), g.Path("link")))
	check(t, os.Remove(g.Path("linked")))
	g.Write("linked", second, longAgo)
	g.mustArchive("linked")
	for path, want := range map[string][]byte{"link": first, "linked": second} {
		g.mustRecall(path)
		g.mustRead(path, want)
	}
}

func TestTwoVolumesShareABucket(t *testing.T) {
	t.Parallel()
	one, two := newGround(t), newGround(t)
	two.Store = two.newStore(one.Proxy.Endpoint)
	grounds := map[*ground][]byte{one: randomBytes(2000), two: randomBytes(2000)}
	for g, data := range grounds {
		g.Write("same/name", data, longAgo)
		g.mustArchive("same/name")
	}
	for g, data := range grounds {
		g.mustRecall("same/name")
		g.mustRead("same/name", data)
	}
}

// Where a store overwrites taken keys, no key is ever one that another volume, or
// another file, could have as well: nothing needs to be read back.
func TestVolumesShareAStoreThatOverwrites(t *testing.T) {
	t.Parallel()
	one, two := newGround(t), newGround(t)
	one.Proxy.On(testkit.Match{Method: http.MethodPut}, one.Proxy.IgnoreHeader("If-None-Match"))
	one.Store, two.Store = one.newStore(one.Proxy.Endpoint), two.newStore(one.Proxy.Endpoint) // which probe it as it is now
	grounds := map[*ground][]byte{one: randomBytes(2000), two: randomBytes(2000)}
	for g, data := range grounds {
		g.Write("same/name", data, longAgo)
		g.mustArchive("same/name")
		if key := g.BrickMarks("same/name").RemoteKey; !strings.HasPrefix(key, object.ReservedPrefix) {
			t.Errorf("key %q", key)
		}
	}
	for g, data := range grounds {
		g.mustRecall("same/name")
		g.mustRead("same/name", data)
	}
}

// cs.remote is an attribute that an administrator's tool, or a hostile restore,
// can fill with anything.
func TestAHostileKeyRecallsNothing(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	other := randomBytes(4000)
	g.Write("other", other, longAgo)
	g.mustArchive("other")
	for i, key := range []string{"other", "../cold/other", "./other", "a//b", "..", ".", "/etc/passwd", "", "missing"} {
		path := fmt.Sprintf("victim%d", i)
		g.Write(path, randomBytes(4000), longAgo)
		g.mustArchive(path)
		stub := g.Files.Dir() + "/" + path
		setKey(t, g, path, key)
		before, err := os.Lstat(stub)
		check(t, err)
		if res := g.recall(path); res.Outcome != outcome.Failed {
			t.Errorf("%q: %s %s: %v", key, res.Outcome, res.Reason, res.Err)
		}
		after, err := os.Lstat(stub)
		check(t, err)
		if marks := g.BrickMarks(path); !marks.Remote || marks.Downloading || g.BrickSize(path) != 0 {
			t.Errorf("%q: the stub became %+v", key, marks)
		}
		if !after.ModTime().Equal(before.ModTime()) {
			t.Errorf("%q: mtime moved", key)
		}
	}
	g.mustRecall("other")
	g.mustRead("other", other)
}

// setKey makes a stub that names only key: the pointer, which would correct it,
// is removed.
func setKey(t *testing.T, g *ground, path, key string) {
	t.Helper()
	f, err := g.Files.OpenRegularRDWR(path)
	check(t, err)
	defer f.Close()
	check(t, unix.Fsetxattr(int(f.Fd()), gluster.XattrRemote, []byte(key), 0))
	check(t, unix.Fremovexattr(int(f.Fd()), gluster.XattrPointer))
}
