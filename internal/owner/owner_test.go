package owner

import (
	"os/exec"
	"testing"
	"time"
)

func TestDeadOnlyWhereTheEndIsKnown(t *testing.T) {
	self, err := Self("run")
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command("sleep", "60")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	other := self
	other.PID = child.Process.Pid
	if other.Start, err = startTime(other.PID); err != nil {
		t.Fatal(err)
	}
	reused := other
	reused.Start--

	for _, tt := range []struct {
		name string
		edit func(*Owner)
		want bool
	}{
		{"another living process", func(*Owner) {}, false},
		{"a pid that is used again", func(o *Owner) { *o = reused }, true},
		{"before a reboot of this host", func(o *Owner) { o.Boot, o.ID = "earlier", self.ID }, self.ID != ""},
		{"another host", func(o *Owner) { o.Boot, o.ID = "theirs", "theirs" }, false},
		{"a host without machine id", func(o *Owner) { o.Boot, o.ID = "theirs", "" }, false},
		{"another pid namespace", func(o *Owner) { o.PIDNS, o.PID = "pid:[1]", 1<<30 }, false},
	} {
		o := other
		tt.edit(&o)
		if got := self.Dead(o); got != tt.want {
			t.Errorf("%s: dead = %v, want %v", tt.name, got, tt.want)
		}
		// Another boot of the same machine id may be a clone's.
		if got := self.Ended(o); got != (tt.want && o.Boot == self.Boot) {
			t.Errorf("%s: ended = %v", tt.name, got)
		}
	}
	if self.Dead(self) {
		t.Error("this process counts as dead")
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(time.Minute)
	for !self.Dead(other) {
		if time.Now().After(deadline) {
			t.Fatal("an ended process that nobody waited for counts as alive")
		}
		time.Sleep(time.Millisecond)
	}
	_ = child.Wait() // says that it was killed
	if !self.Dead(other) {
		t.Error("an ended process counts as alive")
	}
}
