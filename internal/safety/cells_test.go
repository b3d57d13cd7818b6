package safety

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
)

// atOnce is how many cells run at a time: most of one is waiting for Gluster.
const atOnce = 8

// cell is one fault at one place.
type cell struct {
	row, fault string // where it stands in the table
	from       string // what the file was when the verb began, or which call it was
	hold       func() error
}

// runCells runs cells, some at a time, and prints the table of what was tried
// and what held. A cell that does not hold fails the test.
func runCells(t *testing.T, title string, atOnce int, cells []cell) {
	t.Helper()
	errs := make([]error, len(cells))
	slots := make(chan struct{}, atOnce)
	var all sync.WaitGroup
	for i, c := range cells {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			errs[i] = c.hold()
		})
	}
	all.Wait()

	type tally struct{ tried, held int }
	var rows, faults []string
	table, sum := map[[2]string]*tally{}, tally{}
	for i, c := range cells {
		if !slices.Contains(rows, c.row) {
			rows = append(rows, c.row)
		}
		if !slices.Contains(faults, c.fault) {
			faults = append(faults, c.fault)
		}
		at := [2]string{c.row, c.fault}
		if table[at] == nil {
			table[at] = &tally{}
		}
		table[at].tried++
		sum.tried++
		if errs[i] == nil {
			table[at].held++
			sum.held++
		} else {
			t.Errorf("%s × %s (%s): %v", c.row, c.fault, c.from, errs[i])
		}
	}
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "held/tried\t"+strings.Join(faults, "\t"))
	for _, row := range rows {
		fmt.Fprint(w, row)
		for _, fault := range faults {
			if n := table[[2]string{row, fault}]; n != nil {
				fmt.Fprintf(w, "\t%d/%d", n.held, n.tried)
			} else {
				fmt.Fprint(w, "\t-")
			}
		}
		fmt.Fprintln(w)
	}
	w.Flush()
	t.Logf("%s: %d cells tried, %d held\n%s", title, sum.tried, sum.held, text.String())
}
