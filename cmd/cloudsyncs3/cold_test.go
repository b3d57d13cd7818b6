package main_test

import (
	"regexp"
	"testing"
)

// Whoever reads a stub whose object must be thawed first gets EREMOTE, and the
// administrator a line that says what to do. The stub is as it was.
func TestAColdObjectIsAnErrorThatSaysWhatToDo(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	glacier := g.proxy.Glacier()
	data := random(1, 3000)
	for name, client := range map[string]func() string{
		"recall": func() string { return g.client() },
		"remote": func() string { return g.remote("") },
	} {
		t.Run(name, func(t *testing.T) {
			g := g.in(t)
			g.archive(name, name, data)
			glacier.Freeze(name, "GLACIER")
			mount := client()
			g.mustFail(mount, name)
			if marks := g.BrickMarks(name); marks.Downloading || marks.RemoteKey != name {
				t.Errorf("%+v", marks)
			}
			log := g.clientLog(mount)
			if !regexp.MustCompile(`failed.*coldbrick recall --thaw.*GLACIER`).MatchString(log) {
				t.Errorf("nothing says what to do: %s", log)
			}
			glacier.Finish(name)
			g.mustRead(mount, name, data)
		})
	}
}
