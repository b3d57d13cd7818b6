package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"

	"github.com/coldbrick/coldbrick/internal/run"
)

// pathFlags say which files a command is about.
var pathFlags = []string{"recursive", "files-from", "null"}

// named yields the paths that the user named, as arguments and in the list of
// --files-from, without holding the list in memory.
func (a *app) named(args []string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, path := range args {
			if !yield(path, nil) {
				return
			}
		}
		if a.filesFrom == "" {
			return
		}
		list := a.stdin
		if a.filesFrom != "-" {
			file, err := os.Open(a.filesFrom)
			if err != nil {
				yield("", run.Usagef("--files-from: %w", err))
				return
			}
			defer file.Close()
			list = file
		}
		end := byte('\n')
		if a.null {
			end = 0
		}
		for lines := bufio.NewReader(list); ; {
			path, err := lines.ReadString(end)
			if len(path) > 0 && path[len(path)-1] == end {
				path = path[:len(path)-1]
			}
			switch {
			case err != nil && !errors.Is(err, io.EOF):
				yield("", fmt.Errorf("--files-from: %w", err))
				return
			case path != "" && !yield(path, nil), err != nil:
				return
			}
		}
	}
}
