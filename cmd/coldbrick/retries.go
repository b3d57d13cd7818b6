package main

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// retries are what the work waits for and tries again. The zero value is ready.
type retries struct {
	mu sync.Mutex
	of map[string]retry
}

type retry struct {
	of          string
	since, last time.Time
	why         string
}

// abandoned is how long after the last try nobody waits any more.
const abandoned = time.Minute

// note is told how a try went.
func (r *retries) note(of string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		delete(r.of, of)
		return
	}
	if r.of == nil {
		r.of = map[string]retry{}
	}
	now := time.Now()
	since := now
	if known, ok := r.of[of]; ok && now.Sub(known.last) < abandoned {
		since = known.since
	}
	r.of[of] = retry{of, since, now, err.Error()}
}

// all are what is waited for, the longest wait first.
func (r *retries) all() (list []retry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range r.of {
		if time.Since(k.last) < abandoned {
			list = append(list, k)
		}
	}
	slices.SortFunc(list, func(a, b retry) int { return cmp.Or(a.since.Compare(b.since), cmp.Compare(a.of, b.of)) })
	return list
}
