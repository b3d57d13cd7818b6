package run

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/coldbrick/coldbrick/crawl"
)

// Unit is what a bar measures.
type Unit int

// A run counts bytes where data moves, and files where it only looks.
const (
	ByBytes Unit = iota
	ByFiles
)

// Gauge is how far a run has come. Work counts in it.
type Gauge struct {
	Seen         crawl.Progress // files looked at
	Files, Bytes atomic.Int64   // done
	Meter        *Meter         // if given, also what is on its way
	Total        atomic.Int64   // bytes or files, as far as can be estimated; 0 if nothing is known
	Work         InWork
}

// InWork are the files that are worked on right now.
type InWork struct {
	mu    sync.Mutex
	files map[string]time.Time
}

// Begin notes that a file is worked on from now on, unless it is already.
func (w *InWork) Begin(path string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.files == nil {
		w.files = map[string]time.Time{}
	}
	if _, begun := w.files[path]; !begun {
		w.files[path] = time.Now()
	}
}

// End notes that a file is worked on no longer.
func (w *InWork) End(path string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.files, path)
}

// Longest is the file that has been worked on for the longest time, "" if there is none.
func (w *InWork) Longest() (path string, since time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for p, begun := range w.files {
		if path == "" || begun.Before(since) {
			path, since = p, begun
		}
	}
	return path, since
}

// Meter counts the bytes on their way to and from a store, and bounds their rate.
type Meter struct {
	*rate.Limiter
	Moved     atomic.Int64
	Throttled atomic.Int64 // how often the store has asked for fewer requests
}

// WaitN lets n bytes pass.
func (m *Meter) WaitN(ctx context.Context, n int) error {
	err := m.Limiter.WaitN(ctx, n)
	if err == nil {
		m.Moved.Add(int64(n))
	}
	return err
}
