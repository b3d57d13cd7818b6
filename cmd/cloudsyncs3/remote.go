//go:build cloudsyncs3

package main

/*
#include <stdlib.h>
#include "plugin.h"
*/
import "C"

import (
	"context"
	"log/slog"
	"runtime/cgo"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/translator"
	"github.com/coldbrick/coldbrick/internal/workers"
)

// coldbrickRead begins to read from the store and returns 0 at once; then the frame
// is answered, whatever happens. It returns -1 if nothing was begun.
//
//export coldbrickRead
func coldbrickRead(
	handle C.uintptr_t, f C.struct_file, s *C.struct_stub, frame unsafe.Pointer, off C.int64_t, size C.size_t,
) C.int {
	answer := C.int(-1)
	err := workers.Guard(func() error {
		r := remoteRead{
			instance: cgo.Handle(handle).Value().(*client).Instance,
			xlator:   f.xlator,
			frame:    frame,
			stub:     stubOf(f, s),
			reader:   readerOf(s),
			off:      int64(off),
		}
		r.size = min(int64(min(size, 1<<62)), max(0, r.stub.Size-r.off))
		if r.instance.Begin(r.serve) {
			answer = 0
		}
		return nil
	})
	if err != nil {
		slog.New(newLog(f.xlator)).Error("a mistake in a remote read", cause(err)...)
	}
	return answer
}

// remoteRead is one read of a stub.
type remoteRead struct {
	instance  *translator.Instance
	xlator    unsafe.Pointer
	frame     unsafe.Pointer // to be answered, once
	stub      translator.Stub
	reader    reader
	off, size int64
}

func (r remoteRead) serve(ctx context.Context) {
	var buf, data unsafe.Pointer
	failed := unix.EIO // until it is known better
	_ = workers.Guard(func() error {
		if buf = C.read_buffer(r.xlator, C.size_t(max(r.size, 1)), &data); buf == nil {
			failed = unix.ENOMEM
			return nil
		}
		failed = r.fill(ctx, unsafe.Slice((*byte)(data), r.size))
		return nil
	})
	C.file_unref(C.struct_file(r.stub.File.(file).c)) // before the last answer, after which the translator may go
	C.read_answer(r.frame, buf, C.size_t(r.size), C.int(failed))
}

// fill reads what is asked for, and says so in the log: who began to read the
// object, and each failure.
func (r remoteRead) fill(ctx context.Context, b []byte) unix.Errno {
	began := time.Now()
	var key string
	var first bool
	err := workers.Guard(func() (err error) {
		key, first, err = r.instance.Read(ctx, r.stub, b, r.off)
		return err
	})
	if err == nil && !first {
		return 0
	}
	took := time.Since(began).Round(time.Microsecond)
	log := slog.New(newLog(r.xlator)).With("gfid", r.stub.GFID, "key", key, "bytes", r.stub.Size, "took", took).
		With(r.reader.attrs()...)
	if err != nil {
		log.Error("remote read failed", append([]any{"offset", r.off}, cause(err)...)...)
		return translator.ReadError(err)
	}
	log.Info("read remotely")
	return 0
}

// coldbrickEnd returns when no read waits for the store, and nothing for a brick that is
// away. A thread that answers a read says so: it would wait for itself.
//
//export coldbrickEnd
func coldbrickEnd(handle C.uintptr_t, answering C.int) {
	_ = workers.Guard(func() error { // what is not ended is ended by its own time limit
		cgo.Handle(handle).Value().(*client).End(answering != 0)
		return nil
	})
}

// coldbrickCounters returns text that the caller frees.
//
//export coldbrickCounters
func coldbrickCounters(handle C.uintptr_t) *C.char {
	var text string
	_ = workers.Guard(func() error { // none, then
		text = cgo.Handle(handle).Value().(*client).Counters()
		return nil
	})
	return C.CString(text)
}
