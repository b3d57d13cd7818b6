package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/report"
	"github.com/coldbrick/coldbrick/internal/volume"
	"github.com/coldbrick/coldbrick/recall"
)

// Doctor says whether volume, brick, mount and store are safe to archive, or with
// --client whether a mount of users is safe for stubs.
func Doctor(ctx context.Context, s *Session) error {
	e := examination{Session: s}
	examine := e.run
	if s.Client != "" {
		examine = e.users
	}
	return s.Finish("doctor", "", errors.Join(examine(ctx), e.verdict()))
}

// examination prints the answer to each question as it comes, and counts those
// that are bad.
type examination struct {
	*Session
	counts report.Checks
}

func (e *examination) note(checks ...outcome.Check) {
	for _, c := range checks {
		switch c.Verdict {
		case outcome.Bad:
			e.counts.Failed++
		case outcome.Warning:
			e.counts.Warnings++
		default:
			e.counts.Fine++
		}
		e.print(report.Check(c))
	}
}

// ask notes whether err, the answer to a question, is good.
func (e *examination) ask(name string, err error, hint string) bool {
	if err != nil {
		e.note(outcome.Check{Name: name, Verdict: outcome.Bad, Reason: err.Error(), Fix: hint})
		return false
	}
	e.note(outcome.Check{Name: name, Verdict: outcome.OK})
	return true
}

func (e *examination) verdict() error {
	if !e.JSON && e.counts != (report.Checks{}) {
		e.print(e.counts)
	}
	if e.counts.Failed == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s failed", ErrUnsafe, report.Count(e.counts.Failed, "check"))
}

// run asks what can be asked: a question whose ground is missing is left out.
func (e *examination) run(ctx context.Context) error {
	ctx, stop := e.drains(ctx)
	defer stop()
	s, err := e.look(ctx)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if e.Mount != "" {
		e.ask("mount", err, "--mount names the directory where the whole volume is mounted")
	} else {
		e.ask("volume", err, "gluster volume list shows the names; glusterd must run on this host")
	}
	if err != nil {
		s = &scope{}
	} else {
		e.note(s.checks()...)
		e.note(e.inherent(s)...)
	}
	bricks := e.bricks(ctx, s)
	defer func() {
		for _, b := range bricks {
			b.Close()
		}
	}()
	if s.mount == nil {
		return nil
	}
	if s.bricks = dirsOf(bricks); s.cluster == nil || s.cluster.Started {
		e.clients(ctx, s)
	}
	if err := e.private(ctx, s, bricks); err != nil {
		return err
	}
	if err := e.Store.check(s.mount, dirsOf(bricks)); err != nil {
		e.ask("store", err, "set bucket and endpoint, or the volume's options features.s3plugin-*")
		return nil
	}
	return e.store(ctx, s, bricks)
}

// dirsOf are the directories of bricks.
func dirsOf(bricks []*volume.Brick) (dirs []string) {
	for _, b := range bricks {
		dirs = append(dirs, b.Dir())
	}
	return dirs
}

// users asks what a mount of users tells of stubs.
func (e *examination) users(ctx context.Context) error {
	ctx, stop := e.drains(ctx)
	defer stop()
	m, err := e.Target.inspect(e.Client)
	if !e.ask("mount", err, "--client names the directory where the whole volume is mounted") {
		return nil
	}
	checks, err := m.CheckClient(ctx)
	e.note(checks...)
	return err
}

// clients tells who is connected, also to an administrator who allows all of them.
func (e *examination) clients(ctx context.Context, s *scope) {
	checks, err := s.clientChecks(ctx)
	if err != nil {
		checks = []outcome.Check{volume.NoClientsKnown(err)}
	}
	for _, c := range checks {
		if e.AnyClients && c.Verdict == outcome.Bad {
			c.Verdict = outcome.Warning
		}
		e.note(c)
	}
}

// bricks opens and judges the brick named, or else those of this host that hold
// data.
func (e *examination) bricks(ctx context.Context, s *scope) (opened []*volume.Brick) {
	dirs := []string{e.Brick}
	if e.Brick == "" {
		dirs = nil
		if s.cluster != nil {
			dirs = e.roles(s.cluster)
		}
	}
	for _, dir := range dirs {
		brick, err := volume.OpenBrick(dir)
		if e.ask("brick", err, "--brick names the brick's own directory on this host") {
			opened = append(opened, brick)
			e.note(s.brickChecks(ctx, brick)...)
		}
	}
	return opened
}

