// Package price knows what a store charges, from a file that people edit. It counts
// nothing itself and asks nobody.
package price

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/coldbrick/coldbrick/internal/config"
	"github.com/coldbrick/coldbrick/internal/object"
)

// DefaultFile has the prices that hold if no other file is named and it exists.
const DefaultFile = "/etc/coldbrick/prices.toml"

//go:embed prices.toml
var builtIn []byte

// gb is the unit of prices, month that of time.
const (
	gb        = 1 << 30
	monthDays = 30
)

// List is a list of prices.
type List struct {
	Date     string  `toml:"date"` // YYYY-MM-DD
	Source   string  `toml:"source"`
	Currency string  `toml:"currency"`
	Transfer float64 `toml:"transfer-gb"`    // of a GB that leaves the store's network
	Brick    float64 `toml:"brick-gb-month"` // of a GB for a month on the bricks; 0: not known
	Classes  []Class `toml:"class"`

	Origin string `toml:"-"` // the file that it was read from, empty if it is built in
}

// Class is what a storage class costs.
type Class struct {
	Name      string          `toml:"name"`
	GBMonth   float64         `toml:"gb-month"`
	Put       float64         `toml:"put"`     // of 1,000
	Get       float64         `toml:"get"`     // of 1,000
	ReadGB    float64         `toml:"read-gb"` // of reading a GB
	LeastSize Size            `toml:"least-size"`
	LeastDays int             `toml:"least-days"`
	Overheads []Overhead      `toml:"overhead"`
	Thaws     map[string]Thaw `toml:"thaw"` // by tier, as object.Thaw names them
}

// Overhead is billed beside each object.
type Overhead struct {
	Size  Size   `toml:"size"`
	Class string `toml:"class"` // at whose price; empty: that of the object's own class

	gbMonth float64
}

// Thaw is what a restore costs.
type Thaw struct {
	Request float64 `toml:"request"` // of 1,000
	GB      float64 `toml:"gb"`
}

// Size is a number of bytes, written like all sizes of coldbrick.
type Size int64

// UnmarshalText reads a size.
func (s *Size) UnmarshalText(text []byte) error {
	n, err := config.ParseSize(string(text))
	*s = Size(n)
	return err
}

// Load reads the prices of a file; with an empty name those of DefaultFile, or if there
// is none, those that are built in.
func Load(name string) (List, error) {
	path := name
	if path == "" {
		path = DefaultFile
	}
	text, err := os.ReadFile(path)
	if name == "" && errors.Is(err, fs.ErrNotExist) {
		path, text, err = "", builtIn, nil
	}
	if err != nil {
		return List{}, err
	}
	l, err := parse(text)
	if err != nil {
		return List{}, fmt.Errorf("%s: %w", path, err)
	}
	l.Origin = path
	return l, nil
}

func parse(text []byte) (l List, err error) {
	d := toml.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&l); err != nil {
		var unknown *toml.StrictMissingError
		if errors.As(err, &unknown) {
			line, _ := unknown.Errors[0].Position()
			return l, fmt.Errorf("line %d: unknown key %v", line, unknown.Errors[0].Key())
		}
		return l, err
	}
	if _, err := time.Parse(time.DateOnly, l.Date); err != nil {
		return l, fmt.Errorf("date %q is not YYYY-MM-DD: prices without a date are worth nothing", l.Date)
	}
	amounts := []float64{l.Transfer, l.Brick}
	for i := range l.Classes {
		c := &l.Classes[i]
		if c.Name == "" {
			return l, errors.New("a class has no name")
		}
		amounts = append(amounts, c.GBMonth, c.Put, c.Get, c.ReadGB, float64(c.LeastDays))
		for tier, t := range c.Thaws {
			if tier != object.ThawBulk && tier != object.ThawStandard && tier != object.ThawExpedited {
				return l, fmt.Errorf("class %s: there is no tier %q of a thaw", c.Name, tier)
			}
			amounts = append(amounts, t.Request, t.GB)
		}
		for j := range c.Overheads {
			o := &c.Overheads[j]
			o.gbMonth = c.GBMonth
			if o.Class != "" {
				of, ok := l.Class(o.Class)
				if !ok {
					return l, fmt.Errorf("class %s: its overhead is of class %q, which has no price", c.Name, o.Class)
				}
				o.gbMonth = of.GBMonth
			}
		}
	}
	for _, a := range amounts {
		if !(a >= 0 && a < 1e12) {
			return l, fmt.Errorf("%v is not a price", a)
		}
	}
	return l, nil
}

// Class finds the prices of a storage class; an empty name is the standard one.
func (l List) Class(name string) (Class, bool) {
	if name == "" {
		name = "STANDARD"
	}
	for _, c := range l.Classes {
		if c.Name == name {
			return c, true
		}
	}
	return Class{}, false
}

// Billed is how many bytes of an object are billed.
func (c Class) Billed(size int64) int64 { return max(size, int64(c.LeastSize)) }

// Month is what so many objects cost in a month, of so many bytes that are billed.
func (c Class) Month(objects, billed int64) float64 {
	return gbs(billed)*c.GBMonth + float64(objects)*c.overhead()
}

func (c Class) overhead() (month float64) {
	for _, o := range c.Overheads {
		month += float64(o.Size) / gb * o.gbMonth
	}
	return month
}

func gbs(n int64) float64 { return float64(n) / gb }

// Puts is what so many requests that write cost.
func (c Class) Puts(n int64) float64 { return float64(n) / 1000 * c.Put }

// Reading is what it costs to get so many bytes with so many requests, once they can be
// read.
func (l List) Reading(c Class, requests, n int64) float64 {
	return float64(requests)/1000*c.Get + gbs(n)*(c.ReadGB+l.Transfer)
}

// Thawing is what it costs to restore so many objects of so many bytes, and to keep them
// readable for so many days, which is billed as the standard class is.
func (l List) Thawing(c Class, how object.Thaw, objects, n int64) float64 {
	t := c.Thaws[how.Tier]
	standard, _ := l.Class("")
	return float64(objects)/1000*t.Request + gbs(n)*(t.GB+standard.GBMonth*float64(how.Days)/monthDays)
}

// BreakEven is the size from which on an object is cheaper in the store than on the
// bricks, over so many months, all told: it is put once, is not read, and is kept for as
// long as is billed at least. ok is false if no size is.
func (l List) BreakEven(c Class, months float64) (size int64, ok bool) {
	months = max(months, float64(c.LeastDays)/monthDays)
	saves := func(size int64) bool {
		return gbs(size)*l.Brick*months >= c.Puts(1)+c.Month(1, c.Billed(size))*months
	}
	const most = 1 << 40
	if l.Brick <= c.GBMonth || !saves(most) {
		return 0, false
	}
	// What is saved grows with the size, since a GB on the bricks is dearer.
	low, high := int64(0), int64(most) // high saves
	for low < high {
		if mid := low + (high-low)/2; saves(mid) {
			high = mid
		} else {
			low = mid + 1
		}
	}
	return high, true
}
