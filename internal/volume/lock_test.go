package volume_test

import (
	"os"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/testkit"
	"github.com/coldbrick/coldbrick/internal/volume"
)

// Go's runtime sends signals to its own threads at any time. With one that interrupted
// a lock whose brick then went away, the client waited for itself, for ever.
func TestASignalDuringALockDoesNotHangTheMount(t *testing.T) {
	v := testkit.NewVolume(t)
	v.Write("f", []byte("data"), testkit.Old)
	f, err := os.OpenFile(v.Path("f"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	v.PauseBrick()
	locked := make(chan error, 1)
	go func() { locked <- volume.Lock(f) }()
	interruptAllThreads(t, time.Second)
	v.KillBrick()
	select {
	case err := <-locked:
		if err == nil {
			t.Error("locked without a brick")
		}
	case <-time.After(time.Minute):
		t.Fatal("the lock has no answer after a minute") // the mount is forced off when the test ends
	}
	v.StartBrick()
	v.WaitConnected(v.MountDir())
	if _, err := os.ReadFile(v.Path("f")); err != nil {
		t.Error(err)
	}
}

// interruptAllThreads sends each thread of this process, again and again, the signal
// with which Go's runtime asks its goroutines to give way.
func interruptAllThreads(t *testing.T, during time.Duration) {
	t.Helper()
	for end := time.Now().Add(during); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			t.Fatal(err)
		}
		for _, task := range tasks {
			tid, err := strconv.Atoi(task.Name())
			if err != nil {
				t.Fatal(err)
			}
			_ = unix.Tgkill(os.Getpid(), tid, unix.SIGURG) // it may have ended
		}
	}
}
