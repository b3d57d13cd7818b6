//go:build soak

package main_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/coldbrick/coldbrick/internal/testkit"
)

// TestMeasureRemoteReads gives the figures of docs/plugin.md on reads without a
// recall, beside a recall of the same bytes.
func TestMeasureRemoteReads(t *testing.T) {
	g := newGround(t)
	const size = 512 << 20
	data := random(1, size)
	g.archive("remote", "remote", data)
	g.archive("recalled", "recalled", data)
	remote, recalling := g.remote(""), g.client()
	idle, _ := g.resident(remote)

	var took []time.Duration
	for range 200 {
		off := rand.Int64N(size - 4096)
		began := time.Now()
		got, err := rangeOf(remote+"/remote", off, 4096)
		took = append(took, time.Since(began))
		if err != nil || !bytes.Equal(got, data[off:off+4096]) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
	}
	slices.Sort(took)
	t.Logf("4 KiB anywhere, open and read: best %v, median %v, 99%% %v", took[0], took[100], took[197])

	took = nil
	for range 20 {
		off := rand.Int64N(size - 4096)
		cmd := exec.Command("aws", "--endpoint-url", g.proxy.Endpoint, "--region", g.server.Region, "s3api", "get-object",
			"--bucket", g.server.Bucket, "--key", "remote", "--range", fmt.Sprintf("bytes=%d-%d", off, off+4095), filepath.Join(t.TempDir(), "range"))
		cmd.Env = append(os.Environ(), g.server.Env()...)
		began := time.Now()
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	t.Logf("the same by aws s3api get-object --range: best %v, median %v", took[0], took[10])

	rate := func(mount, path string) float64 {
		began := time.Now()
		g.mustRead(mount, path, data)
		return size / (1 << 20) / time.Since(began).Seconds()
	}
	for range 3 {
		t.Logf("read from the beginning to the end: %.0f MiB/s", rate(remote, "remote"))
		testkit.DropPages(t, remote+"/remote")
	}
	t.Logf("the same with a recall: %.0f MiB/s", rate(recalling, "recalled"))
	now, peak := g.resident(remote)
	t.Logf("resident: %d KiB idle, %d after that, %d at the peak", idle, now, peak)
	g.mustBeStub("remote")
}

// TestSoakRemoteReads reads stubs without a recall, breaks the store and replaces
// objects at random for COLDBRICK_SOAK_TIME: never a wrong byte, no crash, no mark, no
// growing memory.
func TestSoakRemoteReads(t *testing.T) {
	limit := 30 * time.Minute
	if text := os.Getenv("COLDBRICK_SOAK_TIME"); text != "" {
		var err error
		if limit, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	g := newGround(t)
	const files, readers = 40, 16
	data := map[string][]byte{}
	for i := range files {
		path := fmt.Sprint("f", i)
		data[path] = random(uint64(i), 1+rand.IntN(8<<20))
		g.archive(path, path, data[path])
	}
	clients := []string{
		g.remote("&idle-timeout=5s"),
		g.remote("&idle-timeout=5s&read-block=64KiB&read-cache=2MiB", testkit.WithPerformance()),
	}
	end := time.Now().Add(limit)
	var mu sync.Mutex
	reads, failures := 0, 0
	var wg sync.WaitGroup
	for w := range readers {
		wg.Go(func() {
			for time.Now().Before(end) {
				path := fmt.Sprint("f", rand.IntN(files))
				want := data[path]
				off, n := rand.Int64N(int64(len(want)+10)), 1+rand.IntN(1<<20)
				if rand.IntN(4) == 0 {
					off, n = 0, len(want)
				}
				got, err := rangeOf(clients[w%len(clients)]+"/"+path, off, n)
				if err == nil && !bytes.Equal(got, cut(want, off, n)) {
					t.Errorf("%s, %d at %d: %d bytes, wrong", path, n, off, len(got))
				}
				mu.Lock()
				reads++
				if err != nil {
					failures++
				}
				mu.Unlock()
			}
		})
	}
	faults := []testkit.Fault{
		testkit.Refuse(503, "SlowDown"), testkit.Refuse(403, "AccessDenied"), testkit.Refuse(412, "PreconditionFailed"),
		testkit.Drop(), testkit.CutBody(1000), g.proxy.Hang(), testkit.Delay(time.Second),
	}
	var first int
	for time.Now().Before(end) {
		g.proxy.On(testkit.Match{Method: http.MethodGet, Times: 1 + rand.IntN(5)}, faults[rand.IntN(len(faults))])
		time.Sleep(2 * time.Second)
		g.proxy.Clear()
		time.Sleep(3 * time.Second)
		if first == 0 && time.Until(end) < limit*3/4 {
			first, _ = g.resident(clients[0])
		}
	}
	wg.Wait()
	last, peak := g.resident(clients[0])
	t.Logf("%d reads, %d of them refused with an error; resident %d KiB after a quarter of the time, %d at the end, %d at the peak",
		reads, failures, first, last, peak)
	if last > first+64<<10 {
		t.Errorf("memory grows: %d to %d KiB", first, last)
	}
	for path := range data {
		g.mustBeStub(path)
	}
}