// roles tells what each brick of this host does in archiving, and returns those
// that hold data.
func (e *examination) roles(v *volume.Volume) (dirs []string) {
	for _, p := range v.Places() {
		if !p.Here {
			continue
		}
		e.note(outcome.Check{Name: "role", Verdict: outcome.OK, Reason: fmt.Sprintf("%s: %s, in replica set %d", p.Dir, p.Role, p.Set)})
		if p.Role != volume.Arbiter {
			dirs = append(dirs, p.Dir)
		}
	}
	if dirs == nil {
		e.note(outcome.Check{Name: "role", Verdict: outcome.OK, Reason: "this host has no brick with data: there is nothing to archive here"})
	}
	return dirs
}

// private makes the mount that would stamp, and looks through it at the bricks.
func (e *examination) private(ctx context.Context, s *scope, bricks []*volume.Brick) (err error) {
	if !s.mount.Graph.Has(gluster.TypeCloudsync) || s.cluster != nil && !s.cluster.Started {
		return nil // there is nothing to mount
	}
	private, err := mountPrivately(ctx, s.mount, volume.ForStamping)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if !e.ask("private-mount", err, "") {
		return nil
	}
	defer func() { err = errors.Join(err, private.Close()) }()
	for _, b := range bricks {
		e.note(s.mount.CheckBrick(b, private.Root))
	}
	return nil
}

// inherent tells of the traps that no option of a volume closes: how coldbrick
// goes about each, and what is left of it where its plugin is not loaded.
func (e *examination) inherent(s *scope) []outcome.Check {
	met := func(name, how string) outcome.Check {
		return outcome.Check{Name: name, Verdict: outcome.OK, Reason: how}
	}
	checks := []outcome.Check{
		met("stamp-compare", "Gluster compares the time of a stamp as text: coldbrick sends ten digits, and leaves files of other times alone"),
		met("recorded-key", "a brick records the path it knows, or none: coldbrick reads each key back and corrects it"),
		met("restored-times", "tools that put an old mtime back are seen by the ctime, until about a millisecond before the stamp"),
		met("stub-blocks", "Gluster shows wrong block counts of stubs: coldbrick corrects them"),
	}
	hang := outcome.Check{Name: "stub-seek", Verdict: outcome.OK,
		Reason: "lseek(SEEK_DATA) and fallocate on a stub wait for its recall; they hang if that fails"}
	recalled := outcome.Check{Name: "stub-recall", Verdict: outcome.OK,
		Reason: "a recall that fails leaves the stub as it was, and one that succeeds leaves no size behind"}
	for _, c := range s.mount.Checks() {
		if c.Name != volume.CheckPlugin || c.Verdict == outcome.OK {
			continue
		}
		hang.Verdict = outcome.Warning
		hang.Reason = "lseek(SEEK_DATA) and fallocate on a stub hang until the client is killed, as nothing recalls it here"
		hang.Fix = c.Fix
		if pluginLoaded(s.mount) {
			recalled.Verdict = outcome.Warning
			recalled.Reason = "a recall that fails through a plugin other than coldbrick's may leave a file that nobody can read, or a wrong size"
			recalled.Fix = "coldbrick fsck finds and fixes such files; " + c.Fix
		}
	}
	checks = append(checks, hang, recalled)
	if s.mount.Graph.Has(gluster.TypeOpenBehind) {
		checks = append(checks, openBehind(s.mount))
	}
	return checks
}

// openBehind tells what in-use does not see, and what becomes of the write that
// comes afterwards.
func openBehind(m *volume.Mount) outcome.Check {
	c := outcome.Check{Name: "open-behind", Verdict: outcome.OK,
		Reason: "performance.open-behind is on: archive does not see that a client has a file open before the client writes to it (in-use); a later write recalls the file"}
	if !pluginLoaded(m) {
		c.Verdict = outcome.Warning
		c.Reason = "performance.open-behind is on: archive does not see that a client has a file open before the client writes to it (in-use); " +
			"a later write fails at fsync or close (EREMOTE)"
		c.Fix = "gluster volume set " + cmp.Or(m.Volume, "VOLUME") + " performance.open-behind off, or install the recall plugin"
	}
	return c
}

