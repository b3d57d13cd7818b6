package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

// version is set by the linker for releases: -X main.version=1.2.3.
var version = ""

// buildInfo is one line that a bug report can quote.
func buildInfo() string {
	v, revision, modified := version, "", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		if v == "" {
			v = strings.Trim(info.Main.Version, "()")
		}
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision":
				revision = ", commit " + s.Value[:min(12, len(s.Value))]
			case s.Key == "vcs.modified" && s.Value == "true":
				modified = " with changes"
			}
		}
	}
	return fmt.Sprintf("coldbrick %s%s%s, %s, %s/%s", v, revision, modified, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
