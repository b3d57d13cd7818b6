//go:build soak

package main_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coldbrick/coldbrick/internal/testkit"
	"github.com/coldbrick/coldbrick/internal/testkit/cluster"
)

// resident is the memory of a mount's process: now, and at its peak, in KiB.
func (g *ground) resident(mount string) (now, peak int) {
	g.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", g.pid(mount)))
	if err != nil {
		g.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		switch fields[0] {
		case "VmRSS:":
			now, _ = strconv.Atoi(fields[1])
		case "VmHWM:":
			peak, _ = strconv.Atoi(fields[1])
		}
	}
	return now, peak
}

// TestMeasure gives the figures of docs/plugin.md.
func TestMeasure(t *testing.T) {
	g := newGround(t)
	bare := g.NewMount(t)
	client := g.client()
	idleBare, _ := g.resident(bare)
	idle, _ := g.resident(client)
	t.Logf("idle: %d KiB resident, %d without the plugin", idle, idleBare)

	const files = 200
	small := random(1, 4096)
	for i := range files {
		path := fmt.Sprint("small", i)
		g.archive(path, path, small)
	}
	var took []time.Duration
	for i := range files {
		began := time.Now()
		got, err := os.ReadFile(client + fmt.Sprint("/small", i))
		took = append(took, time.Since(began))
		if err != nil || !bytes.Equal(got, small) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
	}
	slices.Sort(took)
	t.Logf("4 KiB, open and read: median %v, 99%% %v", took[files/2], took[files*99/100])

	large := random(2, 1<<30)
	g.archive("large", "large", large)
	began := time.Now()
	g.mustRead(client, "large", large)
	d := time.Since(began)
	now, peak := g.resident(client)
	_, recalled, _ := strings.Cut(g.clientLog(client), fmt.Sprintf(" bytes=%d took=", len(large)))
	t.Logf("1 GiB, until the first byte is read: %s", strings.Fields(recalled)[0])
	t.Logf("1 GiB, until all is read: %v, %.0f MiB/s; %d KiB resident after it, %d at the peak", d, 1024/d.Seconds(), now, peak)
	g.mustBeLocal("large", len(large))
}

// TestMeasureGuard tells what the guard costs ordinary files: chmod and ls -l of 10,000
// in a client with it and in one without, in turns, the first by lot.
func TestMeasureGuard(t *testing.T) {
	const files, rounds = 10_000, 20
	g := newGround(t)
	for i := range files {
		path := g.Path(fmt.Sprintf("d/%05d", i))
		if i == 0 {
			if err := os.Mkdir(g.Path("d"), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(path, []byte("data"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	clients := []string{g.clientWith("", testkit.WithPerformance()), g.clientWith("&guard=off", testkit.WithPerformance())}
	for what, command := range map[string]func(round int) []string{
		"chmod": func(round int) []string { return []string{"chmod", "-R", []string{"u+x", "u-x"}[round%2]} },
		"ls -l": func(int) []string { return []string{"ls", "-lR"} },
	} {
		var ratios []float64 // logarithms
		var all [2][]time.Duration
		for round := range rounds {
			var took [2]time.Duration
			first := rand.IntN(2)
			for _, c := range []int{first, 1 - first} {
				args := command(round + c) // the other one's chmod is undone
				cmd := exec.Command(args[0], append(args[1:], clients[c]+"/d")...)
				began := time.Now()
				if err := cmd.Run(); err != nil {
					t.Fatal(err)
				}
				took[c] = time.Since(began)
				all[c] = append(all[c], took[c])
			}
			ratios = append(ratios, math.Log(took[0].Seconds()/took[1].Seconds()))
		}
		mean, half := confidence(ratios)
		slices.Sort(all[0])
		slices.Sort(all[1])
		t.Logf("%s of %d files, %d rounds: median %v with the guard, %v without; ratio %.3f [%.3f..%.3f]", what, files, rounds,
			all[0][rounds/2], all[1][rounds/2], math.Exp(mean), math.Exp(mean-half), math.Exp(mean+half))
	}
}

// confidence is the mean, and half of its interval of 95 %.
func confidence(values []float64) (mean, half float64) {
	for _, v := range values {
		mean += v / float64(len(values))
	}
	for _, v := range values {
		half += (v - mean) * (v - mean) / float64(len(values)-1)
	}
	const student = 2.09 // of 19 degrees of freedom
	return mean, student * math.Sqrt(half/float64(len(values)))
}

// TestSoak reads, archives and breaks the store at random for 30 minutes, or for
// COLDBRICK_SOAK_TIME: never a wrong byte, no crash, no growing memory.
func TestSoak(t *testing.T) {
	limit := 30 * time.Minute
	if text := os.Getenv("COLDBRICK_SOAK_TIME"); text != "" {
		var err error
		if limit, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	g := newGround(t)
	clients := []string{g.impatient(), g.impatient()}
	const workers = 8
	var wg sync.WaitGroup
	var mu sync.Mutex
	reads, failures := 0, 0
	end := time.Now().Add(limit)
	for w := range workers {
		wg.Go(func() {
			for i := 0; time.Now().Before(end); i++ {
				size := 1 + rand.IntN(6<<20)
				if rand.IntN(4) > 0 {
					size = 1 + rand.IntN(64<<10)
				}
				path := fmt.Sprintf("w%d/%d", w, i)
				data := random(rand.Uint64(), size)
				g.archive(path, path, data)
				client := clients[rand.IntN(len(clients))]
				got, err := g.read(client, path)
				mu.Lock()
				reads++
				if err != nil {
					failures++
				}
				mu.Unlock()
				if err == nil && !bytes.Equal(got, data) {
					t.Errorf("%s: %d bytes, wrong", path, len(got))
				}
				if err := os.Remove(g.Path(path)); err != nil {
					t.Error(err)
				}
				if err := os.Remove(g.server.ObjectFile(path)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	faults := []testkit.Fault{
		testkit.Refuse(503, "SlowDown"), testkit.Refuse(403, "AccessDenied"), testkit.Drop(),
		testkit.CutBody(1000), testkit.WrongBody(), g.proxy.Hang(), testkit.Delay(time.Second),
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
}

// TestSoakGuard is TestTheGuardEnduresGraphSwitches for longer: over 10,000
// operations.
func TestSoakGuard(t *testing.T) {
	c, store := startCluster(t)
	s := newShared(t, c, store, "vol", cluster.Replica3, store.Options("vol")...)
	s.makeBucket()
	s.mustEndure(100)
	s.mustBeGuarded(s.second, true)
}
