package translator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/workers"
)

// ErrRootGone means that the client has left the graph to which a root belongs.
var ErrRootGone = errors.New("the volume's options were changed: this client uses new ones")

// Root is the root of the volume, as one graph of a client has it. No call waits for
// longer than its context lasts.
type Root interface {
	// Ready reports whether the client can be asked yet. ErrRootGone: not any more.
	Ready() (bool, error)
	Xattr(ctx context.Context, name string) ([]byte, error)
	SetXattr(ctx context.Context, name string, value []byte) error
	RemoveXattr(ctx context.Context, name string) error
}

// Voucher leaves on the root of the volume that this client has the guard, so that
// archive can find out on a server. It does so when the client mounts and once a day,
// and reads first: all clients of a host share what they leave.
type Voucher struct {
	Root      Root
	Vouch     gluster.Vouch // but for its time
	Addresses func() ([]netip.Addr, error)
	Log       *slog.Logger
}

const (
	readyPause   = time.Second
	firstRetry   = 2 * time.Second
	lastRetry    = 10 * time.Minute
	lastLook     = time.Hour   // to the next one: somebody may remove a vouch, or suspend this host
	rootPatience = time.Minute // for an answer
	// rootRoom must be left after a vouch was added: attributes that Gluster itself
	// needs on the root must fit in.
	rootRoom = 1 << 10
)

// Run vouches until the context ends or the graph is left. A failure harms nobody
// here: archive refuses, and names this host.
func (v *Voucher) Run(ctx context.Context) {
	retry := firstRetry
	for {
		ready, err := v.Root.Ready()
		pause := readyPause
		if ready {
			pause, err = v.renew(ctx)
		}
		switch {
		case errors.Is(err, ErrRootGone), ctx.Err() != nil:
			return
		case err != nil:
			if retry >= lastRetry {
				v.Log.Warn("servers cannot be told that this client has the guard", "err", err)
			}
			pause, retry = retry, min(2*retry, lastRetry)
		case ready:
			retry = firstRetry
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// renew brings the vouch for each address up to date, and returns when that is due
// again.
func (v *Voucher) renew(ctx context.Context) (due time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, rootPatience)
	defer cancel()
	due = lastLook
	err = workers.Guard(func() error {
		clients, err := v.Addresses()
		if err != nil {
			return err
		}
		if len(clients) == 0 {
			return errors.New("this host has no address")
		}
		for _, client := range clients {
			age, err := v.renewFor(ctx, client)
			if err != nil {
				return err
			}
			due = min(due, gluster.VouchEvery-age)
		}
		return nil
	})
	return due, err
}

// renewFor returns the age of the vouch for an address.
func (v *Voucher) renewFor(ctx context.Context, client netip.Addr) (age time.Duration, err error) {
	name, now := gluster.VouchName(client), time.Now()
	vouch := v.Vouch
	vouch.Time = now
	value, err := v.Root.Xattr(ctx, name)
	switch {
	case errors.Is(err, unix.ENODATA):
		err = v.room(ctx)
	case err == nil:
		had, parseErr := gluster.ParseVouch(value)
		age = now.Sub(had.Time)
		same := parseErr == nil && had.Guard == vouch.Guard && had.Glusterfs == vouch.Glusterfs
		if same && age >= 0 && age < gluster.VouchEvery {
			return age, nil
		}
	}
	if err != nil {
		return 0, err
	}
	if err := v.Root.SetXattr(ctx, name, vouch.Encode()); err != nil {
		return 0, fmt.Errorf("set %s: %w", name, err)
	}
	return 0, nil
}

// room tells whether the root has room for one more vouch, by trying. ext4 keeps all
// attributes of a directory in 4 KiB.
func (v *Voucher) room(ctx context.Context) error {
	err := v.Root.SetXattr(ctx, gluster.XattrRoom, make([]byte, rootRoom))
	removed := v.Root.RemoveXattr(ctx, gluster.XattrRoom) // some bricks may have had room
	if errors.Is(removed, unix.ENODATA) {                 // another client has tried too
		removed = nil
	}
	if err = errors.Join(err, removed); err != nil {
		return fmt.Errorf("the root of the volume has no room for the attributes of so many clients: %w", err)
	}
	return nil
}
