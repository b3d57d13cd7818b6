package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/bench/measured"
)

// measure runs each peer so many times, in turns, and adds what it took to the
// table. prepare, if given, comes before each run; else each peer has one run
// before those that count, to fill caches.
func measure(ctx context.Context, tab *measured.Table, peers []peer, rounds int, prepare func() error) error {
	if rounds > 0 && prepare == nil {
		for _, p := range peers {
			if _, err := p.run(ctx); err != nil {
				return err
			}
		}
	}
	for range rounds {
		for _, p := range peers {
			if prepare != nil {
				if !p.cold {
					continue
				}
				if err := prepare(); err != nil {
					return err
				}
			}
			u, err := p.run(ctx)
			if err != nil {
				return err
			}
			// Of all files: a slow peer has done a sample.
			all := func(d time.Duration) time.Duration {
				return time.Duration(float64(d) * float64(tab.Files) / float64(p.files))
			}
			tab.Add(p.name, measured.Usage{Wall: all(u.Wall), CPU: all(u.CPU), RSS: u.RSS})
		}
	}
	return nil
}

func (p peer) run(ctx context.Context) (u measured.Usage, err error) {
	cmd := exec.CommandContext(ctx, p.command[0], p.command[1:]...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	list, err := os.CreateTemp("", "list")
	if err != nil {
		return u, err
	}
	defer list.Close()
	if err := os.Remove(list.Name()); err != nil {
		return u, err
	}
	cmd.Stdout = list
	start := time.Now()
	if err := cmd.Run(); err != nil {
		return u, fmt.Errorf("%s: %w: %s", p.name, err, stderr.Bytes())
	}
	return measured.Usage{
		Wall: time.Since(start),
		CPU:  cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(),
		RSS:  cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10,
	}, nil
}

func dropCaches() error {
	unix.Sync()
	return os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0)
}
