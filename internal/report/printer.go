// Package report prints what every command did, for people and for programs: lines
// and JSON, summaries, surveys and their pictures, metrics. The words are those of
// package outcome.
package report

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// Printer writes records as lines: for people, data on one stream and news on
// another, or for programs, all as JSON on the first. It may be used by any
// number of goroutines; a write is of whole lines.
type Printer struct {
	Data    io.Writer // stdout
	News    io.Writer // stderr
	JSON    bool
	Verbose bool // also a line for each file that went well
	Quiet   bool // nothing but trouble
	Waits   bool // nobody watches: data may wait for a moment, and Flush must end it

	mu      sync.Mutex
	waiting []byte
	err     error
}

// How much data waits to be written in one go, and how long.
const (
	mostWaiting = 64 << 10
	longestWait = 200 * time.Millisecond
)

// Print writes one record. Once the data could not be written, because the
// reader of a pipe has gone or a disk is full, it returns that error again and
// again; what was counted is not lost by that.
func (p *Printer) Print(r Record) error {
	text, to := r.line()
	if p.JSON {
		json, err := r.MarshalJSON()
		if err != nil {
			return err
		}
		return p.write(string(json))
	}
	switch {
	case to == page, to == fine && p.Verbose, to == closing && !p.Quiet:
		return p.write(strings.TrimSuffix(text, "\n"))
	case to == data:
		return p.write(OneLine(text))
	case to == trouble, to == detail && p.Verbose, to == epilogue && !p.Quiet:
		p.mu.Lock()
		defer p.mu.Unlock()
		p.flush()                           // both may be one file
		fmt.Fprintln(p.News, OneLine(text)) // without stderr there is nobody to tell
	}
	return nil
}

// write may return the error of an earlier line.
func (p *Printer) write(line string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.Waits && len(p.waiting) == 0 {
		time.AfterFunc(longestWait, func() { _ = p.Flush() }) // the next line gets the error
	}
	p.waiting = append(append(p.waiting, line...), '\n')
	if !p.Waits || len(p.waiting) >= mostWaiting {
		p.flush()
	}
	return p.err
}

// Flush writes what waits, and returns the error of all writes so far.
func (p *Printer) Flush() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flush()
	return p.err
}

func (p *Printer) flush() {
	if p.err == nil && len(p.waiting) > 0 {
		_, p.err = p.Data.Write(p.waiting)
	}
	p.waiting = p.waiting[:0]
}
