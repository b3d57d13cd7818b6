package run

import (
	"testing"

	"github.com/coldbrick/coldbrick/crawl"
	"github.com/coldbrick/coldbrick/internal/config"
	"github.com/coldbrick/coldbrick/internal/outcome"
)

// A bar has a total where an earlier look at the same question tells one, and only there.
func TestWhatARunExpects(t *testing.T) {
	state, dir, other := t.TempDir(), t.TempDir(), t.TempDir()
	policy := crawl.Policy{ColdAfter: 30 * 24 * 3600e9}
	s := remembering(t, state, "")
	s.rememberCold(dir, 1000, policy, outcome.Total{Files: 10, Bytes: 500})
	for _, tt := range []struct {
		name   string
		bricks []string
		edit   func(*archiving)
		want   int64
	}{
		{"what was cold", []string{dir}, func(*archiving) {}, 500},
		{"within the budget", []string{dir}, func(a *archiving) { a.MaxBytes = 200 }, 200},
		{"half of the files", []string{dir}, func(a *archiving) { a.MaxFiles = 5 }, 250},
		{"another policy", []string{dir}, func(a *archiving) { a.policy.MinSize = 5 }, 0},
		{"another policy, and a budget", []string{dir}, func(a *archiving) { a.policy.MinSize, a.MaxBytes = 5, 200 }, 200},
		{"a part of the brick", []string{dir}, func(a *archiving) { a.Under = "x" }, 0},
		{"copies: who knows which are made already", []string{dir}, func(a *archiving) { a.Keep = true }, 0},
		{"nobody has looked at the other", []string{dir, other}, func(*archiving) {}, 0},
		{"there is room already", []string{dir}, func(a *archiving) { a.UntilFree = config.NewPortion(1) }, 0},
		{"a dry run counts files", []string{dir}, func(a *archiving) { a.DryRun = true }, 1000},
	} {
		a := &archiving{Session: remembering(t, state, ""), scope: &scope{bricks: tt.bricks}, policy: policy}
		tt.edit(a)
		if got := a.expected(); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}

	// What is archived is cold no longer.
	p := s.begin("archive", dir, nil)
	s.tally.AddTotal(outcome.Result{Outcome: outcome.Archived}, outcome.Total{Files: 4, Bytes: 300})
	p.end(nil)
	a := &archiving{Session: remembering(t, state, ""), scope: &scope{bricks: []string{dir}}, policy: policy}
	if got := a.expected(); got != 200 {
		t.Errorf("%d bytes are left, want 200", got)
	}
}
