package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/dustin/go-humanize"

	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/price"
)

// Estimate is what it costs to archive the cold files of a brick or a volume, to keep
// their objects and to recall them. Add may be called by any number of goroutines.
type Estimate struct {
	of       string
	prices   price.List
	partSize int64

	mu         sync.Mutex
	all        outcome.Total
	sizes      [len(sizeClasses)]outcome.Total
	puts, gets int64
	billed     []int64 // bytes, by class
}

// sizeClasses are told one by one; the last has no end.
var sizeClasses = [...]struct {
	To   int64 // excluded
	Name string
}{
	{4 << 10, "under 4 KiB"}, {128 << 10, "4 KiB to 128 KiB"}, {1 << 20, "128 KiB to 1 MiB"}, {8 << 20, "1 MiB to 8 MiB"},
	{64 << 20, "8 MiB to 64 MiB"}, {1 << 30, "64 MiB to 1 GiB"}, {0, "1 GiB and more"},
}

const (
	// keptMonths is how long a file is taken to stay in the store, where it counts.
	keptMonths = 12
	// thawDays is how long what was thawed is taken to be kept readable.
	thawDays = 7
)

// NewEstimate is of no file yet. Larger objects than partSize are sent and read in parts.
func NewEstimate(of string, prices price.List, partSize int64) *Estimate {
	return &Estimate{of: of, prices: prices, partSize: partSize, billed: make([]int64, len(prices.Classes))}
}

// Add counts a cold file.
func (e *Estimate) Add(size int64) {
	class := 0
	for class < len(sizeClasses)-1 && size >= sizeClasses[class].To {
		class++
	}
	parts := max(1, (size+e.partSize-1)/e.partSize)
	puts := parts
	if parts > 1 {
		puts += 2 // begin and end of the upload
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all.Add(size)
	e.sizes[class].Add(size)
	e.puts += puts
	e.gets += parts
	for i, c := range e.prices.Classes {
		e.billed[i] += c.Billed(size)
	}
}

// costs are those of one storage class. Money is in the currency of the prices.
type costs struct {
	Class     string             `json:"class"`
	Archive   float64            `json:"archive"`
	Billed    int64              `json:"billed_bytes"`
	Month     float64            `json:"month"`
	LeastDays int                `json:"least_days,omitempty"`
	Recall    float64            `json:"recall_all"`
	RecallOne float64            `json:"recall_1_percent"`
	Thaw      map[string]float64 `json:"thaw_all,omitempty"` // by tier; the cheapest is in the recall
	MinSize   *int64             `json:"min_size,omitempty"` // absent: no file is cheaper here than on the bricks

	tier string // cheapest of Thaw, empty if there is none
}

func (e *Estimate) costs() []costs {
	list := []costs{}
	for i, c := range e.prices.Classes {
		k := costs{
			Class: c.Name, Archive: c.Puts(e.puts), Billed: e.billed[i],
			Month: c.Month(e.all.Files, e.billed[i]), LeastDays: c.LeastDays,
			Recall: e.prices.Reading(c, e.gets, e.all.Bytes), Thaw: map[string]float64{},
		}
		for tier := range c.Thaws {
			k.Thaw[tier] = e.prices.Thawing(c, object.Thaw{Tier: tier, Days: thawDays}, e.all.Files, e.all.Bytes)
		}
		if tiers := slices.Sorted(maps.Keys(k.Thaw)); len(tiers) > 0 {
			k.tier = slices.MinFunc(tiers, func(a, b string) int { return cmp.Compare(k.Thaw[a], k.Thaw[b]) })
			k.Recall += k.Thaw[k.tier]
		}
		k.RecallOne = k.Recall / 100
		if size, ok := e.prices.BreakEven(c, keptMonths); ok {
			k.MinSize = &size
		}
		list = append(list, k)
	}
	return list
}

// line is one screen for people.
func (e *Estimate) line() (string, audience) {
	var b strings.Builder
	fmt.Fprintf(&b, "cold on %s: %s, %s\n\n", Quote(e.of), Count(e.all.Files, "file"), Bytes(e.all.Bytes))
	var sizes, classes table
	sizes.row("files", "bytes", "size")
	for i, n := range e.sizes {
		sizes.row(number(n.Files), Bytes(n.Bytes), sizeClasses[i].Name)
	}
	sizes.writeTo(&b)
	fmt.Fprintf(&b, "\nrequests: %s to archive all, %s to recall all\n", number(e.puts), number(e.gets))
	origin := e.prices.Origin
	if origin == "" {
		origin = "built in, yours belong into " + price.DefaultFile
	}
	fmt.Fprintf(&b, "prices in %s of %s (%s): %s\n\n", e.prices.Currency, e.prices.Date, e.prices.Source, origin)

	classes.row("archive", "billed", "a month", "least", "recall 1 %", "recall all", "--min-size", "storage class")
	thawed := false
	for _, k := range e.costs() {
		name, least, size := k.Class, "-", "-"
		if k.tier != "" {
			name += " (" + k.tier + ")"
			thawed = true
		}
		if k.LeastDays > 0 {
			least = fmt.Sprintf("%d days", k.LeastDays)
		}
		if k.MinSize != nil {
			size = Bytes(*k.MinSize)
		}
		classes.row(money(k.Archive), Bytes(k.Billed), money(k.Month), least, money(k.RecallOne), money(k.Recall), size, name)
	}
	classes.writeTo(&b)
	b.WriteString("\nleast: what is deleted or written anew sooner is billed for so long\n")
	if thawed {
		fmt.Fprintf(&b, "(tier): must be thawed before a recall, at its cheapest; kept readable for %d days\n", thawDays)
	}
	fmt.Fprintf(&b, "recall: with %s a GB for the way out of the store's network\n", money(e.prices.Transfer))
	if e.prices.Brick > 0 {
		fmt.Fprintf(&b, "--min-size: smaller files cost less on the bricks, at %s a GB and month, than in the store for %d months\n",
			money(e.prices.Brick), keptMonths)
	}
	return b.String(), page
}

func money(amount float64) string { return humanize.FormatFloat("#,###.##", amount) }

// MarshalJSON gives the estimate record.
func (e *Estimate) MarshalJSON() ([]byte, error) {
	type class struct {
		From int64 `json:"from_bytes"`
		To   int64 `json:"to_bytes,omitempty"`
		outcome.Total
	}
	r := struct {
		Type     string        `json:"type"`
		Of       string        `json:"of"`
		All      outcome.Total `json:"all"`
		Sizes    []class       `json:"sizes"`
		Puts     int64         `json:"archive_requests"`
		Gets     int64         `json:"recall_requests"`
		Date     string        `json:"prices_date"`
		Source   string        `json:"prices_source"`
		Origin   string        `json:"prices_file,omitempty"`
		Currency string        `json:"currency"`
		Classes  []costs       `json:"classes"`
	}{
		Type: "estimate", Of: e.of, All: e.all, Puts: e.puts, Gets: e.gets, Date: e.prices.Date, Source: e.prices.Source,
		Origin: e.prices.Origin, Currency: e.prices.Currency, Classes: e.costs(),
	}
	from := int64(0)
	for i, n := range e.sizes {
		r.Sizes = append(r.Sizes, class{from, sizeClasses[i].To, n})
		from = sizeClasses[i].To
	}
	return marshal(r)
}
