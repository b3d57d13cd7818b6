package volume

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestAWatchCountsChangesOfBytes(t *testing.T) {
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	name := filepath.Join(t.TempDir(), "f")
	writer, err := os.Create(name)
	check(err)
	defer writer.Close()
	file, err := os.Open(name)
	check(err)
	defer file.Close()
	check(os.Rename(name, name+".moved"))
	check(os.WriteFile(name, nil, 0o600)) // another file has the name now
	w, err := WatchBytes(file)
	check(err)
	defer w.Close()

	write := func() error { _, err := writer.WriteAt([]byte("bytes"), 0); return err }
	punch := func() error {
		return unix.Fallocate(int(writer.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, 2)
	}
	truncate := func() error { return os.Truncate(name+".moved", 0) }
	mark := func() error { return unix.Fsetxattr(int(writer.Fd()), "user.mark", []byte("1"), 0) }
	read := func() error { _, err := os.ReadFile(name + ".moved"); return err }
	elsewhere := func() error { return os.WriteFile(name, []byte("bytes"), 0o600) }
	for _, tt := range []struct {
		name string
		do   []func() error
		want int
	}{
		{"nothing", nil, 0},
		{"a write", []func() error{write}, 1},
		{"a hole", []func() error{punch}, 1},
		{"a truncation", []func() error{truncate}, 1},
		{"a mark", []func() error{mark, mark}, 0},
		{"a read", []func() error{read}, 0},
		{"a file that has its name now", []func() error{elsewhere}, 0},
		{"a stamp", []func() error{mark, mark, truncate}, 1},
		{"a write before a stamp", []func() error{write, mark, mark, truncate}, 2},
		{"a write right before the truncation", []func() error{mark, write, truncate}, 1}, // merged
	} {
		for _, do := range tt.do {
			check(do())
		}
		if got, err := w.Changes(); err != nil || got != tt.want {
			t.Errorf("%s: %d changes (%v), want %d", tt.name, got, err, tt.want)
		}
	}
}
