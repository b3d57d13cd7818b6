package main

import (
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/coldbrick/coldbrick/crawl"
	"github.com/coldbrick/coldbrick/internal/config"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore/stores"
	"github.com/coldbrick/coldbrick/internal/price"
	"github.com/coldbrick/coldbrick/internal/run"
)

const (
	day = 24 * time.Hour

	// maxJobs bounds flags that count goroutines: more is a slip of the hand.
	maxJobs = 1024
)

// settings are the values of all flags of all commands. One command line uses
// some of them.
type settings struct {
	config string

	mount, volume, under, brick string
	client                      string
	olderThan                   config.Age
	ageBy                       config.Choice
	recallGrace                 config.Age
	minSize, maxSize            config.Size
	include, exclude            config.List
	keyPrefix                   string

	store    string
	ofStores map[string]func() string // the values of the stores' own options
	partSize config.Size

	catalogSecret config.Secret

	undo     bool // of setup
	keysFrom string

	recursive, null, stdoutData, check bool
	repair, readObjects                bool
	sample                             config.Percent
	filesFrom, to, from, prices        string
	svg, html                          string

	thaw      config.Choice
	thawDays  config.Number
	wait      config.Age
	coldClass bool

	jobs, crawlers config.Number
	bwlimit        config.Rate
	maxFiles       config.Number
	maxBytes       config.Size
	maxDuration    config.Span
	untilFree      config.Portion
	maxErrors      config.Portion
	order          config.Choice
	dryRun         bool
	keep           bool
	noCatalog      bool
	requirePlugin  bool
	anyVersion     bool
	anyClients     bool

	apply, answer    bool
	erase            bool
	grace            config.Age
	backups          config.Age
	maxDelete        config.Portion
	listFile, forget string

	json           bool
	progress       config.Choice
	logFormat      config.Choice
	verbose, quiet bool
	stateDir       string
	metricsFile    string
	lockWait       config.Span
}

// The groups of flags that commands share.
var (
	outputFlags = []string{"json", "progress", "log-format", "verbose", "quiet"}
	policyFlags = []string{"older-than", "age-by", "recall-grace", "min-size", "max-size", "include", "exclude", "under", "crawlers"}
	storeFlags  = storeSettings()
	runFlags    = []string{"max-files", "max-bytes", "max-duration", "until-free", "max-errors", "dry-run", "state-dir", "metrics-file", "lock-wait"}
)

// storeSettings are the flags of all stores.
func storeSettings() []string {
	names := []string{"store"}
	for _, kind := range stores.All {
		for _, o := range kind.Options {
			if !o.Secret {
				names = append(names, o.Name)
			}
		}
	}
	return append(names, "key-prefix", "part-size", "jobs", "bwlimit")
}

