package run

import (
	"path/filepath"
	"time"

	"github.com/coldbrick/coldbrick/crawl"
	"github.com/coldbrick/coldbrick/internal/config"
	"github.com/coldbrick/coldbrick/internal/object"
)

// Settings are what the user wants, resolved for the volume that a run is about.
// No run changes them.
type Settings struct {
	Mount, Volume string // where to find the volume: a directory, or a name
	Brick, Client string // what doctor looks at

	// Which files.
	Wanted    crawl.Policy // as the user says it; Policy is what holds
	Order     crawl.Order
	Under     string // a directory of the brick
	Crawlers  int
	Recursive bool // with all below the directories named
	Listed    bool // by --files-from

	Store    StoreSettings
	Jobs     int  // files at once
	AutoJobs bool // Jobs is where archive, release and recall begin

	// When to end.
	MaxFiles, MaxBytes   int64 // 0: no limit
	MaxDuration          time.Duration
	UntilFree, MaxErrors config.Portion

	DryRun        bool
	Keep          bool // archive leaves the data
	RequirePlugin bool // refuse a volume without one
	AnyVersion    bool // of GlusterFS
	AnyClients    bool // also those without coldbrick's guard
	Check         bool // status asks the store
	To            string
	Thaw          *object.Thaw // nil: objects that have to be thawed first are left alone
	ThawWait      time.Duration
	ColdClass     bool // archive to a class whose objects have to be thawed first
	ToStdout      bool
	Repair        bool
	ReadObjects   bool
	Sample        int    // percent of the objects to read
	SVG, HTML     string // files to draw the report in
	Prices        string // a file; "" for the usual one

	From          string // id of the volume to rebuild
	NoCatalog     bool   // rebuild from the metadata of objects
	CatalogSecret string // by which catalogs are sealed; "" if none is set

	// Of gc.
	Apply, Answer, Erase bool
	Grace                time.Duration // at least Backups
	Backups              time.Duration // how old a backup of a brick is at most that is put back
	MaxDelete            config.Portion
	ListFile             string
	Forget               string // id of a volume

	StateDir, MetricsFile string
	LockWait              time.Duration
	Verbose, JSON         bool
}

// leastAge is how old a file must be in any case: the check that protects a
// concurrent write from the stamp counts in whole seconds.
const leastAge = 5 * time.Second

// Policy is what the user wants archived.
func (s Settings) Policy() (crawl.Policy, error) {
	p := s.Wanted
	p.ColdAfter = max(p.ColdAfter, leastAge)
	if err := p.Validate(); err != nil {
		return p, UsageError{err}
	}
	return p, nil
}

// records is the directory of the run records.
func (s Settings) records() string { return filepath.Join(s.StateDir, "runs") }