// store asks what the store can be relied on for.
func (e *examination) store(ctx context.Context, s *scope, bricks []*volume.Brick) (err error) {
	plugin, _, err := e.Store.open(ctx, e.UI, s.mount.Graph, nil)
	if !e.ask("store-settings", err, "") {
		return nil
	}
	defer func() { err = errors.Join(err, plugin.Fini()) }()
	p, ok := plugin.(objstore.Prober)
	if !ok {
		return nil
	}
	able, err := e.probes().probe(ctx, p)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if e.ask("store", err, "") {
		e.note(storeChecks(able, e.awsOf(s.mount.Graph))...)
		e.note(classCheck(e.Settings))
		e.note(e.prefixCheck(ctx, plugin, s.volumeID(bricks)))
	}
	return nil
}

// awsOf makes of an operation on the bucket a command that is ready to copy.
func (e *examination) awsOf(graph gluster.Graph) func(operation string) string {
	var of string
	if kind, err := e.Store.kind(); err == nil {
		if values, err := e.Store.options(kind, graph); err == nil {
			for _, name := range []string{"bucket", "endpoint-url"} {
				if values[name] != "" {
					of += " --" + name + " '" + values[name] + "'"
				}
			}
		}
	}
	return func(operation string) string { return "aws s3api " + operation + of }
}

// prefixCheck looks which other volumes have objects in the bucket. Under the same prefix,
// or one beside it, that is well. If one prefix is below the other, a path of theirs and a
// path of this volume may want one key, and listings show objects of both.
func (e *examination) prefixCheck(ctx context.Context, plugin recall.Plugin, own string) outcome.Check {
	c := outcome.Check{Name: "key-prefix", Verdict: outcome.OK}
	store, ok := plugin.(objstore.Lister)
	if !ok {
		return c
	}
	var shared, nested []string
	for _, prefix := range append(objstore.PrefixesAbove(e.Store.keyPrefix()), e.Store.keyPrefix()) {
		ids, err := objstore.Volumes(ctx, store, prefix)
		if err != nil {
			c.Verdict, c.Reason = outcome.Warning, fmt.Sprintf("which volumes have objects under %q is not known: %v", prefix, err)
			return c
		}
		for _, id := range ids {
			switch {
			case id == own:
			case prefix == e.Store.keyPrefix():
				shared = append(shared, id)
			default:
				nested = append(nested, fmt.Sprintf("%q of volume %s", prefix, id))
			}
		}
	}
	below, unknown, err := volumesBelow(ctx, store, e.Store.keyPrefix(), own)
	var beside []string
	if prefix := e.Store.keyPrefix(); err == nil && prefix != "" {
		all, _, besideErr := volumesBelow(ctx, store, "", own)
		beside, err = slices.DeleteFunc(all, func(v string) bool { return strings.HasPrefix(v, strconv.Quote(prefix)) }), besideErr
	}
	switch {
	case err != nil:
		c.Verdict, c.Reason = outcome.Warning, fmt.Sprintf("which volumes have objects below %q is not known: %v", e.Store.keyPrefix(), err)
	case nested != nil || below != nil:
		c.Verdict = outcome.Warning
		var is []string
		if nested != nil {
			is = append(is, "is below "+strings.Join(nested, " and "))
		}
		if below != nil {
			is = append(is, "is above "+strings.Join(below, " and "))
		}
		c.Reason = fmt.Sprintf("the prefix %q %s", e.Store.keyPrefix(), strings.Join(is, ", and "))
		c.Fix = "give volumes that begin now prefixes beside each other, such as vol1/ and vol2/; objects that exist keep their keys"
	case shared != nil:
		c.Reason = "shared with volume " + strings.Join(shared, " and ")
	}
	if c.Verdict == outcome.OK {
		if len(beside) > 0 {
			c.Reason = strings.TrimPrefix(c.Reason+"; beside "+strings.Join(beside, " and "), "; ")
		}
		if unknown != "" {
			c.Reason = strings.TrimPrefix(c.Reason+"; "+unknown, "; ")
		}
	}
	return c
}

// mostLooked bounds the directories of a bucket that are looked into for volumes, a
// request for each.
const mostLooked = 200

