//go:build cloudsyncs3

// Cloudsyncs3 is the plugin that Gluster's cloudsync translator loads for the
// storetype cloudsyncs3: it brings the data of a stub back when somebody reads
// or writes it.
//
// It is a shared library. The C files know the translator and the event threads
// of glusterfs; this file carries calls between them and package translator,
// which decides. Build it with make plugin: the tag keeps a plain go build from
// needing the headers of glusterfs.
package main

/*
#cgo CFLAGS: -O2 -std=gnu11 -Wall -Wextra -Werror=implicit-function-declaration -fvisibility=hidden
#cgo CFLAGS: -D_FILE_OFFSET_BITS=64 -include ${SRCDIR}/glusterfs_config.h
#cgo CFLAGS: -isystem /usr/include/uuid -isystem /usr/include/glusterfs
#cgo LDFLAGS: -lglusterfs -luuid
#include <stdlib.h>
#include "plugin.h"
*/
import "C"

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"runtime/cgo"
	"runtime/debug"
	"syscall"
	"time"
	"unsafe"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/objstore/s3"
	"github.com/coldbrick/coldbrick/internal/translator"
	"github.com/coldbrick/coldbrick/internal/workers"
)

// garbagePercent is how much garbage the process holds, of what it uses: little, for
// what it uses are mostly blocks of the cache, in which there is nothing to search.
const garbagePercent = 25

// stores is shared by all instances of the process; C has no other place for it.
var stores = translator.NewStores(func() translator.Store { return &s3.Store{} })

func main() {} // never called: a library

// client is what a handle leads to: what serves one translator of one graph.
type client struct {
	*translator.Instance
	root *root // of the volume; nil while nobody vouches
}

// coldbrickConfigure makes an instance, or gives the one of handle new settings.
//
//export coldbrickConfigure
func coldbrickConfigure(handle C.uintptr_t, xlator unsafe.Pointer, s *C.struct_settings) C.uintptr_t {
	next := handle
	err := workers.Guard(func() error {
		next = configure(handle, xlator, s)
		return nil
	})
	if err != nil {
		slog.New(newLog(xlator)).Error("no file can be recalled with the new settings", cause(err)...)
	}
	return next
}

func configure(handle C.uintptr_t, xlator unsafe.Pointer, s *C.struct_settings) C.uintptr_t {
	settings := translator.Settings{
		Volume:   C.GoString(s.volume),
		Hostname: C.GoString(s.hostname),
		Bucket:   C.GoString(s.bucket),
		KeyID:    C.GoString(s.key_id),
		Secret:   C.GoString(s.secret),
		Refused:  C.GoString(s.refused),
	}
	var instance *translator.Instance
	if handle == 0 {
		debug.SetGCPercent(garbagePercent)
		instance = translator.NewInstance(stores, s3.KeysDir, settings)
		handle = C.uintptr_t(cgo.NewHandle(&client{Instance: instance}))
	} else {
		instance = cgo.Handle(handle).Value().(*client).Instance
		instance.Reconfigure(settings)
	}
	log := slog.New(newLog(xlator))
	if err := instance.Check(); err != nil {
		log.Error("no file can be recalled: the settings of the store are wrong", "err", err)
	} else {
		log.Info("ready to recall", "host", settings.Hostname, "bucket", settings.Bucket)
	}
	return handle
}

// coldbrickGuardOff tells whether the settings turn the guard off.
//
//export coldbrickGuardOff
func coldbrickGuardOff(hostname *C.char) C.int {
	tuning, _ := translator.ParseTuning(C.GoString(hostname)) // the instance says what is wrong with it
	if tuning.GuardOff {
		return 1
	}
	return 0
}

//export coldbrickFini
func coldbrickFini(handle C.uintptr_t) {
	_ = workers.Guard(func() error { // what it holds is lost then, and nothing else
		c := cgo.Handle(handle).Value().(*client)
		c.root.leave()
		c.Close()
		cgo.Handle(handle).Delete()
		return nil
	})
}

// coldbrickRecall returns 0 when the translator may complete the recall, else
// -1: it knows no other error than EREMOTE.
//
//export coldbrickRecall
func coldbrickRecall(handle C.uintptr_t, f C.struct_file, s *C.struct_stub) C.int {
	answer := C.int(-1)
	err := workers.Guard(func() error {
		recall(handle, f, s, &answer)
		return nil
	})
	if err != nil {
		slog.New(newLog(f.xlator)).Error("a mistake in the recall", cause(err)...)
	}
	return answer
}

