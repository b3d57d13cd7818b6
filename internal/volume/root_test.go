package volume

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/testkit"
)

func openRoot(t *testing.T, dir string) *Root {
	t.Helper()
	root, err := OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root
}

func write(t *testing.T, path, data string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestRootOpensNothingOutsideIt(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/secret", "secret")
	write(t, dir+"/tree/d/f", "inside")
	for link, target := range map[string]string{
		"abs": dir + "/secret", "rel": "../secret", "inner": "d/f", "dirlink": "d", "up": "..", "self": "self", "proc": "/proc/self/root",
	} {
		if err := os.Symlink(target, dir+"/tree/"+link); err != nil {
			t.Fatal(err)
		}
	}
	root := openRoot(t, dir+"/tree")
	for path, want := range map[string]error{
		"../secret":               unix.EXDEV,
		"d/../../secret":          unix.EXDEV,
		dir + "/secret":           unix.EXDEV,
		"/etc/passwd":             unix.EXDEV,
		"abs":                     ErrNotRegular,
		"rel":                     ErrNotRegular,
		"inner":                   ErrNotRegular,
		"self":                    ErrNotRegular,
		"dirlink/f":               unix.ELOOP,
		"up/secret":               unix.ELOOP,
		"proc" + dir + "/secret":  unix.ELOOP,
		"d":                       ErrNotRegular,
		"":                        ErrNotRegular,
		"d/nothing":               os.ErrNotExist,
		"d/f/x":                   unix.ENOTDIR,
		"d/f\x00":                 unix.EINVAL,
		strings.Repeat("x", 256):  unix.ENAMETOOLONG,
		strings.Repeat("d/", 4e3): unix.ENAMETOOLONG,
	} {
		for name, open := range map[string]func(string) (*os.File, error){
			"OpenRegular": root.OpenRegular, "OpenRegularRDWR": root.OpenRegularRDWR,
		} {
			if f, err := open(path); !errors.Is(err, want) {
				t.Errorf("%s(%.60q) = %v, %v; want %v", name, path, f, err, want)
			}
		}
	}
	if f, err := root.Open("abs", unix.O_RDONLY); err == nil {
		t.Errorf("Open followed a symlink to %s", f.Name())
	}
}

func TestRootOpensAnyName(t *testing.T) {
	dir := t.TempDir()
	root := openRoot(t, dir)
	for _, name := range []string{
		"a b", "-n", "new\nline", "\xff\xfe not UTF-8", "%2F", `"quoted"\`, "..x", "*", strings.Repeat("n", 255),
		strings.Repeat("deep/", 800) + "f",
	} {
		if len(name) > 300 { // longer with dir before it than one call may take
			mkdirDeep(t, root, filepath.Dir(name))
		} else {
			write(t, dir+"/sub/"+name, name)
			name = "sub/" + name
		}
		f, err := root.OpenRegular(name)
		if len(name) > 300 {
			if !errors.Is(err, os.ErrNotExist) {
				t.Errorf("OpenRegular of a missing file %d bytes deep: %v", len(name), err)
			}
			continue
		}
		if err != nil {
			t.Errorf("OpenRegular(%q): %v", name, err)
			continue
		}
		if got, err := io.ReadAll(f); err != nil || "sub/"+string(got) != name {
			t.Errorf("%q holds %q, %v", name, got, err)
		}
		f.Close()
	}
	for _, name := range []string{"", ".", "sub", "sub/.", "sub/../sub"} {
		f, err := root.Open(name, unix.O_RDONLY|unix.O_DIRECTORY)
		if err != nil {
			t.Errorf("Open(%q): %v", name, err)
			continue
		}
		f.Close()
	}
}

func mkdirDeep(t *testing.T, root *Root, path string) {
	t.Helper()
	at, err := root.Open(".", unix.O_PATH)
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.SplitSeq(path, "/") {
		if err := unix.Mkdirat(int(at.Fd()), name, 0o755); err != nil {
			t.Fatal(err)
		}
		fd, err := unix.Openat(int(at.Fd()), name, unix.O_PATH|unix.O_CLOEXEC, 0)
		at.Close()
		if err != nil {
			t.Fatal(err)
		}
		at = os.NewFile(uintptr(fd), name)
	}
	at.Close()
}

// Opening a FIFO would block, and opening a device can do anything.
func TestOnlyRegularFilesAreEverOpened(t *testing.T) {
	dir := t.TempDir()
	root := openRoot(t, dir)
	if err := unix.Mkfifo(dir+"/fifo", 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mknod(dir+"/null", unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mknod(dir+"/socket", unix.S_IFSOCK|0o600, 0); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"fifo", "null", "socket"} {
		done := make(chan error, 1)
		go func() {
			_, err := root.OpenRegularRDWR(name)
			_, err2 := root.OpenRegular(name)
			done <- errors.Join(err, err2)
		}()
		select {
		case err := <-done:
			if !errors.Is(err, ErrNotRegular) {
				t.Errorf("%s: %v", name, err)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%s: opening it blocks", name)
		}
	}
}

// A user who swaps names as fast as he can gains nothing: neither the file
// outside nor the FIFO is ever opened.
func TestSwappingNamesGainsNothing(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/outside/f", "secret")
	write(t, dir+"/tree/d/f", "inside")
	if err := os.Symlink("../outside", dir+"/tree/link"); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(dir+"/tree/fifo", 0o600); err != nil {
		t.Fatal(err)
	}
	root := openRoot(t, dir+"/tree")
	var stop atomic.Bool
	swapped := make(chan error)
	go func() {
		var err error
		for err == nil && !stop.Load() {
			err = errors.Join(
				unix.Renameat2(unix.AT_FDCWD, dir+"/tree/d", unix.AT_FDCWD, dir+"/tree/link", unix.RENAME_EXCHANGE),
				unix.Renameat2(unix.AT_FDCWD, dir+"/tree/link", unix.AT_FDCWD, dir+"/tree/d", unix.RENAME_EXCHANGE),
				unix.Renameat2(unix.AT_FDCWD, dir+"/tree/d/f", unix.AT_FDCWD, dir+"/tree/fifo", unix.RENAME_EXCHANGE),
				unix.Renameat2(unix.AT_FDCWD, dir+"/tree/fifo", unix.AT_FDCWD, dir+"/tree/d/f", unix.RENAME_EXCHANGE),
			)
		}
		swapped <- err
	}()
	opened := 0
	for range 5000 {
		f, err := root.OpenRegular("d/f")
		if err != nil {
			continue
		}
		opened++
		if got, err := io.ReadAll(f); err != nil || string(got) != "inside" {
			t.Errorf("opened a file with %q, %v", got, err)
		}
		f.Close()
	}
	stop.Store(true)
	if err := <-swapped; err != nil {
		t.Fatal(err)
	}
	if opened == 0 || opened == 5000 {
		t.Errorf("%d of 5000 opened: the swaps played no part", opened)
	}
}

// What an administrator mounts inside is not part of the volume.
// A directory that is kept open may be closed by a worker that needs the room
// while another one is about to use it.
func TestADirectoryThatWasClosedIsWalkedAnew(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/a/b/f", "data")
	root := openRoot(t, dir)
	root.recent = &recent{dirs: map[string]recentDir{}}
	for range 2 { // the second time by way of the directory that the first has left
		f, err := root.OpenRegular("a/b/f")
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		kept := root.recent.dirs["a/b/"]
		if kept.file == nil {
			t.Fatal("no directory is kept")
		}
		kept.file.Close()
	}
}

func TestRootDoesNotEnterOtherMounts(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(dir+"/m", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("none", dir+"/m", "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Unmount(dir+"/m", 0) }() // the test directory is reaped in any case
	write(t, dir+"/m/f", "x")
	if _, err := openRoot(t, dir).OpenRegular("m/f"); !errors.Is(err, unix.EXDEV) {
		t.Errorf("OpenRegular beyond a mount: %v", err)
	}
}

func TestOpenRootWantsADirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	write(t, file, "")
	if _, err := OpenRoot(file); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("OpenRoot of a file: %v", err)
	}
	if _, err := OpenRoot(file + "nothing"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("OpenRoot of nothing: %v", err)
	}
}

func TestAnOlderKernelIsRefusedByName(t *testing.T) {
	root := openRoot(t, t.TempDir())
	for _, tt := range []struct {
		missing string
		call    int
		answer  unix.Errno
		work    func() error
	}{
		{"openat2", unix.SYS_OPENAT2, unix.ENOSYS, func() error { _, err := root.Open(".", unix.O_PATH); return err }},
		{"STATX_MNT_ID", unix.SYS_STATX, 0 /* and no field is filled in */, func() error { _, _, err := FindMount(t.TempDir()); return err }},
	} {
		var err error
		testkit.AnsweringCalls(t, map[int]unix.Errno{tt.call: tt.answer}, func() { err = tt.work() })
		if !errors.Is(err, ErrKernel) || !strings.Contains(err.Error(), tt.missing) || !strings.Contains(err.Error(), "5.8") {
			t.Errorf("without %s: %v", tt.missing, err)
		}
	}
}
