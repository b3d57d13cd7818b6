//go:build e2e && soak

package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// user works on files of its own through a mount, one call after the other, and knows
// what it was promised:
//
//   - what a change that succeeded has written, up to fsync and close, is what every
//     later read gives;
//   - of a change that failed at any point, either nothing or all of what it had done
//     by then has happened; the first read tells which;
//   - a read gives that, or an error.
type user struct {
	t      *testing.T
	root   string // the mount, as this process sees it
	random *rand.Rand
	tally  *tally
	files  []*userFile

	mu   sync.Mutex
	call string // what it does now
	at   time.Time
}

// userFile is a file with its promise.
type userFile struct {
	path    string     // relative to the mount
	may     []contents // one, unless a change has failed since
	unsure  string     // a name that it may have instead: a rename has failed
	mayGone bool       // a removal, or a creation after it, has failed
	lost    bool       // a broken promise was reported

	history []string // for people: what was done, and what came of it
	known   map[[32]byte]string
}

// contents are bytes that a file may hold.
type contents struct {
	data   []byte
	prefix bool // or less of them: they are written in several calls
}

func (c contents) is(got []byte) bool {
	return bytes.Equal(c.data, got) || c.prefix && bytes.HasPrefix(c.data, got)
}

// piece is what one write takes at most: FUSE does not divide it, so of one that fails
// all or nothing has happened.
const piece = 64 << 10

func (u *user) bytes(n int) []byte {
	data := make([]byte, n)
	for i := 0; i < n; i += 8 {
		var word [8]byte
		for j, w := 0, u.random.Uint64(); j < 8; j, w = j+1, w>>8 {
			word[j] = byte(w)
		}
		copy(data[i:], word[:])
	}
	return data
}

// size is that of a new file: mostly small, seldom of several writes.
func (u *user) size() int {
	switch n := u.random.IntN(20); {
	case n < 12:
		return 1 + u.random.IntN(4<<10)
	case n < 18:
		return 1 + u.random.IntN(piece)
	default:
		return piece + u.random.IntN(1<<20)
	}
}

// live does something with one of the files, over and over.
func (u *user) live(ctx context.Context) {
	for ctx.Err() == nil {
		f := u.files[u.random.IntN(len(u.files))]
		if !f.lost {
			u.act(f)
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(u.random.IntN(80)) * time.Millisecond):
		}
	}
	u.now("nothing any more")
}

func (u *user) now(call string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.call, u.at = call, time.Now()
}

// waits tells what the user waits for, and for how long.
func (u *user) waits() (call string, since time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.call, time.Since(u.at)
}

// act does one thing. Once a change has failed, a read comes first: it tells what the
// file is.
func (u *user) act(f *userFile) {
	if len(f.may) > 1 || f.mayGone || f.unsure != "" || f.may[0].prefix {
		u.read(f)
		return
	}
	acts := []struct {
		name string
		do   func(*userFile) error
	}{
		{"append", u.append}, {"overwrite", u.overwrite}, {"truncate", u.truncate}, {"truncate by name", u.truncateName},
		{"rewrite", u.rewrite}, {"replace", u.replace}, {"rename", u.rename}, {"recreate", u.recreate}, {"chmod", u.chmod},
	}
	if u.random.IntN(2) == 0 {
		u.read(f)
		return
	}
	act := acts[u.random.IntN(len(acts))]
	before := f.path
	u.now(act.name + " " + f.path)
	err := act.do(f)
	u.done(f, act.name+" "+before, err)
	if err == nil && act.name != "chmod" && act.name != "rename" {
		u.done(f, "utimes "+f.path, u.date(f))
	}
	if act.name == "chmod" { // after which clients of stock Gluster see an empty file
		u.read(f)
	}
}

// date gives the file the mtime that it has by the user's clock: the kernel of the
// brick, which archive asks as well, has another one.
func (u *user) date(f *userFile) error {
	mtime := time.Now().Add(users)
	return os.Chtimes(u.name(f), mtime, mtime)
}

func (u *user) done(f *userFile, what string, err error) {
	kind := what[:strings.LastIndex(what, " ")]
	result := "ok"
	if err != nil {
		result = errorName(err)
	}
	u.tally.add("user: "+kind, result)
	var now []string
	for _, c := range f.may {
		now = append(now, fmt.Sprintf("%d bytes", len(c.data)))
		sum := sha256.Sum256(c.data)
		if _, ok := f.known[sum]; !ok {
			f.known[sum] = fmt.Sprintf("what %s at %s left or tried", what, time.Now().Format("15:04:05.000"))
		}
	}
	f.history = append(f.history, fmt.Sprintf("%s %s: %s (%v), may hold %s", time.Now().Format("15:04:05.000"), what, result, err, strings.Join(now, " or ")))
	const most = 30
	f.history = f.history[max(0, len(f.history)-most):]
}

