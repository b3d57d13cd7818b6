package gluster

import (
	"net/netip"
	"testing"
	"time"
)

func TestAVouchCountsForADayAndAHalf(t *testing.T) {
	given := Vouch{Time: time.Unix(1764463200, 0), Guard: "1", Glusterfs: "10.3"}
	v, err := ParseVouch(given.Encode())
	if err != nil || v != given {
		t.Fatalf("%+v, %v", v, err)
	}
	for after, want := range map[time.Duration]bool{
		-13 * time.Hour: false, -11 * time.Hour: true, 0: true, 35 * time.Hour: true, 37 * time.Hour: false,
	} {
		if got := v.Fresh(given.Time.Add(after)); got != want {
			t.Errorf("%v later: %t", after, got)
		}
	}
}

func TestWhatIsNoVouchIsNone(t *testing.T) {
	for _, value := range []string{
		"", "1", "1 1764463200 1", "2 1764463200 1 10.3", "1 soon 1 10.3", "1 1764463200 1 10.3 ", "1 1764463200 1 10.3\n1",
		"1 99999999999999999999 1 10.3", "1 01764463200 1 10.3",
	} {
		if v, err := ParseVouch([]byte(value)); err == nil {
			t.Errorf("%q is taken for %+v", value, v)
		}
	}
}

func TestTheNameOfAVouchIsAnAddress(t *testing.T) {
	for text, want := range map[string]string{
		"10.0.0.7": "10.0.0.7", "::ffff:10.0.0.7": "10.0.0.7", "fe80::7%eth0": "fe80::7", "2001:db8:0::7": "2001:db8::7",
	} {
		name := VouchName(netip.MustParseAddr(text))
		addr, ok := VouchedBy(name)
		if name != XattrVouch+want || !ok || addr != netip.MustParseAddr(want) {
			t.Errorf("%s: %s, %v %t", text, name, addr, ok)
		}
	}
	for _, name := range []string{XattrVouch, XattrVouch + "node1", VirtualGuard, ""} {
		if _, ok := VouchedBy(name); ok {
			t.Errorf("%q is taken for a vouch", name)
		}
	}
}