// recall sets the answer as soon as it is known: whatever comes then must not
// turn a success into a failure, upon which the translator truncates the file.
func recall(handle C.uintptr_t, f C.struct_file, s *C.struct_stub, answer *C.int) {
	began := time.Now()
	stub, reader := stubOf(f, s), readerOf(s)

	instance := cgo.Handle(handle).Value().(*client)
	log := slog.New(newLog(f.xlator)).With("gfid", stub.GFID)
	C.file_ref(f)
	res, err := instance.Recall(context.Background(), stub, func(err error) {
		log := slog.New(newLog(f.xlator)).With("gfid", stub.GFID)
		if err != nil {
			log.Error("the file is no stub any more: coldbrick fsck fixes it", cause(err)...)
			return
		}
		log.Info("the file is a stub again")
	})
	if err == nil {
		*answer = 0
	}
	took := time.Since(began).Round(time.Microsecond)
	log = log.With("key", res.Key, "bytes", stub.Size, "took", took).With(reader.attrs()...)
	switch {
	case errors.Is(err, translator.ErrLimit):
		log.Warn("recall refused", cause(err)...)
		return
	case err != nil:
		log.Error("recall failed", cause(err)...)
		return
	case res.Claimed:
		log.Info("left to coldbrick recall, which has claimed the file")
		return
	case res.Unproven != "":
		log.Warn("recalled without proof", "reason", res.Unproven)
	}
	if res.Unnoted != nil {
		log.Warn("the time of the recall was not noted", "err", res.Unnoted)
	}
	log.Info("recalled")
}

func stubOf(f C.struct_file, s *C.struct_stub) translator.Stub {
	stub := translator.Stub{
		File:   file{f},
		Remote: C.GoString(s.remote),
		Size:   int64(s.size),
		Mtime:  gluster.Time{Sec: int64(s.mtime), Nsec: int32(s.mtime_nsec)},
	}
	copy(stub.GFID[:], C.GoBytes(unsafe.Pointer(s.gfid), C.int(len(gluster.GFID{}))))
	return stub
}

// cause is an error in the log, with the stack where it is a mistake of ours.
func cause(err error) []any {
	attrs := []any{"err", err}
	var mistake *workers.PanicError
	if errors.As(err, &mistake) {
		attrs = append(attrs, "stack", string(mistake.Stack))
	}
	return attrs
}

// file is a translator.File.
type file struct{ c C.struct_file }

func (f file) WriteAt(b []byte, off int64) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	if err := errno(C.file_write(f.c, unsafe.Pointer(&b[0]), C.size_t(len(b)), C.int64_t(off))); err != nil {
		return 0, err
	}
	return len(b), nil
}

func (f file) Truncate(size int64) error { return errno(C.file_truncate(f.c, C.int64_t(size))) }

func (f file) Sync() error { return errno(C.file_sync(f.c)) }

func (f file) Xattr(name string) ([]byte, error) {
	n := C.CString(name)
	defer C.free(unsafe.Pointer(n))
	var value unsafe.Pointer
	var size C.size_t
	if err := errno(C.file_get_xattr(f.c, n, &value, &size)); err != nil {
		return nil, err
	}
	defer C.free(value)
	return C.GoBytes(value, C.int(size)), nil
}

func (f file) SetXattr(name string, value []byte, flags int) error {
	n := C.CString(name)
	defer C.free(unsafe.Pointer(n))
	v := C.CBytes(value)
	defer C.free(v)
	return errno(C.file_set_xattr(f.c, n, v, C.size_t(len(value)), C.int(flags)))
}

func (f file) RemoveXattr(name string) error {
	n := C.CString(name)
	defer C.free(unsafe.Pointer(n))
	return errno(C.file_remove_xattr(f.c, n))
}

func (f file) Close() { C.file_unref(f.c) }

func errno(ret C.int) error {
	if ret < 0 {
		return syscall.Errno(-ret)
	}
	return nil
}

// logHandler writes to the log of glusterfs, which adds time and level.
type logHandler struct {
	slog.Handler
	line   *bytes.Buffer // what Handler writes to; one goroutine uses it
	xlator unsafe.Pointer
}

func newLog(xlator unsafe.Pointer) slog.Handler {
	line := &bytes.Buffer{}
	plain := slog.NewTextHandler(line, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey) {
				return slog.Attr{}
			}
			return a
		},
	})
	return logHandler{plain, line, xlator}
}

func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return logHandler{h.Handler.WithAttrs(attrs), h.line, h.xlator}
}

func (h logHandler) Handle(ctx context.Context, r slog.Record) error {
	h.line.Reset()
	if err := h.Handler.Handle(ctx, r); err != nil {
		return err
	}
	level := C.enum_level(C.LEVEL_DEBUG)
	switch {
	case r.Level >= slog.LevelError:
		level = C.LEVEL_ERROR
	case r.Level >= slog.LevelWarn:
		level = C.LEVEL_WARNING
	case r.Level >= slog.LevelInfo:
		level = C.LEVEL_INFO
	}
	line := C.CString(string(bytes.TrimRight(h.line.Bytes(), "\n")))
	defer C.free(unsafe.Pointer(line))
	C.log_line(h.xlator, level, line)
	return nil
}
