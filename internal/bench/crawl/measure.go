package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// figures are what one tool took. Medians are what its runs usually take; the
// best of them says more where others keep the machine busy.
type figures struct {
	Tool    string        `json:"tool"`
	Files   int           `json:"files"`
	Wall    time.Duration `json:"wall_ns"` // median
	Best    time.Duration `json:"best_ns"` // of Wall
	CPU     time.Duration `json:"cpu_ns"`  // median; of the tool and its children, user and system
	RSS     int64         `json:"rss_kib"` // largest of all runs
	Runs    int           `json:"runs"`
	walls   []time.Duration
	cpus    []time.Duration
	command []string
}

func (f *figures) perMillion(d time.Duration) time.Duration {
	return time.Duration(float64(d) * 1e6 / float64(f.Files))
}

// measure runs each peer so many times, in turns. prepare, if given, comes before
// each run; else each peer has one run before those that count, to fill caches.
func measure(ctx context.Context, peers []peer, rounds int, prepare func() error) ([]*figures, error) {
	if rounds == 0 {
		return nil, nil
	}
	var all []*figures
	for _, p := range peers {
		if prepare != nil && !p.cold {
			continue
		}
		all = append(all, &figures{Tool: p.name, Files: p.files, Runs: rounds, command: p.command})
	}
	first := 0
	if prepare == nil {
		first = -1
	}
	for round := first; round < rounds; round++ {
		for _, f := range all {
			if prepare != nil {
				if err := prepare(); err != nil {
					return nil, err
				}
			}
			if err := f.run(ctx, round >= 0); err != nil {
				return nil, err
			}
		}
	}
	for _, f := range all {
		f.Wall, f.Best, f.CPU = median(f.walls), slices.Min(f.walls), median(f.cpus)
	}
	return all, nil
}

func (f *figures) run(ctx context.Context, counts bool) error {
	cmd := exec.CommandContext(ctx, f.command[0], f.command[1:]...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	start := time.Now()
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", f.Tool, err, stderr.Bytes())
	}
	if !counts {
		return nil
	}
	f.walls = append(f.walls, time.Since(start))
	f.cpus = append(f.cpus, cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
	f.RSS = max(f.RSS, cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss)
	return nil
}

func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}

func dropCaches() error {
	unix.Sync()
	return os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0)
}

// result is one run of the whole comparison.
type result struct {
	Machine string     `json:"machine"`
	Time    time.Time  `json:"time"`
	Tree    tree       `json:"tree"`
	Warm    []*figures `json:"warm"`
	Cold    []*figures `json:"cold"`
}

func (r result) markdown() string {
	var b strings.Builder
	marks := "all four marks, outside the inode"
	if r.Tree.Light {
		marks = "one mark, inside the inode"
	}
	fmt.Fprintf(&b, "%s; %s\n\n%d files in %d directories, %.0f %% stubs (%s), half of the rest cold.\n",
		r.Time.Format(time.DateOnly), r.Machine, r.Tree.Files, r.Tree.Directories, 100*r.Tree.Stubs, marks)
	for _, part := range []struct {
		name string
		all  []*figures
	}{{"warm caches", r.Warm}, {"cold caches", r.Cold}} {
		if len(part.all) == 0 {
			continue
		}
		ours := part.all[0]
		fmt.Fprintf(&b, "\n| %s, %d runs | s per million files | best | CPU s per million | RSS MiB | coldbrick is faster by | best against best |\n|---|---|---|---|---|---|---|\n", part.name, ours.Runs)
		for _, f := range part.all {
			ratio := func(theirs, ours time.Duration) float64 { return float64(theirs) / float64(ours) }
			fmt.Fprintf(&b, "| %s | %.2f | %.2f | %.2f | %d | %.2f | %.2f |\n", f.Tool,
				f.perMillion(f.Wall).Seconds(), f.perMillion(f.Best).Seconds(), f.perMillion(f.CPU).Seconds(), f.RSS>>10,
				ratio(f.perMillion(f.Wall), ours.perMillion(ours.Wall)), ratio(f.perMillion(f.Best), ours.perMillion(ours.Best)))
		}
	}
	return b.String()
}

// machine describes what the figures hold for.
func machine(root string) string {
	var uts unix.Utsname
	var fs unix.Statfs_t
	kernel, kind := "unknown kernel", "unknown filesystem"
	if unix.Uname(&uts) == nil {
		kernel = "Linux " + unix.ByteSliceToString(uts.Release[:])
	}
	if unix.Statfs(root, &fs) == nil {
		kind = map[int64]string{unix.XFS_SUPER_MAGIC: "XFS", unix.EXT4_SUPER_MAGIC: "ext4", unix.TMPFS_MAGIC: "tmpfs"}[fs.Type]
	}
	return fmt.Sprintf("%s, %d CPUs, %s, %s, %s", cpuModel(), runtime.NumCPU(), kernel, kind, runtime.Version())
}

func cpuModel() string {
	data, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown CPU"
	}
	for line := range strings.Lines(string(data)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			return strings.TrimLeft(strings.TrimSpace(name), ": \t")
		}
	}
	return "unknown CPU"
}
