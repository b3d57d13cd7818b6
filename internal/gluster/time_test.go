package gluster

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"testing"
	"time"
)

// Whatever stat can give comes back as it was, through text and JSON.
func FuzzTimesOfAnySecondSurvive(f *testing.F) {
	for _, sec := range []int64{0, -1, 1672628645, 253402300800 /* year 10000 */, 13569465600 /* 2400 */, math.MinInt64, math.MaxInt64} {
		f.Add(sec, uint32(999_999_999))
		f.Add(sec, uint32(0))
	}
	f.Fuzz(func(t *testing.T, sec int64, nsec uint32) {
		want := Time{Sec: sec, Nsec: int32(nsec % 1_000_000_000)}
		b, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got Time
		if err := json.Unmarshal(b, &got); err != nil || got != want {
			t.Fatalf("%v became %v, %v", want, got, err)
		}
		if TimeOf(want.Timespec()) != want {
			t.Fatalf("%v became another timespec", want)
		}
	})
}

// A time.Time wraps around there: what a user dates far ahead would count as cold.
func TestTheOutermostSecondsStayWhereTheyAre(t *testing.T) {
	now := time.Now()
	for _, sec := range []int64{math.MaxInt64, math.MaxInt64 - 62135596800, 1 << 62} {
		mdata := make([]byte, mdataSize)
		mdata[0] = 1
		for _, off := range []int{9, 25, 41} {
			binary.BigEndian.PutUint64(mdata[off:], uint64(sec))
		}
		told, err := ParseMdata(mdata)
		if err != nil || !told.Mtime.After(now) || !told.Atime.After(now) || Stampable(told.Mtime) {
			t.Errorf("%d: %v, %v", sec, told, err)
		}
		if ahead, past := (Time{Sec: sec}).Std(), (Time{Sec: -sec}).Std(); !ahead.After(now) || !past.Before(now) {
			t.Errorf("%d: %v and %v", sec, ahead, past)
		}
	}
}

func TestWhatIsNoTimeIsRefused(t *testing.T) {
	for _, s := range []string{"", "1", "1.", ".1", "1.5", "1.-00000001", "1.+00000001", "x.000000000", "9223372036854775808.000000000", "1.000000000.", "1.9999999999"} {
		if got, err := ParseTime(s); err == nil {
			t.Errorf("%q was read as %v", s, got)
		}
	}
}
