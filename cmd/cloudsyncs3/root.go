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
	"sync"
	"syscall"
	"unsafe"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/translator"
	"github.com/coldbrick/coldbrick/internal/workers"
)

// coldbrickVouch lets servers know, until the graph is left, that this client has the
// guard.
//
//export coldbrickVouch
func coldbrickVouch(handle C.uintptr_t, xlator unsafe.Pointer, guard, glusterfs *C.char) {
	log := slog.New(newLog(xlator))
	tell := func(log *slog.Logger, err error) { // archive refuses then, and names this host
		if err != nil {
			log.Error("this client vouches for its guard no more", cause(err)...)
		}
	}
	tell(log, workers.Guard(func() error {
		ctx, cancel := context.WithCancel(context.Background())
		r := &root{xlator: xlator, cancel: cancel}
		cgo.Handle(handle).Value().(*client).root = r
		v := translator.Voucher{
			Root:      r,
			Vouch:     gluster.Vouch{Guard: C.GoString(guard), Glusterfs: C.GoString(glusterfs)},
			Addresses: translator.Addresses,
			Log:       slog.New(rootLog{newLog(xlator), r}),
		}
		go func() {
			tell(v.Log, workers.Guard(func() error {
				v.Run(ctx)
				return nil
			}))
		}()
		return nil
	}))
}

// coldbrickRootGone is called before anything of the graph is taken down.
//
//export coldbrickRootGone
func coldbrickRootGone(handle C.uintptr_t) {
	_ = workers.Guard(func() error { // the graph goes whatever is said: there is nobody left to tell
		cgo.Handle(handle).Value().(*client).root.leave()
		return nil
	})
}

// coldbrickAnswer ends what an asker waits for.
//
//export coldbrickAnswer
func coldbrickAnswer(asker C.uintptr_t, ret C.int, value unsafe.Pointer, size C.size_t) {
	_ = workers.Guard(func() error { // the asker has a limit of its own, and tells of it
		a := rootAnswer{err: errno(ret)}
		if value != nil {
			a.value = C.GoBytes(value, C.int(size))
		}
		cgo.Handle(asker).Value().(chan rootAnswer) <- a // which has room for it
		cgo.Handle(asker).Delete()
		return nil
	})
}

// root is a translator.Root. The lock keeps the graph from being taken down while
// something is sent through it.
type root struct {
	xlator unsafe.Pointer
	cancel context.CancelFunc

	mu   sync.Mutex
	gone bool
}

type rootAnswer struct {
	value []byte
	err   error
}

// leave returns when nothing is sent any more.
func (r *root) leave() {
	if r == nil {
		return
	}
	r.cancel()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gone = true
}

// within calls do unless the graph has been left.
func (r *root) within(do func() error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gone {
		return translator.ErrRootGone
	}
	return do()
}

func (r *root) Ready() (ready bool, err error) {
	err = r.within(func() error {
		switch C.root_use(r.xlator) {
		case C.ROOT_IN_USE:
			ready = true
		case C.ROOT_FORMER:
			return translator.ErrRootGone
		}
		return nil
	})
	return ready, err
}

// ask sends a request that will be answered to the asker, and waits as long as ctx
// lasts. A later answer goes nowhere.
func (r *root) ask(ctx context.Context, name string, send func(name *C.char, asker C.uintptr_t)) ([]byte, error) {
	ready, err := r.Ready()
	if err != nil {
		return nil, err
	}
	if !ready {
		return nil, syscall.ENOTCONN
	}
	n := C.CString(name)
	defer C.free(unsafe.Pointer(n))
	answered := make(chan rootAnswer, 1)
	asker := cgo.NewHandle(answered)
	err = r.within(func() error {
		send(n, C.uintptr_t(asker))
		return nil
	})
	if err != nil {
		asker.Delete()
		return nil, err
	}
	select {
	case a := <-answered:
		return a.value, a.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (r *root) Xattr(ctx context.Context, name string) ([]byte, error) {
	return r.ask(ctx, name, func(n *C.char, asker C.uintptr_t) { C.root_get_xattr(r.xlator, n, asker) })
}

func (r *root) SetXattr(ctx context.Context, name string, value []byte) error {
	v := C.CBytes(value)
	defer C.free(v)
	_, err := r.ask(ctx, name, func(n *C.char, asker C.uintptr_t) {
		C.root_set_xattr(r.xlator, n, v, C.size_t(len(value)), asker)
	})
	return err
}

func (r *root) RemoveXattr(ctx context.Context, name string) error {
	_, err := r.ask(ctx, name, func(n *C.char, asker C.uintptr_t) { C.root_remove_xattr(r.xlator, n, asker) })
	return err
}

// rootLog logs while there is a translator to log for.
type rootLog struct {
	slog.Handler
	root *root
}

func (l rootLog) Handle(ctx context.Context, record slog.Record) error {
	return l.root.within(func() error { return l.Handler.Handle(ctx, record) })
}
