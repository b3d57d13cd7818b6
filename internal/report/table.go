package report

import (
	"fmt"
	"strings"
	"text/tabwriter"
)

// table sets the cells of rows below one another, flush right as numbers are. The last
// cell of a row is what the numbers are about, of any length.
type table [][]string

func (t *table) row(cells ...string) { *t = append(*t, cells) }

func (t *table) writeTo(b *strings.Builder) {
	const least, gap = 11, 2
	columns := tabwriter.NewWriter(b, least, 0, gap, ' ', tabwriter.AlignRight)
	for _, cells := range *t {
		last := len(cells) - 1
		fmt.Fprintf(columns, "%s\t   %s\n", strings.Join(cells[:last], "\t"), cells[last])
	}
	_ = columns.Flush() // a strings.Builder takes everything
}
