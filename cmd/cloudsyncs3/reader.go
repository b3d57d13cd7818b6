//go:build cloudsyncs3

package main

/*
#include "plugin.h"
*/
import "C"

import (
	"bytes"
	"fmt"
	"os"
)

// reader is who wants the data of a stub, as far as the request tells: an
// application of gfapi names itself, and a process in another pid namespace may have
// no number here.
type reader struct {
	pid     int
	uid     uint32
	process string // its name, which it chose itself; may be ""
}

func readerOf(s *C.struct_stub) reader {
	r := reader{pid: int(s.pid), uid: uint32(s.uid)}
	if r.pid > 0 {
		name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", r.pid))
		if err == nil { // else it has ended
			r.process = string(bytes.TrimSuffix(name, []byte("\n")))
		}
	}
	return r
}

func (r reader) attrs() []any { return []any{"pid", r.pid, "uid", r.uid, "process", r.process} }
