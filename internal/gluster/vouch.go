package gluster

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// XattrVouch begins the names of the attributes by which clients tell that they have
// the guard. They are on the root of the volume; the name ends in the address from
// which a client reaches the bricks.
const XattrVouch = "trusted.coldbrick.vouch."

// XattrRoom is set and removed again by a client that is about to add a vouch. A root
// that has no room for it has none for Gluster's own attributes soon.
const XattrRoom = "trusted.coldbrick.room"

// VouchEvery is how often a client renews its vouch.
const VouchEvery = 24 * time.Hour

// How far from now a vouch may be to count. A client that cannot renew it tries again
// every ten minutes; clocks of hosts differ, if not by half a day.
const (
	VouchLasts = 36 * time.Hour
	VouchAhead = 12 * time.Hour
)

// Vouch says that a client had the guard at some time, by its own clock.
type Vouch struct {
	Time      time.Time
	Guard     string // version
	Glusterfs string // version
}

const vouchFormat = "1 %d %s %s" // the first number is that of the format

// Encode gives the value of the attribute.
func (v Vouch) Encode() []byte {
	return fmt.Appendf(nil, vouchFormat, v.Time.Unix(), v.Guard, v.Glusterfs)
}

// ParseVouch reads what Encode gave.
func ParseVouch(value []byte) (Vouch, error) {
	var v Vouch
	var seconds int64
	_, err := fmt.Sscanf(string(value), vouchFormat, &seconds, &v.Guard, &v.Glusterfs)
	if v.Time = time.Unix(seconds, 0); err != nil || !bytes.Equal(value, v.Encode()) {
		return Vouch{}, fmt.Errorf("%.100q does not say that a client has the guard", value)
	}
	return v, nil
}

// Fresh reports whether the vouch counts at a time.
func (v Vouch) Fresh(now time.Time) bool {
	age := now.Sub(v.Time)
	return age < VouchLasts && age > -VouchAhead
}

// VouchName is the name of the attribute for an address.
func VouchName(client netip.Addr) string { return XattrVouch + client.Unmap().WithZone("").String() }

// VouchedBy is the address in the name of an attribute; ok is false if it is no vouch.
func VouchedBy(name string) (client netip.Addr, ok bool) {
	text, ok := strings.CutPrefix(name, XattrVouch)
	if !ok {
		return netip.Addr{}, false
	}
	client, err := netip.ParseAddr(text)
	return client, err == nil
}
