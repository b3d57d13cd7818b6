// Package outcome holds the words for what became of a file, and why: the same in
// output, logs, metrics and manual. It is a leaf; package report prints them.
package outcome

// Outcome says how a file left the run.
type Outcome string

// The outcomes of a file.
const (
	Candidate Outcome = "candidate" // crawl and --dry-run: would be archived
	Archived  Outcome = "archived"
	Copied    Outcome = "copied" // its object is proven, and its data stays
	Recalled  Outcome = "recalled"
	Skipped   Outcome = "skipped"
	Failed    Outcome = "failed"
)

// Outcomes of catalogs, and of what is made from them.
const (
	Catalogued Outcome = "catalogued" // a name that a catalog holds
	Rebuilt    Outcome = "rebuilt"    // a name that was made anew
)

// Outcomes of objects.
const (
	Unreferenced Outcome = "unreferenced" // no catalog refers to it
	Deleted      Outcome = "deleted"
	Erased       Outcome = "erased" // a file of which nothing is left in the store
)

// Reason says why a file was left alone or failed. The same words stand in
// output, logs, metrics and manual; they never change their meaning.
type Reason string

// Why a file is not archived, as the crawl sees it on the brick.
const (
	TooWarm          Reason = "too-warm"
	TooSmall         Reason = "too-small"
	TooLarge         Reason = "too-large"
	NoData           Reason = "no-data"
	Excluded         Reason = "excluded"
	Pinned           Reason = "pinned"
	RecentlyRecalled Reason = "recently-recalled"
	HardLinked       Reason = "hard-linked"
	MtimeOutOfRange  Reason = "mtime-out-of-range"
	AlreadyRemote    Reason = "already-remote"
	ArchivedAlready  Reason = "archived-already"
	Recalling        Reason = "recalling"
	Broken           Reason = "broken"
	StaleSize        Reason = "stale-size"
	HealPending      Reason = "heal-pending"
	Linkto           Reason = "linkto"
	Migrating        Reason = "migrating"
	Sharded          Reason = "sharded"
	Dispersed        Reason = "dispersed"
	NoGFID           Reason = "no-gfid"
	Retained         Reason = "retained"
	BadFile          Reason = "bad-file"
	Unreadable       Reason = "unreadable"
	Unmarked         Reason = "unmarked"
)

// Why an archive or a recall of a file did not happen.
const (
	Changed         Reason = "changed"
	NotCopied       Reason = "not-copied"
	AlreadyCopied   Reason = "already-copied"
	FreesNothing    Reason = "frees-nothing"
	InUse           Reason = "in-use"
	Vanished        Reason = "vanished"
	InProgress      Reason = "in-progress"
	LockedByUser    Reason = "locked-by-user"
	Degraded        Reason = "degraded"
	AlreadyLocal    Reason = "already-local"
	ObjectMissing   Reason = "object-missing"
	ObjectForeign   Reason = "object-foreign"
	ObjectCold      Reason = "object-cold"
	Thawing         Reason = "thawing"
	ObjectCorrupt   Reason = "object-corrupt"
	NoSpace         Reason = "no-space"
	NoAttributeRoom Reason = "no-attribute-room" // for attributes of one file, on ext4
	ReadOnly        Reason = "read-only"
	StoreRefused    Reason = "store-refused"
	IOError         Reason = "io-error"
	InternalError   Reason = "internal-error"
	Interrupted     Reason = "interrupted"
	OverBudget      Reason = "over-budget"

	// Of a rebuild.
	Lost      Reason = "lost"
	NameTaken Reason = "name-taken"
	GFIDTaken Reason = "gfid-taken"
	Present   Reason = "present"

	// Of gc.
	Referred Reason = "referred"

	// Of an erasure.
	NotDeleted  Reason = "not-deleted"
	StoreKeeps  Reason = "store-keeps"
	ErasedFile  Reason = "erased"
	NotErasable Reason = "not-erased"
)

