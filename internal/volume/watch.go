package volume

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Watch counts the changes of a file's bytes (inotify). Times show that a file has
// changed since they were taken, and are of no use once a stamp has changed it as
// well; a Watch tells one change from two.
type Watch struct{ queue int }

// WatchBytes begins to count.
func WatchBytes(file *os.File) (*Watch, error) {
	queue, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watch: %w: see fs.inotify.max_user_instances", err)
	}
	w := &Watch{queue}
	// By its descriptor: a name may be another file's by now.
	name := fmt.Sprintf("/proc/self/fd/%d", file.Fd())
	if _, err := unix.InotifyAddWatch(queue, name, unix.IN_MODIFY|unix.IN_ATTRIB); err != nil {
		w.Close()
		return nil, fmt.Errorf("watch %s: %w: see fs.inotify.max_user_watches", file.Name(), err)
	}
	return w, nil
}

// Changes tells how often the bytes have changed since it was last asked. Changes
// that follow each other count as one, since the kernel merges them in the queue,
// unless an attribute has changed in between.
func (w *Watch) Changes() (int, error) {
	const eventSize = unix.SizeofInotifyEvent // a file that is watched itself sends no names
	changes := 0
	events := make([]byte, 64*eventSize)
	for {
		n, err := unix.Read(w.queue, events)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			return changes, nil
		case err != nil:
			return changes, fmt.Errorf("watch: %w", err)
		}
		for at := 0; at+eventSize <= n; at += eventSize {
			mask := binary.NativeEndian.Uint32(events[at+4:])
			if mask&(unix.IN_MODIFY|unix.IN_Q_OVERFLOW) != 0 {
				changes++
			}
		}
	}
}

// Close ends the count. The kernel takes up to 20 ms to end a queue, in which the
// caller need not wait.
func (w *Watch) Close() { go unix.Close(w.queue) }