// flags defines every setting once: its flag, its key in the file, its variable
// in the environment, its default and its line in the manual.
func (s *settings) flags() *pflag.FlagSet {
	f := pflag.NewFlagSet("coldbrick", pflag.ContinueOnError)
	f.SortFlags = false
	value := func(v pflag.Value, name, usage string) { f.Var(v, name, usage) }
	text := func(v *string, name, usage string) { f.StringVar(v, name, *v, usage) }

	text(&s.config, "config", "read settings from the TOML `FILE` (default "+defaultConfig+", if it exists)")

	text(&s.mount, "mount", "the mount `DIR` of the volume to read, stamp and recall through")
	text(&s.brick, "brick", "the brick's `DIR` on this host")
	text(&s.client, "client", "look at the mount `DIR` of users on this host, and at nothing else")
	text(&s.volume, "volume", "take bricks, options, store and credentials from the volume `NAME`")

	s.olderThan = config.Age(30 * day)
	value(&s.olderThan, "older-than", "cold means: not modified for this `AGE` (30d, 2w, 1y, 12h; a bare number is days)")
	s.ageBy = config.NewChoice("mtime", "ctime", "atime", "newest")
	value(&s.ageBy, "age-by", "count the age from this `TIME`: mtime, ctime, atime, or the newest of the three")
	s.recallGrace = config.Age(7 * day)
	value(&s.recallGrace, "recall-grace", "leave files alone for this `AGE` after a recall")
	s.minSize = 1
	value(&s.minSize, "min-size", "leave files smaller than `SIZE` alone (64KiB, 10MB, bytes)")
	value(&s.maxSize, "max-size", "leave files larger than `SIZE` alone (default no limit)")
	value(&s.include, "include", "only paths that match `GLOB`, relative to the volume root, ** allowed (repeatable)")
	value(&s.exclude, "exclude", "no paths that match `GLOB` (repeatable, wins over --include)")
	text(&s.under, "under", "only this `DIR` of the volume: home, or /home")
	s.order = config.NewChoice("found", "coldest", "largest")
	value(&s.order, "order", "take files in this `ORDER`: as found, at once; or the coldest or the largest first, after a walk over all, in 32 MiB of memory (walks again for each 100,000 files or so)")
	s.crawlers = config.NewNumber(16, 1, maxJobs)
	value(&s.crawlers, "crawlers", "read this `NUMBER` of directories at once")

	f.BoolVarP(&s.recursive, "recursive", "r", false, "take all files below each PATH that is a directory")
	text(&s.filesFrom, "files-from", "also take the paths in `FILE`, one a line; - is standard input")
	f.BoolVarP(&s.null, "null", "0", false, "paths in --files-from end in NUL, not in a newline")
	text(&s.to, "to", "write the data below `DIR`, which must exist, and leave the stubs as they are")
	f.BoolVar(&s.stdoutData, "stdout", false, "write the data to standard output and leave the stubs as they are")
	s.thaw = config.NewChoice("no", object.ThawBulk, object.ThawStandard, object.ThawExpedited)
	value(&s.thaw, "thaw", "have the store thaw objects of cold classes first, by its tier `SPEED`: bulk, standard (if none is said) or expedited; sooner costs more")
	f.Lookup("thaw").NoOptDefVal = object.ThawStandard
	s.thawDays = config.NewNumber(7, 1, 365)
	value(&s.thawDays, "thaw-days", "keep what was thawed readable for this `NUMBER` of days")
	value(&s.wait, "wait", "with --thaw: wait this `AGE` for the store (12h, 2d); what takes longer is recalled by the same command later")
	f.BoolVar(&s.check, "check", false, "also ask the store for each object")

	f.BoolVar(&s.repair, "repair", false, "fix what can be fixed without guessing")
	f.BoolVar(&s.readObjects, "read", false, "read the objects and compare checksums, not only what the store says")
	s.sample = 100
	value(&s.sample, "sample", "with --read: read this `PERCENTAGE` of the objects, chosen at random (1%)")

	text(&s.from, "from", "rebuild from the catalogs of the volume with this `ID`")

	f.BoolVar(&s.noCatalog, "without-catalog", false, "rebuild from the metadata of objects, where there is no catalog that can be read")

	f.BoolVar(&s.apply, "apply", false, "do it: gc deletes what nothing refers to, setup sets the options of the volume")
	f.BoolVar(&s.undo, "undo", false, "take back what setup has done on this host")
	text(&s.keysFrom, "keys-from", "read the keys of the bucket from the TOML `FILE`, which only root may read")
	f.BoolVar(&s.answer, "answer", false, "look on the bricks of this host for what gc on another host wants to delete")
	f.BoolVar(&s.erase, "erase", false, "erase on purpose what was made from the named files, which were deleted, without --grace")
	s.grace = config.Age(30 * day)
	value(&s.grace, "grace", "nothing may have referred to an object for this `AGE` (30d; at least 14d)")
	s.maxDelete = config.NewPortion(1)
	value(&s.maxDelete, "max-delete", "delete at most this `SHARE` of all objects, or this number of objects (0 for no limit)")
	text(&s.listFile, "list", "write the objects to which nothing refers to `FILE`, one JSON object a line")
	text(&s.forget, "forget-volume", "the volume with this `ID` is gone for good: do not ask for its catalogs and bricks any more")

	text(&s.svg, "svg", "also draw the report, as a picture in the SVG `FILE`")
	text(&s.html, "html", "also write the report as a page in the HTML `FILE`, which needs nothing else")

	text(&s.prices, "prices", "go by the prices in the TOML `FILE` (default "+price.DefaultFile+" if it exists, else what is built in)")

	s.store = "s3"
	text(&s.store, "store", "keep objects in the store `NAME`: see coldbrick stores")
	s.ofStores = map[string]func() string{}
	fileOnly := func(name string) { f.Lookup(name).Annotations = map[string][]string{config.FileOnly: {}} }
	for _, kind := range stores.All {
		for _, o := range kind.Options {
			if o.Secret {
				secret := new(config.Secret)
				value(secret, o.Name, o.Usage)
				fileOnly(o.Name)
				s.ofStores[o.Name] = func() string { return secret.Reveal() } // a method value would keep what it is now
				continue
			}
			given := new(string)
			text(given, o.Name, o.Usage)
			s.ofStores[o.Name] = func() string { return *given }
		}
	}
	text(&s.keyPrefix, "key-prefix", "put `PREFIX` before every key, where volumes share a bucket")
	s.partSize = 8 << 20
	value(&s.partSize, "part-size", "the `SIZE` of a part of a multipart transfer")
	s.jobs = config.NewAutoNumber(1, maxJobs)
	value(&s.jobs, "jobs", "transfer this `NUMBER` of files at once; auto begins with 16 and finds what is fastest, up to 64")
	value(&s.bwlimit, "bwlimit", "transfer at most this `RATE` over all files (10MB/s; default no limit)")

	s.maxFiles = config.NewNumber(0, 0, 1<<62)
	value(&s.maxFiles, "max-files", "end the run after this `NUMBER` of files (default no limit)")
	value(&s.maxBytes, "max-bytes", "end the run after this `SIZE` of files (default no limit)")
	value(&s.maxDuration, "max-duration", "end the run after this `TIME` (2h, 90m; default no limit)")
	s.untilFree = config.NewBytePortion()
	value(&s.untilFree, "until-free", "end the run when this `SHARE` or size of the brick's file system is free (20%, 500GiB; default no limit)")
	s.maxErrors = config.NewPortion(50)
	value(&s.maxErrors, "max-errors", "give up when this `SHARE` of at least 100 files, or this number of files, have failed (0 for no limit)")
	f.BoolVar(&s.keep, "keep", false, "copy and prove, and leave the data on the brick: coldbrick release frees it later")
	f.BoolVarP(&s.dryRun, "dry-run", "n", false, "say what would happen and change nothing")
	f.BoolVar(&s.anyVersion, "allow-unqualified-version", false, "archive on a version of GlusterFS that coldbrick was not tested with")
	f.BoolVar(&s.anyClients, "allow-unguarded-clients", false, "archive though clients are connected without coldbrick's guard: you know that stubs are safe in them")
	f.BoolVar(&s.coldClass, "allow-cold-class", false, "archive to a storage class whose objects cannot be read at once: readers of stubs get EREMOTE until recall --thaw, hours later")
	s.stateDir = "/var/lib/coldbrick"
	text(&s.stateDir, "state-dir", "keep locks and run records in `DIR`")
	text(&s.metricsFile, "metrics-file", "write Prometheus metrics to `FILE`, or into a directory a file for each brick (default "+defaultMetrics+", if it exists)")
	value(&s.lockWait, "lock-wait", "wait this `TIME` for another run on the same brick (90s, 10m)")

	f.BoolVar(&s.json, "json", false, "write one JSON object a line to standard output")
	s.progress = config.NewChoice("auto", "always", "never")
	value(&s.progress, "progress", "show a bar on standard error: `WHEN` is auto (on a terminal), always or never")
	s.logFormat = config.NewChoice("text", "json")
	value(&s.logFormat, "log-format", "log to standard error in `FORMAT` text or json")
	f.BoolVarP(&s.verbose, "verbose", "v", false, "also say what went well, file by file")
	f.BoolVarP(&s.quiet, "quiet", "q", false, "say nothing but what went wrong")

	f.BoolVar(&s.requirePlugin, "require-plugin", false, "refuse a volume in whose graph no store plugin is loaded: readers of its stubs would get EREMOTE")
	fileOnly("require-plugin")
	value(&s.catalogSecret, "catalog-secret", "by which catalogs and registrations are sealed; the same on every host of the volume, at least 16 characters")
	fileOnly("catalog-secret")
	value(&s.backups, "backups-older-than", "no backup of a brick that is older than this `AGE` is ever put back: the grace of gc is at least that")
	fileOnly("backups-older-than")
	return f
}

