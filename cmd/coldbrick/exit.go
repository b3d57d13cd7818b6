package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/coldbrick/coldbrick/internal/report"
	"github.com/coldbrick/coldbrick/internal/run"
)

// exit is one way for a run to end. Codes and words never change their meaning.
type exit struct {
	code    int
	end     run.End
	meaning string // in the manual
}

// exits are all ways to end, for the manual.
var exits = []exit{
	{0, run.EndDone, "all done, also when there was nothing to do, `--until-free` is reached, or all bricks here are passive; files that changed under the run are left for the next one and counted"},
	{1, run.EndFailed, "the run could not go on, also because of `--max-errors`"},
	{2, run.EndUsage, "wrong usage or configuration, or no such directory"},
	{3, run.EndPartial, "some files failed, some directories could not be read, or a rebalance ran during a recall of directories and may have hidden files; the rest is done"},
	{8, run.EndBudget, "a file or byte budget ended the run"},
	{10, run.EndTimeout, "the time budget ended the run"},
	{11, run.EndLocked, "another run holds the brick"},
	{12, run.EndStore, "the store refused the credentials, has no such bucket, or cannot be reached"},
	{13, run.EndUnsafe, "the volume, brick or mount is not safe to archive, is no brick, no Gluster mount, or they do not belong together (`coldbrick doctor` says why)"},
	{14, run.EndProblems, "`fsck` found problems, or `status` a broken file"},
	{15, run.EndAtRisk, "`fsck` found data at risk; 15 outranks 14, and 14 outranks 3"},
	{129, run.EndInterrupted, "ended by SIGHUP: files in work were finished or left untouched"},
	{130, run.EndInterrupted, "ended by SIGINT: files in work were finished or left untouched"},
	{141, run.EndClosed, "the reader of standard output has gone away"},
	{143, run.EndInterrupted, "ended by SIGTERM: files in work were finished or left untouched"},
}

// exitCode is the only place that maps the ends of runs to exit codes.
func exitCode(err error) int {
	end := run.EndOf(err)
	var stopped run.SignalError
	if end == run.EndInterrupted && errors.As(err, &stopped) {
		return codeOf(stopped.Signal)
	}
	for _, e := range exits {
		if e.end == end {
			return e.code
		}
	}
	return 1
}

// codeOf is that of a shell for a process that the signal has ended.
func codeOf(signal os.Signal) int {
	const killed = 128
	if number, ok := signal.(syscall.Signal); ok {
		return killed + int(number)
	}
	return killed
}

// complain tells the user of an error, in the form of the log. That some files failed
// is known: each had its line. Whoever closed the pipe does not want to hear more.
func (a *app) complain(err error) {
	if err == nil || errors.Is(err, syscall.EPIPE) {
		return
	}
	refusal, checks := run.Refusal(err)
	for line := range strings.SplitSeq(err.Error(), "\n") {
		if line == run.ErrSomeFailed.Error() {
			continue
		}
		if a.logFormat.String() == "json" {
			a.logger().Error(report.OneLine(line))
			continue
		}
		before, _, refused := strings.Cut(line, refusal)
		if refused = refused && checks != nil; refused { // in the form of doctor
			what, _, _ := strings.Cut(refusal, ": ")
			line = before + what + ":"
		}
		fmt.Fprintln(a.ui, "coldbrick: "+report.OneLine(line))
		for i := 0; refused && i < len(checks); i++ {
			fmt.Fprintln(a.ui, report.Check(checks[i]).Text())
		}
	}
}