func errorName(err error) string {
	var errno unix.Errno
	if errors.As(err, &errno) {
		return unix.ErrnoName(errno)
	}
	return err.Error()
}

func (u *user) name(f *userFile) string { return u.root + "/" + f.path }

// settle notes what a change has made of the file: after is what it did up to its
// failure, or to its end.
func (f *userFile) settle(err error, after ...contents) {
	if err == nil {
		f.may = after[len(after)-1:]
		return
	}
	f.may = append(f.may, after...)
}

// write opens the file, has do change it, and is told that all of it has happened only
// if it is on disk. An open that fails has changed nothing.
func (u *user) write(f *userFile, flags int, do func(*os.File) error) (opened bool, err error) {
	file, err := os.OpenFile(u.name(f), flags, 0o644)
	if err != nil {
		return false, err
	}
	err = do(file)
	if err == nil {
		err = file.Sync()
	}
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	return true, err
}

// change is a write that leaves after.
func (u *user) change(f *userFile, flags int, after []byte, do func(*os.File) error) error {
	opened, err := u.write(f, flags, do)
	if opened {
		f.settle(err, contents{data: after})
	}
	return err
}

func (u *user) append(f *userFile) error {
	more := u.bytes(1 + u.random.IntN(8<<10))
	return u.change(f, os.O_WRONLY|os.O_APPEND, slices.Concat(f.may[0].data, more), func(file *os.File) error {
		_, err := file.Write(more)
		return err
	})
}

func (u *user) overwrite(f *userFile) error {
	old := f.may[0].data
	at := u.random.IntN(len(old) + 1)
	fresh := u.bytes(1 + u.random.IntN(piece/2))
	after := bytes.Clone(old)
	after = append(after[:at], append(bytes.Clone(fresh), after[min(len(after), at+len(fresh)):]...)...)
	return u.change(f, os.O_RDWR, after, func(file *os.File) error {
		_, err := file.WriteAt(fresh, int64(at))
		return err
	})
}

// truncated is the file with another length.
func (u *user) truncated(f *userFile) []byte {
	n := u.random.IntN(2*len(f.may[0].data) + 1)
	after := make([]byte, n)
	copy(after, f.may[0].data)
	return after
}

func (u *user) truncate(f *userFile) error {
	after := u.truncated(f)
	return u.change(f, os.O_WRONLY, after, func(file *os.File) error { return file.Truncate(int64(len(after))) })
}

func (u *user) truncateName(f *userFile) error {
	after := u.truncated(f)
	err := os.Truncate(u.name(f), int64(len(after)))
	f.settle(err, contents{data: after})
	return err
}

// fill writes data in pieces.
func fill(file *os.File, data []byte) error {
	for part := range slices.Chunk(data, piece) {
		if _, err := file.Write(part); err != nil {
			return err
		}
	}
	return nil
}

// rewrite is what a shell does for "> f".
func (u *user) rewrite(f *userFile) error {
	after := u.bytes(u.size())
	_, err := u.write(f, os.O_WRONLY|os.O_TRUNC, func(file *os.File) error { return fill(file, after) })
	if err != nil {
		f.may = append(f.may, contents{after, true}) // an open that failed may have emptied it
		return err
	}
	f.settle(nil, contents{data: after})
	return nil
}

// replace writes a new file and renames it over the old one, as editors do.
func (u *user) replace(f *userFile) error {
	after := u.bytes(u.size())
	fresh := &userFile{path: f.path + ".new"}
	if _, err := u.write(fresh, os.O_WRONLY|os.O_CREATE|os.O_EXCL, func(file *os.File) error { return fill(file, after) }); err != nil {
		return errors.Join(err, os.Remove(u.name(fresh)))
	}
	err := os.Rename(u.name(fresh), u.name(f))
	f.settle(err, contents{data: after})
	if err != nil {
		_ = os.Remove(u.name(fresh)) // it may have been renamed
	}
	return err
}

func (u *user) rename(f *userFile) error {
	dir, _ := path.Split(f.path)
	next := fmt.Sprintf("%sf%x", dir, u.random.Uint64())
	err := os.Rename(u.name(f), u.root+"/"+next)
	if err != nil {
		f.unsure = next
		return err
	}
	f.path = next
	return nil
}