// defaultMetrics is where Debian's node_exporter collects text files.
const defaultMetrics = "/var/lib/prometheus/node-exporter"

// metrics is where metrics go; "" for nowhere.
func (s *settings) metrics(origins config.Origins) string {
	if origins["metrics-file"] != config.FromDefault {
		return s.metricsFile
	}
	if info, err := os.Stat(defaultMetrics); err != nil || !info.IsDir() {
		return ""
	}
	return defaultMetrics
}

// values are the settings as a run goes by them; origins tell what somebody has set.
func (s *settings) values(origins config.Origins) run.Settings {
	given := map[string]bool{}
	for name, origin := range origins {
		given[name] = origin != config.FromDefault
	}
	var thaw *object.Thaw
	if tier := s.thaw.String(); tier != "no" {
		thaw = &object.Thaw{Tier: tier, Days: s.thawDays.Int()}
	}
	return run.Settings{
		Mount: s.mount, Volume: s.volume, Brick: s.brick, Client: s.client,
		Wanted: crawl.Policy{
			ColdAfter: s.olderThan.Duration(), AgeBy: crawl.AgeBy(s.ageBy.String()), RecallGrace: s.recallGrace.Duration(),
			MinSize: s.minSize.Bytes(), MaxSize: s.maxSize.Bytes(), Include: s.include, Exclude: s.exclude,
		},
		Order: crawl.Order(s.order.String()), Under: strings.TrimLeft(s.under, "/"), Crawlers: s.crawlers.Int(),
		Recursive: s.recursive, Listed: s.filesFrom != "",
		Store: run.StoreSettings{
			Name: s.store, Options: s.storeOptions(), Given: given, Bandwidth: int64(s.bwlimit),
		},
		Jobs: s.jobs.IntOr(run.DefaultJobs), AutoJobs: s.jobs.IsAuto(),
		MaxFiles: int64(s.maxFiles.Int()), MaxBytes: s.maxBytes.Bytes(), MaxDuration: s.maxDuration.Duration(),
		UntilFree: s.untilFree, MaxErrors: s.maxErrors,
		DryRun: s.dryRun, Keep: s.keep, RequirePlugin: s.requirePlugin, AnyVersion: s.anyVersion, AnyClients: s.anyClients, Check: s.check,
		To: s.to, ToStdout: s.stdoutData, Repair: s.repair, ReadObjects: s.readObjects, Sample: int(s.sample), SVG: s.svg, HTML: s.html, Prices: s.prices,
		Thaw: thaw, ThawWait: s.wait.Duration(), ColdClass: s.coldClass,
		From: s.from, NoCatalog: s.noCatalog, CatalogSecret: s.catalogSecret.Reveal(),
		Apply: s.apply, Answer: s.answer, Erase: s.erase, Grace: max(s.grace.Duration(), s.backups.Duration()), Backups: s.backups.Duration(), MaxDelete: s.maxDelete, ListFile: s.listFile, Forget: s.forget,
		StateDir: s.stateDir, MetricsFile: s.metrics(origins), LockWait: s.lockWait.Duration(),
		Verbose: s.verbose, JSON: s.json,
	}
}

// storeOptions are the options of all stores. They hold secrets.
func (s *settings) storeOptions() map[string]string {
	options := map[string]string{
		"key-prefix": s.keyPrefix, "part-size": strconv.FormatInt(s.partSize.Bytes(), 10), "jobs": strconv.Itoa(s.jobs.IntOr(run.DefaultJobs)),
	}
	for setting, value := range s.ofStores {
		options[setting] = value()
	}
	return options
}
