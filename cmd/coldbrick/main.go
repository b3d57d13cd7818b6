// Command coldbrick moves the cold files of a GlusterFS volume to an object
// store and brings them back. This package alone knows flags, signals,
// terminals and exit codes; what a command does, and in which order, is in
// internal/run. docs/cli.md is the contract.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/run"
	"github.com/coldbrick/coldbrick/internal/workers"
)

func main() {
	// The memory of this process and of its Gluster clients holds secrets.
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}) // less is always allowed
	if os.Getenv("GOMAXPROCS") == "" {
		// Workers wait in system calls of FUSE mounts most of the time: with no
		// more processors than the machine has, threads that come back from one
		// wait for the runtime to notice those that are still in one. Archives
		// of small files take a tenth less time.
		runtime.GOMAXPROCS(4 * runtime.GOMAXPROCS(0))
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // as nohup has it
		signal.Notify(signals, syscall.SIGHUP)
	}
	// A reader that closes the pipe of our stdout makes a write fail; it must
	// not kill a run. Caught and not ignored: children would inherit that.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	os.Exit(execute(context.Background(), env{
		args: os.Args[1:], stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr,
		environ: os.Environ(), width: terminalWidth, signals: signals,
	}))
}

// env is all that execute knows of the process it is in.
type env struct {
	args           []string
	stdin          io.Reader
	stdout, stderr io.Writer
	environ        []string
	width          func(io.Writer) (columns int, terminal bool)
	signals        <-chan os.Signal
}

// execute runs one command line and returns its exit code. Nothing below it
// exits.
func execute(ctx context.Context, e env) int {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	a := newApp(e, run.NewStopper(ctx, e.signals, cancel))
	// Go would end with 2, which means wrong usage.
	err := workers.Guard(func() error { return a.command().ExecuteContext(ctx) })
	if lost := a.ui.end(); err == nil {
		err = lost
	}
	if !a.quiet || !run.IsBudget(err) {
		a.complain(err)
	}
	a.ui.explain(err)
	return exitCode(err)
}