func (u *user) recreate(f *userFile) error {
	if err := os.Remove(u.name(f)); err != nil {
		f.mayGone = true
		return err
	}
	after := u.bytes(u.size())
	_, err := u.write(f, os.O_WRONLY|os.O_CREATE|os.O_EXCL, func(file *os.File) error { return fill(file, after) })
	f.may = []contents{{data: after, prefix: err != nil}}
	f.mayGone = err != nil
	return err
}

func (u *user) chmod(f *userFile) error {
	return os.Chmod(u.name(f), 0o600|os.FileMode(u.random.IntN(0o100)))
}

// read compares all bytes, as the bricks have them: what this host's kernel has kept
// of the file is dropped.
func (u *user) read(f *userFile) {
	u.now("read " + f.path)
	got, err := u.bricksBytes(u.name(f))
	if errors.Is(err, unix.ENOENT) && f.unsure != "" {
		f.path, f.unsure = f.unsure, ""
		got, err = u.bricksBytes(u.name(f))
	}
	switch {
	case errors.Is(err, unix.ENOENT) && f.mayGone:
		u.done(f, "read "+f.path, err)
		f.may, f.mayGone = []contents{{data: u.bytes(u.size())}}, false
		_, err := u.write(f, os.O_WRONLY|os.O_CREATE|os.O_EXCL, func(file *os.File) error { return fill(file, f.may[0].data) })
		if err != nil {
			f.may[0].prefix, f.mayGone = true, true
		}
		u.done(f, "create "+f.path, err)
		return
	case errors.Is(err, unix.ENOENT):
		u.breach(f, "it is gone")
	case err == nil && !slices.ContainsFunc(f.may, func(c contents) bool { return c.is(got) }):
		u.breach(f, "it has other bytes: "+f.tell(got))
	case err == nil:
		f.may, f.mayGone, f.unsure = []contents{{data: got}}, false, ""
	}
	u.done(f, "read "+f.path, err)
}

func (u *user) bricksBytes(name string) (got []byte, err error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close() // read only
	if err := unix.Fadvise(int(file.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		return nil, err
	}
	return io.ReadAll(file)
}

// tell says what got is, in terms of what the file has held before.
func (f *userFile) tell(got []byte) string {
	text := fmt.Sprintf("%d bytes", len(got))
	if what, ok := f.known[sha256.Sum256(got)]; ok {
		text += ", " + what
	}
	for _, c := range f.may {
		same := 0
		for same < min(len(got), len(c.data)) && got[same] == c.data[same] {
			same++
		}
		text += fmt.Sprintf("; the first %d are those of the %d that it may hold", same, len(c.data))
	}
	return text
}

// breach reports a broken promise, and whether it stays so.
func (u *user) breach(f *userFile, what string) {
	f.lost = true
	u.tally.add("breaches", "all")
	var later []string
	for _, wait := range []time.Duration{0, time.Second, 3 * time.Second} {
		time.Sleep(wait) // for the report alone
		got, err := u.bricksBytes(u.name(f))
		right := err == nil && slices.ContainsFunc(f.may, func(c contents) bool { return c.is(got) })
		later = append(later, fmt.Sprintf("after %v right: %v, %s, %v", wait, right, f.tell(got), err))
	}
	u.t.Errorf("%s %s: %s\n  %s\n  %s", time.Now().Format("15:04:05.000"), f.path, what, strings.Join(later, "\n  "), strings.Join(f.history, "\n  "))
}

// tally counts what happened, by kind and result.
type tally struct {
	mu     sync.Mutex
	counts map[string]map[string]int
}

func (y *tally) add(kind, result string) { y.addTimes(kind, result, 1) }

func (y *tally) addTimes(kind, result string, n int) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.counts == nil {
		y.counts = map[string]map[string]int{}
	}
	if y.counts[kind] == nil {
		y.counts[kind] = map[string]int{}
	}
	y.counts[kind][result] += n
}

func (y *tally) count(kind string) (n int) {
	y.mu.Lock()
	defer y.mu.Unlock()
	for _, m := range y.counts[kind] {
		n += m
	}
	return n
}

func (y *tally) of(kind, result string) int {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.counts[kind][result]
}

func (y *tally) String() string {
	y.mu.Lock()
	defer y.mu.Unlock()
	var lines []string
	for kind, results := range y.counts {
		lines = append(lines, fmt.Sprintf("%s: %v", kind, results))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
