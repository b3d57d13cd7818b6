// Package report prints what every command did, for people and for programs: lines
// and JSON, summaries, surveys and their pictures, metrics. The words are those of
// package outcome.
package report

import (
	"fmt"
	"io"
	"strings"
	"sync"
)

// Printer writes records as lines: for people, data on one stream and news on
// another, or for programs, all as JSON on the first. It may be used by any
// number of goroutines; a line is one write.
type Printer struct {
	Data    io.Writer // stdout
	News    io.Writer // stderr
	JSON    bool
	Verbose bool // also a line for each file that went well
	Quiet   bool // nothing but trouble

	mu  sync.Mutex
	err error
}

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
		fmt.Fprintln(p.News, OneLine(text)) // without stderr there is nobody to tell
	}
	return nil
}

func (p *Printer) write(line string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		_, p.err = io.WriteString(p.Data, line+"\n")
	}
	return p.err
}