// Meaning explains each reason in one line of the manual.
var Meaning = map[Reason]string{
	TooWarm:          "modified more recently than --older-than",
	TooSmall:         "smaller than --min-size",
	TooLarge:         "larger than --max-size",
	NoData:           "has no data on the brick: it is empty, or a stub whose data is in the store",
	Excluded:         "matches --exclude, or no --include",
	Pinned:           "carries trusted.coldbrick.pin, or a directory above it does",
	RecentlyRecalled: "was recalled less than --recall-grace ago",
	HardLinked:       "has more than one name",
	MtimeOutOfRange:  "mtime is before 2001-09-09 or after 2286-11-20: Gluster's check cannot protect it",
	AlreadyRemote:    "is a stub: its data is in the store",
	ArchivedAlready:  "is a stub, as the crawl sees without reading more of the disk; elsewhere it counts as no-data",
	Recalling:        "a recall is under way, or was cut short: run recall or fsck --repair",
	Broken:           "is a stub that has bytes on the brick, or was written to at the instant of its stamp: run fsck",
	StaleSize:        "is local but carries the size of a previous stub: run fsck --repair",
	HealPending:      "self-heal has not finished with it",
	Linkto:           "is DHT's pointer to another brick, not a file",
	Migrating:        "rebalance is moving it",
	Sharded:          "belongs to a sharded volume",
	Dispersed:        "is a fragment of a disperse volume",
	NoGFID:           "has no gfid: it was not made through Gluster",
	Retained:         "is kept from changes by file-level WORM or retention (trusted.worm_file, trusted.reten_state)",
	BadFile:          "bit-rot detection found its data damaged (trusted.bit-rot.bad-file)",
	Unmarked:         "carries no mark of an archive or a recall: fsck has nothing to hold against the store",
	Unreadable:       "its attributes could not be read",
	InUse:            "somebody has it open for writing",
	NotCopied:        "has no object in the store that it refers to: archive --keep makes one",
	AlreadyCopied:    "the store has a proven copy of it, and it has not changed since",
	FreesNothing:     "takes no room on the brick that it does not share, so that a release would free none",
	Changed:          "changed while it was being archived or recalled; of an object: it is another one than gc has listed",
	Vanished:         "was deleted or renamed in the meantime",
	InProgress:       "another run is working on it",
	LockedByUser:     "a user's program holds a lock on all of it",
	Degraded:         "a brick that holds it is down or not healed",
	AlreadyLocal:     "its data is on the volume",
	ObjectMissing:    "its object is not in the store",
	ObjectForeign:    "the object under its key was made from another file",
	ObjectCold:       "its object is in a storage class that must be thawed first: recall --thaw",
	Thawing:          "the store is making its object readable: it was asked to, by this run or before",
	ObjectCorrupt:    "its object differs from the checksum or size noted at archive time",
	NoSpace:          "the volume has no room for it",
	NoAttributeRoom:  "ext4 keeps all attributes of a file in one block, and its own leave too little of it for a stub and a recall",
	ReadOnly:         "the volume accepts no writes: it is read-only or WORM",
	StoreRefused:     "the store refused it",
	IOError:          "reading or writing the volume failed",
	InternalError:    "coldbrick made a mistake on this file; nothing of it was given up: please report it",
	Interrupted:      "the run ended before the file was finished",
	Lost:             "had its data on the volume alone when the catalog was written: it is in no store",
	NameTaken:        "something else has its name",
	GFIDTaken:        "the volume has it already, under another name",
	Present:          "was rebuilt by an earlier run",
	Referred:         "refers to an object that gc would have deleted: the object stays",
	NotDeleted:       "is to be erased, and lives, or the newest catalogs know it: delete it, then run coldbrick catalog on every host",
	StoreKeeps:       "the store lets nobody delete its object: an object lock or a legal hold, or these credentials may not",
	ErasedFile:       "was erased on purpose: it is not brought back",
	NotErasable:      "is to be erased, and the run could not be completed, or goes by a list without it",
	OverBudget:       "larger than --max-bytes: no run with this budget can take it",
}