// volumesBelow are the other volumes with objects one directory below a prefix, as text. Deeper
// ones, and those of a bucket with too many directories, are not looked for: unknown says
// so. gc, which lists all, finds them.
func volumesBelow(ctx context.Context, store objstore.Lister, prefix, own string) (found []string, unknown string, err error) {
	s, ok := store.(objstore.Splitter)
	if !ok {
		return nil, "", nil
	}
	_, dirs, whole, err := s.Split(ctx, prefix)
	if err != nil {
		return nil, "", err
	}
	if !whole || len(dirs) > mostLooked {
		return nil, fmt.Sprintf("%q has too many directories to look into each for volumes: gc names them", prefix), nil
	}
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(16)
	for _, dir := range dirs {
		group.Go(func() error {
			ids, err := objstore.Volumes(ctx, store, dir)
			mu.Lock()
			defer mu.Unlock()
			for _, id := range ids {
				if id != own {
					found = append(found, fmt.Sprintf("%q of volume %s", dir, id))
				}
			}
			return err
		})
	}
	err = group.Wait()
	slices.Sort(found)
	return found, "", err
}

// classCheck looks whether objects of a storage class can be read at once.
func classCheck(s Settings) outcome.Check {
	c := outcome.Check{Name: classOption, Verdict: outcome.OK, Reason: "objects can be read at once"}
	switch class := s.Store.class(); {
	case object.NeedsThaw(class):
		c.Verdict = outcome.Warning
		c.Reason = "class " + class + ": " + readersOfCold
		if err := s.coldClass(); err != nil {
			c.Verdict = outcome.Bad
			c.Fix = "GLACIER_IR can be read at once; allow-cold-class = true allows this one"
		}
	case strings.EqualFold(class, "INTELLIGENT_TIERING"):
		c.Verdict = outcome.Warning
		c.Reason = "if the bucket's tiering has archive tiers, objects there have to be restored first"
		c.Fix = "aws s3api list-bucket-intelligent-tiering-configurations tells"
	}
	return c
}

// storeChecks judges what the probe saw; aws makes a command of an
// operation on the bucket. Nothing of it is unsafe: coldbrick
// goes without what a store lacks, at a price.
func storeChecks(able objstore.Capabilities, aws func(operation string) string) []outcome.Check {
	const mostSkew = 5 * time.Minute // S3 refuses requests from 15 minutes on
	wish := func(name string, ok bool, price, fix string) outcome.Check {
		if ok {
			return outcome.Check{Name: name, Verdict: outcome.OK}
		}
		return outcome.Check{Name: name, Verdict: outcome.Warning, Reason: price, Fix: fix}
	}
	versions := "the bucket keeps no old versions: a deleted object is gone for good"
	if able.Versioning == "" {
		versions = "the store does not tell whether the bucket keeps old versions: see for yourself, or allow these credentials s3:GetBucketVersioning"
	}
	uploads := "no rule aborts multipart uploads that a crash has left: they cost money unseen"
	if !able.LifecycleTold {
		uploads = "the store does not tell whether a rule aborts multipart uploads that a crash has left: see for yourself, or allow these credentials s3:GetLifecycleConfiguration"
	}
	return []outcome.Check{
		wish("conditional-put", able.PutConditional, "the store overwrites taken keys: objects get keys nobody can read", ""),
		wish("conditional-multipart", able.CompleteConditional, "large uploads overwrite taken keys: large objects get keys nobody can read", ""),
		wish("checksum", able.ChecksumVerified && able.ChecksumReturned, "the store confirms no checksum: each object is read back", ""),
		wish("checksum-multipart", able.FullObjectMultipart, "the store confirms no checksum of large objects: each is read back", ""),
		wish("clock", able.ClockSkew.Abs() < mostSkew, fmt.Sprintf("the store's clock differs by %v", able.ClockSkew.Round(time.Second)), "run NTP on both sides: S3 refuses requests from 15 minutes on"),
		wish("versioning", able.Versioning == "Enabled", versions, aws("put-bucket-versioning --versioning-configuration Status=Enabled")),
		wish("left-over-uploads", able.LifecycleAborts, uploads, "add a lifecycle rule with AbortIncompleteMultipartUpload to the bucket"),
		wish("probe-objects", len(able.LeftBehind) == 0,
			fmt.Sprintf("the store did not delete %s of the probe: Object Lock keeps them, or these credentials may not delete; archive probes once a day at most if all is proven",
				report.Count(int64(len(able.LeftBehind)), "object")),
			"delete what is below .coldbrick/probe/, or let a lifecycle rule do so"),
	}
}
