package gluster

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Time is a time of a file: any 64-bit second that a user can set, kept exactly.
// A time.Time serves neither JSON (years 0 to 9999) nor nanoseconds in 64 bits
// (1678 to 2262), and both once ended a process on a user's value.
type Time struct {
	Sec  int64
	Nsec int32 // 0 to 999,999,999
}

// TimeOf is the Time of a timespec, as stat gives it.
func TimeOf(t unix.Timespec) Time { return Time{Sec: t.Sec, Nsec: int32(t.Nsec)} }

// TimeAt is the Time of an instant.
func TimeAt(t time.Time) Time { return Time{Sec: t.Unix(), Nsec: int32(t.Nanosecond())} }

// Timespec is t as the system calls take it.
func (t Time) Timespec() unix.Timespec { return unix.Timespec{Sec: t.Sec, Nsec: int64(t.Nsec)} }

// Std is t for arithmetic with other instants. It is exact for all but the
// outermost seconds, where a time.Time would wrap: the far future would be past.
func (t Time) Std() time.Time { return instant(t.Sec, int64(t.Nsec)) }

const farthest = 1 << 61 // seconds from 1970 on which time.Time still counts right

func instant(sec, nsec int64) time.Time {
	return time.Unix(min(max(sec, -farthest), farthest), nsec)
}

// Compare is -1, 0 or +1, as t is before, at or after u.
func (t Time) Compare(u Time) int {
	return cmp.Or(cmp.Compare(t.Sec, u.Sec), cmp.Compare(t.Nsec, u.Nsec))
}

// String is seconds and nanoseconds since 1970, "1672628645.123456789": exact,
// and to be used by touch -d @ as it stands. The fraction counts forward from
// the second, also before 1970.
func (t Time) String() string { return fmt.Sprintf("%d.%09d", t.Sec, t.Nsec) }

// ParseTime is the inverse of String.
func ParseTime(s string) (Time, error) {
	sec, nsec, ok := strings.Cut(s, ".")
	seconds, err := strconv.ParseInt(sec, 10, 64)
	if !ok || err != nil || len(nsec) != 9 {
		return Time{}, fmt.Errorf("not a time: %q", s)
	}
	fraction, err := strconv.ParseUint(nsec, 10, 30)
	if err != nil || fraction > 999_999_999 {
		return Time{}, fmt.Errorf("not a time: %q", s)
	}
	return Time{Sec: seconds, Nsec: int32(fraction)}, nil
}

const rfc3339 = "2006-01-02T15:04:05.000000000Z"

// MarshalText makes t a string in JSON: RFC 3339 with nanoseconds, in UTC. That
// has years of four digits alone; any other time is written as String does.
func (t Time) MarshalText() ([]byte, error) {
	const first, last = -62167219200, 253402300799 // the years 0 and 9999
	if t.Sec < first || t.Sec > last {
		return []byte(t.String()), nil
	}
	return t.Std().UTC().AppendFormat(nil, rfc3339), nil
}

// UnmarshalText reads both ways of writing a time.
func (t *Time) UnmarshalText(b []byte) error {
	if at, err := time.Parse(time.RFC3339Nano, string(b)); err == nil {
		*t = TimeAt(at)
		return nil
	}
	at, err := ParseTime(string(b))
	*t = at
	return err
}
