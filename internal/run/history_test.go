package run

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coldbrick/coldbrick/internal/outcome"
)

// remembering is a session that only remembers.
func remembering(t *testing.T, state, metrics string) *Session {
	t.Helper()
	return &Session{
		Settings: Settings{StateDir: state, MetricsFile: metrics, Volume: "vol"}, Log: slog.New(slog.DiscardHandler),
		Started: time.Now(), ExitCode: func(err error) int {
			if err != nil {
				return 1
			}
			return 0
		},
	}
}

func doneBy(t *testing.T, s *Session, name, command string) outcome.Total {
	t.Helper()
	h, err := s.readHistory(name)
	if err != nil {
		t.Fatal(err)
	}
	return h.command(command).Done[outcome.Archived]
}

// What adds up is the sum over all processes, also those that were killed, and none
// of it counts twice.
func TestWhatWasDoneAddsUpOverCrashesAndProcesses(t *testing.T) {
	state, metrics, brick := t.TempDir(), t.TempDir(), t.TempDir()
	self, err := newOwner()
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 { // of one brick only one can be at work; they try the file
		wg.Go(func() {
			s := remembering(t, state, metrics)
			p := s.begin("archive", brick, &lockedBy{self, true})
			s.tally.Add(outcome.Archived, "", 10)
			s.remember(brick, p.count)
			s.remember(brick, p.count)
			s.tally.Add(outcome.Archived, "", 1)
			p.end(nil)
			s.about = ofVolume + "vol"
			s.conclude("archive", nil)
		})
	}
	wg.Wait()
	s := remembering(t, state, metrics)
	killed := s.begin("archive", brick, &lockedBy{self, true})
	defer killed.ticking()
	s.tally.Add(outcome.Archived, "", 7)
	s.remember(brick, killed.count)

	if got, want := doneBy(t, s, brick, "archive"), (outcome.Total{Files: 17, Bytes: 95}); got != want {
		t.Errorf("done %+v, want %+v", got, want)
	}
	if got := doneBy(t, s, ofVolume+"vol", "archive"); got != (outcome.Total{}) {
		t.Errorf("what was done on a brick counts with the volume again: %+v", got)
	}
	h, err := s.readHistory(brick)
	if err != nil {
		t.Fatal(err)
	}
	if c := h.command("archive"); c.Runs != 8 || !c.Started.After(c.Ended) {
		t.Errorf("%d runs; begun %v, ended %v", c.Runs, c.Started, c.Ended)
	}
	files, err := filepath.Glob(metrics + "/*")
	if err != nil || len(files) != 2 {
		t.Errorf("not a file of its own for brick and volume: %q, %v", files, err)
	}
}

func TestOneFileHasAllThatTheRunChanged(t *testing.T) {
	file := filepath.Join(t.TempDir(), "coldbrick.prom")
	s := remembering(t, t.TempDir(), file)
	dirs := []string{t.TempDir(), t.TempDir()}
	for _, dir := range dirs {
		s.begin("fsck", dir, nil).end(nil)
	}
	s.about = ofVolume + "vol"
	s.conclude("fsck", nil)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(dirs, "volume:vol") {
		if !strings.Contains(string(text), `coldbrick_runs_total{brick="`+name+`",volume="vol",command="fsck"} 1`) {
			t.Errorf("no run of %s in\n%s", name, text)
		}
	}
}

func TestARefusedNightIsRememberedOnceAndAMistypedBrickNotAtAll(t *testing.T) {
	s := remembering(t, t.TempDir(), "")
	brick, other := t.TempDir(), t.TempDir()
	s.about = brick
	s.refused("archive", brick, ErrUnsafe)
	s.conclude("archive", ErrUnsafe)
	h, err := s.readHistory(brick)
	if err != nil || len(h.Nights) != 1 || h.Nights[0].Outcome != string(EndUnsafe) || h.command("archive").FailingSince.IsZero() {
		t.Errorf("%+v, %v", h, err)
	}
	s.about = other
	s.conclude("archive", Usagef("no such directory"))
	s.refused("archive", brick, ErrLocked)
	if h, err := s.readHistory(other); err != nil || h.Commands != nil {
		t.Errorf("%+v, %v", h, err)
	}
}

func TestAHistoryThatPowerFailureHasEmptiedBeginsAnew(t *testing.T) {
	s := remembering(t, t.TempDir(), "")
	s.remember("/brick", func(h *history) { h.end("archive", (&pastRun{}).last("", nil), EndDone) })
	path := filepath.Join(historyDir(s.StateDir), historyID("/brick")+".json")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.remember("/brick", func(h *history) { h.end("archive", (&pastRun{}).last("", nil), EndOf(errors.New("x"))) })
	if h, err := s.readHistory("/brick"); err != nil || h.command("archive").Runs != 1 {
		t.Errorf("%+v, %v", h, err)
	}
}
