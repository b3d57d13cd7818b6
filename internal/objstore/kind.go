package objstore

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Kind describes a kind of store: all that coldbrick has to know of it.
type Kind struct {
	Name        string // for --store
	Library     string // that Gluster loads for it (cloudsync-storetype); "" if none
	Description string // one line
	// Options are those of Init that this kind alone has, each declared once. Beside
	// them Init is given, and may ignore, the Common ones.
	Options []Option
	// FromVolume, which may be nil, adds to the options what the volume's own options
	// say: volume gives the value of one, without "features.". What the user has set
	// (given) stays as it is.
	FromVolume func(options map[string]string, given func(name string) bool, volume func(name string) string) error
	// FromHost, which may be nil, adds the credentials that this host keeps for a volume,
	// after FromVolume and unless there are others.
	FromHost func(options map[string]string, given func(name string) bool, volume string) error
	New      func(Deps) Store
}

// Common are the names of the options that every store is given: the prefix of all
// keys, the size of a part in bytes, and how many files are transferred at once.
var Common = []string{"key-prefix", "part-size", "jobs"}

// DefaultJobs are as many files at once if the option jobs is missing.
const DefaultJobs = 16

// MostJobs are as many files at once as coldbrick comes to by itself.
const MostJobs = 64

// ParseJobs reads the option jobs.
func ParseJobs(value string) (int, error) {
	jobs, err := strconv.Atoi(value)
	if err != nil || jobs < 1 {
		return 0, fmt.Errorf("%q is not a number from 1", value)
	}
	return jobs, nil
}

// ErrNoOption is of an option of Init that the store does not have.
var ErrNoOption = errors.New("the store has no such option")

// Option is one option of a kind. From it come its flag, its key in the configuration
// file, its variable in the environment, and their help.
type Option struct {
	Name   string // for Init, and of its flag: no two kinds have the same
	Usage  string // with the value's placeholder in `backquotes`
	Secret bool   // stands in the configuration file alone, and is never shown

	// Required, such as "bucket", names what a run cannot be without; "" if it can.
	Required string
	// Outside marks a directory of this host, which must not be in the volume itself.
	Outside bool
}

// Missing is the error for an option that a run cannot be without.
func (o Option) Missing() error {
	placeholder := "VALUE"
	if parts := strings.Split(o.Usage, "`"); len(parts) == 3 {
		placeholder = parts[1]
	}
	return fmt.Errorf("no %s given: write --%s %s", o.Required, o.Name, placeholder)
}

// Deps are what a store is given to work with. All may be nil.
type Deps struct {
	// Limiter bounds the bandwidth of all transfers.
	Limiter Limiter
	// OnUpload is told of each upload in parts before its first part is sent, so that
	// one left over by a crash can be found and aborted. Its error ends the upload.
	OnUpload func(key, uploadID string) error
	// OnThrottle is told each time that the store asks for fewer requests.
	OnThrottle func()
	// OnAnswer is told how each request went: nil if the store has answered, or why it may
	// be sent again.
	OnAnswer func(err error)
}

// Kinds is the list of stores that a program knows. It is a value: nothing registers
// itself.
type Kinds []Kind

// Find returns the kind of this name.
func (k Kinds) Find(name string) (Kind, bool) {
	for _, kind := range k {
		if kind.Name == name {
			return kind, true
		}
	}
	return Kind{}, false
}

// Names are the names of all.
func (k Kinds) Names() []string {
	names := make([]string, 0, len(k))
	for _, kind := range k {
		names = append(names, kind.Name)
	}
	return names
}
