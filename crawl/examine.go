package crawl

import (
	"errors"
	"fmt"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/outcome"
)

// The names that examine asks for, as C strings.
var (
	attrGFID     = cString(gluster.XattrGFID)
	attrMdata    = cString(gluster.XattrMdata)
	attrRecalled = cString(gluster.XattrRecalled)
)

// examine collects the facts of the entry name of f, cheapest first, until the
// policy has seen enough: most files cost a statx, stubs a list of names as
// well, and only what remains its values. c.facts holds what was found, also
// with an error. It does not allocate, unless globs have braces.
func (c *crawler) examine(f *frame, name []byte) (outcome.Reason, error) {
	facts := &c.facts
	*facts = Facts{Path: unsafeString(c.path), PinnedAbove: f.pinned}
	if err := statAt(f.fd, &name[0], &c.stat); err != nil {
		return "", err
	}
	if c.stat.Mode&unix.S_IFMT != unix.S_IFREG {
		return outcome.Vanished, nil // replaced since the directory was read
	}
	facts.readStat(&c.stat)
	if c.marked {
		return c.examineMarks(&name[0])
	}
	if reason := c.policy.byStat(facts, c.now); reason != "" {
		return reason, nil
	}

	names, err := c.list(&name[0])
	if err != nil {
		return "", err
	}
	facts.readNames(names)
	if reason := c.policy.byMarks(facts); reason != "" {
		return reason, nil
	}

	if err := c.readValues(&name[0], names); err != nil {
		return "", err
	}
	if reason := c.policy.byValues(facts, c.now); reason != "" {
		return reason, nil
	}
	if len(c.path) > pathMax {
		return "", unix.ENAMETOOLONG // nobody could open it by this path
	}
	return "", nil
}

// examineMarks lets pass what carries a mark.
func (c *crawler) examineMarks(name *byte) (outcome.Reason, error) {
	names, err := c.list(name)
	if err != nil {
		return "", err
	}
	c.facts.readNames(names)
	switch {
	case c.facts.Linkto:
		return outcome.Linkto, nil
	case c.facts.Clean() && !c.facts.HasPointer && !c.facts.HasNotes:
		return outcome.Unmarked, nil
	case !c.facts.HasGFID:
		return outcome.NoGFID, nil
	}
	return "", c.readTimes(name)
}

func (f *Facts) readStat(st *unix.Statx_t) {
	at := func(t unix.StatxTimestamp) time.Time { return gluster.Time{Sec: t.Sec, Nsec: int32(t.Nsec)}.Std() }
	f.Size, f.Links, f.Mode, f.InInode = int64(st.Size), st.Nlink, uint32(st.Mode), st.Blocks == 0
	f.Brick = gluster.Mdata{Ctime: at(st.Ctime), Mtime: at(st.Mtime), Atime: at(st.Atime)}
}

// list returns the names of a file's attributes, valid until the next call.
func (c *crawler) list(name *byte) ([]byte, error) {
	n, err := c.attrs.List(name, c.names)
	if errors.Is(err, unix.ERANGE) && len(c.names) < mostNames {
		c.names = make([]byte, mostNames)
		n, err = c.attrs.List(name, c.names)
	}
	if err != nil {
		return nil, err
	}
	return c.names[:n], nil
}

// readValues completes the facts by the values of the attributes whose names are
// given.
func (c *crawler) readValues(name *byte, names []byte) error {
	facts := &c.facts
	if facts.HasAFR {
		pending, err := c.healPending(name, names)
		if err != nil || pending {
			facts.HealPending = pending
			return err
		}
	}
	if err := c.readTimes(name); err != nil {
		return err
	}
	if facts.WasRecalled && c.policy.RecallGrace > 0 {
		value, err := c.get(name, attrRecalled)
		if err != nil {
			return err
		}
		seconds, err := strconv.ParseInt(string(value), 10, 64)
		if err != nil {
			return fmt.Errorf("%s: %w", gluster.XattrRecalled, err)
		}
		facts.Recalled = gluster.Time{Sec: seconds}.Std()
	}
	return nil
}

// readTimes reads the gfid, and the times that clients see.
func (c *crawler) readTimes(name *byte) error {
	facts := &c.facts
	gfid, err := c.get(name, attrGFID)
	if err != nil {
		return err
	}
	if len(gfid) == len(facts.GFID) {
		copy(facts.GFID[:], gfid)
	}
	if facts.HasMdata {
		mdata, err := c.get(name, attrMdata)
		if err != nil {
			return err
		}
		if facts.Mdata, err = gluster.ParseMdata(mdata); err != nil {
			return err
		}
	}
	return nil
}

// healPending reports whether any of the counters of replicate is not zero.
func (c *crawler) healPending(name *byte, names []byte) (bool, error) {
	for len(names) > 0 {
		attr := names
		var this []byte
		this, names = nextName(names)
		if !hasPrefix(this, gluster.XattrAFR) {
			continue
		}
		value, err := c.get(name, &attr[0])
		if errors.Is(err, unix.ENODATA) {
			continue // removed since: a heal has ended
		}
		if err != nil || gluster.AFRPending(value) {
			return err == nil, err
		}
	}
	return false, nil
}

// get returns the value of one attribute, valid until the next call. All that
// are asked for are short; a longer one is not what its name says.
func (c *crawler) get(name, attr *byte) ([]byte, error) {
	n, err := c.attrs.Get(name, attr, c.value[:])
	if err != nil {
		return nil, err
	}
	return c.value[:n], nil
}

func cString(s string) *byte { return &append([]byte(s), 0)[0] }

// unsafeString lends b to functions that take a string. It must not outlive the
// next change of b.
func unsafeString(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
