package report

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// table sets the cells of rows below one another, flush right as numbers are. The last
// cell of a row is what the numbers are about, of any length.
type table [][]string

func (t *table) row(cells ...string) { *t = append(*t, cells) }

func (t *table) writeTo(w io.Writer) {
	const least, gap = 11, 2
	columns := tabwriter.NewWriter(w, least, 0, gap, ' ', tabwriter.AlignRight)
	for _, cells := range *t {
		last := len(cells) - 1
		fmt.Fprintf(columns, "%s\t   %s\n", strings.Join(cells[:last], "\t"), cells[last])
	}
	_ = columns.Flush() // strings.Builder takes everything
}
