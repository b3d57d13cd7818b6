package crawl

import (
	"math"
	"testing"
	"time"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/stub"
)

// limits is a policy with all its limits set, and atLimits the facts of a file
// that is at each of them and still archived.
var limits = Policy{
	ColdAfter:   30 * day,
	RecallGrace: 7 * day,
	MinSize:     100,
	MaxSize:     200,
	Include:     []string{"video/**"},
	Exclude:     []string{"**/*.tmp"},
}

func times(age time.Duration) gluster.Mdata {
	t := now.Add(-age)
	return gluster.Mdata{Ctime: t, Mtime: t, Atime: t}
}

func atLimits() Facts {
	return Facts{
		Path: "video/a.mov", Size: 100, Links: 2, Mode: 0o100644,
		Brick: times(30 * day), Mdata: times(30 * day),
		Signs: stub.Signs{HasMdata: true, HasGFID: true}, GFID: gluster.GFID{15: 7}, Recalled: now.Add(-7 * day),
	}
}

func TestDecideOneLimitAtATime(t *testing.T) {
	const archive = outcome.Reason("")
	for _, tt := range []struct {
		name string
		edit func(*Facts)
		want outcome.Reason
	}{
		{"exactly at all limits", func(*Facts) {}, archive},
		{"one nanosecond too warm on the brick", func(f *Facts) { f.Brick.Mtime = f.Brick.Mtime.Add(1) }, outcome.TooWarm},
		{"one nanosecond too warm for clients", func(f *Facts) { f.Mdata.Mtime = f.Mdata.Mtime.Add(1) }, outcome.TooWarm},
		{"mtime in the future", func(f *Facts) { f.Mdata.Mtime = now.Add(1) }, outcome.TooWarm},
		{"without mdata the brick's mtime counts", func(f *Facts) { f.HasMdata, f.Mdata = false, gluster.Mdata{} }, archive},
		{"other times do not count", func(f *Facts) {
			f.Brick.Ctime, f.Brick.Atime, f.Mdata.Ctime, f.Mdata.Atime = now, now, now, now
		}, archive},
		{"one byte short", func(f *Facts) { f.Size-- }, outcome.TooSmall},
		{"at the largest size", func(f *Facts) { f.Size = 200 }, archive},
		{"one byte too large", func(f *Facts) { f.Size = 201 }, outcome.TooLarge},
		{"not included", func(f *Facts) { f.Path = "audio/a.mov" }, outcome.Excluded},
		{"included and excluded", func(f *Facts) { f.Path = "video/x/a.tmp" }, outcome.Excluded},
		{"pinned above", func(f *Facts) { f.PinnedAbove = true }, outcome.Pinned},
		{"pinned", func(f *Facts) { f.Pinned = true }, outcome.Pinned},
		{"empty", func(f *Facts) { f.Size = 0 }, outcome.NoData},
		{"one name more", func(f *Facts) { f.Links = 3 }, outcome.HardLinked},
		{"no handle", func(f *Facts) { f.Links = 1 }, outcome.NoGFID},
		{"no gfid", func(f *Facts) { f.HasGFID = false }, outcome.NoGFID},
		{"gfid unset", func(f *Facts) { f.GFID = gluster.GFID{} }, outcome.NoGFID},
		{"sticky only", func(f *Facts) { f.Mode |= 0o1000 }, archive},
		{"setgid only", func(f *Facts) { f.Mode |= 0o2000 }, archive},
		{"sticky and setgid", func(f *Facts) { f.Mode |= 0o3000 }, outcome.Migrating},
		{"linkto", func(f *Facts) { f.Linkto = true }, outcome.Linkto},
		{"shard", func(f *Facts) { f.Sharded = true }, outcome.Sharded},
		{"fragment", func(f *Facts) { f.Dispersed = true }, outcome.Dispersed},
		{"under WORM", func(f *Facts) { f.WORM = true }, outcome.Retained},
		{"damaged", func(f *Facts) { f.BadFile = true }, outcome.BadFile},
		{"heal pending", func(f *Facts) { f.HealPending = true }, outcome.HealPending},
		{"stub", func(f *Facts) { f.Size, f.Marks = 0, gluster.Marks{Remote: true, ObjectSize: true} }, outcome.NoData},
		{"stub whose marks are within its inode", func(f *Facts) { f.Size, f.InInode, f.Remote = 0, true, true }, outcome.ArchivedAlready},
		{"stub of today, likewise", func(f *Facts) { f.Size, f.InInode, f.Remote, f.Brick.Mtime = 0, true, true, now }, outcome.ArchivedAlready},
		{"stub that is being recalled, likewise", func(f *Facts) {
			f.Size, f.InInode, f.Marks = 0, true, gluster.Marks{Remote: true, Downloading: true}
		}, outcome.NoData},
		{"empty, likewise", func(f *Facts) { f.Size, f.InInode = 0, true }, outcome.NoData},
		{"linkto, likewise", func(f *Facts) { f.Size, f.InInode, f.Linkto, f.Remote = 0, true, true, true }, outcome.NoData},
		{"stub with bytes", func(f *Facts) { f.Marks = gluster.Marks{Remote: true} }, outcome.Broken},
		{"stub that is being recalled", func(f *Facts) { f.Size, f.Marks = 0, gluster.Marks{Remote: true, Downloading: true} }, outcome.NoData},
		{"stub half written", func(f *Facts) { f.Marks = gluster.Marks{Remote: true, Downloading: true} }, outcome.Recalling},
		{"half written", func(f *Facts) { f.Marks = gluster.Marks{Downloading: true} }, outcome.Recalling},
		{"object_size left", func(f *Facts) { f.Marks = gluster.Marks{ObjectSize: true} }, outcome.StaleSize},
		{"block_size left", func(f *Facts) { f.Marks = gluster.Marks{BlockSize: true} }, outcome.StaleSize},
		{"recalled one nanosecond too late", func(f *Facts) { f.Recalled = f.Recalled.Add(1) }, outcome.RecentlyRecalled},
		{"recalled in the future", func(f *Facts) { f.Recalled = now.Add(day) }, outcome.RecentlyRecalled},
		{"never recalled", func(f *Facts) { f.Recalled = time.Time{} }, archive},
		{"last second of 9 digits", func(f *Facts) { f.Mdata.Mtime = time.Unix(999_999_999, 0) }, outcome.MtimeOutOfRange},
		{"first second of 10 digits", func(f *Facts) { f.Mdata.Mtime = time.Unix(1_000_000_000, 0) }, archive},
		{"no time at all", func(f *Facts) { f.Mdata.Mtime = time.Unix(math.MaxInt64, 0) }, outcome.MtimeOutOfRange},
		// Which reason wins.
		{"stub of today: its brick time is when it was stamped", func(f *Facts) { f.Size, f.Remote, f.Brick.Mtime = 0, true, now }, outcome.NoData},
		{"warm stub with bytes", func(f *Facts) { f.Remote, f.Brick.Mtime = true, now }, outcome.TooWarm},
		{"stub with two names", func(f *Facts) { f.Size, f.Links, f.Remote = 0, 3, true }, outcome.NoData},
		{"pinned stub", func(f *Facts) { f.Size, f.Pinned, f.Remote = 0, true, true }, outcome.NoData},
		{"migrating, and pinned", func(f *Facts) { f.Mode |= 0o3000; f.Pinned = true }, outcome.Migrating},
		{"heal pending, and recalled just now", func(f *Facts) { f.HealPending, f.Recalled = true, now }, outcome.HealPending},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := atLimits()
			tt.edit(&f)
			if got := limits.Decide(f, now); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestTheZeroPolicyArchivesAllThatCanBe(t *testing.T) {
	f := atLimits()
	f.Path, f.Size, f.Brick, f.Mdata, f.Recalled = "x", 1, times(0), times(0), now
	if got := new(Policy).Decide(f, now); got != "" {
		t.Errorf("got %q", got)
	}
}

// Of one file whose times all differ, each choice looks at its own.
func TestAgeBy(t *testing.T) {
	aged := func(c, m, a time.Duration) gluster.Mdata {
		return gluster.Mdata{Ctime: now.Add(-c), Mtime: now.Add(-m), Atime: now.Add(-a)}
	}
	for _, tt := range []struct {
		by      AgeBy
		brick   gluster.Mdata
		clients gluster.Mdata
		want    outcome.Reason
	}{
		{ByMtime, aged(0, 30*day, 0), aged(0, 30*day, 0), ""},
		{ByMtime, aged(99*day, 30*day-1, 99*day), aged(99*day, 99*day, 99*day), outcome.TooWarm},
		{ByMtime, aged(99*day, 99*day, 99*day), aged(99*day, 30*day-1, 99*day), outcome.TooWarm},
		{ByCtime, aged(30*day, 0, 0), aged(30*day, 0, 0), ""},
		{ByCtime, aged(30*day-1, 99*day, 99*day), aged(99*day, 99*day, 99*day), outcome.TooWarm},
		{ByCtime, aged(99*day, 99*day, 99*day), aged(30*day-1, 99*day, 99*day), outcome.TooWarm},
		{ByAtime, aged(0, 0, 0), aged(0, 0, 30*day), ""}, // a scrubber reads the brick's file
		{ByAtime, aged(99*day, 99*day, 99*day), aged(99*day, 99*day, 30*day-1), outcome.TooWarm},
		{ByNewest, aged(30*day, 30*day, 0), aged(30*day, 30*day, 30*day), ""},
		{ByNewest, aged(30*day-1, 99*day, 99*day), aged(99*day, 99*day, 99*day), outcome.TooWarm},
		{ByNewest, aged(99*day, 30*day-1, 99*day), aged(99*day, 99*day, 99*day), outcome.TooWarm},
		{ByNewest, aged(99*day, 99*day, 99*day), aged(30*day-1, 99*day, 99*day), outcome.TooWarm},
		{ByNewest, aged(99*day, 99*day, 99*day), aged(99*day, 30*day-1, 99*day), outcome.TooWarm},
		{ByNewest, aged(99*day, 99*day, 99*day), aged(99*day, 99*day, 30*day-1), outcome.TooWarm},
		{ByAtime, aged(99*day, 99*day, 99*day), aged(99*day, -1, 99*day), outcome.TooWarm}, // mtime in the future
	} {
		f := atLimits()
		f.Brick, f.Mdata = tt.brick, tt.clients
		p := limits
		p.AgeBy = tt.by
		if got := p.Decide(f, now); got != tt.want {
			t.Errorf("by %s, brick %v, clients %v: got %q, want %q", tt.by, tt.brick, tt.clients, got, tt.want)
		}
	}
}

func TestValidateRefusesWhatCannotBeMeant(t *testing.T) {
	if err := limits.Validate(); err != nil {
		t.Error(err)
	}
	for name, edit := range map[string]func(*Policy){
		"age by":         func(p *Policy) { p.AgeBy = "birth" },
		"cold after":     func(p *Policy) { p.ColdAfter = -1 },
		"recall grace":   func(p *Policy) { p.RecallGrace = -1 },
		"min size":       func(p *Policy) { p.MinSize = -1 },
		"max size":       func(p *Policy) { p.MaxSize = -1 },
		"max below min":  func(p *Policy) { p.MaxSize = 99 },
		"include":        func(p *Policy) { p.Include = []string{"["} },
		"exclude":        func(p *Policy) { p.Exclude = []string{"ok", "{a"} },
		"empty":          func(p *Policy) { p.Exclude = []string{""} },
		"leading slash":  func(p *Policy) { p.Exclude = []string{"/video/**"} },
		"leading dot":    func(p *Policy) { p.Exclude = []string{"./video/**"} },
		"trailing slash": func(p *Policy) { p.Exclude = []string{"video/"} },
		"not UTF-8":      func(p *Policy) { p.Exclude = []string{"\xff"} },
	} {
		p := limits
		edit(&p)
		if p.Validate() == nil {
			t.Errorf("%s: accepted %+v", name, p)
		}
	}
}

func TestGlobsOnPathsOfAnyBytes(t *testing.T) {
	for _, tt := range []struct {
		glob, path string
		want       bool
	}{
		{"*.tmp", "a.tmp", true},
		{"*.tmp", "d/a.tmp", false},
		{"**/*.tmp", "a.tmp", true},
		{"**/*.tmp", "d/e/a.tmp", true},
		{"d/**", "d/e/f", true},
		{"d/**", "dd/e/f", false},
		{"**/caf?", "d/caf\xe9", true},
		{"**/*\n*", "d/new\nline", true},
		{`\*`, "*", true},
		{`\*`, "a", false},
		{"{a,b}/*", "b/x", true},
	} {
		p := Policy{Exclude: []string{tt.glob}}
		if err := p.Validate(); err != nil {
			t.Fatal(err)
		}
		if got := !p.selects(tt.path); got != tt.want {
			t.Errorf("%q on %q: %v", tt.glob, tt.path, got)
		}
	}
}
